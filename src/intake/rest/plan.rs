//! Decides when the next catch-up begins, and whether it also checks that the known events still exist. Pure: the time
//! is an argument.

use std::time::Duration;

/// The waits of catch-up (`misp.rest`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// The wait after a gap's end before the first look.
    pub settle: Duration,
    /// The time after a gap's end from which a catch-up heals it. MISP may save a change a little later than
    /// it reports the change.
    pub grace: Duration,
    /// The time between two catch-ups without a gap.
    pub catch_up_every: Duration,
    /// The time between two checks of all known events without a gap.
    pub existence_every: Duration,
}

/// The times at which the last rounds began, Unix milliseconds; 0: never.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rounds {
    pub caught_up: i64,
    pub existence: i64,
}

impl Rounds {
    /// Returns the rounds without times in the future, in case the clock was set back to `now`.
    pub(super) fn not_after(self, now: i64) -> Self {
        Self { caught_up: self.caught_up.min(now), existence: self.existence.min(now) }
    }
}

/// The next round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round {
    /// Unix milliseconds.
    pub at: i64,
    /// Whether the events of the ledger are checked for existence as well.
    pub existence: bool,
}

/// Returns the next round; `gaps` are the times at which the open gaps ended, Unix milliseconds.
pub(super) fn next(gaps: &[i64], rounds: Rounds, waits: &Waits) -> Round {
    let after = |moment: i64, wait: Duration| moment.saturating_add(super::millis(wait));
    let for_gap = |until: &i64| {
        // No look began after the end of this gap, so one comes soon. Otherwise the last look comes after
        // the grace, when all is saved.
        let wait = if *until >= rounds.caught_up { waits.settle } else { waits.grace };
        after(*until, wait).max(rounds.caught_up)
    };
    // The regular round stays due, however far off the gaps' looks are.
    let regular = after(rounds.caught_up, waits.catch_up_every);
    let at = gaps.iter().map(for_gap).fold(regular, i64::min);
    let existence = rounds.existence == 0
        // A deletion may have been missed, and no listing of changes names a deleted event.
        || !gaps.is_empty()
        || after(rounds.existence, waits.existence_every) <= at;
    Round { at, existence }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: Waits = Waits {
        settle: Duration::from_secs(2),
        grace: Duration::from_secs(60),
        catch_up_every: Duration::from_secs(300),
        existence_every: Duration::from_secs(3_600),
    };

    fn rounds(caught_up: i64, existence: i64) -> Rounds {
        Rounds { caught_up, existence }
    }

    #[test]
    fn the_first_round_is_due_and_complete() {
        let round = next(&[], rounds(0, 0), &WAITS);
        assert!(round.at < 10_000_000 && round.existence);
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        let now = 10_000_000;
        let rounds = rounds(now + 3_600_000, now + 3_600_000).not_after(now);
        assert_eq!(next(&[], rounds, &WAITS).at, now + 300_000);
    }

    #[test]
    fn a_gap_is_looked_at_soon_after_its_end_and_once_more_when_all_is_saved() {
        let began = 10_000_000;
        let quiet = next(&[], rounds(began, began), &WAITS);
        assert_eq!(quiet, Round { at: began + 300_000, existence: false });
        let gap = began + 1_000;
        let soon = Round { at: gap + 2_000, existence: true };
        assert_eq!(next(&[gap], rounds(began, began), &WAITS), soon);
        let again = next(&[gap], rounds(gap + 2_000, gap + 2_000), &WAITS);
        assert_eq!(again, Round { at: gap + 60_000, existence: true });
    }
}
