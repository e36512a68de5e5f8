//! Chooses the generation of an id. A revocation is permanent in STIX, so an observable that comes back after its
//! indicator was revoked at any target becomes another object, with the id of the next generation. The revoked
//! object stays withdrawn, so that every target still gets its revocation.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::View;
use super::full_claims::FullClaim;
use super::sql::{Result, Transaction};
use super::tables::claims::ClaimRow;
use super::tables::wanted::{self, IdOfObject, KnownIndicator, WantedRow};
use crate::pure::stix::Withdraw;

/// The object that claims of a key count for from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndicatorIds {
    pub object: Uuid,
    pub stix_id: Uuid,
    pub generation: i16,
}

/// The newest generation of each indicator that a view knows of some observables.
#[derive(Debug, Default)]
pub(super) struct Generations {
    /// By [`View::key`].
    newest: HashMap<Uuid, KnownIndicator>,
    /// Keys whose ids may not be used although they themselves were not revoked, see
    /// [`Generations::find_taken`].
    taken: HashSet<Uuid>,
}

impl Generations {
    pub(super) fn load(tx: &Transaction<'_>, view: &View, observables: &[Uuid]) -> Result<Self> {
        let rows = match view.is_by_attribute() {
            true => wanted::indicators_of_observables(tx, &view.name, observables)?,
            false => wanted::indicators_of_keys(tx, &view.name, observables)?,
        };
        let mut newest: HashMap<Uuid, KnownIndicator> = HashMap::with_capacity(rows.len());
        for row in rows {
            let known = newest.get(&row.key).map_or(-1, |known| known.generation);
            if row.generation > known {
                newest.insert(row.key, row);
            }
        }
        Ok(Self { newest, taken: HashSet::new() })
    }

    /// Finds the ids that may not be used: under `identity = "attribute"` another object had the same id, and its
    /// revocation was sent or will be.
    pub(super) fn find_taken(
        &mut self,
        tx: &Transaction<'_>,
        view: &View,
        claims: &[FullClaim],
    ) -> Result<()> {
        if !view.is_by_attribute() {
            return Ok(());
        }
        let revokes = view.merger.withdraw() == Withdraw::Revoke;
        for claims in claims.chunk_by(|a, b| view.merges(&a.row, &b.row)) {
            let Some(FullClaim { row: first, .. }) = claims.first() else { continue };
            let key = view.key(first);
            let known = self.newest.get(&key);
            // A live object has its id already, whoever else had it.
            if known.is_some_and(KnownIndicator::is_live) {
                continue;
            }
            let ids = known.map_or_else(
                || IdOfObject { object: key, stix_id: first_id(view, first) },
                |known| IdOfObject { object: known.object, stix_id: known.stix_id },
            );
            if wanted::is_id_taken(tx, &view.name, ids, revokes)? {
                self.taken.insert(key);
            }
        }
        Ok(())
    }

    /// Returns the ids of the object for which the claims of a key count. `first` is one of these claims.
    pub(super) fn ids(&self, view: &View, key: Uuid, first: &ClaimRow) -> IndicatorIds {
        let newest = self.newest.get(&key);
        let generation = newest.map_or(0, |known| known.generation);
        // Nobody can take a revocation back in STIX, so the observable goes on as another object.
        if self.taken.contains(&key) || newest.is_some_and(|known| known.revoked) {
            // Also where the id alone is taken: under `identity = "attribute"` it is that of an attribute, and
            // never free again.
            let generation = generation.saturating_add(1);
            let id = view.merger.successor(&first.observable, first.attribute, generation);
            return IndicatorIds { object: id, stix_id: id, generation };
        }
        match newest {
            Some(known) => {
                IndicatorIds { object: known.object, stix_id: known.stix_id, generation }
            }
            None => IndicatorIds { object: key, stix_id: first_id(view, first), generation },
        }
    }

    pub(super) fn newest(&self, key: Uuid) -> Option<&KnownIndicator> {
        self.newest.get(&key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &KnownIndicator> {
        self.newest.values()
    }

    /// Leaves the indicators with these keys out.
    pub(super) fn leave_out(&mut self, keys: &HashSet<Uuid>) {
        self.newest.retain(|key, _| !keys.contains(key));
    }

    /// The newest objects as they are wanted, by the key of their claims.
    pub(super) fn contents(
        &self,
        tx: &Transaction<'_>,
        view: &View,
    ) -> Result<HashMap<Uuid, WantedRow>> {
        let objects = self.newest.values().map(|known| known.object);
        let rows = wanted::contents(tx, &view.name, objects)?;
        Ok(rows.into_iter().map(|row| (row.key, row)).collect())
    }
}

/// The id of the first generation.
fn first_id(view: &View, claim: &ClaimRow) -> Uuid {
    let part = u8::try_from(claim.part).unwrap_or_default();
    view.merger.stix_id(&claim.observable, claim.attribute, part)
}
