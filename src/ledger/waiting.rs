//! Counts for each target what it holds, what it should hold, and what waits to be sent to it. In a large ledger this
//! takes seconds, so a count that took long is kept and returned again for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Ledger;
use super::lane::Lane;
use super::sql::{Result, Transaction};
use super::tables::targets::TargetView;
use super::tables::{delivered, pending, queue, wanted};

/// A count that takes less time is made anew at each request.
const QUICK: Duration = Duration::from_millis(10);

/// Any other count is returned again for this many times as long as it took. So counting never takes more than 2 % of a
/// core.
const TIMES_WHAT_IT_TOOK: u32 = 50;

/// What waits for a target in one lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingObjects {
    /// Objects whose wanted version the target has not accepted yet.
    pub objects: i64,
    /// When the oldest of the changes that wait was heard of, Unix milliseconds; RFC 3339 in JSON.
    #[serde(with = "super::time::rfc3339_option", default)]
    pub oldest: Option<i64>,
}

/// What a target holds, should hold and waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TargetFigures {
    /// Live indicators that the target should hold.
    pub wanted: i64,
    /// Indicators that it accepted and that were not withdrawn since.
    pub delivered: i64,
    pub withdrawn: i64,
    /// What waits, in the order of [`Lane::ALL`].
    pub waiting: [WaitingObjects; 3],
}

/// What was counted of each target.
#[derive(Debug, Default)]
pub(super) struct CountedFigures(tokio::sync::Mutex<HashMap<String, Counted>>);

#[derive(Debug, Clone, Copy)]
struct Counted {
    figures: TargetFigures,
    at: Instant,
    took: Duration,
}

impl Counted {
    fn is_usable(&self, now: Instant) -> bool {
        self.took >= QUICK
            && now.saturating_duration_since(self.at) < self.took * TIMES_WHAT_IT_TOOK
    }
}

impl Ledger {
    /// The figures of a target that sees this view. Those of a large ledger may be some seconds old, or minutes
    /// while a million objects wait.
    pub async fn figures(&self, target: &str, view: &str) -> Result<TargetFigures> {
        // Held while it counts: whoever asks meanwhile takes the result.
        let mut known = self.shared.figures.0.lock().await;
        if let Some(counted) = known.get(target).filter(|one| one.is_usable(Instant::now())) {
            return Ok(counted.figures);
        }
        let (name, view, now) = (target.to_owned(), view.to_owned(), Self::now());
        let began = Instant::now();
        let counting =
            self.read_counts(move |tx| count(tx, TargetView { target: &name, view: &view }, now));
        let figures = counting.await?;
        let counted = Counted { figures, at: Instant::now(), took: began.elapsed() };
        known.insert(target.to_owned(), counted);
        Ok(figures)
    }
}

fn count(tx: &Transaction<'_>, at: TargetView<'_>, now: i64) -> Result<TargetFigures> {
    let held = delivered::count(tx, at.target)?;
    Ok(TargetFigures {
        wanted: wanted::count_live_indicators_of(tx, at.view)?,
        delivered: held.live,
        withdrawn: held.withdrawn,
        waiting: waiting(tx, at, now)?,
    })
}

fn waiting(tx: &Transaction<'_>, at: TargetView<'_>, now: i64) -> Result<[WaitingObjects; 3]> {
    let open = queue::lanes(tx, at.target)?;
    if open.is_empty() {
        return Ok(Default::default());
    }
    let pending = pending::count_by_lane(tx, at.target, now)?;
    let mut waiting = Lane::ALL.map(|lane| WaitingObjects {
        objects: pending.iter().find(|one| one.lane == lane).map_or(0, |one| one.objects),
        oldest: open.iter().find(|one| one.lane == lane).map(|one| one.oldest),
    });
    if queue::is_everything_open(tx, at.target)? {
        // Change 0 leads to all that is pending, and the other changes to a part of it.
        let [withdrawals, live, backlog] = &mut waiting;
        let all = pending::count_all(tx, at, now)?;
        backlog.objects = all - withdrawals.objects - live.objects;
    }
    Ok(waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_took_long_is_used_again_and_only_for_a_while() {
        let at = Instant::now();
        let usable = |took: u64, after: u64| {
            let took = Duration::from_millis(took);
            let counted = Counted { figures: TargetFigures::default(), at, took };
            counted.is_usable(at + Duration::from_millis(after))
        };
        assert!(!usable(9, 0));
        assert!(usable(100, 4_999) && !usable(100, 5_000));
    }
}
