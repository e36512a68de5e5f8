//! Keeps the state of the REST intake for `status`, the metrics and the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::log_event::{LogEvent, ms};
use crate::pure::outage::{Down, Outage};

/// The state that the loops of the intake write. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct RestStatus(Arc<Mutex<KnownState>>);

#[derive(Debug, Default)]
struct KnownState {
    state: RestState,
    catch_up: Option<CatchUp>,
    outage: Outage,
    /// The last failure was of the request for the key's own user.
    is_of_key: bool,
    /// Since when MISP has looked empty.
    empty_since: Option<Instant>,
    /// That the catch-up is late was told.
    late_told: bool,
}

impl KnownState {
    fn is_late(&self) -> bool {
        // Measured with the steady clock, so that setting the other one makes nothing late.
        let is_late = |catch_up: &CatchUp| catch_up.last.elapsed() > LATE * catch_up.every;
        self.catch_up.as_ref().is_some_and(is_late)
    }
}

/// The catch-up, where there is one.
#[derive(Debug)]
struct CatchUp {
    every: Duration,
    /// The end of the last catch-up. Before the first one, the start.
    last: Instant,
}

/// The number of periods without a catch-up after which it is late.
const LATE: u32 = 3;

/// The state at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestState {
    /// The user of the key, in words. `None` before MISP told it.
    pub key: Option<String>,
    /// Whether the key shows another view than the one that filled the ledger: reads add nothing, and absence
    /// withdraws nothing.
    pub other_view: bool,
    /// Whether MISP returns none of the events that the ledger holds: nothing is withdrawn.
    pub empty: bool,
    /// The end of the last catch-up. `None` before the first one.
    pub caught_up_at: Option<DateTime<Utc>>,
    /// The last request that MISP answered as it should. `None` before the first one.
    #[serde(default)]
    pub answered_at: Option<DateTime<Utc>>,
    /// The last failure, with the remedy. `None` once MISP answers as it should.
    pub error: Option<String>,
    /// The time of the next attempt after a failure.
    pub next_try: Option<DateTime<Utc>>,
    /// Whether no catch-up was completed for three times `misp.rest.catch_up_every`.
    #[serde(default)]
    pub late: bool,
}

impl RestStatus {
    pub fn now(&self) -> RestState {
        let known = self.lock();
        RestState { late: known.is_late(), ..known.state.clone() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut RestState) -> T) -> T {
        act(&mut self.lock().state)
    }

    fn lock(&self) -> MutexGuard<'_, KnownState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Expects that a catch-up is completed about so often from now on.
    pub(super) fn expect_catch_up(&self, every: Duration) {
        self.lock().catch_up = Some(CatchUp { every, last: Instant::now() });
    }

    /// Notes a failure. `is_of_key`: it was of the request for the key's own user.
    pub(super) fn failed(
        &self,
        doing: &'static str,
        error: &str,
        is_of_key: bool,
        next: SystemTime,
    ) {
        // The lock ends before the line is logged.
        let told = {
            let mut known = self.lock();
            known.state.error = Some(error.to_owned());
            known.state.next_try = Some(next.into());
            known.is_of_key = is_of_key;
            known.outage.failed(error, Instant::now())
        };
        let Some(Down { lasted, failures }) = told else {
            tracing::debug!(error, doing, "MISP still does not answer as it should");
            return;
        };
        tracing::warn!(
            event = LogEvent::MispFailing.word(),
            error,
            doing,
            down_ms = ms(lasted),
            failures,
            "MISP does not answer as it should"
        );
    }

    /// Notes that MISP told the key's own user. That ends a failure of this request and no other: a MISP that tells it
    /// may still fail at every listing.
    pub(super) fn told_key(&self) {
        let mut known = self.lock();
        known.state.answered_at = Some(Utc::now());
        if known.is_of_key {
            known.state.next_try = None;
            known.state.error = None;
        }
    }

    /// Notes that MISP answers as it should. Returns the outage that this ends.
    pub(super) fn succeeded(&self) -> Option<Down> {
        let mut known = self.lock();
        known.state.answered_at = Some(Utc::now());
        known.state.next_try = None;
        known.state.error = None;
        known.outage.over(Instant::now())
    }

    pub(super) fn caught_up(&self, at: SystemTime) {
        let was_late = {
            let mut known = self.lock();
            known.state.caught_up_at = Some(at.into());
            if let Some(catch_up) = &mut known.catch_up {
                catch_up.last = Instant::now();
            }
            std::mem::take(&mut known.late_told)
        };
        if was_late {
            tracing::info!(
                event = LogEvent::CatchUpRecovered.word(),
                "A catch-up was completed again"
            );
        }
    }

    /// Tells once that no catch-up is completed any more.
    pub fn tell_late(&self) {
        let is_news = {
            let mut known = self.lock();
            let is_late = known.is_late();
            is_late && !std::mem::replace(&mut known.late_told, is_late)
        };
        if is_news {
            tracing::warn!(
                event = LogEvent::CatchUpLate.word(),
                "No catch-up was completed for three times misp.rest.catch_up_every. Look how long MISP takes to answer"
            );
        }
    }

    /// Sets whether MISP looks empty, and tells it when that begins and when it ends.
    pub(super) fn set_empty(&self, empty: bool) {
        let (since, was_empty) = {
            let mut known = self.lock();
            let since = empty.then(|| known.empty_since.unwrap_or_else(Instant::now));
            (
                std::mem::replace(&mut known.empty_since, since),
                std::mem::replace(&mut known.state.empty, empty),
            )
        };
        match (was_empty, empty) {
            (false, true) => tracing::error!(
                event = LogEvent::MispEmpty.word(),
                "MISP returns none of the events that the ledger holds, so nothing is withdrawn. Mend MISP or the key, or `release --empty` if it is meant so"
            ),
            (true, false) => tracing::info!(
                event = LogEvent::MispNotEmpty.word(),
                down_ms = since.map(|since| ms(since.elapsed())),
                "MISP returns events again that the ledger holds, or may be empty"
            ),
            (true, true) | (false, false) => {}
        }
    }

    pub(super) fn set_key(&self, words: &str, other_view: bool) {
        self.with(|state| {
            state.key = Some(words.to_owned());
            state.other_view = other_view;
        });
    }
}
