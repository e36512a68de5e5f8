//! Parsers for options that several commands have.

/// Parses a time of at least a second: our times are in milliseconds, but MISP's are in seconds.
pub(super) fn some_time(text: &str) -> Result<humantime::Duration, String> {
    let time: humantime::Duration =
        text.parse().map_err(|error: humantime::DurationError| error.to_string())?;
    if time.as_secs() == 0 { Err("it must be at least 1s".to_owned()) } else { Ok(time) }
}
