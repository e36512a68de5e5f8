//! Counts what happened on the day that it is now in UTC.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

/// What happened today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Today {
    /// Midnight in UTC, or the start of the relay where that was later.
    pub since: DateTime<Utc>,
    pub withdrawn: u64,
}

/// The count of one day. What was counted on another day is forgotten.
#[derive(Debug, Default)]
pub(super) struct Day {
    date: NaiveDate,
    withdrawn: u64,
}

impl Day {
    pub(super) fn withdrawn(&mut self, indicators: u64, now: DateTime<Utc>) {
        self.turn_to(now);
        self.withdrawn += indicators;
    }

    /// Returns the count at `now` of a relay that was started at `start`.
    pub(super) fn at(&mut self, now: DateTime<Utc>, start: DateTime<Utc>) -> Today {
        self.turn_to(now);
        let since = self.date.and_time(NaiveTime::MIN).and_utc().max(start);
        Today { since, withdrawn: self.withdrawn }
    }

    fn turn_to(&mut self, now: DateTime<Utc>) {
        if self.date != now.date_naive() {
            *self = Self { date: now.date_naive(), withdrawn: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> DateTime<Utc> {
        time.parse().unwrap()
    }

    #[test]
    fn a_day_begins_at_midnight_or_at_the_start() {
        let start = at("2026-03-01T15:37:00Z");
        let mut day = Day::default();
        day.withdrawn(2, at("2026-03-01T15:38:00Z"));
        day.withdrawn(3, at("2026-03-01T23:59:59Z"));
        let first = day.at(at("2026-03-01T23:59:59Z"), start);
        assert_eq!(first, Today { since: start, withdrawn: 5 });

        day.withdrawn(1, at("2026-03-02T00:00:00Z"));
        let second = day.at(at("2026-03-02T09:00:00Z"), start);
        assert_eq!(second, Today { since: at("2026-03-02T00:00:00Z"), withdrawn: 1 });
        // Nothing was withdrawn since, and nothing counted it anew.
        assert_eq!(day.at(at("2026-03-09T00:00:00Z"), start).withdrawn, 0);
    }
}
