//! Parses `first_seen` and `last_seen`, which MISP writes as ISO 8601 with microseconds and zone, or as a
//! number. A time that cannot be read counts as missing, so that it does not cost the indicator.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::lenient::Text;

/// Numbers below it are seconds (they reach the year 5138), others microseconds (from January 2, 1970
/// on).
const FIRST_MICROSECONDS: u64 = 100_000_000_000;

/// A moment in Unix microseconds. What cannot be read is `None`: a moment that nobody can read must
/// not cost the indicator.
pub(super) fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let raw: &'de RawValue = Deserialize::deserialize(deserializer)?;
    let json = raw.get();
    if json == "null" {
        return Ok(None);
    }
    let text = if json.starts_with('"') {
        serde_json::from_str(json).map(|Text(text)| text).unwrap_or_default()
    } else {
        Cow::Borrowed(json)
    };
    Ok(micros(&text))
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
    use super::*;

    /// What a field that holds this JSON says.
    fn of(json: &str) -> Option<i64> {
        moment(&mut serde_json::Deserializer::from_str(json)).unwrap()
    }

    #[test]
    fn a_moment_is_read_in_every_spelling_of_misp() {
        for json in [
            r#""2026-10-01T10:34:56.123456+00:00""#,
            r#""2026-10-01T10:34:56.123456\u002b00:00""#,
            r#""2026-10-01T10:34:56.123456Z""#,
            r#""2026-10-01T12:34:56.123456+02:00""#,
            r#""2026-10-01T12:34:56.123456+0200""#,
            r#""2026-10-01T10:34:56.123456""#,
            r#"" 2026-10-01 10:34:56.123456 ""#,
            r#""1790850896123456""#,
            "1790850896123456",
        ] {
            assert_eq!(of(json), Some(1_790_850_896_123_456), "{json}");
        }
        for json in ["1790850896", r#""1790850896""#] {
            assert_eq!(of(json), Some(1_790_850_896_000_000), "{json}");
        }
        assert_eq!(of(r#""2026-10-01""#), Some(1_790_812_800_000_000));
        // Before 1970.
        assert_eq!(of("-1"), Some(-1_000_000));
    }

    #[test]
    fn numbers_are_seconds_up_to_the_year_5138() {
        assert_eq!(of("99999999999"), Some(99_999_999_999_000_000));
        assert_eq!(of("100000000000"), Some(100_000_000_000));
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for json in [
            r#""""#,
            r#""yesterday""#,
            r#""2026-13-01T00:00:00Z""#,
            r#""0000-00-00""#,
            r#""\ud800""#,
            "null",
            "true",
            "1.5",
            "18446744073709551615",
            "[1]",
            r#"{"a":1}"#,
        ] {
            assert_eq!(of(json), None, "{json}");
        }
    }
}
