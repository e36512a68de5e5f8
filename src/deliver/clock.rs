//! Estimates a target's clock from the `Date` headers of its answers. Pure: our own time is an argument.

use std::time::Instant;

/// The clock of a target, as far as it is known: a time that it told, Unix milliseconds, and the instant at
/// which that time came.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TargetClock(Option<(i64, Instant)>);

impl TargetClock {
    /// Notes the time that an answer tells. An answer without a date changes nothing.
    pub(super) fn hear(&mut self, date: Option<i64>, at: Instant) {
        self.0 = date.map(|date| (date, at)).or(self.0);
    }

    /// Returns a time that the target's clock has surely reached. It may show a later one, since an answer takes
    /// time and tells whole seconds.
    pub(super) fn there(&self, at: Instant) -> Option<i64> {
        let (date, came) = self.0?;
        let since = at.saturating_duration_since(came).as_millis();
        Some(date.saturating_add(i64::try_from(since).unwrap_or(i64::MAX)))
    }

    /// Returns the earlier time of our clock and the target's. What is over by it is over by both.
    pub(super) fn earlier(&self, now: i64, at: Instant) -> i64 {
        self.there(at).map_or(now, |there| there.min(now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;

    use super::*;
    use crate::azure::reply::Reply;
    use crate::ledger::Moment;

    /// A server's `Date` at a time of its clock.
    fn told(time: i64) -> Option<i64> {
        let time = DateTime::from_timestamp_millis(time).unwrap();
        date(&time.to_rfc2822())
    }

    fn date(header: &str) -> Option<i64> {
        Some(Reply { date: Some(header.to_owned()), ..Reply::default() }.date()?.timestamp_millis())
    }

    #[test]
    fn an_end_is_over_in_the_very_answer_to_it_at_whatever_part_of_a_second() {
        let noon = 1_795_953_600_000;
        for (first, since) in (0..1_000)
            .step_by(50)
            .flat_map(|one| (0..3_000).step_by(50).map(move |since| (one, since)))
        {
            let at = Instant::now();
            let mut clock = TargetClock::default();
            clock.hear(told(noon + first), at);
            let there = clock.there(at + Duration::from_millis(since)).unwrap();
            // Our clock is an hour ahead.
            let moment = Moment::at_target(noon + 3_600_000, there);
            let answered = told(noon + first + i64::try_from(since).unwrap()).unwrap();
            assert!(moment.over <= answered, "{first} {since}");
        }
    }

    #[test]
    fn a_targets_clock_goes_on_from_its_last_answer() {
        let (mut clock, at) = (TargetClock::default(), Instant::now());
        assert_eq!(clock.there(at), None);
        assert_eq!(clock.earlier(5_000, at), 5_000);
        clock.hear(date("Sun, 29 Nov 2026 12:00:00 GMT"), at);
        let noon = 1_795_953_600_000;
        let later = at + Duration::from_millis(1_500);
        assert_eq!(clock.there(later), Some(noon + 1_500));
        assert_eq!(clock.earlier(noon + 3_600_000, later), noon + 1_500, "ours is ahead");
        assert_eq!(clock.earlier(noon - 3_600_000, later), noon - 3_600_000, "ours is behind");
        clock.hear(None, later);
        assert_eq!(
            clock.there(later),
            Some(noon + 1_500),
            "an answer without a date tells nothing"
        );
        assert_eq!(date("noon"), None);
    }
}
