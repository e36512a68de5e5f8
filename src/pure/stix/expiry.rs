//! Computes when the validity of a claim begins and ends. Pure, so that the same claim gives the same dates again.

use super::{ExpireFrom, Expiry, Observable};
use crate::pure::convert::ClaimFacts;

const DAY: i64 = 86_400_000;

/// When the relay saw a claim, Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// When it first saw the claim.
    pub claimed_at: i64,
    /// When it first saw the claim with its present timestamp.
    pub heard_at: i64,
}

impl Sight {
    /// The times of a claim that is seen for the first time.
    pub fn first(now: i64) -> Self {
        Self { claimed_at: now, heard_at: now }
    }
}

/// What expiry reads of a claim. Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimTimes {
    /// MISP's timestamp, or the time at which it was heard if that is earlier.
    pub timestamp: i64,
    /// MISP's `first_seen`, or the time at which it was heard if that is earlier.
    pub first_seen: Option<i64>,
    /// As MISP has it. It may be in the future, because some people use it as an end.
    pub last_seen: Option<i64>,
    /// When the relay first saw the claim.
    pub claimed_at: i64,
    /// When it first heard the claim with its present timestamp.
    pub heard_at: i64,
    /// The date of an expiration sighting.
    pub expires_at: Option<i64>,
    /// When the attribute becomes too old to count.
    pub counts_until: Option<i64>,
}

impl ClaimTimes {
    /// The times of a claim's attribute, with those that only the ledger knows.
    ///
    /// A timestamp or `first_seen` in the future is a mistake, or comes from a clock that is ahead. It counts as the
    /// time at which it was heard. So the indicator is valid from then on, and not for longer than it may be.
    pub fn of(facts: &ClaimFacts, sight: Sight, expires_at: Option<i64>) -> Self {
        let heard = |time: i64| time.min(sight.heard_at);
        Self {
            timestamp: heard(facts.timestamp.saturating_mul(1_000)),
            first_seen: facts.first_seen.map(|micros| heard(micros / 1_000)),
            last_seen: facts.last_seen.map(|micros| micros / 1_000),
            claimed_at: sight.claimed_at,
            heard_at: sight.heard_at,
            expires_at,
            counts_until: None,
        }
    }

    /// The same for an attribute that counts only until this time, Unix milliseconds.
    pub fn until(self, counts_until: Option<i64>) -> Self {
        Self { counts_until, ..self }
    }

    /// `first_seen`, or the attribute's timestamp if there is none.
    pub fn valid_from(&self) -> i64 {
        self.first_seen.unwrap_or(self.timestamp)
    }

    /// The end of the validity: the date of an expiration sighting, or else `last_seen` if the settings make it the
    /// end, or else the days of the observable's type. It is never later than the time until which the attribute
    /// counts.
    pub fn valid_until(&self, observable: &Observable, expiry: &Expiry) -> i64 {
        let until = self.holds_until(observable, expiry);
        self.counts_until.map_or(until, |at| until.min(at))
    }

    fn holds_until(&self, observable: &Observable, expiry: &Expiry) -> i64 {
        // A person set this date for this attribute, so it outranks what settings say of its type.
        if let Some(at) = self.expires_at {
            return at;
        }
        if let (true, Some(at)) = (expiry.last_seen_is_expiry, self.last_seen) {
            return at;
        }
        let from = match expiry.from {
            ExpireFrom::Timestamp => self.timestamp,
            // Nobody can have seen it later than now.
            ExpireFrom::LastSeen => {
                self.last_seen.unwrap_or(self.timestamp).min(self.heard_at).max(self.timestamp)
            }
            ExpireFrom::FirstSeenByRelay => self.claimed_at,
        };
        from.saturating_add(i64::from(expiry.days_for(observable)) * DAY)
    }
}

impl Expiry {
    /// Whether the end of an indicator's validity moves on by time alone.
    pub fn renews(&self) -> bool {
        self.renew && self.from == ExpireFrom::FirstSeenByRelay
    }

    /// Returns the time from which the days of a claim are counted at `now`, while MISP still shows it: `claimed_at`,
    /// moved on by the whole half-lives that have passed. So at least half of the life is left.
    pub fn renewed(&self, times: &ClaimTimes, observable: &Observable, now: i64) -> i64 {
        let ends_otherwise =
            times.expires_at.is_some() || (self.last_seen_is_expiry && times.last_seen.is_some());
        let half = i64::from(self.days_for(observable)).saturating_mul(DAY) / 2;
        if !self.renews() || ends_otherwise || half == 0 {
            return times.claimed_at;
        }
        // Whole halves from a fixed point, so that the end is the same whenever this is asked within one half.
        let halves = now.saturating_sub(times.claimed_at).max(0) / half;
        times.claimed_at.saturating_add(halves.saturating_mul(half))
    }

    /// Days for the whole path (`file:hashes.MD5`), else for the object type (`file`), else the
    /// default.
    pub fn days_for(&self, observable: &Observable) -> u32 {
        let kind = observable.path.split(':').next().unwrap_or_default();
        let days = self.days.get(observable.path.as_ref()).or_else(|| self.days.get(kind));
        days.copied().unwrap_or(self.default_days)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn expiry(from: ExpireFrom) -> Expiry {
        Expiry {
            default_days: 50,
            days: BTreeMap::from([("ipv4-addr".into(), 150)]),
            from,
            last_seen_is_expiry: false,
            renew: false,
        }
    }

    const TIMES: ClaimTimes = ClaimTimes {
        timestamp: 1_000 * DAY,
        first_seen: Some(900 * DAY),
        last_seen: Some(950 * DAY),
        claimed_at: 1_010 * DAY,
        heard_at: 1_010 * DAY,
        expires_at: None,
        counts_until: None,
    };

    #[test]
    fn days_of_the_type_are_counted_from_where_the_operator_says() {
        let address = Observable::new("ipv4-addr:value", "198.51.100.7");
        let url = Observable::new("url:value", "http://evil.example/");
        let until = |observable, from| TIMES.valid_until(observable, &expiry(from));
        assert_eq!(until(&address, ExpireFrom::Timestamp), 1_150 * DAY);
        assert_eq!(until(&url, ExpireFrom::Timestamp), 1_050 * DAY);
        assert_eq!(until(&url, ExpireFrom::FirstSeenByRelay), 1_060 * DAY);
    }

    #[test]
    fn an_old_last_seen_does_not_shorten_life_unless_asked_to() {
        let url = Observable::new("url:value", "http://evil.example/");
        assert_eq!(TIMES.valid_until(&url, &expiry(ExpireFrom::LastSeen)), 1_050 * DAY);
        let ends = Expiry { last_seen_is_expiry: true, ..expiry(ExpireFrom::Timestamp) };
        assert_eq!(TIMES.valid_until(&url, &ends), 950 * DAY);
    }

    #[test]
    fn at_half_life_a_claim_is_renewed_by_whole_steps() {
        let url = Observable::new("url:value", "http://evil.example/");
        let renewing = Expiry { renew: true, ..expiry(ExpireFrom::FirstSeenByRelay) };
        // 50 days from day 1,010.
        for (day, from) in
            [(1_010, 1_010), (1_034, 1_010), (1_035, 1_035), (1_160, 1_160), (1_184, 1_160)]
        {
            assert_eq!(renewing.renewed(&TIMES, &url, day * DAY), from * DAY, "day {day}");
            let step = ClaimTimes { claimed_at: from * DAY, ..TIMES };
            assert_eq!(renewing.renewed(&step, &url, day * DAY), from * DAY, "day {day} again");
        }
        let sighted = ClaimTimes { expires_at: Some(1_020 * DAY), ..TIMES };
        assert_eq!(renewing.renewed(&sighted, &url, 2_000 * DAY), TIMES.claimed_at);
        let other = Expiry { from: ExpireFrom::Timestamp, ..renewing.clone() };
        assert_eq!(other.renewed(&TIMES, &url, 2_000 * DAY), TIMES.claimed_at);
        let ends = Expiry { last_seen_is_expiry: true, ..renewing };
        assert_eq!(ends.renewed(&TIMES, &url, 2_000 * DAY), TIMES.claimed_at);
    }

    #[test]
    fn what_is_said_of_the_future_counts_from_when_it_was_heard() {
        let url = Observable::new("url:value", "http://evil.example/");
        let heard_at = 1_000 * DAY;
        let sight = Sight { claimed_at: 10 * DAY, heard_at };
        let (past, soon, far) = (900 * DAY, heard_at + DAY / 24, 13_000 * DAY);
        for (timestamp, first_seen, from, until) in [
            (past, Some(past - DAY), past - DAY, past + 50 * DAY),
            (past, Some(soon), heard_at, past + 50 * DAY),
            (past, Some(far), heard_at, past + 50 * DAY),
            (soon, None, heard_at, heard_at + 50 * DAY),
            (far, None, heard_at, heard_at + 50 * DAY),
            (far, Some(past), past, heard_at + 50 * DAY),
        ] {
            let facts = ClaimFacts {
                timestamp: timestamp / 1_000,
                first_seen: first_seen.map(|time| time * 1_000),
                ..ClaimFacts::default()
            };
            let times = ClaimTimes::of(&facts, sight, None);
            assert_eq!(times.valid_from(), from, "{timestamp} {first_seen:?}");
            let expiry = expiry(ExpireFrom::Timestamp);
            assert_eq!(times.valid_until(&url, &expiry), until, "{timestamp} {first_seen:?}");
        }
    }

    #[test]
    fn a_last_seen_in_the_future_extends_no_life_and_ends_it_where_it_is_an_end() {
        let url = Observable::new("url:value", "http://evil.example/");
        let sight = Sight { claimed_at: 10 * DAY, heard_at: 1_000 * DAY };
        let seen = |at: i64| {
            let facts = ClaimFacts {
                timestamp: 990 * DAY / 1_000,
                last_seen: Some(at * 1_000),
                ..ClaimFacts::default()
            };
            ClaimTimes::of(&facts, sight, None)
        };
        let days = expiry(ExpireFrom::LastSeen);
        for (at, from) in [(980, 990), (995, 995), (1_000, 1_000), (1_001, 1_000), (9_000, 1_000)] {
            assert_eq!(seen(at * DAY).valid_until(&url, &days), (from + 50) * DAY, "{at}");
        }
        let ends = Expiry { last_seen_is_expiry: true, ..days };
        assert_eq!(seen(9_000 * DAY).valid_until(&url, &ends), 9_000 * DAY);
    }

    #[test]
    fn no_life_is_longer_than_the_attribute_counts() {
        let url = Observable::new("url:value", "http://evil.example/");
        let days = expiry(ExpireFrom::Timestamp);
        for (until, end) in [(None, 1_050), (Some(1_020), 1_020), (Some(1_060), 1_050)] {
            let times = TIMES.until(until.map(|day| day * DAY));
            assert_eq!(times.valid_until(&url, &days), end * DAY, "{until:?}");
        }
    }

    #[test]
    fn an_expiration_sighting_outranks_everything() {
        let url = Observable::new("url:value", "http://evil.example/");
        let sighted = ClaimTimes { expires_at: Some(1_001 * DAY), ..TIMES };
        assert_eq!(sighted.valid_until(&url, &expiry(ExpireFrom::Timestamp)), 1_001 * DAY);
    }
}
