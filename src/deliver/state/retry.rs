//! Counts a target's failures in a row, and decides until when nothing is sent to it.

use std::time::{Duration, Instant};

/// A target counts as degraded after this many failures in a row.
pub(in crate::deliver) const DEGRADED_AFTER: u32 = 3;

/// The failures of a target and its pause.
#[derive(Debug, Default)]
pub(in crate::deliver) struct Retry {
    streaks: Streaks,
    /// Successes that could not be read since a batch was last halved for it. A readable answer to
    /// another batch does not reset it, so that no batch is sent again and again unhalved.
    unreadable: u32,
    throttled: Option<Throttled>,
    /// The end of the pause, in which nothing is sent. It may lie in the past.
    blocked_until: Option<Instant>,
}

/// Answers in a row. An accepted request ends them all.
#[derive(Debug, Default)]
struct Streaks {
    /// Requests without an answer, or with one after which a repeat may succeed.
    failures: u32,
    /// Answers 401.
    unauthorized: u32,
    /// Successes that are not the API's by its documentation, though they might be.
    foreign: u32,
}

/// The answers 429 of a target.
#[derive(Debug, Clone, Copy)]
struct Throttled {
    /// How many came in a row. Answers to requests that were in flight together count once.
    times: u32,
    /// The end of the wait that the answers asked for.
    until: Instant,
}

impl Retry {
    /// Whether the target is in a pause.
    pub(in crate::deliver) fn is_blocked(&self, now: Instant) -> bool {
        self.blocked_until.is_some_and(|until| now < until)
    }

    /// Returns the end of the present pause.
    pub(super) fn blocked_until(&self, now: Instant) -> Option<Instant> {
        self.blocked_until.filter(|until| now < *until)
    }

    /// Whether the target has not answered for long.
    pub(super) fn is_failing(&self) -> bool {
        self.streaks.failures >= DEGRADED_AFTER
    }

    /// Whether the wait that a 429 asked for goes on.
    pub(in crate::deliver) fn is_throttled(&self, now: Instant) -> bool {
        self.throttled.is_some_and(|throttled| now < throttled.until)
    }

    /// Sends nothing before `until`, which replaces an earlier pause.
    pub(in crate::deliver) fn block(&mut self, until: Instant) {
        self.blocked_until = Some(until);
    }

    /// Notes that the target accepted something.
    pub(super) fn accepted(&mut self, now: Instant) {
        self.streaks = Streaks::default();
        // The request may have left before the 429 came, so it does not shorten the wait.
        self.throttled = self.throttled.filter(|throttled| now < throttled.until);
        // Every other pause was for a fault that has passed.
        self.blocked_until =
            self.throttled.and_then(|throttled| self.blocked_until.max(Some(throttled.until)));
    }

    /// Notes that a request failed. Returns the failures in a row.
    pub(in crate::deliver) fn failed(&mut self, now: Instant) -> u32 {
        self.streaks.failures = self.counted(self.streaks.failures, now);
        self.streaks.failures
    }

    /// Notes a success that was not the API's. Returns whether this has gone on for so long that the settings
    /// must be wrong.
    pub(in crate::deliver) fn foreign(&mut self, now: Instant, may_be_api: bool) -> bool {
        let foreign = self.counted(self.streaks.foreign, now);
        self.streaks.foreign = if may_be_api { foreign } else { 0 };
        self.streaks.foreign >= DEGRADED_AFTER
    }

    /// Counts one more answer. Requests that were on their way together are answered together: the first
    /// answer blocks the target, and the others do not count.
    fn counted(&self, answers: u32, now: Instant) -> u32 {
        if self.is_blocked(now) { answers } else { answers.saturating_add(1) }
    }

    /// Notes a success that could not be read. Returns whether the batch is halved now.
    pub(in crate::deliver) fn unreadable(&mut self, is_part: bool) -> bool {
        self.unreadable = self.unreadable.saturating_add(1);
        let is_halved = is_part || self.unreadable >= DEGRADED_AFTER;
        self.unreadable = if is_halved { 0 } else { self.unreadable };
        is_halved
    }

    /// Notes a 401. Returns how many came in a row.
    pub(in crate::deliver) fn unauthorized(&mut self) -> u32 {
        self.streaks.unauthorized = self.streaks.unauthorized.saturating_add(1);
        self.streaks.unauthorized
    }

    /// Notes a 429 that asks to `wait`. Returns how many came in a row.
    pub(in crate::deliver) fn throttled(&mut self, now: Instant, wait: Duration) -> u32 {
        let before = self.throttled.unwrap_or(Throttled { times: 0, until: now });
        let throttled = Throttled {
            // Answers within the wait were on their way when the first 429 came.
            times: before.times.saturating_add(u32::from(before.until <= now)),
            until: before.until.max(now + wait),
        };
        self.throttled = Some(throttled);
        throttled.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn failures_count_once_for_requests_on_their_way_together() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        assert_eq!(retry.failed(now), 1);
        retry.block(now + SECOND);
        assert_eq!(retry.failed(now), 1);
        assert!(!retry.foreign(now, true));
        assert_eq!(retry.failed(now + SECOND), 2);
        assert!(!retry.is_failing());
        retry.block(now + SECOND * 2);
        assert_eq!(retry.failed(now + SECOND * 2), 3);
        assert!(retry.is_failing());
        retry.accepted(now + SECOND * 2);
        assert!(!retry.is_failing());
        assert_eq!(retry.failed(now + SECOND * 2), 1);
    }

    #[test]
    fn a_pause_ends_by_time_and_by_an_accepted_request() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        retry.block(now + SECOND);
        assert!(retry.is_blocked(now) && !retry.is_blocked(now + SECOND));
        assert_eq!(retry.blocked_until(now), Some(now + SECOND));
        assert_eq!(retry.blocked_until(now + SECOND), None);
        retry.accepted(now);
        assert!(!retry.is_blocked(now));
    }

    #[test]
    fn third_success_in_a_row_that_is_not_the_apis_speaks_against_the_settings() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        let answers = [true, true, false, true, true, true];
        let told = answers.map(|may_be_api| retry.foreign(now, may_be_api));
        assert_eq!(told, [false, false, false, false, false, true]);
        retry.accepted(now);
        assert!(!retry.foreign(now, true));
    }

    #[test]
    fn unreadable_batch_is_halved_at_the_third_time_and_a_part_of_a_search_at_once() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        assert!(!retry.unreadable(false));
        retry.accepted(now);
        assert!(!retry.unreadable(false));
        assert!(retry.unreadable(false), "another batch that was accepted does not reset it");
        assert!(!retry.unreadable(false));
        assert!(retry.unreadable(true));
    }

    #[test]
    fn throttled_target_waits_as_told_whatever_is_accepted_meanwhile() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        assert_eq!(retry.throttled(now, SECOND * 10), 1);
        assert_eq!(retry.throttled(now, SECOND * 5), 1, "both were on their way together");
        retry.accepted(now + SECOND * 9);
        assert!(retry.is_throttled(now + SECOND * 9) && !retry.is_throttled(now + SECOND * 10));
        assert!(retry.is_blocked(now + SECOND * 9) && !retry.is_blocked(now + SECOND * 10));
        assert_eq!(retry.throttled(now + SECOND * 10, SECOND), 2);
        retry.accepted(now + SECOND * 11);
        assert!(!retry.is_blocked(now + SECOND * 11));
        assert_eq!(retry.throttled(now + SECOND * 12, SECOND), 1);
    }

    #[test]
    fn longer_pause_outlasts_what_a_429_asked_for() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        retry.throttled(now, SECOND);
        retry.block(now + SECOND * 9);
        retry.accepted(now);
        assert_eq!(retry.blocked_until(now), Some(now + SECOND * 9));
    }

    #[test]
    fn answers_401_are_counted_until_something_is_accepted() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        assert_eq!((retry.unauthorized(), retry.unauthorized()), (1, 2));
        retry.accepted(now);
        assert_eq!(retry.unauthorized(), 1);
    }
}
