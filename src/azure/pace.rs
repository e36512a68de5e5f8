//! Waits until the pacer lets a request to Azure leave, and decides how long a token is used. `TokenLife` reads no
//! clock: callers pass the time.

use std::time::{Duration, Instant};

use crate::pure::pacer::Pacer;

/// Waits for a slot for one request, and takes it.
pub async fn pass(pacer: &Pacer) {
    while let Err(wait) = pacer.take(Instant::now()) {
        tokio::time::sleep(wait).await;
    }
}

/// The time before its end at which a long-lived token is renewed. The SDK's own caches use the same time.
const RENEWAL: Duration = Duration::from_secs(300);

/// The time before its end until which a long-lived token is used, so that it does not end in transit.
const MARGIN: Duration = Duration::from_secs(30);

/// The lifetime of a token, counted from the moment at which it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenLife {
    pub began: Instant,
    pub lasts: Duration,
}

impl TokenLife {
    /// Returns whether the token may be used.
    pub(super) fn is_good(self, now: Instant) -> bool {
        self.left(now) > MARGIN.min(self.lasts / 10)
    }

    /// Returns whether the token may be used and need not be renewed yet.
    pub(super) fn is_fresh(self, now: Instant) -> bool {
        self.left(now) > RENEWAL.min(self.lasts / 2)
    }

    /// Returns whether the token lasts for so short a time that sign-ins become too frequent.
    pub(super) fn is_short(self) -> bool {
        self.lasts < RENEWAL
    }

    fn left(self, now: Instant) -> Duration {
        self.lasts.saturating_sub(now.saturating_duration_since(self.began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns until which second a token is fresh, and until which it is good.
    fn seconds(lasts: u64) -> (u64, u64) {
        let began = Instant::now();
        let life = TokenLife { began, lasts: SECOND * u32::try_from(lasts).unwrap() };
        let count = |test: fn(TokenLife, Instant) -> bool| {
            (0..=lasts)
                .take_while(|second| test(life, began + Duration::from_secs(*second)))
                .count()
        };
        (count(TokenLife::is_fresh) as u64, count(TokenLife::is_good) as u64)
    }

    #[test]
    fn token_is_used_while_it_lasts() {
        assert_eq!(seconds(3_600), (3_300, 3_570));
        assert_eq!(seconds(240), (120, 216));
        assert_eq!(seconds(60), (30, 54));
        assert_eq!(seconds(0), (0, 0));
    }

    #[test]
    fn only_tokens_that_come_near_their_end_are_short() {
        let began = Instant::now();
        assert!(TokenLife { began, lasts: SECOND * 299 }.is_short());
        assert!(!TokenLife { began, lasts: SECOND * 300 }.is_short());
    }
}
