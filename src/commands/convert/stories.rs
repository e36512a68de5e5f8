//! Implements `convert --explain`: it tells for each attribute of the document what becomes of it and why.

use std::io::{self, Write};

use super::super::explain::TellingOptions;
use super::{LINKS_LEAD_NOWHERE, input};
use crate::config::{self, PLACEHOLDER_URL};
use crate::pure::explain::{DocumentStories, Teller, ViewRules};
use crate::pure::policy::Judge;
use crate::pure::stix::Merger;

/// Writes the story of each attribute. Returns how many events could not be read; standard error names them.
pub(super) fn write(
    rules: &config::Rules,
    bytes: &[u8],
    now: i64,
    telling: TellingOptions,
    out: &mut impl Write,
) -> anyhow::Result<u64> {
    let judge = Judge::new(&rules.policy);
    let merger = Merger::new(&rules.rendering, &judge);
    let mut told = DocumentStories::default();
    let broken = input::each_event(bytes, &mut io::stderr(), |event| match event {
        Ok(event) => {
            told.take(event, &merger);
            Ok(())
        }
        Err(problem) => writeln!(io::stderr(), "{problem}"),
    })?;
    let has_placeholder_url = rules.has_placeholder_url;
    let rules = ViewRules { judge: &judge, merger: &merger, targets: &[], now, stix: telling.stix };
    let mut teller = Teller::new(telling.json);
    let mut shows_links = false;
    for story in told.stories(&[rules]) {
        out.write_all(teller.tell(&story).as_bytes())?;
        let mut views = story.claims.iter().flat_map(|claimed| &claimed.views);
        // Only the STIX of an indicator shows links.
        shows_links |= views.any(|seen| seen.indicator.iter().any(|one| one.stix.is_some()));
    }
    out.flush()?;
    if has_placeholder_url && shows_links {
        writeln!(io::stderr(), "{LINKS_LEAD_NOWHERE}{PLACEHOLDER_URL}")?;
    }
    Ok(broken)
}
