//! Writes times as STIX 2.1 requires (section 3.16, timestamp): in UTC, with milliseconds.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat};

/// Unix milliseconds as `2026-11-24T05:52:01.000Z`. What is outside the calendar's range is clamped
/// to the epoch.
pub fn timestamp(milliseconds: i64) -> String {
    DateTime::from_timestamp_millis(milliseconds)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Appends `,"key":"timestamp"` to a JSON object under construction.
pub(super) fn push_member(json: &mut String, key: &str, milliseconds: i64) {
    // Writing to a String cannot fail.
    let written = write!(json, ",\"{key}\":\"{}\"", timestamp(milliseconds));
    debug_assert!(written.is_ok());
}
