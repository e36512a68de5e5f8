//! Decides how many events and attributes to ask MISP for in one request: half as many after an answer that
//! was too much for MISP, and slowly more again after answers that were not. Pure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::refusal::RestError;

/// The most to ask for in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPage {
    pub events: usize,
    /// As far as their number is known; one event may always be asked for.
    pub attributes: usize,
}

/// Halved by every answer that MISP did not manage, and grown by a sixteenth of the whole by every
/// other: a size that fails is tried again only after a while. All requests of a client share it.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    most: EventPage,
    now: Arc<Mutex<EventPage>>,
}

const STEPS: usize = 16;

impl Pages {
    pub(super) fn new(most: EventPage) -> Self {
        Self { most, now: Arc::new(Mutex::new(most)) }
    }

    pub(super) fn now(&self) -> EventPage {
        *self.lock()
    }

    /// Learns from an answer that was read to its end, or broke off.
    pub(super) fn settle<T>(&self, ended: Result<T, RestError>) -> Result<T, RestError> {
        match &ended {
            Ok(_) => self.succeeded(),
            Err(error) if error.is_too_much() => self.failed(),
            Err(_) => {}
        }
        ended
    }

    fn failed(&self) {
        let mut now = self.lock();
        let EventPage { events, attributes } = *now;
        *now = EventPage { events: (events / 2).max(1), attributes: (attributes / 2).max(1) };
    }

    fn succeeded(&self) {
        let mut now = self.lock();
        *now = EventPage {
            events: grown(now.events, self.most.events),
            attributes: grown(now.attributes, self.most.attributes),
        };
    }

    fn lock(&self) -> MutexGuard<'_, EventPage> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn grown(now: usize, most: usize) -> usize {
    (now + (most / STEPS).max(1)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_halved_down_to_one_and_grows_again() {
        let most = EventPage { events: 100, attributes: 50_000 };
        let pages = Pages::new(most);
        pages.succeeded();
        assert_eq!(pages.now(), most);
        pages.failed();
        assert_eq!(pages.now(), EventPage { events: 50, attributes: 25_000 });
        for _ in 0..20 {
            pages.failed();
        }
        assert_eq!(pages.now(), EventPage { events: 1, attributes: 1 });
        pages.succeeded();
        assert_eq!(pages.now(), EventPage { events: 7, attributes: 3126 });
        for _ in 0..20 {
            pages.succeeded();
        }
        assert_eq!(pages.now(), most);
    }

    #[test]
    fn a_page_of_one_stays_one() {
        let pages = Pages::new(EventPage { events: 1, attributes: 1 });
        pages.failed();
        pages.succeeded();
        assert_eq!(pages.now(), EventPage { events: 1, attributes: 1 });
    }
}
