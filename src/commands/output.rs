//! Functions with which commands print text, JSON and progress. They remove or escape control characters, so
//! that no text from outside can command the terminal.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat};
use indicatif::{ProgressBar, ProgressStyle};

use crate::pure::safe;

/// Prints words for people. Whatever stands in them, they command no terminal.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    write(&safe::lines(text))
}

/// Prints JSON as a line of its own. Whatever stands in it, it commands no terminal.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    write(&format!("{}\n", safe::json(&serde_json::to_string(value)?)))
}

/// Prints a value as JSON for machines, or else in `words` for people.
pub(super) fn print_as<T: serde::Serialize>(
    json: bool,
    value: &T,
    words: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    if json { print_json(value) } else { print(&words(value)) }
}

/// Prints what is fit for a terminal already. A reader that has seen enough, such as `head`, is no
/// error.
pub(super) fn write(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Whether whoever reads standard output has seen enough.
#[must_use]
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A bar on standard error; it is hidden where that is no terminal.
pub(super) fn bar(template: &str) -> ProgressBar {
    let (bar, style) = (ProgressBar::new(0), ProgressStyle::with_template(template));
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// Prints a line on standard error, where a closed one is ignored.
pub(super) fn note(line: &str) {
    writeln!(io::stderr(), "{}", safe::line(line)).ok();
}

/// A time of the ledger (Unix milliseconds) for people.
pub(super) fn time(at: i64) -> String {
    let at = DateTime::from_timestamp_millis(at).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
