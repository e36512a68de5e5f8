//! Decides how many events and attributes to ask MISP for in one request: half as many after an answer that
//! was too much for MISP, and slowly more again after answers that were not. Pure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::refusal::RestError;

/// The most events and attributes to ask for in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPage {
    pub events: usize,
    /// A limit only as far as their number is known. One event may always be asked for.
    pub attributes: usize,
}

/// The current page size, which all requests of a client share. Every answer that was too much for MISP
/// halves it. Every success adds a sixteenth of the maximum, so a size that failed is not soon tried again.
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

    /// Adapts the size after an answer that was read to its end, or broke off.
    pub(super) fn settle<T>(&self, ended: Result<T, RestError>) -> Result<T, RestError> {
        let mut now = self.lock();
        let EventPage { events, attributes } = *now;
        match &ended {
            Ok(_) => {
                now.events = grown(events, self.most.events);
                now.attributes = grown(attributes, self.most.attributes);
            }
            Err(error) if error.is_too_much() => {
                *now =
                    EventPage { events: (events / 2).max(1), attributes: (attributes / 2).max(1) };
            }
            Err(_) => {}
        }
        ended
    }

    fn lock(&self) -> MutexGuard<'_, EventPage> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn grown(now: usize, most: usize) -> usize {
    // It grows by at least one, so that a small maximum is reached again too.
    (now + (most / STEPS).max(1)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn succeeded(pages: &Pages) {
        pages.settle(Ok(())).unwrap();
    }

    fn failed(pages: &Pages) {
        let (url, words) = ("/p".to_owned(), "out of memory".to_owned());
        let failed = RestError::Failed { url, status: 500, words };
        pages.settle::<()>(Err(failed)).unwrap_err();
    }

    #[test]
    fn what_fails_is_halved_down_to_one_and_grows_again() {
        let most = EventPage { events: 100, attributes: 50_000 };
        let pages = Pages::new(most);
        succeeded(&pages);
        assert_eq!(pages.now(), most);
        failed(&pages);
        assert_eq!(pages.now(), EventPage { events: 50, attributes: 25_000 });
        for _ in 0..20 {
            failed(&pages);
        }
        assert_eq!(pages.now(), EventPage { events: 1, attributes: 1 });
        succeeded(&pages);
        assert_eq!(pages.now(), EventPage { events: 7, attributes: 3126 });
        for _ in 0..20 {
            succeeded(&pages);
        }
        assert_eq!(pages.now(), most);
    }

    #[test]
    fn a_page_of_one_stays_one() {
        let pages = Pages::new(EventPage { events: 1, attributes: 1 });
        failed(&pages);
        succeeded(&pages);
        assert_eq!(pages.now(), EventPage { events: 1, attributes: 1 });
    }
}
