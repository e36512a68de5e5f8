//! Writes times as STIX 2.1 requires (section 3.16, timestamp): in UTC, with milliseconds.

use chrono::{DateTime, Datelike, SecondsFormat, Timelike};

/// Unix milliseconds as `2026-11-24T05:52:01.000Z`. What is outside the calendar's range is clamped
/// to the epoch.
pub fn timestamp(milliseconds: i64) -> String {
    let mut text = String::with_capacity("2026-11-24T05:52:01.000Z".len());
    push_timestamp(&mut text, milliseconds);
    text
}

/// Digit by digit, since chrono's own way is slow and an indicator has four times.
fn push_timestamp(text: &mut String, milliseconds: i64) {
    let time = DateTime::from_timestamp_millis(milliseconds).unwrap_or_default();
    let Ok(year @ 0..=9_999) = u32::try_from(time.year()) else {
        return text.push_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true));
    };
    let (month, day) = (time.month(), time.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    let milli = time.timestamp_subsec_millis();
    let bytes = [
        digit(year / 1_000),
        digit(year / 100),
        digit(year / 10),
        digit(year),
        b'-',
        digit(month / 10),
        digit(month),
        b'-',
        digit(day / 10),
        digit(day),
        b'T',
        digit(hour / 10),
        digit(hour),
        b':',
        digit(minute / 10),
        digit(minute),
        b':',
        digit(second / 10),
        digit(second),
        b'.',
        digit(milli / 100),
        digit(milli / 10),
        digit(milli),
        b'Z',
    ];
    // Digits are ASCII.
    text.push_str(str::from_utf8(&bytes).unwrap_or_default());
}

/// The last digit of a number.
fn digit(number: u32) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or_default()
}

/// Appends `,"key":"timestamp"` to a JSON object under construction.
pub(super) fn push_member(json: &mut String, key: &str, milliseconds: i64) {
    json.push_str(",\"");
    json.push_str(key);
    json.push_str("\":\"");
    push_timestamp(json, milliseconds);
    json.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// chrono writes it so.
        #[test]
        fn a_time_is_written_as_rfc_3339_has_it(milliseconds in any::<i64>(), days in 0_i64..3_000_000) {
            for milliseconds in [milliseconds, days * 86_400_000 + milliseconds % 86_400_000] {
                let time = DateTime::from_timestamp_millis(milliseconds).unwrap_or_default();
                let expected = time.to_rfc3339_opts(SecondsFormat::Millis, true);
                prop_assert_eq!(timestamp(milliseconds), expected);
            }
        }
    }
}
