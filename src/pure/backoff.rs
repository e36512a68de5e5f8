//! Computes how long to wait after a failure: the pause doubles with each failure in a row. Pure: the random
//! number is an argument.

use std::time::Duration;

/// Exponential back-off: each failure doubles the pause. Half of the pause is random, so that relays that failed
/// together do not come back together.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// Makes a back-off with pauses from `min` to `max`. A `max` below `min` counts as `min`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min) }
    }

    /// Returns the pause after this number of failures in a row, for a `random` number in 0..1. It is between
    /// half of the doubled pause and all of it, and never below `min`.
    pub fn pause(&self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.min.saturating_mul(1 << doublings).min(self.max);
        let half = full / 2;
        (half + half.mul_f64(random.clamp(0.0, 1.0))).max(self.min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(60);

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff::new(MIN, MAX);
        let seconds: Vec<u64> = (1..=8).map(|n| backoff.pause(n, 1.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn chance_takes_at_most_half_of_a_pause() {
        let backoff = Backoff::new(MIN, MAX);
        assert_eq!(backoff.pause(5, 0.0), Duration::from_secs(8));
        assert_eq!(backoff.pause(5, 0.5), Duration::from_secs(12));
        assert_eq!(backoff.pause(1, 0.0), MIN);
    }

    #[test]
    fn no_count_and_no_number_breaks_it() {
        let backoff = Backoff::new(MIN, MAX);
        assert_eq!(backoff.pause(0, 1.0), MIN);
        assert_eq!(backoff.pause(u32::MAX, 9.9), MAX);
        assert_eq!(backoff.pause(u32::MAX, -1.0), MAX / 2);
        assert_eq!(Backoff::new(MAX, MIN).pause(9, 0.0), MAX);
    }
}
