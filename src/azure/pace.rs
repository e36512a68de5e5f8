//! Limits how often a credential may sign in and how often the management plane may be asked, also after
//! success. It also decides how long a token is used. [`RequestPace`] and [`TokenLife`] read no clock:
//! callers pass the time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The number of requests that may follow each other without a pause. A sign-in can need three: the first,
/// one with a replaced secret, and one after a 401.
const AT_ONCE: u32 = 3;

/// The gate that each request passes before it is sent.
#[derive(Debug)]
pub(super) struct RequestGate(Mutex<RequestPace>);

impl RequestGate {
    pub(super) fn new(pause: Duration) -> Self {
        Self(Mutex::new(RequestPace::new(pause)))
    }

    /// Takes the permit for one request, if one is free.
    ///
    /// # Errors
    /// The time to wait before the next attempt. No permit was taken.
    pub(super) fn try_pass(&self) -> Result<(), Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }

    /// Waits for the permit for one request, and takes it.
    pub(super) async fn pass(&self) {
        while let Err(wait) = self.try_pass() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// The pace of requests: `AT_ONCE` without a pause, and then one in each `pause`.
#[derive(Debug)]
struct RequestPace {
    pause: Duration,
    /// The time at which all requests so far would be done if there were a `pause` between them. `None`:
    /// there was no request yet.
    due: Option<Instant>,
}

impl RequestPace {
    fn new(pause: Duration) -> Self {
        Self { pause, due: None }
    }

    /// Takes the permit for one request, or returns how long to wait before the next attempt.
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        // `due` never lies before `now`, so a long quiet time gives no more than `AT_ONCE` requests.
        let due = self.due.map_or(now, |due| due.max(now));
        let wait = (due - now).saturating_sub(self.pause.saturating_mul(AT_ONCE - 1));
        if !wait.is_zero() {
            return Err(wait);
        }
        self.due = due.checked_add(self.pause);
        Ok(())
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
        self.left(now) > self.renewal()
    }

    /// Returns whether the token lasts so short a time that sign-ins become too frequent.
    pub(super) fn is_short(self) -> bool {
        self.lasts < RENEWAL
    }

    /// Returns how long before its end the token is renewed.
    fn renewal(self) -> Duration {
        RENEWAL.min(self.lasts / 2)
    }

    fn left(self, now: Instant) -> Duration {
        self.lasts.saturating_sub(now.saturating_duration_since(self.began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn requests_without_end_are_few_at_once_and_then_one_in_each_pause() {
        let start = Instant::now();
        let mut pace = RequestPace::new(SECOND * 10);
        let granted = (0..60_000).filter(|ms| {
            let now = start + Duration::from_millis(*ms);
            pace.take(now).is_ok()
        });
        let granted: Vec<u64> = granted.collect();
        assert_eq!(granted, [0, 1, 2, 10_000, 20_000, 30_000, 40_000, 50_000]);
    }

    #[test]
    fn wait_is_told_and_rest_fills_up_again() {
        let start = Instant::now();
        let mut pace = RequestPace::new(SECOND * 10);
        for _ in 0..3 {
            assert_eq!(pace.take(start), Ok(()));
        }
        assert_eq!(pace.take(start), Err(SECOND * 10));
        assert_eq!(pace.take(start + SECOND * 4), Err(SECOND * 6));
        let later = start + SECOND * 3_600;
        for _ in 0..3 {
            assert_eq!(pace.take(later), Ok(()));
        }
        assert_eq!(pace.take(later), Err(SECOND * 10));
    }

    #[test]
    fn no_pause_is_no_limit() {
        let mut pace = RequestPace::new(Duration::ZERO);
        let now = Instant::now();
        assert!((0..1_000).all(|_| pace.take(now).is_ok()));
    }

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
