//! Keeps the state of the REST intake for `status`, the metrics and the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The state that the loops of the intake write. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct RestStatus(Arc<Mutex<KnownState>>);

#[derive(Debug, Default)]
struct KnownState {
    state: RestState,
    catch_up: Option<CatchUp>,
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
    /// The last failure, with the remedy. `None` once a request succeeds.
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
        // Measured with the steady clock, so that setting the other one makes nothing late.
        let is_late = |catch_up: &CatchUp| catch_up.last.elapsed() > LATE * catch_up.every;
        RestState { late: known.catch_up.as_ref().is_some_and(is_late), ..known.state.clone() }
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

    pub(super) fn failed(&self, doing: &'static str, error: &str, next: SystemTime) {
        // The lock ends before the line is logged. The same fault is logged once, since each attempt fails
        // alike.
        let news = self.with(|state| {
            let news = state.error.as_deref() != Some(error);
            state.error = Some(error.to_owned());
            state.next_try = Some(next.into());
            news
        });
        if news {
            tracing::warn!(error, doing, "MISP cannot be asked");
        } else {
            tracing::debug!(error, doing, "MISP can still not be asked");
        }
    }

    pub(super) fn succeeded(&self) {
        let mended = self.with(|state| {
            state.answered_at = Some(Utc::now());
            state.next_try = None;
            state.error.take().is_some()
        });
        if mended {
            tracing::info!("MISP can be asked again");
        }
    }

    pub(super) fn caught_up(&self, at: SystemTime) {
        let mut known = self.lock();
        known.state.caught_up_at = Some(at.into());
        if let Some(catch_up) = &mut known.catch_up {
            catch_up.last = Instant::now();
        }
    }

    /// Sets whether MISP looks empty. Returns whether that is new.
    pub(super) fn set_empty(&self, empty: bool) -> bool {
        self.with(|state| std::mem::replace(&mut state.empty, empty) != empty)
    }

    pub(super) fn set_key(&self, words: &str, other_view: bool) {
        self.with(|state| {
            state.key = Some(words.to_owned());
            state.other_view = other_view;
        });
    }
}
