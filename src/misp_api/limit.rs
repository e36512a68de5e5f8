//! MISP's rate limit on searches, as its headers tell it. Pure: the time comes in.

use std::time::{Duration, Instant};

/// `X-Rate-Limit-Remaining` and `X-Rate-Limit-Reset` of an answer; MISP sends them only where the
/// role has a limit (`enforce_rate_limit`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RateLimitHeaders {
    /// Searches that are left.
    pub(super) remaining: Option<i64>,
    /// Seconds until there are new ones.
    pub(super) reset: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Limit {
    /// No search before this time.
    until: Option<Instant>,
}

impl Limit {
    pub(super) fn note(&mut self, told: RateLimitHeaders, now: Instant) {
        match told {
            RateLimitHeaders { remaining: Some(..=0), reset: Some(reset @ 1..) } => {
                self.refused(Duration::from_secs(reset.unsigned_abs()), now);
            }
            RateLimitHeaders { remaining: Some(1..), .. } => self.until = None,
            RateLimitHeaders { .. } => {}
        }
    }

    pub(super) fn refused(&mut self, wait: Duration, now: Instant) {
        self.until = now.checked_add(wait);
    }

    /// How long the next search has to wait.
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
        limit.note(RateLimitHeaders { remaining: Some(2), reset: Some(900) }, now);
        assert_eq!(limit.wait(now), None);
        limit.note(RateLimitHeaders { remaining: Some(0), reset: Some(900) }, now);
        assert_eq!(limit.wait(now), Some(Duration::from_secs(900)));
        assert_eq!(limit.wait(now + Duration::from_secs(900)), None);
    }

    /// Redis answers -1 or -2 for a counter without an end.
    #[test]
    fn no_header_and_no_strange_number_stops_the_relay() {
        let now = Instant::now();
        let mut limit = Limit::default();
        for told in [
            RateLimitHeaders::default(),
            RateLimitHeaders { remaining: Some(0), reset: Some(-2) },
            RateLimitHeaders { remaining: Some(0), reset: None },
            RateLimitHeaders { remaining: Some(-1), reset: Some(0) },
            RateLimitHeaders { remaining: Some(0), reset: Some(i64::MAX) },
        ] {
            limit.note(told, now);
            assert!(limit.wait(now).is_none_or(|wait| wait.as_secs() > 1 << 60), "{told:?}");
        }
    }
}
