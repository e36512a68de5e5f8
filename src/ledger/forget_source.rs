//! Forgets a source that is no longer read. It does so only on command: until then its claims stand, and what they
//! forbid stays forbidden.

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::copies;
use super::owner::Unit;
use super::refresh::refresh_with_copies;
use super::sql::Result;
use super::tables::keys::EventKey;
use super::tables::{events, of_source};
use super::{Ledger, Views, sources, withdraw};

/// What became of forgetting a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum ForgottenSource {
    /// It is read.
    Configured,
    /// The ledger holds nothing of it; these are the ones that could be forgotten.
    Unknown { absent: Vec<String> },
    /// Done; so many events were forgotten, and so many objects withdrawn in all views.
    Done { events: usize, withdrawn: usize },
}

/// Events in a transaction.
const STEP: i64 = 20;

/// What a step did.
#[derive(Debug, Default)]
struct Step {
    events: usize,
    withdrawn: usize,
    done: bool,
}

impl Ledger {
    /// Forgets a source that is none of those `configured`: its claims end, and indicators that nothing else claims are
    /// withdrawn. What a crash leaves is forgotten by the next call.
    pub async fn forget_source(
        &self,
        views: &Views,
        source: &str,
        configured: &[String],
    ) -> Result<ForgottenSource> {
        if configured.iter().any(|name| name == source) {
            return Ok(ForgottenSource::Configured);
        }
        // Also one whose events are all gone: a crash may have left the rest of it.
        let mut held = self.held_sources().await?;
        held.extend(self.known_sources().await?);
        held.sort_unstable();
        held.dedup();
        if !held.iter().any(|name| name == source) {
            let absent = held.into_iter().filter(|name| !configured.contains(name)).collect();
            return Ok(ForgottenSource::Unknown { absent });
        }
        let (mut events, mut withdrawn) = (0, 0);
        loop {
            let (views, name) = (views.clone(), source.to_owned());
            let step = self.write_step(move |unit| forget_some(unit, &views, &name)).await?;
            events += step.events;
            withdrawn += step.withdrawn;
            if step.done {
                self.forget_warninglists(source).await?;
                return Ok(ForgottenSource::Done { events, withdrawn });
            }
        }
    }

    /// The sources of which the ledger holds anything, in the order of their names.
    async fn held_sources(&self) -> Result<Vec<String>> {
        let mut held = self.read_counts(events::by_source).await?;
        let mut names: Vec<String> = held.drain(..).map(|held| held.source).collect();
        names.extend(self.waiting_reads().await?.into_iter().map(|reads| reads.source));
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }
}

fn forget_some(unit: &Unit<'_>, views: &Views, source: &str) -> Result<Step> {
    let mut change = Change::new(views, None, Ledger::now());
    let mut step = Step::default();
    let events = of_source::events(unit, source, STEP)?;
    step.done = events.is_empty();
    for event in events {
        let event = EventKey::new(source, event);
        copies::let_go(unit, event, |_| true, i64::MAX, &mut change)?;
        if withdraw::end_claims(unit, event, &mut change)? {
            // A large event takes a step of its own.
            break;
        }
        of_source::delete_event(unit, event)?;
        step.events += 1;
    }
    if step.done {
        // What it said of attributes decides on their copies in other sources too.
        let attributes = of_source::attributes(unit, source)?;
        of_source::delete_rest(unit, source)?;
        let attributes = attributes.into_iter();
        refresh_with_copies(unit, source, Vec::new(), attributes, &mut change)?;
        sources::forget(unit, source)?;
    }
    step.withdrawn = change.withdrawn;
    unit.wake(&change);
    Ok(step)
}
