//! Parses a cron expression in UTC, which says when something starts by itself, such as a resync.

use std::fmt;

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds};

/// A cron expression that matches some time: minute, hour, day of month, month, day of week. An optional
/// sixth field in front holds seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Cron);

impl Schedule {
    /// # Errors
    /// `text` is no schedule, or one that never matches. The text of the error says why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let cron = parser.parse(text).map_err(|error| error.to_string())?;
        let schedule = Self(cron);
        // A date such as 30 February can be parsed, but never comes.
        match schedule.after(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err("no such day ever comes".to_owned()),
        }
    }

    /// Returns the first match after `now`. `None` only at the end of the calendar.
    pub fn after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.find_next_occurrence(&now, false).ok()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, now: &str) -> String {
        let now: DateTime<Utc> = now.parse().unwrap();
        let next = Schedule::parse(schedule).unwrap().after(now).unwrap();
        next.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    #[test]
    fn the_next_time_is_later_than_now_and_in_utc() {
        assert_eq!(next("17 3 * * *", "2026-11-24T03:16:59Z"), "2026-11-24T03:17:00Z");
        assert_eq!(next("17 3 * * *", "2026-11-24T03:17:00Z"), "2026-11-25T03:17:00Z");
        // As in crontab(5): 1 is Monday, 0 and 7 are Sunday. 2026-11-24 is a Tuesday.
        assert_eq!(next("0 4 * * 1", "2026-11-24T00:00:00Z"), "2026-11-30T04:00:00Z");
        assert_eq!(next("0 4 * * 7", "2026-11-24T00:00:00Z"), "2026-11-29T04:00:00Z");
        assert_eq!(next("*/2 * * * * *", "2026-11-24T00:00:01Z"), "2026-11-24T00:00:02Z");
    }

    #[test]
    fn what_never_comes_true_is_no_schedule() {
        for wrong in ["", "daily at three", "61 3 * * *", "17 3 * *", "0 0 30 2 *"] {
            assert!(Schedule::parse(wrong).is_err(), "{wrong}");
        }
    }
}
