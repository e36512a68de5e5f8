//! Compares a chunk of a snapshot with what the ledger holds: which claims count, which are new or changed.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::elsewhere::{Spoken, Statement};
use super::{Added, Application};
use crate::ledger::change::Change;
use crate::ledger::judgement::Origin;
use crate::ledger::snapshot::Chunk;
use crate::ledger::sql::{Result, Transaction};
use crate::ledger::tables::claims::{ALTERED, KnownDigest, NewClaim, PlacedObject};
use crate::ledger::tables::keys::ClaimPlace;
use crate::ledger::tables::tag_changes::TagChanges;
use crate::ledger::tables::tombstones::{self, Tombstone};
use crate::pure::convert::{Claim, Reason};

/// A chunk of a snapshot on its way into the ledger.
#[derive(Debug)]
pub(super) struct Adding<'a> {
    pub application: &'a Application,
    /// What the event claims now.
    pub stored: Cow<'a, HashMap<ClaimPlace, KnownDigest>>,
    /// What was heard of tags and the snapshot may not show.
    pub heard: TagChanges,
    /// What the chunk says of copies in other sources. `None`: there is one source.
    pub spoken: Option<Spoken>,
    pub added: Added,
}

/// The claims of a chunk, compared with those that the ledger holds.
#[derive(Debug)]
pub(super) struct ComparedChunk {
    /// New and changed ones, in the order of their observables.
    pub altered: Vec<NewClaim>,
    /// Unchanged ones on the touched observables.
    pub same: HashMap<ClaimPlace, NewClaim>,
    /// The observables to be merged anew, in order.
    pub touched: Vec<Uuid>,
}

impl Adding<'_> {
    pub(super) fn compare_chunk(
        &mut self,
        tx: &Transaction<'_>,
        chunk: &Chunk,
        change: &Change<'_>,
    ) -> Result<ComparedChunk> {
        self.added.shown.extend(chunk.silent.iter().map(|one| one.attribute));
        self.hear_silent(chunk);
        self.added.shown.extend(chunk.claims.iter().map(|claim| claim.attribute));
        let mut claims = Vec::with_capacity(chunk.claims.len());
        for claim in &chunk.claims {
            claims.extend(self.counting(tx, claim.clone(), change)?);
        }
        self.drop_withdrawn(tx, &mut claims)?;
        Ok(self.compare(claims))
    }

    /// Takes in what the snapshot says of attributes that claim nothing.
    fn hear_silent(&mut self, chunk: &Chunk) {
        let Some(spoken) = &mut self.spoken else { return };
        if self.application.origin.says_of_copies() {
            let said = chunk.silent.iter().map(|one| {
                (one.attribute, Statement { timestamp: one.timestamp, ..Statement::default() })
            });
            spoken.statements.extend(said);
        }
    }

    /// The stored claim at this place, if the snapshot has not mentioned it so far.
    fn unseen(&self, place: &ClaimPlace) -> Option<KnownDigest> {
        let is_seen =
            self.application.mentioned.contains(place) || self.added.mentioned.contains(place);
        self.stored.get(place).copied().filter(|_| !is_seen)
    }

    /// The claim as it counts; `None`: it does not count before the next publication.
    fn counting(
        &mut self,
        tx: &Transaction<'_>,
        mut claim: Claim,
        change: &Change<'_>,
    ) -> Result<Option<NewClaim>> {
        let place = ClaimPlace { attribute: claim.attribute, part: i16::from(claim.part) };
        let stored = self.unseen(&place);
        let (application, added) = (self.application, &mut self.added);
        let kept = match application.origin {
            Origin::Push { .. } => application.keep_heard(tx, &mut claim, stored)?,
            // Untouched since the publication, so it is what was published.
            Origin::Read(shown) if shown.counts(&claim.facts) => {
                shown.less_unpublished(&mut claim.facts);
                application.mark_tags(tx, &mut claim, stored, shown)?
            }
            Origin::Read(shown) => {
                if let Some(spoken) = self.spoken.as_mut().filter(|_| shown.says_of_copies()) {
                    let object = change.views.object_key(&claim.observable);
                    spoken.hear_edit(&claim, object);
                }
                if !application.keep_published(tx, &mut claim, shown, stored, change)? {
                    let ended =
                        stored.map(|KnownDigest { object, .. }| PlacedObject { place, object });
                    // It was touched and says something else, so what was published of it has ended by MISP's word.
                    added.ended.extend(ended);
                    added.mentioned.extend(stored.map(|_| place));
                    return Ok(None);
                }
                false
            }
        };
        let Claim { facts, .. } = &mut claim;
        // With each chunk: a tag may have been heard of since the snapshot began.
        let altered = self.heard.apply(facts.attribute_id, &mut facts.tags) || kept;
        // Counted only: what no view admits is kept as a claim, since policy may change.
        match application.objection(&claim, change) {
            Some(Reason::WarninglistsPending) => added.counts.pending += 1,
            Some(reason) => added.counts.forbidden.add(reason),
            None => {}
        }
        let object = change.views.object_key(&claim.observable);
        let mut counting = NewClaim::new(claim, object)?;
        // It says something else than the snapshot, so the next snapshot must not take it for unchanged.
        if altered {
            counting.digest = ALTERED;
        }
        Ok(Some(counting))
    }

    /// Removes the claims that were withdrawn at or after the attribute's time in this snapshot. If the snapshot is a
    /// read that began after the withdrawal, it ends the tombstone instead.
    fn drop_withdrawn(&mut self, tx: &Transaction<'_>, claims: &mut Vec<NewClaim>) -> Result<()> {
        let Application { source, origin, .. } = self.application;
        let attributes = claims.iter().map(|new| new.claim.attribute);
        let mut named: Vec<Uuid> =
            attributes.chain(claims.iter().filter_map(NewClaim::misp_object)).collect();
        named.sort_unstable();
        named.dedup();
        let found = tombstones::of(tx, source, &named)?.into_iter();
        let (outdated, standing): (Vec<Tombstone>, Vec<Tombstone>) =
            found.partition(|tombstone| origin.outdates(tombstone));
        tombstones::end(tx, source, &outdated)?;
        if let Some(spoken) = &mut self.spoken {
            spoken.touched.extend(outdated.iter().map(|tombstone| tombstone.attribute));
        }
        if standing.is_empty() {
            return Ok(());
        }
        let keyed = |one: Tombstone| ((one.attribute, one.object), one);
        let standing: HashMap<(Uuid, Uuid), Tombstone> = standing.into_iter().map(keyed).collect();
        let before = claims.len();
        claims.retain(|new| {
            let attribute = new.claim.attribute;
            // A tombstone may be of the attribute, of one of its observables, or of its MISP object.
            let whole = new.misp_object().map(|object| (object, Uuid::nil()));
            let own = [(attribute, Uuid::nil()), (attribute, new.object), (attribute, attribute)];
            let mut found = own.iter().chain(&whole).filter_map(|key| standing.get(key));
            !found.any(|tombstone| tombstone.keeps_out(&new.claim.facts))
        });
        self.added.counts.withdrawn += before - claims.len();
        Ok(())
    }

    /// Separates new and changed claims from unchanged ones. A claim that the snapshot shows twice counts once.
    fn compare(&mut self, claims: Vec<NewClaim>) -> ComparedChunk {
        let Application { mentioned, head, .. } = self.application;
        let mut touched = HashSet::new();
        let (mut altered, mut same) = (Vec::with_capacity(claims.len()), Vec::new());
        for new in claims {
            let place = new.place();
            let stored = self.unseen(&place);
            if mentioned.contains(&place) || !self.added.mentioned.insert(place) {
                continue;
            }
            // `ALTERED` is no fingerprint: two claims that have it may differ.
            let is_same =
                stored.is_some_and(|stored| stored.digest == new.digest && new.digest != ALTERED);
            // Policy reads the event too, so another head may change the verdict on every claim.
            if !is_same || head.changed {
                touched.insert(new.object);
                touched.extend(stored.map(|stored| stored.object));
            }
            match stored {
                None => self.added.counts.new += 1,
                Some(_) if !is_same => self.added.counts.changed += 1,
                Some(_) => {}
            }
            if is_same { same.push(new) } else { altered.push(new) }
        }
        if let Some(spoken) = &mut self.spoken {
            let altered =
                altered.iter().map(|new| (new.claim.attribute, new.claim.facts.timestamp));
            spoken.altered.extend(altered);
            let touched = same.iter().filter(|_| head.changed).map(|new| new.claim.attribute);
            spoken.touched.extend(touched);
        }
        // `write` takes them off in this order while it goes through the observables.
        altered.sort_unstable_by_key(|new| (new.object, new.place()));
        // An unchanged claim is merged only with a changed one on the same observable. The others are let go
        // here.
        let same = same.into_iter().filter(|new| touched.contains(&new.object));
        let same = same.map(|new| (new.place(), new)).collect();
        let mut touched: Vec<Uuid> = touched.into_iter().collect();
        touched.sort_unstable();
        ComparedChunk { altered, same, touched }
    }
}

impl Application {
    fn objection(&self, claim: &Claim, change: &Change<'_>) -> Option<Reason> {
        let Claim { facts, observable, .. } = claim;
        change.views.objection(&self.source, &self.head.facts, facts, observable)
    }
}
