//! Functions with which commands print text, JSON and progress, and read times. Printing escapes control
//! characters, so that no text from outside can command the terminal.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat};
use indicatif::{ProgressBar, ProgressStyle};

use crate::pure::safe;

/// Prints text for people, and escapes whatever a terminal would obey.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    write(&safe::lines(text))
}

/// Prints JSON as one line, and escapes whatever a terminal would obey.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    write(&format!("{}\n", safe::json(&serde_json::to_string(value)?)))
}

/// Prints a value as JSON for machines, or as text for people, which `words` makes.
pub(super) fn print_as<T: serde::Serialize>(
    json: bool,
    value: &T,
    words: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    if json { print_json(value) } else { print(&words(value)) }
}

/// Prints text that is already safe for a terminal. It is no error if the reader has closed standard output
/// early, as `head` does.
pub(super) fn write(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    // Rust ignores SIGPIPE, so a closed pipe is an error here and must be told from the others.
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Returns whether the reader of standard output closed it early.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Makes a progress bar on standard error. It is hidden if that is no terminal.
pub(super) fn bar(template: &str) -> ProgressBar {
    let (bar, style) = (ProgressBar::new(0), ProgressStyle::with_template(template));
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// Prints a line on standard error. A closed standard error is ignored.
pub(super) fn note(line: &str) {
    writeln!(io::stderr(), "{}", safe::line(line)).ok();
}

/// Formats a time of the ledger (Unix milliseconds) for people.
pub(super) fn time(at: i64) -> String {
    let at = DateTime::from_timestamp_millis(at).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Parses a time of at least a second: our times are in milliseconds, but MISP's are in seconds.
pub(super) fn some_time(text: &str) -> Result<humantime::Duration, String> {
    let time: humantime::Duration =
        text.parse().map_err(|error: humantime::DurationError| error.to_string())?;
    if time.as_secs() == 0 { Err("it must be at least 1s".to_owned()) } else { Ok(time) }
}
