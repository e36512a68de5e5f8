//! Tells how a full resync goes on: where it begins, every so often, and at its end what it found. So a first fill
//! has a few lines, and not two for each event.

use std::time::{Duration, Instant};

use super::now;
use crate::ledger::{Ledger, Resync, ResyncCount, Tally};
use crate::log_event::LogEvent;
use crate::logging::nested;

/// The lines of the log about full resyncs.
#[derive(Debug)]
pub(super) struct ResyncLog {
    every: Duration,
    /// The resync that is under way, by when it began, and when it was last told.
    told: Option<(i64, Instant)>,
}

impl ResyncLog {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, told: None }
    }

    /// A resync is under way. If it is another one than before, it is told.
    pub(super) fn begin(&mut self, ledger: &Ledger, source: &str, resync: &Resync) {
        if self.told.is_some_and(|(began_at, _)| began_at == resync.began_at) {
            return;
        }
        self.told = Some((resync.began_at, Instant::now()));
        // One event keeps its own lines.
        if resync.event.is_none() {
            ledger.begin_tally(source);
        }
        tracing::info!(
            event = LogEvent::ResyncStarted.word(),
            misp_event = resync.event.map(tracing::field::display),
            since = resync.since,
            "A full resync is under way"
        );
    }

    /// Events are left to be read.
    pub(super) fn goes_on(&mut self, resync: &Resync, left: ResyncCount) {
        let Some((_, told)) = &mut self.told else { return };
        if told.elapsed() < self.every {
            return;
        }
        *told = Instant::now();
        tracing::info!(
            event = LogEvent::ResyncProgress.word(),
            events = resync.events,
            events_left = left.events,
            attributes = resync.attributes,
            took_ms = now() - resync.began_at,
            "The full resync goes on"
        );
    }

    /// All events are read and compared.
    pub(super) fn end(&mut self, ledger: &Ledger, source: &str, resync: &Resync, retried: u64) {
        self.told = None;
        let tally = ledger.tally(source);
        ledger.end_tally(source);
        let Tally { altered, new, changed, gone, skipped, .. } = tally;
        tracing::info!(
            event = LogEvent::ResyncDone.word(),
            misp_event = resync.event.map(tracing::field::display),
            events = resync.events,
            attributes = resync.attributes,
            altered,
            new,
            changed,
            gone,
            skipped = nested(&skipped),
            retried,
            took_ms = now() - resync.began_at,
            "The full resync has read and compared all events"
        );
    }
}
