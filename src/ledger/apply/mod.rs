//! Applies a snapshot of an event. It writes new and changed claims in chunks. Each chunk is a transaction of its own
//! that only adds. The last transactions end the claims that the snapshot no longer holds.

mod adding;
mod elsewhere;
mod ending;
mod keeping;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::change::Change;
use super::full_claims::{self, FullClaim, KnownEvents};
use super::judgement::Origin;
use super::refresh::{CHUNK, refresh_claims};
use super::snapshot::Chunk;
use super::sql::{Result, Transaction};
use super::tables::claims::{
    self, ClaimRow, KnownDigest, NewClaim, PlacedObject, StoredClaim, WrittenClaim,
};
use super::tables::events::{self, EventStage};
use super::tables::keys::{ClaimPlace, EventKey};
use crate::pure::convert::{Claim, ClaimFacts, EventFacts, Skipped};
use adding::{Adding, ComparedChunk};
use elsewhere::Spoken;
pub(super) use ending::EndingSnapshot;

/// What an event's snapshot did to its claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub new: usize,
    pub changed: usize,
    pub gone: usize,
    /// Kept out by a tombstone: withdrawn after this snapshot was taken.
    pub withdrawn: usize,
    /// Absent from MISP's answer, and held by the guard.
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
    pub stage: EventStage,
    /// The head differs from the stored one, so all objects of the event are merged again.
    pub changed: bool,
}

/// A snapshot on its way into the ledger, as far as it has come.
#[derive(Debug, Clone)]
pub(super) struct Application {
    source: String,
    origin: Origin,
    head: Arc<BegunHead>,
    /// What the event claimed when the snapshot began.
    stored: Arc<HashMap<ClaimPlace, KnownDigest>>,
    /// Claims that the snapshot has mentioned so far or has expressly ended.
    mentioned: HashSet<ClaimPlace>,
    /// Attributes that it shows.
    shown: HashSet<Uuid>,
    /// Claims that are to end.
    ended: Vec<PlacedObject>,
    counts: Counts,
}

/// What a transaction did for a snapshot: once it is committed, the [`Application`] is advanced by it.
#[derive(Debug, Default)]
pub(super) struct Added {
    mentioned: HashSet<ClaimPlace>,
    shown: Vec<Uuid>,
    ended: Vec<PlacedObject>,
    counts: Counts,
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
            origin,
            head: Arc::new(head),
            stored: Arc::new(stored),
            mentioned: HashSet::new(),
            shown: HashSet::new(),
            ended: Vec::new(),
            counts: Counts::default(),
        }
    }

    fn key(&self) -> EventKey<'_> {
        EventKey::new(&self.source, self.head.facts.uuid)
    }

    pub(super) fn advance(&mut self, added: &Added) {
        self.mentioned.extend(&added.mentioned);
        self.shown.extend(&added.shown);
        self.ended.extend(&added.ended);
        self.counts.add(&added.counts);
    }

    /// Writes a chunk of the snapshot's claims. It notes the attributes that the snapshot shows and that claim nothing
    /// (any more): their claims end because MISP says so, and not because they are absent. `None`: a newer snapshot has
    /// begun, give way.
    pub(super) fn add(
        &self,
        tx: &Transaction<'_>,
        chunk: &Chunk,
        change: &mut Change<'_>,
    ) -> Result<Option<Added>> {
        let Some(stage) = self.stage_if_current(tx)? else { return Ok(None) };
        let mut adding = Adding {
            application: self,
            // Frames may have altered or ended claims since the snapshot began.
            stored: match stage == self.head.stage {
                true => Cow::Borrowed(&*self.stored),
                false => Cow::Owned(claims::digests(tx, self.key())?),
            },
            heard: self.origin.tags_heard(tx, &self.source, &self.head.facts)?,
            spoken: change.sources(tx)?.are_several().then(Spoken::default),
            added: Added::default(),
        };
        let compared = adding.compare_chunk(tx, chunk, change)?;
        let Adding { added, spoken, .. } = adding;
        let Some(spoken) = spoken else {
            self.write(tx, compared, change)?;
            return Ok(Some(added));
        };
        let merged = compared.touched.clone();
        self.write(tx, compared, change)?;
        self.speak(tx, &spoken, &merged, change)?;
        Ok(Some(added))
    }

    /// How far the event has come; `None`: a newer snapshot has begun, or the event was deleted.
    fn stage_if_current(&self, tx: &Transaction<'_>) -> Result<Option<EventStage>> {
        let stage = events::stage(tx, self.key())?;
        Ok(stage.filter(|stage| stage.generation == self.head.stage.generation))
    }

    /// Writes the altered claims, and merges the claims on their observables again. It merges the new claims from
    /// memory, and reads only the other claims on the same observables from the ledger. On a first sync there are none,
    /// which takes one look-up in an index for each observable.
    fn write(
        &self,
        tx: &Transaction<'_>,
        compared: ComparedChunk,
        change: &mut Change<'_>,
    ) -> Result<()> {
        let ComparedChunk { altered, mut same, touched } = compared;
        let replaced: HashSet<ClaimPlace> = altered.iter().map(NewClaim::place).collect();
        let claimed = claims::claimed(tx, &touched)?;
        // All of them before any is merged: what withholds one form of a URL stands in the row of the other form.
        let written = claims::write(tx, self.key(), altered, change.opened_at)?;
        let mut written = written.into_iter().peekable();
        let mut events = KnownEvents::default();
        let sources = change.sources(tx)?;
        // One value for the whole step, although other lists may come into force meanwhile.
        let lists = change.views.warninglists().now();
        for objects in touched.chunks(CHUNK) {
            let Some(last) = objects.last() else { break };
            let known: Vec<Uuid> =
                objects.iter().copied().filter(|object| claimed.contains(object)).collect();
            let mut merging = Vec::with_capacity(objects.len());
            for one in claims::of_objects(tx, &known)? {
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
            let written: Vec<WrittenClaim> =
                std::iter::from_fn(|| written.next_if(|one| one.new.object <= *last)).collect();
            let written = self.with_what_is_beside(tx, written)?;
            merging.extend(
                written.into_iter().map(|(row, facts)| FullClaim::new(row, Some(facts), &lists)),
            );
            // `merge` takes the claims of an observable from a run of neighbours.
            full_claims::sort(&mut merging);
            full_claims::look_elsewhere(tx, &sources, &mut merging)?;
            refresh_claims(tx, objects, &merging, &mut events, change)?;
        }
        Ok(())
    }

    /// Claims that were written, as they would be read back.
    fn with_what_is_beside(
        &self,
        tx: &Transaction<'_>,
        written: Vec<WrittenClaim>,
    ) -> Result<Vec<(ClaimRow, ClaimFacts)>> {
        let event = self.key();
        let keys = written.iter().map(|one| event.claim(one.new.place()));
        let beside = claims::beside(tx, event.source, keys)?;
        let rows = written.into_iter().zip(beside).map(|(WrittenClaim { new, sight }, beside)| {
            let ClaimPlace { attribute, part } = new.place();
            let NewClaim { claim: Claim { observable, facts, .. }, object, .. } = new;
            let (source, event) = (self.source.clone(), event.event);
            let row =
                ClaimRow { source, event, attribute, part, object, observable, sight, beside };
            (row, facts)
        });
        Ok(rows.collect())
    }
}

#[cfg(test)]
mod tests;
