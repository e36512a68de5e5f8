//! Work on a whole event, in transactions of bounded size: it is noted in the ledger before it
//! begins, so that a crash in the middle is taken up again.

use uuid::Uuid;

use super::Ledger;
use super::apply::STEP;
use super::change::Change;
use super::claims::Place;
use super::small::Whole;
use super::sql::{Result, Transaction, statements, values};
use super::tags::refresh_event;
use super::withdraw::end_claims;
use super::writer::Writer;

statements! {
    BEGIN(Integer, Text, Bytes) =
        "UPDATE events SET unfinished = CASE WHEN unfinished > $1 THEN unfinished ELSE $1 END
         WHERE source = $2 AND event = $3";
    UNFINISHED(Text, Bytes) = "SELECT unfinished FROM events WHERE source = $1 AND event = $2";
    END(Text, Bytes) = "UPDATE events SET unfinished = 0 WHERE source = $1 AND event = $2";
    ALL_UNFINISHED(Text) = "SELECT event FROM events WHERE source = $1 AND unfinished <> 0";
}

/// Notes that all of the event's claims are to be gone through.
pub(super) fn begin_whole(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    whole: Whole,
) -> Result<()> {
    let code: i16 = match whole {
        Whole::Refresh => 1,
        Whole::End => 2,
    };
    tx.execute(&BEGIN, &values![code, source, event]).map(drop)
}

/// The first step, in the notice's own transaction: for all but large events it is the last too.
/// Whether nothing is left to do.
pub(super) fn step(
    tx: &Transaction<'_>,
    event: (&str, Uuid),
    change: &mut Change<'_>,
) -> Result<bool> {
    change.event = Some(event.1);
    Ok(go_on(tx, event, None, change)?.is_none())
}

/// A step through an event's claims, after those of `after`; the place of the last one if more are left.
fn go_on(
    tx: &Transaction<'_>,
    event: (&str, Uuid),
    after: Option<Place>,
    change: &mut Change<'_>,
) -> Result<Option<Place>> {
    let (source, uuid) = event;
    let unfinished: Option<i64> = tx.row(&UNFINISHED, &values![source, uuid])?;
    let next = match unfinished {
        Some(2) if end_claims(tx, event, change)? >= STEP => Some((Uuid::nil(), -1)),
        Some(1) => refresh_event(tx, event, after, change)?,
        Some(2) => None,
        _ => return Ok(None),
    };
    if next.is_none() {
        tx.execute(&END, &values![source, uuid])?;
    }
    Ok(next)
}

impl Writer {
    /// Goes through all claims of an event that [`begin_whole`] noted.
    pub(super) async fn go_through(&self, event: Uuid) -> Result<()> {
        let mut after = None;
        loop {
            let context = std::sync::Arc::clone(&self.context);
            let step = self.context.ledger.write(move |unit| {
                let mut change = Change::new(&context.views, Some(event), Ledger::now());
                let next = go_on(unit, (context.source(), event), after, &mut change)?;
                unit.wake(&change);
                Ok(next)
            });
            after = step.await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Takes up what a crash interrupted.
    pub(super) async fn resume(&self) {
        let source = self.context.source().to_owned();
        let read = move |tx: &Transaction<'_>| tx.rows(&ALL_UNFINISHED, &values![&source]);
        let events: Result<Vec<Uuid>> = self.context.ledger.read(read).await;
        for event in events.unwrap_or_default() {
            tracing::info!(%event, "going on with an event that the last run left unfinished");
            if let Err(error) = self.go_through(event).await {
                tracing::error!(%event, %error, "cannot go on with an unfinished event");
            }
        }
    }
}
