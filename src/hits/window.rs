//! Which time a query looks at.

use chrono::{DateTime, TimeDelta, Utc};

use std::time::Duration;

use crate::azure::logs::{LogsTable, Span};

/// How far a query looks back behind the cursor: an alert may show late, and hits count once however often they come.
const OVERLAP: TimeDelta = TimeDelta::hours(1);

/// How far the first query looks back.
const FIRST: TimeDelta = TimeDelta::days(1);

/// How far a query ever looks back, after a relay that was off for long.
const LONGEST: TimeDelta = TimeDelta::days(30);

/// The time that is asked for next. `None`: no alert shows by now that was not asked for.
pub(super) fn next(
    cursor: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    delay: Duration,
) -> Option<Span> {
    let until = now - TimeDelta::from_std(delay).unwrap_or(FIRST);
    let Some(cursor) = cursor else { return Some(Span { after: until - FIRST, until }) };
    let after = (cursor - OVERLAP).max(until - LONGEST);
    (cursor < until).then_some(Span { after, until })
}

/// The time of the last row of an answer that has as many rows as it may have. What comes later was left out, perhaps
/// with rows of the same moment, so that moment is asked for again. The overlap must not hold it there for ever.
pub(super) fn last_row(table: &LogsTable, span: Span) -> DateTime<Utc> {
    let last = table.rows.last().and_then(|row| table.text(row, "TimeGenerated"));
    let last = last.and_then(|text| text.parse::<DateTime<Utc>>().ok());
    let least = span.after + OVERLAP + TimeDelta::milliseconds(1);
    let last = last.unwrap_or(span.until) + OVERLAP - TimeDelta::milliseconds(1);
    last.clamp(least.min(span.until), span.until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_500_000 + minute * 60, 0).unwrap()
    }

    const DELAY: Duration = Duration::from_secs(600);

    #[test]
    fn what_may_show_late_is_asked_for_again() {
        let span = next(Some(at(0)), at(25), DELAY).unwrap();
        assert_eq!((span.after, span.until), (at(-60), at(15)));
    }

    #[test]
    fn the_first_query_looks_back_a_day_and_none_more_than_a_month() {
        assert_eq!(next(None, at(10), DELAY).unwrap().after, at(-24 * 60));
        let after_a_year = next(Some(at(0)), at(365 * 24 * 60), DELAY).unwrap();
        assert_eq!(after_a_year.after, after_a_year.until - LONGEST);
    }

    #[test]
    fn nothing_is_asked_before_its_time_or_if_the_clock_went_back() {
        assert_eq!(next(Some(at(0)), at(10), DELAY), None);
        assert_eq!(next(Some(at(0)), at(-100), DELAY), None);
    }

    #[test]
    fn a_full_answer_goes_on_with_its_last_row() {
        let span = Span { after: at(-60), until: at(600) };
        let table = |time: &str| LogsTable {
            columns: vec!["TimeGenerated".to_owned()],
            rows: vec![vec![time.into()]],
        };
        let reached = last_row(&table("2026-11-24T09:00:00Z"), span);
        let again = next(Some(reached), at(700), DELAY).unwrap();
        let last: DateTime<Utc> = "2026-11-24T09:00:00Z".parse().unwrap();
        assert_eq!(again.after, last.max(span.after) - TimeDelta::milliseconds(1));
        // A full answer of one moment moves the cursor all the same.
        for time in ["2020-01-01T00:00:00Z", "no time"] {
            let reached = last_row(&table(time), span);
            assert!(reached > span.after + OVERLAP, "{time}");
        }
    }
}
