//! Counts requests without the secret. The log has one line a minute for them, however many come.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time between two lines.
const QUIET: Duration = Duration::from_secs(60);

/// The requests that were not logged.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Tally>);

#[derive(Debug, Default)]
struct Tally {
    logged_at: Option<Instant>,
    unlogged: u64,
}

impl Strangers {
    /// Returns, if this request is to be logged, how many before it were not.
    pub(super) fn knocks(&self, now: Instant) -> Option<u64> {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tally.logged_at.is_some_and(|at| now.saturating_duration_since(at) < QUIET) {
            tally.unlogged += 1;
            return None;
        }
        tally.logged_at = Some(now);
        Some(std::mem::take(&mut tally.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_minute_counts_the_others() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let logged: Vec<_> = (0..180).filter_map(|s| strangers.knocks(after(s))).collect();
        assert_eq!(logged, [0, 59, 59]);
        assert_eq!(strangers.knocks(after(1_000)), Some(59));
        assert_eq!(strangers.knocks(after(2_000)), Some(0));
    }
}
