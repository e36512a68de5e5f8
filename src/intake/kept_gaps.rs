//! Keeps the notices of gaps (times in which something may have been missed) until the inbox of the ledger's writer has
//! room for them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use super::Inbox;
use crate::notice::{Gap, GapReason, What};

/// The time between two offers of kept gaps.
const RETRY: Duration = Duration::from_millis(50);

/// The gaps of one intake on their way to the ledger.
#[derive(Debug)]
pub(super) struct KeptGaps {
    /// The intake's name in its gaps.
    intake: String,
    inbox: Inbox,
    /// The most gaps that are kept with their events. Of further ones only the fact is kept, so that a
    /// flood takes no memory.
    most: usize,
    kept: Mutex<VecDeque<Gap>>,
    some_kept: Notify,
}

impl KeptGaps {
    pub(super) fn new(intake: &str, inbox: Inbox, most: usize) -> Self {
        let intake = intake.to_owned();
        Self { intake, inbox, most, kept: Mutex::default(), some_kept: Notify::new() }
    }

    /// Makes a gap of this intake that names no event.
    pub(super) fn gap(&self, reason: GapReason, since: SystemTime) -> Gap {
        Gap { reason, intake: self.intake.clone(), since, event: None, publication: false }
    }

    /// Tells the ledger that something may have been missed, at once or when the inbox has room.
    pub(super) fn record(&self, gap: Gap) {
        // It joins the others before any is offered, so that the gaps keep their order.
        self.keep(gap);
        if self.offer_all() > 0 {
            // The notification is stored if nobody waits for it now, so it is not lost between two waits.
            self.some_kept.notify_one();
        }
    }

    /// Offers kept gaps until they fit. Never ends.
    pub(super) async fn offer_kept(&self) {
        loop {
            self.some_kept.notified().await;
            while self.offer_all() > 0 {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Offers the kept gaps in their order. Returns how many the inbox did not take.
    pub(super) fn offer_all(&self) -> usize {
        let mut kept = self.lock();
        // `offer` never waits, so the lock is held for a moment only.
        while let Some(gap) = kept.pop_front() {
            if self.inbox.offer(What::Gap(gap.clone()), Instant::now()).is_err() {
                kept.push_front(gap);
                break;
            }
        }
        kept.len()
    }

    fn keep(&self, mut gap: Gap) {
        let mut kept = self.lock();
        // Without events, at most one gap a reason joins, so the queue stays bounded.
        if kept.len() >= self.most {
            gap.event = None;
            gap.publication = false;
        }
        let same = |other: &&mut Gap| other.reason == gap.reason && other.event == gap.event;
        match kept.iter_mut().find(same) {
            // An equal gap that is kept already is older, so its time covers this one's. A publication that
            // was dropped must stay known: a webhook's may stand in for it.
            Some(known) => known.publication |= gap.publication,
            None => kept.push_back(gap),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Gap>> {
        // The queue is whole after each step, so a panic of another holder costs no gaps.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use uuid::Uuid;

    use super::*;
    use crate::notice::Notice;

    fn gap(event: u128) -> Gap {
        Gap {
            reason: GapReason::MemoryFull,
            intake: "tcp://misp:50000".to_owned(),
            since: SystemTime::UNIX_EPOCH,
            event: Some(Uuid::from_u128(event)),
            publication: true,
        }
    }

    /// The events of the gaps that have arrived.
    fn events(reader: &mut mpsc::Receiver<Notice>) -> Vec<Option<u128>> {
        let arrived = std::iter::from_fn(|| reader.try_recv().ok());
        let gaps = arrived.filter_map(|notice| {
            let What::Gap(gap) = notice.what else { return None };
            Some(gap.event.map(|event| event.as_u128()))
        });
        gaps.collect()
    }

    #[test]
    fn gaps_wait_in_their_order_until_the_inbox_has_room() {
        let (inbox, mut reader) = Inbox::new(1);
        let kept = KeptGaps::new("tcp://misp:50000", inbox.clone(), 2);
        kept.record(gap(1));
        assert_eq!(events(&mut reader), [Some(1)]);

        while inbox.offer(What::TagAltered(7), Instant::now()).is_ok() {}
        for event in [2, 3, 3, 4, 5] {
            kept.record(gap(event));
        }
        assert_eq!(kept.offer_all(), 3, "two with their events, and that there were more");
        assert_eq!(events(&mut reader), []);
        assert_eq!(kept.offer_all(), 0);
        assert_eq!(events(&mut reader), [Some(2), Some(3), None]);
    }
    #[test]
    fn a_dropped_publication_stays_known_beside_an_equal_gap() {
        let (inbox, mut reader) = Inbox::new(1);
        let kept = KeptGaps::new("tcp://misp:50000", inbox.clone(), 2);
        while inbox.offer(What::TagAltered(7), Instant::now()).is_ok() {}
        kept.record(Gap { publication: false, ..gap(1) });
        kept.record(gap(1));
        while reader.try_recv().is_ok() {}
        assert_eq!(kept.offer_all(), 0);
        let What::Gap(arrived) = reader.try_recv().unwrap().what else { panic!("no gap") };
        assert!(arrived.publication);
        assert!(reader.try_recv().is_err(), "the two are one");
    }
}
