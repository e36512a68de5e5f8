//! Generations of an id. A revocation is permanent in STIX, so an observable that returns after one
//! was sent to any target becomes another object, with the id of the next generation; the revoked one
//! stays withdrawn, so that every target still gets its revocation.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::View;
use super::claimed::{ClaimRow, Claimed};
use super::sql::{Result, SqlError, Statement, Transaction, row, statements, values};
use super::wanted::WITHDRAWN;
use crate::pure::stix::Withdraw;

/// Whether a row of `wanted` is withdrawn and a revocation of it has left, to any target of its view.
macro_rules! revoked {
    () => {
        "(version = 0 AND EXISTS (SELECT 1 FROM delivered d
             WHERE d.object = wanted.object AND d.revoked > 0
             AND d.target IN (SELECT target FROM targets t WHERE t.view = wanted.view)))"
    };
}
pub(super) use revoked;

/// The columns of [`Newest`].
macro_rules! newest_of {
    () => {
        concat!(
            "SELECT COALESCE(claimed, object), object, stix_id, version, generation, ",
            revoked!(),
            " FROM wanted WHERE view = $1"
        )
    };
}

statements! {
    OF_OBJECT(Text, Bytes) = concat!(newest_of!(), " AND object = $2");
    OF_CLAIMED(Text, Bytes) = concat!(newest_of!(), " AND claimed = $2");
    OF_OBSERVABLE(Text, Bytes) = concat!(newest_of!(), " AND observable = $2");
    IS_TAKEN(Text, Bytes, Bytes, Boolean) = "SELECT EXISTS (SELECT 1 FROM wanted
         WHERE view = $1 AND stix_id = $2 AND stix_id <> object AND object <> $3
         AND (revoke OR $4 AND version <> 0))";
}

row! {
    /// The newest object that claims of a key count for.
    #[derive(Debug, Clone)]
    pub(super) struct Newest {
        /// See [`View::key`].
        pub key: Uuid,
        pub object: Uuid,
        pub stix_id: Uuid,
        pub version: i64,
        pub generation: i16,
        /// It is withdrawn, and a revocation of it has left.
        pub revoked: bool,
    }
}

impl Newest {
    pub(super) fn is_live(&self) -> bool {
        self.version != WITHDRAWN
    }
}

/// The object that claims of a key count for from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub object: Uuid,
    pub stix_id: Uuid,
    pub generation: i16,
}

/// The newest objects, by key, of these observables, whose claims are `claims`.
pub(super) fn newest(
    tx: &Transaction<'_>,
    view: &View,
    (observables, claims): (&[Uuid], &[Claimed]),
) -> Result<HashMap<Uuid, Newest>> {
    let mut newest = HashMap::with_capacity(observables.len());
    if !view.is_by_attribute() {
        find(tx, view, (&[&OF_OBJECT, &OF_CLAIMED], observables), &mut newest)?;
        return Ok(newest);
    }
    find(tx, view, (&[&OF_OBSERVABLE], observables), &mut newest)?;
    // Withdrawn rows of older releases know no observable.
    let own: HashSet<Uuid> = claims.iter().map(|claim| view.key(&claim.row)).collect();
    let own: Vec<Uuid> = own.into_iter().collect();
    find(tx, view, (&[&OF_OBJECT, &OF_CLAIMED], &own), &mut newest)?;
    Ok(newest)
}

fn find(
    tx: &Transaction<'_>,
    view: &View,
    (statements, keys): (&[&Statement], &[Uuid]),
    newest: &mut HashMap<Uuid, Newest>,
) -> Result<()> {
    for statement in statements {
        let keys = keys.iter().map(|key| values![&view.name, key]);
        let rows: Vec<Newest> = tx.rows_each(statement, keys)?;
        for row in rows {
            let known = newest.get(&row.key).map_or(-1, |known| known.generation);
            if row.generation > known {
                newest.insert(row.key, row);
            }
        }
    }
    Ok(())
}

/// Objects whose ids may not be used although they themselves were not revoked: under
/// `identity = "attribute"` another object had the same id, and its revocation has left or will.
pub(super) fn taken(
    tx: &Transaction<'_>,
    view: &View,
    claims: &[Claimed],
    newest: &HashMap<Uuid, Newest>,
) -> Result<HashSet<Uuid>> {
    let mut taken = HashSet::new();
    if !view.is_by_attribute() {
        return Ok(taken);
    }
    for claims in claims.chunk_by(|a, b| view.merges(&a.row, &b.row)) {
        let Some(Claimed { row: first, .. }) = claims.first() else { continue };
        let key = view.key(first);
        if newest.get(&key).is_some_and(Newest::is_live) {
            continue;
        }
        let first_id = || view.merger.stix_id(&first.observable(), first.attribute, part(first));
        let (object, stix_id) = newest
            .get(&key)
            .map_or_else(|| (key, first_id()), |known| (known.object, known.stix_id));
        let revokes = view.merger.withdraw() == Withdraw::Revoke;
        let values = values![&view.name, stix_id, object, revokes];
        let (is_taken,): (bool,) = tx.row(&IS_TAKEN, &values)?.ok_or(SqlError::NoRow)?;
        if is_taken {
            taken.insert(key);
        }
    }
    Ok(taken)
}

/// Where the claims of a key go, `first` of which is one.
pub(super) fn place(
    view: &View,
    first: &ClaimRow,
    newest: Option<&Newest>,
    is_taken: bool,
) -> Place {
    let observable = first.observable();
    let generation = newest.map_or(0, |known| known.generation);
    if is_taken || newest.is_some_and(|known| known.revoked) {
        let generation = generation.saturating_add(1);
        let id = view.merger.successor(&observable, first.attribute, generation);
        return Place { object: id, stix_id: id, generation };
    }
    match newest {
        Some(known) => Place { object: known.object, stix_id: known.stix_id, generation },
        None => {
            let stix_id = view.merger.stix_id(&observable, first.attribute, part(first));
            Place { object: view.key(first), stix_id, generation }
        }
    }
}

fn part(claim: &ClaimRow) -> u8 {
    u8::try_from(claim.part).unwrap_or_default()
}
