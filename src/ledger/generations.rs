//! Generations of an id. A revocation is permanent in STIX, so an observable that returns after one
//! was sent to any target becomes another object, with the id of the next generation; the revoked one
//! stays withdrawn, so that every target still gets its revocation.

use std::collections::{HashMap, HashSet};

use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::claimed::{ClaimRow, Claimed};
use super::wanted::WITHDRAWN;
use super::{View, Writing, push_uuids};
use crate::pure::stix::Withdraw;

/// The newest object that claims of a key count for.
#[derive(Debug, Clone, sqlx::FromRow)]
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

/// Keys a statement.
const CHUNK: usize = 500;

/// The newest objects, by key, of these observables, whose claims are `claims`.
pub(super) async fn newest(
    tx: &mut Writing,
    view: &View,
    (observables, claims): (&[Uuid], &[Claimed]),
) -> sqlx::Result<HashMap<Uuid, Newest>> {
    let mut newest = HashMap::with_capacity(observables.len());
    if !view.is_by_attribute() {
        find(tx, view, (&["object", "claimed"], observables), &mut newest).await?;
        return Ok(newest);
    }
    find(tx, view, (&["observable"], observables), &mut newest).await?;
    // Withdrawn rows of older releases know no observable.
    let own: HashSet<Uuid> = claims.iter().map(|claim| view.key(&claim.row)).collect();
    let own: Vec<Uuid> = own.into_iter().collect();
    find(tx, view, (&["object", "claimed"], &own), &mut newest).await?;
    Ok(newest)
}

/// Each column with each chunk of the keys.
pub(super) fn by_column<'k>(
    columns: &[&'static str],
    keys: &'k [Uuid],
) -> Vec<(&'static str, &'k [Uuid])> {
    let chunks = |column: &&'static str| {
        let column = *column;
        keys.chunks(CHUNK).map(move |keys| (column, keys))
    };
    columns.iter().flat_map(chunks).collect()
}

async fn find(
    tx: &mut Writing,
    view: &View,
    (columns, keys): (&[&'static str], &[Uuid]),
    newest: &mut HashMap<Uuid, Newest>,
) -> sqlx::Result<()> {
    for (column, keys) in by_column(columns, keys) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT COALESCE(claimed, object) AS key, object, stix_id, version, generation,
                 version = 0 AND EXISTS (SELECT 1 FROM delivered d
                     WHERE d.object = wanted.object AND d.revoked > 0
                     AND d.target IN (SELECT target FROM targets t WHERE t.view = wanted.view))
                     AS revoked
             FROM wanted WHERE view = ",
        );
        query.push_bind(&view.name);
        push_uuids(&mut query, &format!(" AND {column} IN "), keys);
        let rows: Vec<Newest> = query.build_query_as().fetch_all(&mut **tx).await?;
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
pub(super) async fn taken(
    tx: &mut Writing,
    view: &View,
    claims: &[Claimed],
    newest: &HashMap<Uuid, Newest>,
) -> sqlx::Result<HashSet<Uuid>> {
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
        let is_taken: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM wanted WHERE view = $1 AND stix_id = $2
                 AND stix_id <> object AND object <> $3 AND (revoke OR $4 AND version <> 0))",
        )
        .bind(&view.name)
        .bind(stix_id)
        .bind(object)
        .bind(view.merger.withdraw() == Withdraw::Revoke)
        .fetch_one(&mut **tx)
        .await?;
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
