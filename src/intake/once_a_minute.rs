//! Lets one message through in a minute and counts the others, so that a flood fills neither the log nor the
//! ledger.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// The time at which the last message passed, and the number of messages that were kept back since.
#[derive(Debug, Default)]
pub(super) struct OnceAMinute(Mutex<(Option<Instant>, u64)>);

impl OnceAMinute {
    /// Returns how many messages were kept back since the last one that passed. `None`: this one is
    /// kept back, too.
    pub(super) fn passes(&self, now: Instant) -> Option<u64> {
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, kept_back) = &mut *passed;
        if last.is_some_and(|at| now.saturating_duration_since(at) < MINUTE) {
            *kept_back += 1;
            return None;
        }
        // Only a message that passes moves the time, or a steady flood would never be logged again.
        *last = Some(now);
        Some(std::mem::take(kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_minute_counts_the_others() {
        let (once, start) = (OnceAMinute::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let logged: Vec<_> = (0..180).filter_map(|s| once.passes(after(s))).collect();
        assert_eq!(logged, [0, 59, 59]);
        assert_eq!(once.passes(after(1_000)), Some(59));
        assert_eq!(once.passes(after(2_000)), Some(0));
    }
}
