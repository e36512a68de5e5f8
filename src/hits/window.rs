//! Which time a query looks at.

use chrono::{DateTime, TimeDelta, Utc};

use std::time::Duration;

use crate::azure::logs::Span;

/// How far a query looks back behind the cursor: an alert may show late, and hits count once however often they come.
const OVERLAP: TimeDelta = TimeDelta::hours(1);

/// How far the first query looks back.
const FIRST: TimeDelta = TimeDelta::days(1);

/// How far a query ever looks back, after a relay that was off for long.
const LONGEST: TimeDelta = TimeDelta::days(30);

/// The shortest time that is asked for by itself.
const SHORTEST: TimeDelta = TimeDelta::seconds(1);

/// The time that is asked for next. A cursor beyond it is of a clock that was ahead. What it passed over is not known, so
/// the longest time is read again: hits count once.
pub(super) fn next(
    cursor: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    delay: Duration,
) -> Option<Span> {
    let until = now - TimeDelta::from_std(delay).unwrap_or(FIRST);
    let after = match cursor {
        Some(cursor) if cursor == until => return None,
        Some(cursor) if cursor < until => (cursor - OVERLAP).max(until - LONGEST),
        Some(_) => until - LONGEST,
        None => until - FIRST,
    };
    Some(Span { after, until })
}

/// The first half of a time, where it can be halved: an answer may be too large.
pub(super) fn half(span: Span) -> Option<Span> {
    let length = (span.until - span.after) / 2;
    (length >= SHORTEST).then(|| Span { until: span.after + length, ..span })
}

/// The cursor once alerts were read until `until`, a part of `span`. What lies in the overlap does not set it back.
pub(super) fn reached(
    cursor: Option<DateTime<Utc>>,
    until: DateTime<Utc>,
    span: Span,
) -> DateTime<Utc> {
    cursor.filter(|cursor| *cursor <= span.until).map_or(until, |cursor| cursor.max(until))
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
        assert_eq!(next(Some(at(15)), at(25), DELAY), None, "all that shows was asked for");
    }

    #[test]
    fn the_first_query_looks_back_a_day_and_none_more_than_a_month() {
        assert_eq!(next(None, at(10), DELAY).unwrap().after, at(-24 * 60));
        let after_a_year = next(Some(at(0)), at(365 * 24 * 60), DELAY).unwrap();
        assert_eq!(after_a_year.after, after_a_year.until - LONGEST);
    }

    #[test]
    fn after_a_clock_that_was_ahead_a_month_is_read_again_and_the_cursor_is_right() {
        let ahead = Some(at(365 * 24 * 60));
        let span = next(ahead, at(10), DELAY).unwrap();
        assert_eq!((span.after, span.until), (at(-30 * 24 * 60), at(0)));
        assert_eq!(reached(ahead, span.until, span), at(0));
    }

    #[test]
    fn a_part_of_the_overlap_does_not_set_the_cursor_back() {
        let span = Span { after: at(0), until: at(100) };
        let first = half(span).unwrap();
        assert_eq!(first, Span { after: at(0), until: at(50) });
        assert_eq!(reached(Some(at(60)), first.until, span), at(60));
        assert_eq!(reached(Some(at(60)), span.until, span), at(100));
        let second = at(0) + TimeDelta::seconds(1);
        assert_eq!(half(Span { after: at(0), until: second }), None);
    }
}
