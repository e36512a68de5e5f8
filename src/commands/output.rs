//! Functions with which commands print text, JSON and progress, and read times. Printing escapes control
//! characters, so that no text from outside can command the terminal.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat};
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};

use super::wrap::wrapped;
use crate::pure::safe;

/// Prints text for people, and escapes whatever a terminal would obey. Lines break between words there.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    write(&fitted(&safe::lines(text)))
}

/// Returns the text as the terminal on standard output shows it without breaking a word.
pub(super) fn fitted(text: &str) -> Cow<'_, str> {
    match width() {
        Some(width) => Cow::Owned(wrapped(text, width)),
        None => Cow::Borrowed(text),
    }
}

/// Prints text that people copy from. No line is broken.
pub(super) fn print_to_copy(text: &str) -> anyhow::Result<()> {
    write(&safe::lines(text))
}

/// Returns the number of columns of the terminal on standard output; `None` if that is no terminal.
pub(super) fn width() -> Option<usize> {
    Term::stdout().size_checked().map(|(_, columns)| columns.into())
}

/// Returns whether the terminal can do nothing but print.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
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

/// Writes a new file that only this user can read.
///
/// # Errors
/// It exists, or cannot be written.
pub(super) fn write_new(file: &Path, text: &str) -> anyhow::Result<()> {
    let shown = file.display();
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut made = made.with_context(|| format!("make {shown}"))?;
    let written = made.write_all(text.as_bytes()).and_then(|()| made.sync_all());
    written.with_context(|| format!("write {shown}"))
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
