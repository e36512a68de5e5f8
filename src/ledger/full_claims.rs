//! Reads claims with everything that policy judges: the facts of the attribute, and what the ledger knows about it
//! besides (sightings, scores, warninglists, suppressions).

use std::collections::HashMap;

use uuid::Uuid;

use super::elsewhere::{Elsewhere, Statements};
use super::sources::Sources;
use super::sql::{Result, Transaction};
use super::tables::claims::{self, Beside, ClaimRow, StoredClaim};
use super::tables::events;
use super::tables::keys::EventKey;
use super::warninglists::AllLists;
use super::{View, Views};
use crate::pure::convert::{ClaimFacts, EventFacts};
use crate::pure::policy::{SideFacts, Tlp};
use crate::pure::stix::{self, ClaimSource, CopyElsewhere, KnownClaim};

/// A claim, with everything except its event's facts that decides whether it counts.
#[derive(Debug)]
pub(super) struct FullClaim {
    pub row: ClaimRow,
    /// `None`: unreadable, and not admitted.
    pub facts: Option<ClaimFacts>,
    pub side_facts: SideFacts,
    pub elsewhere: Elsewhere,
}

impl FullClaim {
    pub(super) fn new(row: ClaimRow, facts: Option<ClaimFacts>, lists: &AllLists) -> Self {
        let warned = facts.as_ref().map(|facts| lists.warned(&row.source, facts, &row.observable));
        let warned = warned.unwrap_or_default();
        let Beside { suppressed, false_positives, decay, .. } = row.beside;
        let side_facts =
            SideFacts { suppressed, false_positives, warned, decay, ..SideFacts::default() };
        Self { row, facts, side_facts, elsewhere: Elsewhere::default() }
    }

    pub(super) fn stored(stored: StoredClaim, lists: &AllLists) -> Self {
        let facts = stored.facts.read().ok();
        Self::new(stored.row, facts, lists)
    }

    /// The strictest level that a tag of the attribute or of its event says, in any source. What cannot be read is red.
    pub(super) fn level(&self, view: &View, events: &KnownEvents) -> Tlp {
        let Some((facts, event)) = self.facts.as_ref().zip(events.get(self.row.event_key())) else {
            return Tlp::Red;
        };
        let copies = self.elsewhere.copies(&self.row.source).flat_map(|copy| {
            let event = events.get(copy.event_key()).map_or(&[][..], |event| &event.tags);
            copy.tags.iter().chain(event)
        });
        let tags = facts.tags.iter().chain(&event.tags).chain(copies);
        view.strictest(tags.map(|tag| tag.name.as_str()))
    }

    pub(super) fn known<'a>(&'a self, events: &'a KnownEvents) -> KnownClaim<'a> {
        KnownClaim {
            event: events.get(self.row.event_key()),
            attribute: self.row.attribute,
            source: ClaimSource { name: &self.row.source, place: self.elsewhere.place },
            elsewhere: self.told_elsewhere(events),
            facts: self.facts.as_ref(),
            sight: self.row.sight,
            expires_at: self.row.beside.expires_at,
            side_facts: self.side_facts.clone(),
        }
    }

    fn told_elsewhere<'a>(&'a self, events: &'a KnownEvents) -> stix::Elsewhere<'a> {
        let copies = self.elsewhere.copies(&self.row.source).filter_map(|copy| {
            let event = events.get(copy.event_key())?;
            Some(CopyElsewhere { event, tags: &copy.tags, siblings: copy.siblings.as_deref() })
        });
        let newer = self.elsewhere.newer.iter().map(|newer| newer.source.as_str());
        stix::Elsewhere { newer: newer.collect(), copies: copies.collect() }
    }
}

/// The claims on these observables, [in order](sort).
pub(super) fn claims_of(
    tx: &Transaction<'_>,
    objects: &[Uuid],
    views: &Views,
    sources: &Sources,
) -> Result<Vec<FullClaim>> {
    let mut objects = objects.to_vec();
    objects.sort_unstable();
    // Each object is looked up by itself, so one that is named twice would give its claims twice.
    objects.dedup();
    let lists = views.warninglists().now();
    let stored = claims::of_objects(tx, &objects)?.into_iter();
    let mut claims: Vec<FullClaim> = stored.map(|one| FullClaim::stored(one, &lists)).collect();
    sort(&mut claims);
    look_elsewhere(tx, sources, &mut claims)?;
    Ok(claims)
}

/// Looks up what other sources say of the attributes of these claims. With one source it does nothing.
pub(super) fn look_elsewhere(
    tx: &Transaction<'_>,
    sources: &Sources,
    claims: &mut [FullClaim],
) -> Result<()> {
    if !sources.are_several() {
        return Ok(());
    }
    let attributes = claims.iter().map(|claim| claim.row.attribute);
    let statements = Statements::load(tx, sources, attributes)?;
    for FullClaim { row, facts, elsewhere, .. } in claims {
        // What cannot be read counts nowhere.
        let Some(facts) = facts else { continue };
        *elsewhere = statements.of(row, facts.timestamp);
    }
    Ok(())
}

/// Puts claims in the order of their observables, those of an attribute together.
pub(super) fn sort(claims: &mut [FullClaim]) {
    claims.sort_unstable_by(|FullClaim { row: one, .. }, FullClaim { row: other, .. }| {
        let order = one.object.cmp(&other.object);
        let order = order.then_with(|| one.attribute.cmp(&other.attribute));
        let order = order.then_with(|| one.source.cmp(&other.source));
        order.then_with(|| (one.event, one.part).cmp(&(other.event, other.part)))
    });
}

/// The most events whose facts are kept for the next claims. The facts of one event may take tens of kilobytes.
const MAX_EVENTS: usize = 500;

/// The facts of the events of some claims.
#[derive(Debug, Default)]
pub(super) struct KnownEvents(HashMap<Uuid, Vec<(String, EventFacts)>>);

impl KnownEvents {
    /// Reads the facts of these claims' events that are not known yet.
    pub(super) fn load(&mut self, tx: &Transaction<'_>, claims: &[FullClaim]) -> Result<()> {
        if self.0.len() > MAX_EVENTS {
            self.0.clear();
        }
        for FullClaim { row, elsewhere, .. } in claims {
            self.add(tx, row.event_key())?;
            for copy in elsewhere.copies(&row.source) {
                self.add(tx, copy.event_key())?;
            }
        }
        Ok(())
    }

    fn add(&mut self, tx: &Transaction<'_>, key: EventKey<'_>) -> Result<()> {
        if self.get(key).is_some() {
            return Ok(());
        }
        // A claim whose event is not there is not admitted.
        let Some(facts) = events::facts(tx, key)? else { return Ok(()) };
        self.0.entry(key.event).or_default().push((key.source.to_owned(), facts));
        Ok(())
    }

    /// Reads the facts of these claims' events.
    pub(super) fn of(tx: &Transaction<'_>, claims: &[FullClaim]) -> Result<Self> {
        let mut events = Self::default();
        events.load(tx, claims)?;
        Ok(events)
    }

    pub(super) fn get(&self, EventKey { source, event }: EventKey<'_>) -> Option<&EventFacts> {
        let same = self.0.get(&event)?.iter().find(|(known, _)| known == source);
        same.map(|(_, facts)| facts)
    }
}
