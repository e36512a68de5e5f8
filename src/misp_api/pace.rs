//! Limits how many requests a second are sent to MISP, so that a fault that makes the relay ask again and
//! again costs MISP little. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// The number of seconds whose requests may be sent at once after a quiet time.
const BURST: u32 = 2;

/// The pace of requests: evenly spread places, one for each request (GCRA).
#[derive(Debug)]
pub(super) struct Pace {
    /// The time between two requests.
    interval: Duration,
    /// The time at which all places that were taken are used up. `None`: none was taken yet.
    taken_until: Option<Instant>,
}

impl Pace {
    /// Makes a pace of at most `per_second` requests a second. 0 counts as 1.
    pub(super) fn new(per_second: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), taken_until: None }
    }

    /// Takes the next place, and returns how long to wait for it.
    pub(super) fn take(&mut self, now: Instant) -> Duration {
        let from = self.taken_until.map_or(now, |until| until.max(now));
        let until = from + self.interval;
        self.taken_until = Some(until);
        let ahead = until.saturating_duration_since(now);
        ahead.saturating_sub(Duration::from_secs(BURST.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_seconds_worth_goes_at_once_and_then_one_an_interval() {
        let now = Instant::now();
        let mut pace = Pace::new(10);
        for _ in 0..20 {
            assert_eq!(pace.take(now), Duration::ZERO);
        }
        for place in 1..=30 {
            assert_eq!(pace.take(now), Duration::from_millis(100 * place));
        }
        // Those that waited have gone, and a quiet time has passed.
        assert_eq!(pace.take(now + Duration::from_secs(60)), Duration::ZERO);
    }

    /// A caller that sends each request right after the last answer.
    #[test]
    fn a_minute_without_pauses_is_the_rate_and_the_burst() {
        let start = Instant::now();
        let (mut pace, mut now, mut asked) = (Pace::new(10), start, 0);
        while now < start + Duration::from_secs(60) {
            now += pace.take(now);
            asked += 1;
        }
        assert!((600..=621).contains(&asked), "{asked}");
    }
}
