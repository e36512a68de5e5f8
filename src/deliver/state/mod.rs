//! Keeps the state of a target from one answer to the next. It decides whether single objects, halves or whole
//! batches are sent ([`Refusals`]), when they are sent ([`Retry`]), and which objects wait ([`TargetState`]).
//! Pure: the time is an argument.

mod bisection;
mod refusals;
mod retry;

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use uuid::Uuid;

pub(super) use bisection::{Bisection, Record};
pub(super) use refusals::{Refusals, Ruling};
pub(super) use retry::{DEGRADED_AFTER, Retry};

/// The state of a target from one answer to the next. It is lost at a restart: the ledger stores everything that
/// must last longer.
#[derive(Debug, Default)]
pub(super) struct TargetState {
    pub refusals: Refusals,
    pub retry: Retry,
    /// Objects and STIX ids in requests without an answer. An id is in at most one request.
    in_flight: HashSet<Uuid>,
    /// Objects that were refused alone, until they are tried again.
    resting: HashMap<Uuid, Instant>,
    /// Requests without an answer.
    pub requests: usize,
}

impl TargetState {
    /// Whether a request may be sent now.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        let Self { refusals, retry, .. } = self;
        // The answer to a part of a search or to a probe decides what is sent next. A target that keeps failing
        // gets one request at a time, so that each failure is counted by itself.
        let is_one_at_a_time =
            refusals.is_searching() || refusals.is_probing() || retry.is_failing();
        !retry.is_blocked(now) && (!is_one_at_a_time || self.requests == 0)
    }

    /// Whether an object must wait: it is in a request, rests, or is part of a search. Two requests with one object
    /// could arrive in the wrong order, and the older version would stay.
    pub(super) fn holds(&self, object: Uuid, stix_id: Uuid) -> bool {
        // With `identity = "attribute"` an old and a new pattern are two objects with one STIX id.
        self.in_flight.contains(&object)
            || self.in_flight.contains(&stix_id)
            || self.resting.contains_key(&object)
            || self.refusals.search().is_some_and(|search| search.holds(object))
    }

    /// Notes that a request with these objects and STIX ids was sent; `is_part`: it is the part of a search.
    pub(super) fn sent(&mut self, ids: impl IntoIterator<Item = Uuid>, is_part: bool) {
        self.in_flight.extend(ids);
        self.requests += 1;
        self.refusals.sent(is_part);
    }

    /// Notes that a request with these objects and STIX ids was answered.
    pub(super) fn answered(&mut self, ids: impl IntoIterator<Item = Uuid>) {
        for id in ids {
            self.in_flight.remove(&id);
        }
        self.requests = self.requests.saturating_sub(1);
    }

    /// Notes that the target accepted a request. Returns what that tells of a search.
    pub(super) fn accepted(&mut self, now: Instant, is_part: bool) -> Ruling {
        self.retry.accepted(now);
        // What was refused alone may have been the target's fault, which has passed.
        self.resting.clear();
        self.refusals.accepted(is_part)
    }

    /// Leaves an object alone until `until`, or until the target accepts something.
    pub(super) fn rest(&mut self, object: Uuid, until: Instant) {
        self.resting.insert(object, until);
    }

    /// Ends the rest of those objects whose time is over. Returns whether there were any.
    pub(super) fn wake(&mut self, now: Instant) -> bool {
        let before = self.resting.len();
        self.resting.retain(|_, until| now < *until);
        self.resting.len() < before
    }

    /// Returns when time alone changes something.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        self.retry.blocked_until(now).or_else(|| self.resting.values().min().copied())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn records(numbers: std::ops::RangeInclusive<u128>) -> Vec<Record> {
        let record =
            |number| Record { object: Uuid::from_u128(number), version: 7, retried: false };
        numbers.map(record).collect()
    }

    #[test]
    fn several_requests_are_on_their_way_in_normal_times_only() {
        let now = Instant::now();
        let mut normal = TargetState::default();
        normal.sent([Uuid::from_u128(1)], false);
        assert!(normal.is_ready(now));

        let mut searching = TargetState::default();
        searching.refusals.refused(&records(1..=4));
        let mut probing = TargetState::default();
        probing.refusals.suspect_target();
        let mut failing = TargetState::default();
        for _ in 0..DEGRADED_AFTER {
            failing.retry.failed(now);
        }
        for mut state in [searching, probing, failing] {
            assert!(state.is_ready(now));
            state.sent([Uuid::from_u128(9)], false);
            assert!(!state.is_ready(now), "{state:?}");
            state.answered([Uuid::from_u128(9)]);
            assert!(state.is_ready(now));
        }
    }

    #[test]
    fn blocked_target_is_ready_again_when_the_pause_is_over() {
        let (mut state, now) = (TargetState::default(), Instant::now());
        state.retry.block(now + SECOND);
        assert!(!state.is_ready(now));
        assert_eq!(state.next_wake(now), Some(now + SECOND));
        assert!(state.is_ready(now + SECOND));
        assert_eq!(state.next_wake(now + SECOND), None);
    }

    #[test]
    fn accepted_request_ends_probing_and_the_pause() {
        let (mut state, now) = (TargetState::default(), Instant::now());
        state.refusals.suspect_target();
        state.retry.block(now + SECOND);
        assert_eq!(state.accepted(now, false), Ruling::Smaller);
        assert!(state.is_ready(now) && !state.refusals.is_probing());
    }

    #[test]
    fn object_waits_while_it_is_in_a_request_rests_or_is_searched() {
        let (mut state, now) = (TargetState::default(), Instant::now());
        let [object, stix_id, other] = [1, 2, 3].map(Uuid::from_u128);
        state.sent([object, stix_id], false);
        assert_eq!(state.requests, 1);
        assert!(state.holds(object, other) && state.holds(other, stix_id));
        state.answered([object, stix_id]);
        assert!(!state.holds(object, stix_id));

        state.rest(object, now + SECOND);
        assert!(state.holds(object, stix_id) && !state.wake(now));
        assert_eq!(state.next_wake(now), Some(now + SECOND));
        assert!(state.wake(now + SECOND) && !state.holds(object, stix_id));
        state.rest(object, now + SECOND);
        state.accepted(now, false);
        assert!(!state.holds(object, stix_id), "an acceptance ends the rest");

        state.refusals.refused(&records(1..=2));
        assert!(state.holds(object, stix_id));
    }
}
