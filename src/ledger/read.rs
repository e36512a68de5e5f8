//! What REST answers about an event: the judge of everything that was pushed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use uuid::Uuid;

use super::change::Change;
use super::judgement::{Asked, Origin, Shown};
use super::owner::Unit;
use super::publish::Applied;
use super::small::Whole;
use super::snapshot::{self, Source};
use super::sql::{Result, Transaction, row, statements, values};
use super::writer::{Context, RestRules, Writer, millis, unix};
use super::{Lane, Ledger, Vain, events, reads, unread, withdraw};
use crate::metrics;
use crate::notice::{EventAnswer, Read, Receipt};

/// What was published so recently goes with the live, whatever found it, seconds.
const RECENT: i64 = 600;

statements! {
    SETTLE_SHOWN(Integer, Integer, Boolean, Integer, Text, Bytes) =
        "UPDATE events SET read_timestamp = $1, read_publication = $2, read_published = $3,
             read_at = $4 WHERE source = $5 AND event = $6";
    STATE(Text, Bytes) =
        "SELECT sequence, timestamp, deleted_at IS NULL FROM events
         WHERE source = $1 AND event = $2";
}

impl Writer {
    /// Applies an answer, unless something was heard since the request began.
    pub(super) async fn read(&mut self, read: Read, received: Instant) -> Result<Receipt> {
        let Some(rest) = self.context.rest().cloned() else { return Ok(Receipt::Refused) };
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
    ) -> Result<Receipt> {
        let asked = Asked {
            began: unix(read.began),
            sequence: read.sequence,
            date: read.date,
            selected,
            of_our_view: rest.key.is_accepted(),
        };
        let source = Source::Read(asked, rest.on_unpublish);
        let snapshot = match snapshot::read(document, self.context.views.fingerprint(), source)
            .await
        {
            Ok(snapshot) if snapshot.head.facts.uuid == read.event => snapshot,
            Ok(snapshot) => {
                let other = snapshot.head.facts.uuid;
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
        if read.sequence <= 0 && read.sequence != self.context.ledger.strange() {
            return self.again(read, rest).await;
        }
        let Origin::Read(shown) = snapshot.head.origin else { return Ok(Receipt::Refused) };
        if !shown.of_our_view && !self.knows(read.event).await? {
            return self.settle(read).await;
        }
        if read.confirm && !shown.published && self.postpone_confirmation(read, rest).await? {
            return Ok(Receipt::Again);
        }
        self.context.applied.invalidate(&read.event);
        let facts_timestamp = snapshot.head.facts.timestamp;
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

    async fn knows(&self, event: Uuid) -> Result<bool> {
        let source = self.context.source().to_owned();
        let read = move |tx: &Transaction<'_>| state(tx, (&source, event));
        Ok(self.context.ledger.read(read).await?.is_some())
    }

    /// The publication is not saved yet, or was blocked: whether it is looked for once more.
    async fn postpone_confirmation(&self, read: &Read, rest: &RestRules) -> Result<bool> {
        let next = usize::try_from(read.attempts + 1).unwrap_or(usize::MAX);
        let times = &rest.times.confirm_after;
        let Some((before, at)) = times.get(next - 1).zip(times.get(next)) else {
            return Ok(false);
        };
        let after = at.saturating_sub(*before);
        self.postpone(read, after, 1).await?;
        tracing::debug!(event = %read.event, ?after, "not published in MISP (yet): asked again");
        Ok(true)
    }

    async fn again(&self, read: &Read, rest: &RestRules) -> Result<Receipt> {
        let after = rest.times.confirm_after.first().copied().unwrap_or_default();
        self.postpone(read, after, 0).await?;
        metrics::event_read("overtaken");
        Ok(Receipt::Again)
    }

    async fn postpone(&self, read: &Read, after: Duration, attempts: i64) -> Result<()> {
        let context = Arc::clone(&self.context);
        let (event, asked) = (read.event, read.asked);
        let due_at = Ledger::now() + millis(after);
        let postpone = move |unit: &Unit<'_>| {
            reads::postpone(unit, (context.source(), event), (asked, due_at, attempts))
        };
        self.context.ledger.write(postpone).await
    }

    /// The answer is there and cannot be used. It is asked for again, ever later, and operators are told.
    async fn refuse(&self, read: &Read, rest: &RestRules, why: &str) -> Result<Receipt> {
        let context = Arc::clone(&self.context);
        let (event, asked, words) = (read.event, read.asked, why.to_owned());
        let pauses = rest.times.vain_pauses(Ledger::now());
        let put_off = move |unit: &Unit<'_>| {
            // The same answer would come again: a resync has compared what there is.
            let vain = Vain { event, asked, why: &words, patience: 1, pauses };
            unread::put_off(unit, context.source(), vain)
        };
        let times = self.context.ledger.write(put_off).await?;
        tracing::error!(event = %read.event, why, times, "MISP's answer about an event cannot be used: its last good state stays, and it is read again later");
        metrics::event_read("refused");
        Ok(Receipt::Committed)
    }

    async fn settle(&self, read: &Read) -> Result<Receipt> {
        let context = Arc::clone(&self.context);
        let (event, asked) = (read.event, read.asked);
        let settle =
            move |unit: &Unit<'_>| reads::settle(unit, (context.source(), event), asked).map(drop);
        self.context.ledger.write(settle).await?;
        Ok(Receipt::Committed)
    }

    async fn settle_shown(&self, read: &Read, shown: &Shown, timestamp: i64) -> Result<Receipt> {
        let context = Arc::clone(&self.context);
        let (event, asked) = (read.event, read.asked);
        let Shown { publication, published, date, .. } = *shown;
        let settle = move |unit: &Unit<'_>| {
            let source = context.source();
            reads::settle(unit, (source, event), asked)?;
            let told = values![timestamp, publication, published, date, source, event];
            unit.execute(&SETTLE_SHOWN, &told)
        };
        self.context.ledger.write(settle).await?;
        metrics::event_read("read");
        Ok(Receipt::Committed)
    }

    /// MISP says that there is no such event.
    async fn gone(&mut self, read: &Read, rest: &RestRules) -> Result<Receipt> {
        let context = Arc::clone(&self.context);
        let (event, asked, sequence) = (read.event, read.asked, read.sequence);
        let gone = move |unit: &Unit<'_>| context.gone(unit, event, (asked, sequence));
        match self.context.ledger.write(gone).await? {
            Gone::Overtaken => return self.again(read, rest).await,
            Gone::Unsure => {
                tracing::warn!(event = %read.event, "the key does not see the event; it may see less than the key before: nothing is withdrawn (run --accept-new-view)");
            }
            Gone::Known => {}
            Gone::Ending { done } => {
                tracing::info!(event = %read.event, "MISP confirms that the event does not exist: its claims end");
                if !done {
                    self.go_through(read.event).await?;
                }
            }
        }
        Ok(Receipt::Committed)
    }
}

/// What came of the answer that an event does not exist.
#[derive(Debug, Clone, Copy)]
enum Gone {
    /// The ledger knows that already.
    Known,
    /// The read began before something that the ledger knows.
    Overtaken,
    /// The key may just not see it.
    Unsure,
    /// Its claims end. `done`: all of them have.
    Ending { done: bool },
}

impl Context {
    fn gone(&self, unit: &Unit<'_>, event: Uuid, (asked, sequence): (i64, i64)) -> Result<Gone> {
        let key = (self.source(), event);
        let state = state(unit, key)?;
        if state.as_ref().is_some_and(|state| state.sequence != sequence) {
            return Ok(Gone::Overtaken);
        }
        reads::settle(unit, key, asked)?;
        let Some(State { timestamp, lives: true, .. }) = state else { return Ok(Gone::Known) };
        if !self.rest().is_some_and(|rest| rest.key.is_accepted()) {
            return Ok(Gone::Unsure);
        }
        let mut change = Change::new(&self.views, Some(event), Ledger::now());
        withdraw::delete_event(unit, key, timestamp, change.opened_at)?;
        events::begin_whole(unit, key, Whole::End)?;
        self.applied.invalidate(&event);
        let done = events::step(unit, key, &mut change)?;
        unit.wake(&change);
        Ok(Gone::Ending { done })
    }
}

row! {
    /// Of an event that the ledger knows.
    #[derive(Debug)]
    struct State {
        sequence: i64,
        timestamp: i64,
        /// It is not deleted.
        lives: bool,
    }
}

fn state(tx: &Transaction<'_>, (source, event): (&str, Uuid)) -> Result<Option<State>> {
    tx.row(&STATE, &values![source, event])
}

fn lane(read: &Read, shown: &Shown) -> Lane {
    let recent = shown.published && shown.publication >= read.date.saturating_sub(RECENT);
    if read.backlog && !recent { Lane::Backlog } else { Lane::Live }
}
