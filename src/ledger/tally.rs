//! Counts what a full resync finds, for its one line at the end. While one is counted, its events have no lines of
//! their own at level INFO.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::Ledger;
use super::apply::Counts;
use super::snapshot::Totals;

/// What the events of a full resync came to, since it began or the relay started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that were not as the ledger had them.
    pub altered: u64,
    /// Claims.
    pub new: u64,
    pub changed: u64,
    pub gone: u64,
    /// Of the altered events: what makes no claim, or what no policy admits, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn add(&mut self, counts: &Counts, totals: &Totals) {
        self.altered += 1;
        self.new += counts.new as u64;
        self.changed += counts.changed as u64;
        self.gone += counts.gone as u64;
        for (reason, count) in totals.skipped.iter().chain(counts.forbidden.iter()) {
            *self.skipped.entry(reason.word()).or_default() += count;
        }
    }
}

impl Ledger {
    /// Counts what a resync finds from now on. It goes on with a count that was begun.
    pub fn begin_tally(&self, source: &str) {
        self.with_tallies(|tallies| {
            tallies.entry(source.to_owned()).or_default();
        });
    }

    /// What was counted so far.
    #[must_use]
    pub fn tally(&self, source: &str) -> Tally {
        self.with_tallies(|tallies| tallies.get(source).cloned().unwrap_or_default())
    }

    /// Counts no more.
    pub fn end_tally(&self, source: &str) {
        self.with_tallies(|tallies| tallies.remove(source));
    }

    /// An event was applied. Whether it was counted.
    pub(super) fn tally_applied(&self, source: &str, counts: &Counts, totals: &Totals) -> bool {
        let add = |tally: &mut Tally| tally.add(counts, totals);
        self.with_tallies(|tallies| tallies.get_mut(source).map(add).is_some())
    }

    fn with_tallies<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Tally>) -> T) -> T {
        act(&mut self.shared.tallies.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
