//! Parsers for options that several commands have.

/// A time that is not over at once: times are kept in milliseconds, and MISP's in seconds.
pub(super) fn some_time(text: &str) -> Result<humantime::Duration, String> {
    let time: humantime::Duration =
        text.parse().map_err(|error: humantime::DurationError| error.to_string())?;
    if time.as_secs() == 0 { Err("it must be at least 1s".to_owned()) } else { Ok(time) }
}
