//! `first_seen` and `last_seen`: ISO 8601 with microseconds and zone, or a number.

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Numbers below it are seconds (they reach the year 5138), others microseconds (from January 2, 1970
/// on).
const FIRST_MICROSECONDS: u64 = 100_000_000_000;

/// A moment in Unix microseconds. What cannot be read is `None`: a moment that nobody can read must
/// not cost the indicator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moment(pub(super) Option<i64>);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MomentVisitor).map(Moment)
    }
}

struct MomentVisitor;

impl<'de> Visitor<'de> for MomentVisitor {
    type Value = Option<i64>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a moment")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(micros(text))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(from_number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).ok().and_then(from_number))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// Unix microseconds of MISP's spelling of a moment: `2026-10-01T10:34:56.123456+00:00`, with a zone
/// without a colon, without a zone (UTC), a date, or digits.
fn micros(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(number) = text.parse() {
        return from_number(number);
    }
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .map(|moment| moment.timestamp_micros())
        .or_else(|_| without_zone(text).map(|moment| moment.and_utc().timestamp_micros()))
        .ok()
}

fn without_zone(text: &str) -> chrono::ParseResult<NaiveDateTime> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f"))
        .or_else(|_| text.parse::<NaiveDate>().map(|date| date.and_time(chrono::NaiveTime::MIN)))
}

fn from_number(number: i64) -> Option<i64> {
    if number.unsigned_abs() < FIRST_MICROSECONDS {
        return number.checked_mul(1_000_000);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::micros;

    #[test]
    fn a_moment_is_read_in_every_spelling_of_misp() {
        let expected = 1_790_850_896_123_456;
        for text in [
            "2026-10-01T10:34:56.123456+00:00",
            "2026-10-01T10:34:56.123456Z",
            "2026-10-01T12:34:56.123456+02:00",
            "2026-10-01T12:34:56.123456+0200",
            "2026-10-01T10:34:56.123456",
            "2026-10-01 10:34:56.123456",
            "1790850896123456",
        ] {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
        assert_eq!(micros("1790850896"), Some(1_790_850_896_000_000));
        assert_eq!(micros("2026-10-01"), Some(1_790_812_800_000_000));
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in ["", "yesterday", "2026-13-01T00:00:00Z", "0000-00-00"] {
            assert_eq!(micros(text), None, "{text}");
        }
    }
}
