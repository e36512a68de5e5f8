//! Keeps within MISP's rate limit on searches, which MISP states in the headers of its answers. Pure: the time is an
//! argument.

use std::time::{Duration, Instant};

/// The rate limit of searches.
#[derive(Debug, Default)]
pub(super) struct Limit {
    /// The time before which no search is sent. `None`: at any time.
    until: Option<Instant>,
}

impl Limit {
    /// Notes the headers `X-Rate-Limit-Remaining` (searches) and `X-Rate-Limit-Reset` (seconds) of an answer.
    /// MISP sends them only where the role has a limit (`enforce_rate_limit`).
    pub(super) fn note(&mut self, remaining: Option<i64>, reset: Option<i64>, now: Instant) {
        match (remaining, reset) {
            (Some(..=0), Some(reset @ 1..)) => {
                self.refused(Duration::from_secs(reset.unsigned_abs()), now);
            }
            (Some(1..), _) => self.until = None,
            (Some(..=0) | None, _) => {}
        }
    }

    pub(super) fn refused(&mut self, wait: Duration, now: Instant) {
        self.until = now.checked_add(wait);
    }

    /// Returns how long the next search has to wait. `None`: it need not wait.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let wait = self.until?.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_up_limit_is_waited_for_until_its_reset() {
        let now = Instant::now();
        let mut limit = Limit::default();
        assert_eq!(limit.wait(now), None);
        limit.note(Some(2), Some(900), now);
        assert_eq!(limit.wait(now), None);
        limit.note(Some(0), Some(900), now);
        assert_eq!(limit.wait(now), Some(Duration::from_secs(900)));
        assert_eq!(limit.wait(now + Duration::from_secs(900)), None);
    }

    /// Redis answers -1 or -2 for a counter without an end.
    #[test]
    fn no_header_and_no_strange_number_stops_the_relay() {
        let now = Instant::now();
        let mut limit = Limit::default();
        for told in [
            (None, None),
            (Some(0), Some(-2)),
            (Some(0), None),
            (Some(-1), Some(0)),
            (Some(0), Some(i64::MAX)),
        ] {
            limit.note(told.0, told.1, now);
            assert!(limit.wait(now).is_none_or(|wait| wait.as_secs() > 1 << 60), "{told:?}");
        }
    }
}
