//! Prints how long ago something was, in the largest unit that fits. Pure.

use chrono::{DateTime, Utc};

/// Formats a number of seconds in the largest unit that fits.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Formats how long before `now` a time is, e.g. `3 s ago`.
pub fn ago(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ago", age(seconds(now - time)))
}

/// Formats how long after `now` a time is, e.g. `in 3 s`. A time that has passed is `now`.
pub fn ahead(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if time > now { format!("in {}", age(seconds(time - now))) } else { "now".to_owned() }
}

fn seconds(delta: chrono::TimeDelta) -> u64 {
    u64::try_from(delta.num_seconds()).unwrap_or_default()
}
