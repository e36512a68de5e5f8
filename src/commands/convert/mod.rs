//! The command `convert`: what would be sent for a document of MISP, as a STIX bundle.
//!
//! It goes the way of `run`, with no ledger: what was withdrawn before is not known.

mod bundle;
mod gathered;
mod input;
mod notes;
mod skipped;
mod stories;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Arg, Args};

use self::gathered::Gathered;
use self::skipped::SkippedLines;
use super::explain::TellingOptions;
use crate::config::Rules;
use crate::pure::misp;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(mut_args(only_with_explain))]
pub struct ConvertOptions {
    /// The file, or - for standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,

    /// Convert what has expired as well
    #[arg(long)]
    pub no_expiry: bool,

    /// Tell of each attribute what becomes of it and why, in place of the bundle
    #[arg(long)]
    pub explain: bool,

    #[command(flatten)]
    pub telling: TellingOptions,
}

/// Without `--explain` there is no telling to shape.
fn only_with_explain(argument: Arg) -> Arg {
    match argument.get_id().as_str() {
        "json" | "stix" => argument.requires("explain"),
        _ => argument,
    }
}

/// Writes the bundle of the document that `options` names to standard output, and a line of JSON
/// for each attribute or observable that is left out to standard error.
///
/// # Errors
/// The document cannot be read or is none of MISP's: says what was found instead. Also when some of
/// its events cannot be read, after all others are written.
pub fn convert(rules: &Rules, options: &ConvertOptions) -> anyhow::Result<()> {
    let bytes = input::read(&options.file)?;
    let now = chrono::Utc::now().timestamp_millis();
    let mut out = BufWriter::new(io::stdout().lock());
    if options.explain {
        return stories::write(rules, &bytes, now, options.telling, &mut out)
            .or_else(unless_reader_left)
            .and_then(all_read);
    }
    let mut skipped = SkippedLines::new(BufWriter::new(io::stderr().lock()));
    let broken = Preview { rules, now, no_expiry: options.no_expiry }
        .write(&bytes, &mut out, &mut skipped)
        .or_else(unless_reader_left)?;
    all_read(broken)
}

fn all_read(broken: u64) -> anyhow::Result<()> {
    anyhow::ensure!(
        broken == 0,
        "events of the document that cannot be read: {broken} (see above)"
    );
    Ok(())
}

/// Who reads no further, as `head` does, has seen enough.
fn unless_reader_left(error: anyhow::Error) -> anyhow::Result<u64> {
    match error.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        _ => Err(error),
    }
}

/// How a document is converted.
#[derive(Debug)]
struct Preview<'r> {
    rules: &'r Rules,
    /// Unix milliseconds.
    now: i64,
    no_expiry: bool,
}

impl Preview<'_> {
    /// Gives back how many events could not be read.
    fn write(
        &self,
        input: &[u8],
        out: &mut impl Write,
        skipped: &mut SkippedLines<impl Write>,
    ) -> anyhow::Result<u64> {
        let document = input::document(input)?;
        let mut gathered = Gathered::new(self.rules, self.now);
        let mut broken = 0;
        for (position, event) in misp::events(document).context("read the document")?.enumerate() {
            match event {
                Ok(event) => {
                    if let Some(note) = notes::of_event(&event) {
                        skipped.note(&note)?;
                    }
                    gathered.take(&event);
                }
                Err(problem) => {
                    broken += 1;
                    gathered.no_event(position, problem);
                }
            }
        }
        let sent_after = if self.no_expiry { i64::MIN } else { self.now };
        let has_objects = bundle::write(&gathered, sent_after, out, skipped)?;
        if self.rules.has_placeholder_url && has_objects {
            skipped.note(&notes::of_links())?;
        }
        out.flush()?;
        skipped.flush()?;
        Ok(broken)
    }
}
