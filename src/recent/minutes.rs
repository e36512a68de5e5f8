//! Counts what happened in each of the last sixty minutes.

use std::collections::{BTreeMap, VecDeque};

/// How many minutes are kept.
pub const MINUTES: usize = 60;

/// What happened in one minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Minute {
    /// News that came over the feed.
    pub feed: u64,
    /// News that came over the webhook.
    pub webhook: u64,
    /// Events that were read over REST.
    pub rest: u64,
    /// Events whose news was committed.
    pub committed: u64,
    /// Attributes and claims that were left out, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Objects that targets accepted, withdrawals among them.
    pub accepted: u64,
    pub rejected: u64,
    pub withdrawn: u64,
}

impl Minute {
    /// Returns how much news came, over whatever way.
    pub fn received(&self) -> u64 {
        self.feed + self.webhook + self.rest
    }
}

/// The last minutes, the oldest first. Each has a number, counted from the start.
#[derive(Debug, Default)]
pub(super) struct Minutes {
    /// The number of the last one.
    newest: u64,
    kept: VecDeque<Minute>,
}

impl Minutes {
    /// Counts in a minute. What is older than all that is kept is not counted.
    pub(super) fn at(&mut self, minute: u64, count: impl FnOnce(&mut Minute)) {
        self.go_on(minute);
        let back = usize::try_from(self.newest - minute).unwrap_or(MINUTES);
        let place = self.kept.len().checked_sub(back + 1);
        if let Some(minute) = place.and_then(|place| self.kept.get_mut(place)) {
            count(minute);
        }
    }

    /// Returns the minutes up to this one, which may have nothing yet.
    pub(super) fn until(&mut self, minute: u64) -> Vec<Minute> {
        self.go_on(minute);
        self.kept.iter().cloned().collect()
    }

    /// Begins the minutes up to this one.
    fn go_on(&mut self, minute: u64) {
        if self.kept.is_empty() {
            self.kept.push_back(Minute::default());
        }
        let new = minute.saturating_sub(self.newest);
        for _ in 0..new.min(MINUTES as u64) {
            self.kept.push_back(Minute::default());
        }
        self.newest = self.newest.max(minute);
        let over = self.kept.len().saturating_sub(MINUTES);
        self.kept.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(minutes: &mut Minutes, at: u64) -> Vec<u64> {
        minutes.until(at).iter().map(|minute| minute.accepted).collect()
    }

    #[test]
    fn each_minute_has_its_own_counts() {
        let mut minutes = Minutes::default();
        for (minute, objects) in [(0, 1), (0, 2), (2, 5), (1, 7)] {
            minutes.at(minute, |counts| counts.accepted += objects);
        }
        assert_eq!(accepted(&mut minutes, 3), [3, 7, 5, 0]);
    }

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut minutes = Minutes::default();
        for minute in 0..200 {
            minutes.at(minute, |counts| counts.accepted = minute);
        }
        let kept = accepted(&mut minutes, 199);
        assert_eq!((kept.len(), kept[0], kept[59]), (60, 140, 199));
        // What comes later than an hour is counted nowhere.
        minutes.at(139, |counts| counts.accepted = 1_000_000);
        assert_eq!(accepted(&mut minutes, 199), kept);
        // After a long rest all is over.
        assert_eq!(accepted(&mut minutes, u64::MAX), [0; 60]);
    }
}
