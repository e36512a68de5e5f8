//! Gaps on their way to the ledger: counted, logged, and kept while the inbox is full.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use uuid::Uuid;

use super::watch::Missed;
use crate::intake::Inbox;
use crate::metrics;
use crate::notice::{Gap, What};

/// One endpoint's gaps.
#[derive(Debug)]
pub(crate) struct Gaps {
    endpoint: String,
    inbox: Inbox,
    kept: Mutex<VecDeque<Gap>>,
    floods: Mutex<Floods>,
    some_kept: Notify,
}

/// Gaps kept while the inbox is full. Beyond it only the fact of a gap is kept, not the event.
const MAX_KEPT: usize = 4_096;

/// How often kept gaps are offered again.
const RETRY: Duration = Duration::from_millis(50);

/// What a dropped notice was about, as far as it tells.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dropped {
    pub event: Option<Uuid>,
    /// It was the event's publication.
    pub publication: bool,
}

/// What comes in floods and is told once a minute.
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

impl Gaps {
    pub(crate) fn new(endpoint: String, inbox: Inbox) -> Self {
        Self {
            endpoint,
            inbox,
            kept: Mutex::default(),
            floods: Mutex::default(),
            some_kept: Notify::new(),
        }
    }

    /// Tells the ledger that something may have been missed, now or when it has room.
    pub(crate) fn record(&self, missed: Missed, dropped: Dropped) {
        let Missed { reason, since } = missed;
        metrics::gap(&self.endpoint, reason);
        let Dropped { event, publication } = dropped;
        let gap = Gap { reason, intake: self.endpoint.clone(), since, event, publication };
        let mut kept = lock(&self.kept);
        if kept.is_empty() {
            let Err(gap) = self.offer(gap) else { return };
            kept.push_back(gap);
        } else {
            keep(&mut kept, gap);
        }
        drop(kept);
        self.some_kept.notify_one();
    }

    /// As [`Gaps::record`], for a frame that cannot be read: at most one a minute, since each gap
    /// costs a catch-up. Says whether this was the one.
    pub(crate) fn record_malformed(&self, missed: Missed, now: Instant) -> bool {
        let first = lock(&self.floods).malformed.is_first(now);
        if first {
            self.record(missed, Dropped::default());
        }
        first
    }

    /// As [`Gaps::record`], for a notice that found the inbox full. Says whether it was the first in
    /// a minute.
    pub(crate) fn record_dropped(&self, missed: Missed, dropped: Dropped, now: Instant) -> bool {
        self.record(missed, dropped);
        lock(&self.floods).dropped.is_first(now)
    }

    /// Offers kept gaps until they fit; never ends.
    pub(crate) async fn offer_kept(&self) {
        loop {
            self.some_kept.notified().await;
            while !self.flush() {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Whether nothing is kept any more.
    fn flush(&self) -> bool {
        let mut kept = lock(&self.kept);
        while let Some(gap) = kept.pop_front() {
            if let Err(gap) = self.offer(gap) {
                kept.push_front(gap);
                return false;
            }
        }
        true
    }

    fn offer(&self, gap: Gap) -> Result<(), Gap> {
        self.inbox.offer(What::Gap(gap.clone()), Instant::now()).map_err(|_| gap)
    }
}

fn keep(kept: &mut VecDeque<Gap>, mut gap: Gap) {
    if kept.len() >= MAX_KEPT {
        gap.event = None;
        gap.publication = false;
    }
    let same = |other: &Gap| other.reason == gap.reason && other.event == gap.event;
    if !kept.iter().any(same) {
        kept.push_back(gap);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
