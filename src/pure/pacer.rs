//! Decides when the next request may leave, so that no more leave in a time than a quota allows. Pure: the
//! time is an argument.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many requests may follow each other after a quiet time, where pauses are kept. A sign-in can need
/// three: the first, one with a replaced secret, and one after a 401.
const AT_ONCE: u32 = 3;

/// Slots for requests, spread evenly: each slot taken moves the next one by an interval. A cheap handle:
/// clones share the slots.
#[derive(Debug, Clone)]
pub struct Pacer {
    interval: Duration,
    /// How long before it is due a slot opens already.
    ahead: Duration,
    /// When the next slot is due.
    due: Arc<Mutex<Instant>>,
}

impl Pacer {
    /// Makes a pacer for `requests` in any `window`. 0 requests, or no window, is no limit.
    ///
    /// The first slot opens one interval after `start`. So a restart goes on with the rhythm of the process
    /// before it and does not add to what that one has sent: the quota holds across a restart as well.
    pub fn with_quota(requests: u32, window: Duration, start: Instant) -> Self {
        // Rounded up: rounded down, the shares would fit into the window once too often.
        let nanos = window.as_nanos().div_ceil(u128::from(requests.max(1)));
        let share = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let interval = if requests == 0 { Duration::ZERO } else { share };
        Self::new(interval, Duration::ZERO, start + interval)
    }

    /// Makes a pacer that lets three requests leave without a pause, and then one in each `pause`.
    pub fn with_pauses(pause: Duration, start: Instant) -> Self {
        Self::new(pause, pause.saturating_mul(AT_ONCE - 1), start)
    }

    fn new(interval: Duration, ahead: Duration, due: Instant) -> Self {
        Self { interval, ahead, due: Arc::new(Mutex::new(due)) }
    }

    /// Takes the slot that is open at `now`. The caller has a request that is ready to leave: a slot that
    /// is taken early and used late would fall together with the next one.
    ///
    /// # Errors
    /// The time to wait before the next call; no slot was taken.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut due = self.due();
        match due.saturating_duration_since(now).saturating_sub(self.ahead) {
            // Counted from `now` at the earliest, so that a quiet time saves no slots.
            Duration::ZERO => *due = now.max(*due) + self.interval,
            wait => return Err(wait),
        }
        Ok(())
    }

    /// Opens no slot before `until`, since Sentinel answered 429. A shorter hold changes nothing.
    pub fn hold(&self, until: Instant) {
        let mut due = self.due();
        *due = until.max(*due);
    }

    fn due(&self) -> MutexGuard<'_, Instant> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    const MINUTE: Duration = Duration::from_secs(60);

    /// A sender that always has work and wakes up to `late` too late. Times since the start.
    fn departures(pacer: &Pacer, start: Instant, until: Duration, late: u64) -> Vec<Duration> {
        let mut now = start;
        let mut left = Vec::new();
        let mut dice = 7_u64;
        while now - start < until {
            match pacer.take(now) {
                Ok(()) => left.push(now - start),
                Err(wait) => {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let oversleep = if late == 0 { 0 } else { (dice >> 33) % late };
                    now += wait + Duration::from_micros(oversleep);
                }
            }
        }
        left
    }

    /// The most departures in any `window`, both ends counted.
    fn most_in_any(window: Duration, times: &[Duration]) -> usize {
        let mut most = 0;
        let mut first = 0;
        for (last, time) in times.iter().enumerate() {
            while *time - times[first] > window {
                first += 1;
            }
            most = most.max(last - first + 1);
        }
        most
    }

    #[test]
    fn hours_of_full_load_keep_the_quota_and_use_it() {
        let start = Instant::now();
        let hours = 6;
        let pacer = Pacer::with_quota(99, MINUTE, start);
        let left = departures(&pacer, start, MINUTE * 60 * hours, 10_000);
        assert!(most_in_any(MINUTE, &left) <= 100);
        let possible = 99 * 60 * hours as usize;
        assert!(left.len() * 100 >= possible * 98, "{} of {possible}", left.len());
    }

    #[test]
    fn punctual_sender_never_reaches_the_hundredth() {
        let start = Instant::now();
        let left = departures(&Pacer::with_quota(99, MINUTE, start), start, MINUTE * 120, 0);
        assert_eq!(most_in_any(MINUTE, &left), 99);
    }

    #[test]
    fn restarts_at_any_moment_keep_the_quota() {
        let start = Instant::now();
        let mut all = Vec::new();
        let mut begun = Duration::ZERO;
        for life in [100, 700, 45_000, 61, 5_000, 650, 650, 650, 90_000, 30_000] {
            let life = Duration::from_millis(life);
            let pacer = Pacer::with_quota(99, MINUTE, start + begun);
            let left = departures(&pacer, start + begun, life, 0);
            all.extend(left.into_iter().map(|time| time + begun));
            begun += life;
        }
        assert!(all.len() > 200);
        assert!(most_in_any(MINUTE, &all) <= 100);
    }

    #[test]
    fn first_slot_opens_one_interval_after_the_start() {
        let start = Instant::now();
        let pacer = Pacer::with_quota(60, MINUTE, start);
        assert_eq!(pacer.take(start), Err(Duration::from_secs(1)));
        assert_eq!(pacer.take(start + Duration::from_secs(1)), Ok(()));
        assert_eq!(
            pacer.take(start + Duration::from_millis(1_500)),
            Err(Duration::from_millis(500))
        );
    }

    #[test]
    fn idle_time_saves_no_slots() {
        let start = Instant::now();
        let pacer = Pacer::with_quota(60, MINUTE, start);
        let later = start + MINUTE * 60;
        assert_eq!(pacer.take(later), Ok(()));
        assert_eq!(pacer.take(later), Err(Duration::from_secs(1)));
    }

    #[test]
    fn hold_closes_every_slot_until_its_end_and_then_opens_one() {
        let start = Instant::now();
        let pacer = Pacer::with_quota(60, MINUTE, start);
        let second = Duration::from_secs(1);
        pacer.hold(start + second * 30);
        pacer.hold(start + second * 10);
        assert_eq!(pacer.take(start + second * 20), Err(second * 10));
        assert_eq!(pacer.take(start + second * 30), Ok(()));
        assert_eq!(pacer.take(start + second * 30), Err(second));
    }

    #[test]
    fn all_who_share_a_pacer_share_its_slots_and_its_holds() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let one = Pacer::with_quota(60, MINUTE, start);
        let other = one.clone();
        assert_eq!(one.take(start + second), Ok(()));
        assert_eq!(other.take(start + second), Err(second));
        one.hold(start + second * 30);
        assert_eq!(other.take(start + second * 20), Err(second * 10));
    }

    #[test]
    fn zero_requests_is_no_limit_but_a_hold_still_counts() {
        let start = Instant::now();
        let pacer = Pacer::with_quota(0, MINUTE, start);
        assert_eq!((0..1_000).filter(|_| pacer.take(start).is_ok()).count(), 1_000);
        pacer.hold(start + MINUTE);
        assert_eq!(pacer.take(start), Err(MINUTE));
    }

    #[test]
    fn requests_without_end_are_few_at_once_and_then_one_in_each_pause() {
        let start = Instant::now();
        let pace = Pacer::with_pauses(SECOND * 10, start);
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
        let pace = Pacer::with_pauses(SECOND * 10, start);
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
        let now = Instant::now();
        let pace = Pacer::with_pauses(Duration::ZERO, now);
        assert!((0..1_000).all(|_| pace.take(now).is_ok()));
    }
}
