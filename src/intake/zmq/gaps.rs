//! The gaps of an endpoint: how often each kind is recorded.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::watch::Missed;
use crate::intake::Inbox;
use crate::intake::kept_gaps::KeptGaps;
use crate::notice::Gap;

/// The gaps of one endpoint.
#[derive(Debug)]
pub(crate) struct EndpointGaps {
    endpoint: String,
    kept: KeptGaps,
    floods: Mutex<Floods>,
}

/// The most gaps that are kept with their events while the inbox is full.
const MAX_KEPT: usize = 4_096;

/// The event of a dropped notice, as far as the notice tells it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dropped {
    pub event: Option<Uuid>,
    /// The notice was the event's publication.
    pub publication: bool,
}

/// Faults that come in floods. Each kind is handled once a minute.
#[derive(Debug, Default)]
struct Floods {
    malformed: OnceAMinute,
    dropped: OnceAMinute,
}

#[derive(Debug, Default)]
struct OnceAMinute(Option<Instant>);

impl OnceAMinute {
    fn is_first(&mut self, now: Instant) -> bool {
        let minute = Duration::from_secs(60);
        let recent = self.0.is_some_and(|last| now.saturating_duration_since(last) < minute);
        if !recent {
            self.0 = Some(now);
        }
        !recent
    }
}

impl EndpointGaps {
    pub(crate) fn new(endpoint: String, inbox: Inbox) -> Self {
        Self { endpoint, kept: KeptGaps::new(inbox, MAX_KEPT), floods: Mutex::default() }
    }

    /// Tells the ledger that something may have been missed, at once or when the inbox has room.
    pub(crate) fn record(&self, missed: Missed, dropped: Dropped) {
        let Missed { reason, since } = missed;
        let Dropped { event, publication } = dropped;
        let intake = self.endpoint.clone();
        self.kept.record(Gap { reason, intake, since, event, publication });
    }

    /// Records a frame that cannot be read, at most one a minute, since each gap costs a catch-up. Returns
    /// whether this one was recorded.
    pub(crate) fn record_malformed(&self, missed: Missed, now: Instant) -> bool {
        let first = self.floods().malformed.is_first(now);
        if first {
            self.record(missed, Dropped::default());
        }
        first
    }

    /// Records a notice that found the inbox full. Returns whether it was the first in a minute.
    pub(crate) fn record_dropped(&self, missed: Missed, dropped: Dropped, now: Instant) -> bool {
        self.record(missed, dropped);
        self.floods().dropped.is_first(now)
    }

    /// Offers kept gaps until they fit. Never ends.
    pub(crate) async fn offer_kept(&self) {
        self.kept.offer_kept().await;
    }

    fn floods(&self) -> MutexGuard<'_, Floods> {
        self.floods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
