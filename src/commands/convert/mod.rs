//! The command `convert` prints what the relay would send for a document of MISP, as a STIX bundle. It uses
//! the same code as `run`, but has no ledger, so it does not know what was withdrawn before.

mod bundle;
mod gathered;
mod input;
mod skipped;
mod stories;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::ensure;
use clap::{Arg, Args};

use self::gathered::Gathered;
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

    #[command(flatten)]
    pub telling: TellingOptions,
}

const LINKS_LEAD_NOWHERE: &str =
    "note: neither misp.public_url nor misp.url is set: links to MISP begin with the placeholder ";

/// Makes `--json` and `--stix` require `--explain`, whose output they shape.
fn only_with_explain(argument: Arg) -> Arg {
    match argument.get_id().as_str() {
        "json" | "stix" => argument.requires("explain"),
        _ => argument,
    }
}

/// Writes the bundle of the document that `options` names to standard output. Writes a line of JSON for each
/// attribute or observable that is left out to standard error.
///
/// # Errors
/// The document cannot be read or is not MISP's; the error says what was found instead. Also if some of its
/// events cannot be read, after all others are written.
pub fn convert(rules: &Rules, options: &ConvertOptions) -> anyhow::Result<()> {
    let bytes = input::read(&options.file)?;
    let now = chrono::Utc::now().timestamp_millis();
    let mut out = BufWriter::new(io::stdout().lock());
    let broken = if options.explain {
        stories::write(rules, &bytes, now, options.telling, &mut out)?
    } else {
        // Every indicator is valid after the least of all times.
        let sent_after = if options.no_expiry { i64::MIN } else { now };
        write_bundle(Gathered::new(rules, now), rules, &bytes, sent_after, &mut out)?
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
    let has_objects = bundle::write(&gathered, sent_after, out, &mut skipped)?;
    if rules.has_placeholder_url && has_objects {
        writeln!(skipped, "{LINKS_LEAD_NOWHERE}{PLACEHOLDER_URL}")?;
    }
    out.flush()?;
    skipped.flush()?;
    Ok(broken)
}
