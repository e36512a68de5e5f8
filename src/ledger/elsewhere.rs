//! What other sources say of the attributes that claims come from. MISPs synchronise events, so one attribute may stand
//! in several sources. The newest statement counts, as in MISP's own synchronisation.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::sources::Sources;
use super::sql::{Result, Transaction};
use super::tables::claims::{self, AttributeCopy, ClaimRow};
use super::tables::keys::{EventKey, EventOfSource};
use super::tables::tombstones::{self, Buried};
use crate::pure::convert::{ClaimFacts, Sibling, TagFacts};

/// What other sources say of a claim's attribute. The default is nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Elsewhere {
    /// The place of the claim's own source in the order of the sources.
    pub place: usize,
    /// The statements of others that are newer than the claim.
    pub newer: Vec<Newer>,
    /// The attribute as all sources show it, the claim's own among them. `None`: no other source shows it.
    shown: Option<Arc<[ShownCopy]>>,
}

/// A statement that outdates a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Newer {
    pub source: String,
    /// MISP's time of it, Unix seconds.
    pub timestamp: i64,
    /// It takes the attribute back.
    pub is_withdrawal: bool,
}

/// An attribute as a source shows it.
#[derive(Debug)]
pub(super) struct ShownCopy {
    pub event: EventOfSource,
    pub tags: Vec<TagFacts>,
    /// The other attributes of its MISP object that may be told there. `None`: it is part of no object there.
    pub siblings: Option<Vec<Sibling>>,
    timestamp: i64,
    object: Uuid,
    to_ids: bool,
}

impl ShownCopy {
    pub(super) fn event_key(&self) -> EventKey<'_> {
        EventKey::new(&self.event.source, self.event.event)
    }
}

impl Elsewhere {
    /// The attribute as sources other than this one show it.
    pub(super) fn copies<'c>(&'c self, source: &'c str) -> impl Iterator<Item = &'c ShownCopy> {
        self.shown
            .iter()
            .flat_map(|shown| shown.iter())
            .filter(move |copy| copy.event.source != source)
    }
}

/// What all sources say of some attributes.
#[derive(Debug)]
pub(super) struct Statements<'s> {
    sources: &'s Sources,
    shown: HashMap<Uuid, Arc<[ShownCopy]>>,
    buried: HashMap<Uuid, Vec<Buried>>,
}

impl<'s> Statements<'s> {
    pub(super) fn load(
        tx: &Transaction<'_>,
        sources: &'s Sources,
        attributes: impl Iterator<Item = Uuid>,
    ) -> Result<Self> {
        let attributes = each_once(attributes);
        let mut buried: HashMap<Uuid, Vec<Buried>> = HashMap::new();
        for one in tombstones::of_any_source(tx, &attributes)? {
            buried.entry(one.attribute).or_default().push(one);
        }
        Ok(Self { sources, shown: shown(tx, &attributes)?, buried })
    }

    /// What they say of a claim of this `timestamp`.
    pub(super) fn of(&self, claim: &ClaimRow, timestamp: i64) -> Elsewhere {
        let shown = self.shown.get(&claim.attribute).map(Arc::clone);
        let buried = self.buried.get(&claim.attribute).map_or(&[][..], Vec::as_slice);
        Elsewhere {
            place: self.sources.place(&claim.source),
            newer: newer(claim, timestamp, shown.as_deref().unwrap_or_default(), buried),
            shown,
        }
    }
}

/// The attributes that more than one source shows.
fn shown(tx: &Transaction<'_>, attributes: &[Uuid]) -> Result<HashMap<Uuid, Arc<[ShownCopy]>>> {
    let copies = claims::copies_of(tx, attributes.iter().copied())?;
    let several = copies.chunk_by(|one, other| one.attribute == other.attribute);
    let several = several.filter_map(|copies| {
        let AttributeCopy { attribute, event, .. } = copies.first()?;
        let are_several = copies.iter().any(|copy| copy.event.source != event.source);
        let shown = || copies.iter().map(ShownCopy::of).collect();
        are_several.then(|| (*attribute, shown()))
    });
    Ok(several.collect())
}

impl ShownCopy {
    fn of(AttributeCopy { event, timestamp, facts, object, .. }: &AttributeCopy) -> Self {
        // `ledger check` tells what cannot be read. Here it may hold the strictest marking.
        let ClaimFacts { tags, to_ids, object: around, .. } =
            facts.read().unwrap_or_else(|_| unreadable());
        let siblings = around.map(|around| around.siblings);
        let (event, timestamp, object) = (event.clone(), *timestamp, *object);
        Self { event, tags, siblings, timestamp, object, to_ids }
    }
}

fn unreadable() -> ClaimFacts {
    let red = TagFacts { name: "tlp:red".to_owned(), ..TagFacts::default() };
    ClaimFacts { tags: vec![red], ..ClaimFacts::default() }
}

fn newer(claim: &ClaimRow, timestamp: i64, shown: &[ShownCopy], buried: &[Buried]) -> Vec<Newer> {
    let same = || shown.iter().filter(|copy| copy.object == claim.object);
    let is_for_ids = same().any(|copy| copy.event.source == claim.source && copy.to_ids);
    // A newer version that goes on claiming the observable takes nothing back. Each copy has its own audience and tags,
    // so policy may admit the older one alone.
    let goes_on = |source: &str| {
        let mut newer = same().filter(|copy| copy.timestamp > timestamp);
        newer.any(|copy| copy.event.source == source && (copy.to_ids || !is_for_ids))
    };
    let is_newer = |copy: &&ShownCopy| copy.timestamp > timestamp && !goes_on(&copy.event.source);
    let shown = shown.iter().filter(is_newer).map(|copy| Newer {
        source: copy.event.source.clone(),
        timestamp: copy.timestamp,
        is_withdrawal: false,
    });
    let buried = buried.iter().filter(|one| one.outdates(claim.object, timestamp)).map(|one| {
        Newer { source: one.source.clone(), timestamp: one.timestamp, is_withdrawal: true }
    });
    let mut newer: Vec<Newer> =
        shown.chain(buried).filter(|one| one.source != claim.source).collect();
    newer.sort_unstable_by(|one, other| {
        other.timestamp.cmp(&one.timestamp).then_with(|| one.source.cmp(&other.source))
    });
    newer.dedup_by(|one, other| one.source == other.source);
    newer
}

/// The observables that other sources claim by these attributes: what this source says of an attribute decides on its
/// copies too. With one source there are none.
pub(super) fn objects_beside(
    tx: &Transaction<'_>,
    sources: &Sources,
    source: &str,
    attributes: impl Iterator<Item = Uuid>,
) -> Result<Vec<Uuid>> {
    if !sources.are_several() {
        return Ok(Vec::new());
    }
    claims::objects_elsewhere(tx, source, each_once(attributes))
}

fn each_once(attributes: impl Iterator<Item = Uuid>) -> Vec<Uuid> {
    let mut attributes: Vec<Uuid> = attributes.collect();
    attributes.sort_unstable();
    attributes.dedup();
    attributes
}
