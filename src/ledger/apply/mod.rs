//! Applies a snapshot of an event. What is new or changed is written in chunks, each a transaction of its own that
//! only adds. The last transactions remove what the snapshot no longer holds.

mod ending;
mod keeping;

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::change::Change;
use super::full_claims::{self, FullClaim, KnownEvents};
use super::judgement::Origin;
use super::refresh::{CHUNK, refresh_claims};
use super::snapshot::Chunk;
use super::sql::{Result, Transaction};
use super::tables::claims::{
    self, ALTERED, ClaimRow, KnownDigest, NewClaim, PlacedObject, StoredClaim,
};
use super::tables::events;
use super::tables::keys::{ClaimPlace, EventKey};
use super::tables::tag_changes::TagChanges;
use super::tables::tombstones::{self, Tombstone};
use crate::pure::convert::{Claim, ClaimFacts, EventFacts, Reason, Skipped};

/// What an event's snapshot did to its claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub new: usize,
    pub changed: usize,
    pub gone: usize,
    /// Kept out by a tombstone: withdrawn after this snapshot was taken.
    pub withdrawn: usize,
    /// Gone without a word from MISP, and kept by the guard.
    pub held: usize,
    /// What waits for MISP's warninglists.
    pub pending: usize,
    /// What no view admits now.
    pub forbidden: Skipped,
}

impl Counts {
    fn add(&mut self, more: &Self) {
        self.new += more.new;
        self.changed += more.changed;
        self.gone += more.gone;
        self.withdrawn += more.withdrawn;
        self.held += more.held;
        self.pending += more.pending;
        self.forbidden.extend(&more.forbidden);
    }
}

/// The head of a snapshot that was begun.
#[derive(Debug)]
pub(super) struct BegunHead {
    pub facts: EventFacts,
    pub generation: i64,
    /// It says something else than before: all objects of the event are merged anew.
    pub changed: bool,
    /// What was heard of its tags, of a push.
    pub heard: TagChanges,
}

/// A snapshot on its way into the ledger, as far as it has come.
#[derive(Debug, Clone)]
pub(super) struct Application {
    source: String,
    event: Uuid,
    origin: Origin,
    facts: EventFacts,
    generation: i64,
    /// What the event claimed when the snapshot began.
    stored: HashMap<ClaimPlace, KnownDigest>,
    /// Claims that the snapshot has mentioned so far, or ended in so many words.
    mentioned: HashSet<ClaimPlace>,
    /// Attributes that it shows.
    shown: HashSet<Uuid>,
    /// Claims that are to end.
    ended: Vec<PlacedObject>,
    /// The event's own facts changed: all its objects are merged anew.
    event_changed: bool,
    /// What was heard of its tags, of a push.
    heard: TagChanges,
    pub counts: Counts,
}

/// What a transaction did for a snapshot: once it is committed, the [`Application`] is advanced by it.
#[derive(Debug, Default)]
pub(super) struct Added {
    mentioned: HashSet<ClaimPlace>,
    shown: Vec<Uuid>,
    ended: Vec<PlacedObject>,
    counts: Counts,
}

/// The claims of a chunk, compared with those that the ledger holds.
#[derive(Debug)]
struct ComparedChunk {
    /// New and changed ones, in the order of their observables.
    altered: Vec<NewClaim>,
    /// Unchanged ones on the touched observables.
    same: HashMap<ClaimPlace, NewClaim>,
    /// The observables to be merged anew, in order.
    touched: Vec<Uuid>,
}

impl Application {
    pub(super) fn new(
        source: &str,
        origin: Origin,
        head: BegunHead,
        stored: HashMap<ClaimPlace, KnownDigest>,
    ) -> Self {
        Self {
            source: source.to_owned(),
            event: head.facts.uuid,
            origin,
            facts: head.facts,
            generation: head.generation,
            stored,
            mentioned: HashSet::new(),
            shown: HashSet::new(),
            ended: Vec::new(),
            event_changed: head.changed,
            heard: head.heard,
            counts: Counts::default(),
        }
    }

    fn key(&self) -> EventKey<'_> {
        EventKey::new(&self.source, self.event)
    }

    pub(super) fn advance(&mut self, added: &Added) {
        self.mentioned.extend(&added.mentioned);
        self.shown.extend(&added.shown);
        self.ended.extend(&added.ended);
        self.counts.add(&added.counts);
    }

    /// Writes a chunk of the snapshot's claims. Attributes that it shows and that claim nothing (any more) are
    /// noted: what they claimed ends by MISP's word, not by an absence. `None`: a newer snapshot has begun,
    /// give way.
    pub(super) fn add(
        &self,
        tx: &Transaction<'_>,
        chunk: &Chunk,
        change: &mut Change<'_>,
    ) -> Result<Option<Added>> {
        if !self.is_current(tx)? {
            return Ok(None);
        }
        let mut added = Added::default();
        added.shown.extend(&chunk.silent);
        added.shown.extend(chunk.claims.iter().map(|claim| claim.attribute));
        let mut claims = Vec::with_capacity(chunk.claims.len());
        for claim in &chunk.claims {
            claims.extend(self.counting(tx, claim.clone(), change, &mut added)?);
        }
        self.drop_withdrawn(tx, &mut claims, &mut added)?;
        let compared = self.compare(claims, &mut added);
        self.write(tx, compared, change)?;
        Ok(Some(added))
    }

    /// What the event claims at this place and the snapshot has not mentioned so far.
    fn unseen(&self, place: &ClaimPlace, added: &Added) -> Option<KnownDigest> {
        let seen = self.mentioned.contains(place) || added.mentioned.contains(place);
        self.stored.get(place).copied().filter(|_| !seen)
    }

    /// Whether no newer snapshot has begun, and the event was not deleted.
    fn is_current(&self, tx: &Transaction<'_>) -> Result<bool> {
        Ok(events::generation(tx, self.key())? == Some(self.generation))
    }

    /// The claim as it counts; `None`: it does not count before the next publication.
    fn counting(
        &self,
        tx: &Transaction<'_>,
        mut claim: Claim,
        change: &Change<'_>,
        added: &mut Added,
    ) -> Result<Option<NewClaim>> {
        let place = ClaimPlace { attribute: claim.attribute, part: i16::from(claim.part) };
        let stored = self.unseen(&place, added);
        let altered = match self.origin {
            Origin::Push { .. } => {
                let kept = self.keep_heard(tx, &mut claim, stored)?;
                let Claim { facts, .. } = &mut claim;
                self.heard.apply(facts.attribute_id, &mut facts.tags) || kept
            }
            Origin::Read(shown) if shown.counts(&claim.facts) => {
                shown.less_unpublished(&mut claim.facts);
                self.mark_tags(tx, &mut claim, stored, shown)?
            }
            Origin::Read(shown) => {
                if !self.keep_published(tx, &mut claim, shown, stored, change)? {
                    let ended =
                        stored.map(|KnownDigest { object, .. }| PlacedObject { place, object });
                    added.ended.extend(ended);
                    added.mentioned.extend(stored.map(|_| place));
                    return Ok(None);
                }
                false
            }
        };
        match self.objection(&claim, change) {
            Some(Reason::WarninglistsPending) => added.counts.pending += 1,
            Some(reason) => added.counts.forbidden.add(reason),
            None => {}
        }
        let object = change.views.object_key(&claim.observable);
        let mut counting = NewClaim::new(claim, object)?;
        if altered {
            counting.digest = ALTERED;
        }
        Ok(Some(counting))
    }

    fn objection(&self, claim: &Claim, change: &Change<'_>) -> Option<Reason> {
        let Claim { facts, observable, .. } = claim;
        change.views.objection(&self.facts, facts, observable)
    }

    /// Takes out what was withdrawn at or after the attribute's time in this snapshot. A read that
    /// began after a withdrawal ends its tombstone instead.
    fn drop_withdrawn(
        &self,
        tx: &Transaction<'_>,
        claims: &mut Vec<NewClaim>,
        added: &mut Added,
    ) -> Result<()> {
        let attributes = claims.iter().map(|new| new.claim.attribute);
        let mut named: Vec<Uuid> =
            attributes.chain(claims.iter().filter_map(NewClaim::misp_object)).collect();
        named.sort_unstable();
        named.dedup();
        let found = tombstones::of(tx, &self.source, &named)?.into_iter();
        let (outdated, standing): (Vec<Tombstone>, Vec<Tombstone>) =
            found.partition(|tombstone| self.origin.outdates(tombstone));
        tombstones::end(tx, &self.source, &outdated)?;
        if standing.is_empty() {
            return Ok(());
        }
        let keyed = |one: Tombstone| ((one.attribute, one.object), one);
        let standing: HashMap<(Uuid, Uuid), Tombstone> = standing.into_iter().map(keyed).collect();
        let before = claims.len();
        claims.retain(|new| {
            let attribute = new.claim.attribute;
            let whole = new.misp_object().map(|object| (object, Uuid::nil()));
            let own = [(attribute, Uuid::nil()), (attribute, new.object)];
            let mut found = own.iter().chain(&whole).filter_map(|key| standing.get(key));
            !found.any(|tombstone| tombstone.keeps_out(&new.claim.facts))
        });
        added.counts.withdrawn += before - claims.len();
        Ok(())
    }

    /// Tells new and changed claims from unchanged ones. What the snapshot shows twice counts once.
    fn compare(&self, claims: Vec<NewClaim>, added: &mut Added) -> ComparedChunk {
        let mut touched = HashSet::new();
        let (mut altered, mut same) = (Vec::with_capacity(claims.len()), Vec::new());
        for new in claims {
            let place = new.place();
            let stored = self.unseen(&place, added);
            if self.mentioned.contains(&place) || !added.mentioned.insert(place) {
                continue;
            }
            // `ALTERED` is no fingerprint: two claims that have it may differ.
            let is_same =
                stored.is_some_and(|stored| stored.digest == new.digest && new.digest != ALTERED);
            if !is_same || self.event_changed {
                touched.insert(new.object);
                touched.extend(stored.map(|stored| stored.object));
            }
            match stored {
                None => added.counts.new += 1,
                Some(_) if !is_same => added.counts.changed += 1,
                Some(_) => {}
            }
            if is_same { same.push(new) } else { altered.push(new) }
        }
        // `write` takes them off in this order while it goes through the observables.
        altered.sort_unstable_by_key(|new| (new.object, new.place()));
        let same = same.into_iter().filter(|new| touched.contains(&new.object));
        let same = same.map(|new| (new.place(), new)).collect();
        let mut touched: Vec<Uuid> = touched.into_iter().collect();
        touched.sort_unstable();
        ComparedChunk { altered, same, touched }
    }

    /// Writes the altered claims, and merges anew what they touch. What was just converted is merged from
    /// memory: from the ledger come the other claims on the same observables. On a first sync there are none,
    /// which is a look-up in an index for each observable.
    fn write(
        &self,
        tx: &Transaction<'_>,
        compared: ComparedChunk,
        change: &mut Change<'_>,
    ) -> Result<()> {
        let ComparedChunk { altered, mut same, touched } = compared;
        let replaced: HashSet<ClaimPlace> = altered.iter().map(NewClaim::place).collect();
        let mut altered = altered.into_iter().peekable();
        let mut events = KnownEvents::default();
        let lists = change.views.warninglists().now();
        for objects in touched.chunks(CHUNK) {
            let Some(last) = objects.last() else { break };
            let writing: Vec<NewClaim> =
                std::iter::from_fn(|| altered.next_if(|new| new.object <= *last)).collect();
            let stored = claims::of_objects(tx, objects)?;
            let mut merging = Vec::with_capacity(stored.len() + writing.len());
            for one in stored {
                let place = (one.row.event_key() == self.key()).then(|| one.row.place());
                if place.is_some_and(|place| replaced.contains(&place)) {
                    continue;
                }
                // It may have been altered or have ended since the snapshot began: then the ledger says so.
                let known = place.and_then(|place| same.remove(&place));
                merging.push(match known.filter(|known| known.digest == one.digest) {
                    Some(NewClaim { claim, .. }) => {
                        let StoredClaim { row, .. } = one;
                        FullClaim::new(row, Some(claim.facts), &lists)
                    }
                    None => FullClaim::stored(one, &lists),
                });
            }
            let written = self.write_claims(tx, writing, change.opened_at)?;
            merging.extend(
                written.into_iter().map(|(row, facts)| FullClaim::new(row, Some(facts), &lists)),
            );
            full_claims::sort(&mut merging);
            refresh_claims(tx, objects, &merging, &mut events, change)?;
        }
        Ok(())
    }

    /// Writes claims; returns them as they would be read back.
    fn write_claims(
        &self,
        tx: &Transaction<'_>,
        writing: Vec<NewClaim>,
        now: i64,
    ) -> Result<Vec<(ClaimRow, ClaimFacts)>> {
        let event = self.key();
        let sights = claims::write(tx, event, &writing, now)?;
        let keys = writing.iter().map(|new| event.claim(new.place()));
        // What stands beside a claim is found from its row, so the rows are written first.
        let beside = claims::beside(tx, event.source, keys)?;
        let known = sights.into_iter().zip(beside);
        let written = writing.into_iter().zip(known).map(|(new, (sight, beside))| {
            let ClaimPlace { attribute, part } = new.place();
            let NewClaim { claim: Claim { observable, facts, .. }, object, .. } = new;
            let source = self.source.clone();
            let event = self.event;
            let row =
                ClaimRow { source, event, attribute, part, object, observable, sight, beside };
            (row, facts)
        });
        Ok(written.collect())
    }
}

#[cfg(test)]
mod tests;
