//! Work on a whole event, in transactions of bounded size: it is noted in the ledger before it
//! begins, so that a crash in the middle is taken up again.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::apply::STEP;
use super::change::Change;
use super::small::Whole;
use super::tags::refresh_event;
use super::withdraw::end_claims;
use super::writer::Writer;
use super::{Ledger, Writing};

/// Notes that all of the event's claims are to be gone through.
pub(super) async fn begin_whole(
    tx: &mut SqliteConnection,
    (source, event): (&str, Uuid),
    whole: Whole,
) -> sqlx::Result<()> {
    let code: i16 = match whole {
        Whole::Refresh => 1,
        Whole::End => 2,
    };
    sqlx::query(
        "UPDATE events SET unfinished = CASE WHEN unfinished > $1 THEN unfinished ELSE $1 END
         WHERE source = $2 AND event = $3",
    )
    .bind(code)
    .bind(source)
    .bind(event)
    .execute(tx)
    .await?;
    Ok(())
}

/// The first step, in the notice's own transaction: for all but large events it is the last too.
/// Whether nothing is left to do.
pub(super) async fn step(
    tx: &mut Writing,
    event: (&str, Uuid),
    change: &mut Change<'_>,
) -> sqlx::Result<bool> {
    change.event = Some(event.1);
    let done = match unfinished(tx, event).await? {
        2 => end_claims(tx, event, change).await? < STEP,
        1 => refresh_event(tx, event, None, change).await?.is_none(),
        _ => return Ok(true),
    };
    if done {
        end_whole(tx, event).await?;
    }
    Ok(done)
}

async fn unfinished(tx: &mut SqliteConnection, (source, event): (&str, Uuid)) -> sqlx::Result<i16> {
    let code: Option<i16> =
        sqlx::query_scalar("SELECT unfinished FROM events WHERE source = $1 AND event = $2")
            .bind(source)
            .bind(event)
            .fetch_optional(tx)
            .await?;
    Ok(code.unwrap_or_default())
}

async fn end_whole(tx: &mut SqliteConnection, (source, event): (&str, Uuid)) -> sqlx::Result<()> {
    sqlx::query("UPDATE events SET unfinished = 0 WHERE source = $1 AND event = $2")
        .bind(source)
        .bind(event)
        .execute(tx)
        .await?;
    Ok(())
}

impl Writer {
    /// Goes through all claims of an event that [`begin_whole`] noted.
    pub(super) async fn go_through(&mut self, event: Uuid) -> sqlx::Result<()> {
        let (ledger, views) = (self.ledger.clone(), std::sync::Arc::clone(&self.views));
        let key = (self.settings.source.as_str(), event);
        let mut after = None;
        loop {
            let mut tx = ledger.begin().await?;
            let mut change = Change::new(&views, Some(event), Ledger::now());
            let done = match unfinished(&mut tx, key).await? {
                2 => end_claims(&mut tx, key, &mut change).await? < STEP,
                1 => {
                    after = refresh_event(&mut tx, key, after, &mut change).await?;
                    after.is_none()
                }
                _ => return Ok(()),
            };
            if done {
                end_whole(&mut tx, key).await?;
            }
            ledger.commit(tx, &change).await?;
            if done {
                return Ok(());
            }
        }
    }

    /// Takes up what a crash interrupted.
    pub(super) async fn resume(&mut self) {
        let events: sqlx::Result<Vec<Uuid>> =
            sqlx::query_scalar("SELECT event FROM events WHERE source = $1 AND unfinished <> 0")
                .bind(&self.settings.source)
                .fetch_all(&self.ledger.readers)
                .await;
        for event in events.unwrap_or_default() {
            tracing::info!(%event, "going on with an event that the last run left unfinished");
            if let Err(error) = self.go_through(event).await {
                tracing::error!(%event, %error, "cannot go on with an unfinished event");
            }
        }
    }
}
