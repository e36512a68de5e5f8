//! `convert --explain`: what becomes of each attribute of the document.

use std::io::Write;

use anyhow::Context;

use super::input;
use crate::cli::TellingOptions;
use crate::config;
use crate::explain::{Rules, Teller, Told};
use crate::misp;
use crate::policy::Judge;
use crate::stix::Merger;

/// Gives back how many events could not be read; standard error names them.
pub(super) fn write(
    rules: &config::Rules,
    (bytes, now): (&[u8], i64),
    telling: TellingOptions,
    out: &mut impl Write,
) -> anyhow::Result<u64> {
    let document = input::document(bytes)?;
    let judge = Judge::new(&rules.policy);
    let merger = Merger::new(&rules.rendering, &judge);
    let mut told = Told::default();
    let mut broken = 0;
    for (position, event) in misp::events(document).context("read the document")?.enumerate() {
        match event {
            Ok(event) => told.take(&event, &merger),
            Err(problem) => {
                broken += 1;
                let number = position + 1;
                writeln!(std::io::stderr(), "event {number} of the document: {problem}")?;
            }
        }
    }
    let rules = Rules { judge: &judge, merger: &merger, targets: &[], now, stix: telling.stix };
    let mut teller = Teller::new(telling.json);
    for story in told.stories(&[rules]) {
        out.write_all(teller.tell(&story).as_bytes())?;
    }
    out.flush()?;
    Ok(broken)
}
