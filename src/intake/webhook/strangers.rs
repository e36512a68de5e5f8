//! Whoever knocks without the secret may do so as often as he likes: the log has a line a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines.
const QUIET: Duration = Duration::from_secs(60);

/// Counts what is not logged.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Tally>);

#[derive(Debug, Default)]
struct Tally {
    logged_at: Option<Instant>,
    unlogged: u64,
}

impl Strangers {
    /// Whether this one is to be logged; gives how many before it were not.
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
