//! What the webhook could not hand over, kept until the inbox has room for it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use uuid::Uuid;

use super::INTAKE;
use crate::intake::Inbox;
use crate::metrics;
use crate::notice::{Gap, GapReason, What};

/// Beyond it only the fact of a gap is kept, not the event.
const MAX_KEPT: usize = 1_024;

/// How often kept gaps are offered again.
const RETRY: Duration = Duration::from_millis(50);

/// The gaps of this intake.
#[derive(Debug)]
pub(super) struct Gaps {
    inbox: Inbox,
    kept: Mutex<VecDeque<Gap>>,
    some_kept: Notify,
}

impl Gaps {
    pub(super) fn new(inbox: Inbox) -> Self {
        Self { inbox, kept: Mutex::default(), some_kept: Notify::new() }
    }

    /// Tells the ledger, now or when the inbox has room, that a body did not reach it.
    pub(super) fn record(&self, reason: GapReason, event: Option<Uuid>) {
        metrics::gap(INTAKE, reason);
        let gap = Gap {
            reason,
            intake: INTAKE.to_owned(),
            since: SystemTime::now(),
            event,
            publication: false,
        };
        keep(&mut self.lock(), gap);
        if !self.offer_all() {
            self.some_kept.notify_one();
        }
    }

    /// Offers kept gaps until they fit; never ends.
    pub(super) async fn offer_kept(&self) {
        loop {
            self.some_kept.notified().await;
            while !self.offer_all() {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// The last attempt before the end.
    pub(super) fn offer_last(&self) {
        if !self.offer_all() {
            let gaps = self.lock().len();
            tracing::error!(
                gaps,
                "the ledger took no gaps of the webhook until the end: publish these events again in MISP"
            );
        }
    }

    /// Whether none is kept any more.
    fn offer_all(&self) -> bool {
        let mut kept = self.lock();
        while let Some(gap) = kept.pop_front() {
            if self.inbox.offer(What::Gap(gap.clone()), Instant::now()).is_err() {
                kept.push_front(gap);
                return false;
            }
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Gap>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep(kept: &mut VecDeque<Gap>, mut gap: Gap) {
    if kept.len() >= MAX_KEPT {
        gap.event = None;
    }
    let same = |other: &Gap| other.reason == gap.reason && other.event == gap.event;
    if !kept.iter().any(same) {
        kept.push_back(gap);
    }
}
