//! What REST answers about an event: the judge of everything that was pushed.

use std::time::Instant;

use axum::body::Bytes;
use uuid::Uuid;

use super::change::Change;
use super::judgement::{Asked, Origin, Shown};
use super::publish::Applied;
use super::small::Whole;
use super::snapshot::{self, Source};
use super::writer::{RestRules, Writer, millis, unix};
use super::{Lane, Ledger, Vain, Writing, events, reads, unread, withdraw};
use crate::metrics;
use crate::notice::{EventAnswer, Read, Receipt};

/// What was published so recently goes with the live, whatever found it, seconds.
const RECENT: i64 = 600;

impl Writer {
    /// Applies an answer, unless something was heard since the request began.
    pub(super) async fn read(&mut self, read: Read, received: Instant) -> sqlx::Result<Receipt> {
        let Some(rest) = self.settings.rest.clone() else { return Ok(Receipt::Refused) };
        match read.answer.clone() {
            EventAnswer::Gone => self.gone(&read, &rest).await,
            EventAnswer::Event { document, selected } => {
                self.shown(&read, &rest, (document, selected), received).await
            }
        }
    }

    async fn shown(
        &mut self,
        read: &Read,
        rest: &RestRules,
        (document, selected): (Bytes, bool),
        received: Instant,
    ) -> sqlx::Result<Receipt> {
        let asked = Asked {
            began: unix(read.began),
            sequence: read.sequence,
            date: read.date,
            selected,
            of_our_view: rest.key.is_accepted(),
        };
        let source = Source::Read(asked, rest.on_unpublish);
        let snapshot = match snapshot::read(document, self.views.fingerprint(), source).await {
            Ok(snapshot) if snapshot.facts.uuid == read.event => snapshot,
            Ok(snapshot) => {
                let other = snapshot.facts.uuid;
                let why = format!(
                    "MISP answers with event {other} in its place: look for a proxy that mixes answers up"
                );
                return self.refuse(read, rest, &why).await;
            }
            Err(refusal) => {
                let why = format!(
                    "{refusal}; mend what stands there in MISP (the event's info, a comment, a value), or report it as a fault of the relay"
                );
                return self.refuse(read, rest, &why).await;
            }
        };
        if read.sequence <= 0 && read.sequence != self.ledger.strange() {
            return self.again(read, rest).await;
        }
        let Origin::Read(shown) = snapshot.origin else { return Ok(Receipt::Refused) };
        if !shown.of_our_view && !self.knows(read.event).await? {
            return self.settle(read).await;
        }
        if read.confirm && !shown.published && self.postpone_confirmation(read, rest).await? {
            return Ok(Receipt::Again);
        }
        self.applied.invalidate(&read.event);
        let facts_timestamp = snapshot.facts.timestamp;
        let lane = lane(read, &shown);
        match self.apply(snapshot, received, lane).await? {
            Applied::Wholly => self.settle_shown(read, &shown, facts_timestamp).await,
            Applied::Refused => self.settle(read).await,
            Applied::Overtaken | Applied::GivenUp => self.again(read, rest).await,
            Applied::BrokenOff => {
                let why = "the relay failed at converting it: this is a fault of the relay, its log has the place; please report it with the event";
                self.refuse(read, rest, why).await
            }
        }
    }

    async fn knows(&self, event: Uuid) -> sqlx::Result<bool> {
        let mut tx = self.ledger.begin().await?;
        Ok(state(&mut tx, (&self.settings.source, event)).await?.is_some())
    }

    /// The publication is not saved yet, or was blocked: whether it is looked for once more.
    async fn postpone_confirmation(&self, read: &Read, rest: &RestRules) -> sqlx::Result<bool> {
        let next = usize::try_from(read.attempts + 1).unwrap_or(usize::MAX);
        let times = &rest.times.confirm_after;
        let Some((before, at)) = times.get(next - 1).zip(times.get(next)) else {
            return Ok(false);
        };
        let after = at.saturating_sub(*before);
        let mut tx = self.ledger.begin().await?;
        let due_at = Ledger::now() + millis(after);
        let event = (self.settings.source.as_str(), read.event);
        reads::postpone(&mut tx, event, (read.asked, due_at, 1)).await?;
        tx.commit().await?;
        tracing::debug!(event = %read.event, ?after, "not published in MISP (yet): asked again");
        Ok(true)
    }

    async fn again(&self, read: &Read, rest: &RestRules) -> sqlx::Result<Receipt> {
        let after = rest.times.confirm_after.first().copied().unwrap_or_default();
        let mut tx = self.ledger.begin().await?;
        let due_at = Ledger::now() + millis(after);
        let event = (self.settings.source.as_str(), read.event);
        reads::postpone(&mut tx, event, (read.asked, due_at, 0)).await?;
        tx.commit().await?;
        metrics::event_read("overtaken");
        Ok(Receipt::Again)
    }

    /// The answer is there and cannot be used. It is asked for again, ever later, and operators are told.
    async fn refuse(&self, read: &Read, rest: &RestRules, why: &str) -> sqlx::Result<Receipt> {
        let mut tx = self.ledger.begin().await?;
        let vain = Vain {
            event: read.event,
            asked: read.asked,
            why,
            // The same answer would come again: a resync has compared what there is.
            patience: 1,
            pauses: rest.times.vain_pauses(Ledger::now()),
        };
        let times = unread::put_off(&mut tx, &self.settings.source, vain).await?;
        tx.commit().await?;
        tracing::error!(event = %read.event, why, times, "MISP's answer about an event cannot be used: its last good state stays, and it is read again later");
        metrics::event_read("refused");
        Ok(Receipt::Committed)
    }

    async fn settle(&self, read: &Read) -> sqlx::Result<Receipt> {
        let mut tx = self.ledger.begin().await?;
        reads::settle(&mut tx, (&self.settings.source, read.event), read.asked).await?;
        tx.commit().await?;
        Ok(Receipt::Committed)
    }

    async fn settle_shown(
        &self,
        read: &Read,
        shown: &Shown,
        timestamp: i64,
    ) -> sqlx::Result<Receipt> {
        let mut tx = self.ledger.begin().await?;
        reads::settle(&mut tx, (&self.settings.source, read.event), read.asked).await?;
        sqlx::query(
            "UPDATE events SET read_timestamp = $1, read_publication = $2, read_published = $3,
                 read_at = $4 WHERE source = $5 AND event = $6",
        )
        .bind(timestamp)
        .bind(shown.publication)
        .bind(shown.published)
        .bind(shown.date)
        .bind(&self.settings.source)
        .bind(read.event)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        metrics::event_read("read");
        Ok(Receipt::Committed)
    }

    /// MISP says that there is no such event.
    async fn gone(&mut self, read: &Read, rest: &RestRules) -> sqlx::Result<Receipt> {
        let views = std::sync::Arc::clone(&self.views);
        let source = self.settings.source.clone();
        let key = (source.as_str(), read.event);
        let mut tx = self.ledger.begin().await?;
        let Some((sequence, timestamp, known)) = state(&mut tx, key).await? else {
            reads::settle(&mut tx, key, read.asked).await?;
            tx.commit().await?;
            return Ok(Receipt::Committed);
        };
        if sequence != read.sequence {
            tx.rollback().await?;
            return self.again(read, rest).await;
        }
        reads::settle(&mut tx, key, read.asked).await?;
        if !known {
            tx.commit().await?;
            return Ok(Receipt::Committed);
        }
        if !rest.key.is_accepted() {
            tracing::warn!(event = %read.event, "the key does not see the event; it may see less than the key before: nothing is withdrawn (run --accept-new-view)");
            tx.commit().await?;
            return Ok(Receipt::Committed);
        }
        let mut change = Change::new(&views, Some(read.event), Ledger::now());
        withdraw::delete_event(&mut tx, key, timestamp, change.opened_at).await?;
        tracing::info!(event = %read.event, "MISP confirms that the event does not exist: its claims end");
        events::begin_whole(&mut tx, key, Whole::End).await?;
        self.applied.invalidate(&read.event);
        let done = events::step(&mut tx, key, &mut change).await?;
        self.ledger.commit(tx, &change).await?;
        if !done {
            self.go_through(read.event).await?;
        }
        Ok(Receipt::Committed)
    }
}

/// Sequence, `Event.timestamp`, and whether it is not deleted, of an event that the ledger knows.
async fn state(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
) -> sqlx::Result<Option<(i64, i64, bool)>> {
    sqlx::query_as(
        "SELECT sequence, timestamp, deleted_at IS NULL FROM events
         WHERE source = $1 AND event = $2",
    )
    .bind(source)
    .bind(event)
    .fetch_optional(&mut **tx)
    .await
}

fn lane(read: &Read, shown: &Shown) -> Lane {
    let recent = shown.published && shown.publication >= read.date.saturating_sub(RECENT);
    if read.backlog && !recent { Lane::Backlog } else { Lane::Live }
}
