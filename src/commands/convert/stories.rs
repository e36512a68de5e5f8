//! `convert --explain`: what becomes of each attribute of the document.

use std::io::Write;

use anyhow::Context;

use super::super::explain::TellingOptions;
use super::{input, notes};
use crate::config;
use crate::pure::explain::{DocumentStories, Teller, ViewRules};
use crate::pure::misp;
use crate::pure::policy::Judge;
use crate::pure::stix::Merger;

/// Gives back how many events could not be read; standard error names them.
pub(super) fn write(
    rules: &config::Rules,
    bytes: &[u8],
    now: i64,
    telling: TellingOptions,
    out: &mut impl Write,
) -> anyhow::Result<u64> {
    let document = input::document(bytes)?;
    let judge = Judge::new(&rules.policy);
    let merger = Merger::new(&rules.rendering, &judge);
    let mut told = DocumentStories::default();
    let mut broken = 0;
    for (position, event) in misp::events(document).context("read the document")?.enumerate() {
        match event {
            Ok(event) => {
                if let Some(note) = notes::of_event(&event) {
                    writeln!(std::io::stderr(), "note: {note}")?;
                }
                told.take(&event, &merger);
            }
            Err(problem) => {
                broken += 1;
                let number = position + 1;
                writeln!(std::io::stderr(), "event {number} of the document: {problem}")?;
            }
        }
    }
    let has_placeholder_url = rules.has_placeholder_url;
    let rules = ViewRules { judge: &judge, merger: &merger, targets: &[], now, stix: telling.stix };
    let mut teller = Teller::new(telling.json);
    let mut shows_links = false;
    for story in told.stories(&[rules]) {
        out.write_all(teller.tell(&story).as_bytes())?;
        let mut views = story.claims.iter().flat_map(|claimed| &claimed.views);
        shows_links |= views.any(|seen| seen.indicator.iter().any(|one| one.stix.is_some()));
    }
    out.flush()?;
    if has_placeholder_url && shows_links {
        writeln!(std::io::stderr(), "note: {}", notes::of_links())?;
    }
    Ok(broken)
}
