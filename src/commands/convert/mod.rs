//! The command `convert` prints what the relay would send for a document of MISP, as a STIX bundle. It uses
//! the same code as `run`, but has no ledger, so it does not know what was withdrawn before.

mod bundle;
mod gathered;
mod input;
mod skipped;
mod stories;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::ensure;
use clap::{Arg, Args};

use self::gathered::Gathered;
use self::skipped::Summary;
use super::explain::TellingOptions;
use crate::config::{PLACEHOLDER_URL, Rules};

#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(mut_args(only_with_explain))]
pub struct ConvertOptions {
    /// The file, or - for standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,

    /// Convert what has expired as well
    #[arg(long)]
    pub no_expiry: bool,

    /// Show what becomes of each attribute and why, instead of the bundle
    #[arg(long)]
    pub explain: bool,

    /// On a terminal, show each attribute that is left out instead of a table of the reasons
    #[arg(long, conflicts_with = "explain")]
    pub skipped: bool,

    #[command(flatten)]
    pub telling: TellingOptions,
}

/// Bytes of the bundle that are written at once.
const OUTPUT_BUFFER: usize = 64 << 10;

const LINKS_LEAD_NOWHERE: &str =
    "note: neither misp.public_url nor misp.url is set: links to MISP begin with the placeholder ";

/// Makes `--json` and `--stix` require `--explain`, whose output they shape.
fn only_with_explain(argument: Arg) -> Arg {
    match argument.get_id().as_str() {
        "json" | "stix" => argument.requires("explain"),
        _ => argument,
    }
}

/// Writes the bundle of the document that `options` names to standard output. Writes what is left out to
/// standard error: a line of JSON for each attribute or observable, or a table of the reasons on a terminal.
///
/// # Errors
/// The document cannot be read or is not MISP's; the error says what was found instead. Also if some of its
/// events cannot be read, after all others are written.
pub fn convert(rules: &Rules, options: &ConvertOptions) -> anyhow::Result<()> {
    let bytes = input::read(&options.file)?;
    let now = chrono::Utc::now().timestamp_millis();
    let mut out = BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout().lock());
    let broken = if options.explain {
        stories::write(rules, &bytes, now, options.telling, &mut out)?
    } else {
        // Every indicator is valid after the least of all times.
        let sent_after = if options.no_expiry { i64::MIN } else { now };
        let gathered = Gathered::new(rules, now);
        let is_summary = io::stderr().is_terminal() && !options.skipped;
        write_bundle(gathered, rules, &bytes, sent_after, is_summary, &mut out)?
    };
    ensure!(broken == 0, "events of the document that cannot be read: {broken} (see above)");
    Ok(())
}

/// Writes the bundle. Returns how many events could not be read.
fn write_bundle<'d>(
    mut gathered: Gathered<'d>,
    rules: &Rules,
    bytes: &'d [u8],
    sent_after: i64,
    is_summary: bool,
    out: &mut impl Write,
) -> anyhow::Result<u64> {
    let mut skipped = BufWriter::new(io::stderr().lock());
    let broken = input::each_event(bytes, &mut skipped, |event| {
        match event {
            Ok(event) => gathered.take(event),
            Err(problem) => gathered.no_event(problem),
        }
        Ok(())
    })?;
    let written = bundle::write(&gathered, sent_after, out)?;
    // The table stands below the bundle.
    out.flush()?;
    if is_summary {
        let mut summary = Summary::default();
        gathered.each_left_out(&written.left_out, |line| summary.add(line, &mut skipped))?;
        write!(skipped, "{summary}")?;
    } else {
        gathered.each_left_out(&written.left_out, |line| line.write(&mut skipped))?;
    }
    if rules.has_placeholder_url && written.has_objects {
        writeln!(skipped, "{LINKS_LEAD_NOWHERE}{PLACEHOLDER_URL}")?;
    }
    skipped.flush()?;
    Ok(broken)
}
