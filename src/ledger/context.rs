//! Context objects in the ledger: what the wanted indicators need beside them. Identities, techniques
//! and actors are never withdrawn, and what the newest event says of them counts; a relationship
//! belongs to one indicator, and ends by `revoked` with what needs it.

use std::collections::{HashMap, HashSet};

use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::change::Change;
use super::generations::{Newest, by_column};
use super::wanted::{Merged, WITHDRAWN};
use super::{Lane, View, Writing, push_uuids};
use crate::pure::stix::{Admitted, ContextId, ContextObject};

/// Context has no end of its own: beyond every date, and still a date for who renders it.
const FOREVER: i64 = 253_402_300_799_000;

/// Rows a statement.
const CHUNK: usize = 500;

/// A context object that an indicator needs.
#[derive(Debug)]
pub(super) struct Need {
    pub key: Uuid,
    object: ContextObject,
    /// Of a relationship.
    target: Option<ContextId>,
}

/// What an indicator needs that these claims add up to.
pub(super) fn needs(view: &View, indicator: Uuid, admitted: &[Admitted<'_>]) -> Vec<Need> {
    let needed = view.merger.needed(indicator, admitted);
    let need = needed.iter().filter_map(|needed| {
        let key = view.merger.context_key(needed.kind, needed.id);
        Some(Need { key, object: needed.render()?, target: needed.target() })
    });
    need.collect()
}

/// A relationship as it is wanted.
#[derive(Debug, sqlx::FromRow)]
struct Relationship {
    key: Uuid,
    object: Uuid,
    source: Uuid,
    version: i64,
    generation: i16,
    /// A revocation of it has left.
    revoked: bool,
}

/// A row of `wanted` to be.
struct Row<'r> {
    object: Uuid,
    claimed: Option<Uuid>,
    source: Option<Uuid>,
    generation: i16,
    content: &'r ContextObject,
}

/// Brings the context of these objects to what their indicators need now.
pub(super) async fn refresh<'a>(
    tx: &mut Writing,
    view: &'a View,
    (newest, merged): (&HashMap<Uuid, Newest>, &[Merged]),
    change: &mut Change<'a>,
) -> sqlx::Result<()> {
    // What has expired is not sent, so nothing should point from it.
    let live: Vec<&Merged> =
        merged.iter().filter(|one| one.indicator.valid_until > change.opened_at).collect();
    name(tx, view, &live, change).await?;
    let mut sources: Vec<Uuid> = newest.values().map(|known| known.object).collect();
    sources.extend(live.iter().map(|one| one.place.object));
    let needed: HashSet<Uuid> =
        live.iter().flat_map(|one| &one.needs).map(|need| need.key).collect();
    let keys: Vec<Uuid> = needed.iter().copied().collect();
    let known = relationships(tx, &view.name, (&sources, &keys)).await?;
    let expired: HashSet<Uuid> = merged
        .iter()
        .filter(|one| one.indicator.valid_until <= change.opened_at)
        .map(|one| one.place.object)
        .collect();
    relate(tx, view, (&live, &known), change).await?;
    let over = known.iter().filter(|one| {
        one.version != WITHDRAWN && !needed.contains(&one.key) && !expired.contains(&one.source)
    });
    let over: Vec<Uuid> = over.map(|one| one.object).collect();
    revoke(tx, view, &over, change).await
}

/// Identities, techniques and actors: new ones, and those of which newer events say something else.
async fn name<'a>(
    tx: &mut Writing,
    view: &'a View,
    live: &[&Merged],
    change: &mut Change<'a>,
) -> sqlx::Result<()> {
    let mut said: HashMap<Uuid, &ContextObject> = HashMap::new();
    for need in live.iter().flat_map(|one| &one.needs).filter(|need| need.target.is_none()) {
        let known = said.entry(need.key).or_insert(&need.object);
        if need.object.outranks(known) {
            *known = &need.object;
        }
    }
    if said.is_empty() {
        return Ok(());
    }
    let keys: Vec<Uuid> = said.keys().copied().collect();
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT object, said_at, body FROM wanted WHERE view = ");
    query.push_bind(&view.name);
    push_uuids(&mut query, " AND object IN ", &keys);
    let known: Vec<(Uuid, i64, String)> = query.build_query_as().fetch_all(&mut **tx).await?;
    let known: HashMap<Uuid, (i64, String)> =
        known.into_iter().map(|(object, at, body)| (object, (at, body))).collect();
    let mut rows = Vec::new();
    for (key, object) in said {
        match known.get(&key) {
            Some((at, body)) if (object.timestamp, &object.body) <= (*at, body) => {}
            Some((_, body)) if *body == object.body => {
                let later = "UPDATE wanted SET said_at = $1 WHERE view = $2 AND object = $3";
                let query = sqlx::query(later).bind(object.timestamp).bind(&view.name).bind(key);
                query.execute(&mut **tx).await?;
            }
            _ => rows.push(Row {
                object: key,
                claimed: None,
                source: None,
                generation: 0,
                content: object,
            }),
        }
    }
    store(tx, view, &rows, change).await
}

/// The relationships that start at these indicators or have these keys, revoked ones and all generations
/// among them. Under `identity = "attribute"` one may have started at another object with the same id.
async fn relationships(
    tx: &mut Writing,
    view: &str,
    (sources, keys): (&[Uuid], &[Uuid]),
) -> sqlx::Result<Vec<Relationship>> {
    let mut found: HashMap<Uuid, Relationship> = HashMap::new();
    let sources = by_column(&["source"], sources);
    for (column, ids) in sources.into_iter().chain(by_column(&["object", "claimed"], keys)) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT COALESCE(claimed, object) AS key, object, source, version, generation,
                 version = 0 AND EXISTS (SELECT 1 FROM delivered d
                     WHERE d.object = wanted.object AND d.revoked > 0
                     AND d.target IN (SELECT target FROM targets t WHERE t.view = wanted.view))
                     AS revoked
             FROM wanted WHERE source IS NOT NULL AND view = ",
        );
        query.push_bind(view);
        push_uuids(&mut query, &format!(" AND {column} IN "), ids);
        let rows: Vec<Relationship> = query.build_query_as().fetch_all(&mut **tx).await?;
        found.extend(rows.into_iter().map(|row| (row.object, row)));
    }
    Ok(found.into_values().collect())
}

/// Relationships that are needed and not there.
async fn relate<'a>(
    tx: &mut Writing,
    view: &'a View,
    (live, known): (&[&Merged], &[Relationship]),
    change: &mut Change<'a>,
) -> sqlx::Result<()> {
    let mut newest: HashMap<Uuid, &Relationship> = HashMap::new();
    for one in known {
        let known = newest.entry(one.key).or_insert(one);
        if one.generation > known.generation {
            *known = one;
        }
    }
    let mut objects = Vec::new();
    for one in live {
        for need in &one.needs {
            let Some(target) = need.target else { continue };
            let known = newest.get(&need.key);
            let generation = match known {
                Some(known) if known.version != WITHDRAWN => {
                    hand_over(tx, view, known, one.place.object).await?;
                    continue;
                }
                Some(known) if known.revoked => known.generation.saturating_add(1),
                Some(known) => known.generation,
                None => 0,
            };
            let object = view.merger.relationship(one.place.stix_id, target, generation);
            objects.extend(object.map(|object| (one.place.object, need.key, generation, object)));
        }
    }
    let row = |one| {
        let (source, key, generation, content): &(Uuid, Uuid, i16, ContextObject) = one;
        let claimed = (content.id != *key).then_some(*key);
        Row { object: content.id, claimed, source: Some(*source), generation: *generation, content }
    };
    let rows: Vec<Row<'_>> = objects.iter().map(row).collect();
    store(tx, view, &rows, change).await
}

/// It points from the same id, whichever object has that now.
async fn hand_over(
    tx: &mut Writing,
    view: &View,
    relationship: &Relationship,
    source: Uuid,
) -> sqlx::Result<()> {
    if relationship.source == source {
        return Ok(());
    }
    let hand_over = "UPDATE wanted SET source = $1 WHERE view = $2 AND object = $3";
    let query = sqlx::query(hand_over).bind(source).bind(&view.name).bind(relationship.object);
    query.execute(&mut **tx).await.map(drop)
}

async fn store<'a>(
    tx: &mut Writing,
    view: &'a View,
    rows: &[Row<'_>],
    change: &mut Change<'a>,
) -> sqlx::Result<()> {
    for rows in rows.chunks(CHUNK) {
        let number = change.number(tx, view, Lane::Backlog).await?;
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO wanted
             (view, object, kind, stix_id, body, valid_from, valid_until, version, change, generation,
              claimed, source, said_at) ",
        );
        query.push_values(rows, |mut values, row| {
            values
                .push_bind(view.name.as_str())
                .push_bind(row.object)
                .push_bind(row.content.kind.word())
                .push_bind(row.content.id)
                .push_bind(row.content.body.as_str())
                .push_bind(0_i64)
                .push_bind(FOREVER)
                .push_bind(row.content.fingerprint)
                .push_bind(number)
                .push_bind(row.generation)
                .push_bind(row.claimed)
                .push_bind(row.source)
                .push_bind(row.content.timestamp);
        });
        query.push(
            " ON CONFLICT (view, object) DO UPDATE SET body = excluded.body,
              version = excluded.version, change = excluded.change, revoke = FALSE,
              source = excluded.source, said_at = excluded.said_at",
        );
        query.build().execute(&mut **tx).await?;
        change.context += rows.len();
    }
    Ok(())
}

/// What no target was ever sent is forgotten.
async fn revoke<'a>(
    tx: &mut Writing,
    view: &'a View,
    over: &[Uuid],
    change: &mut Change<'a>,
) -> sqlx::Result<()> {
    for over in over.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM wanted WHERE view = ");
        query.push_bind(&view.name);
        push_uuids(&mut query, " AND object IN ", over);
        query.push(
            " AND NOT EXISTS (SELECT 1 FROM delivered d WHERE d.object = wanted.object
                  AND d.target IN (SELECT target FROM targets t WHERE t.view = wanted.view))
              RETURNING object",
        );
        let forgotten: Vec<Uuid> = query.build_query_scalar().fetch_all(&mut **tx).await?;
        let left: Vec<Uuid> =
            over.iter().filter(|object| !forgotten.contains(object)).copied().collect();
        if left.is_empty() {
            continue;
        }
        let number = change.number(tx, view, Lane::Backlog).await?;
        let mut query =
            QueryBuilder::<Sqlite>::new("UPDATE wanted SET version = 0, revoke = TRUE, change = ");
        query.push_bind(number).push(" WHERE view = ").push_bind(&view.name);
        push_uuids(&mut query, " AND object IN ", &left);
        query.build().execute(&mut **tx).await?;
        change.context += left.len();
    }
    Ok(())
}

/// What these indicators need and is not wanted, and relationships that nothing needs: for `ledger
/// check`. Of what has expired at `now` nothing is expected.
pub(super) async fn astray(
    tx: &mut Writing,
    view: &View,
    merged: &[&Merged],
    now: i64,
) -> sqlx::Result<Vec<(Uuid, Uuid)>> {
    let live: Vec<&&Merged> = merged.iter().filter(|one| one.indicator.valid_until > now).collect();
    let needed: HashSet<(Uuid, Uuid)> = live
        .iter()
        .flat_map(|one| one.needs.iter().map(|need| (one.place.object, need.key)))
        .collect();
    let keys: Vec<Uuid> =
        needed.iter().map(|(_, key)| *key).collect::<HashSet<_>>().into_iter().collect();
    let mut there = HashSet::new();
    for column in ["object", "claimed"] {
        for keys in keys.chunks(CHUNK) {
            let mut query = QueryBuilder::<Sqlite>::new(format!(
                "SELECT {column} FROM wanted WHERE version <> 0 AND view = "
            ));
            query.push_bind(&view.name);
            push_uuids(&mut query, &format!(" AND {column} IN "), keys);
            there.extend(query.build_query_scalar::<Uuid>().fetch_all(&mut **tx).await?);
        }
    }
    let sources: Vec<Uuid> = live.iter().map(|one| one.place.object).collect();
    let known = relationships(tx, &view.name, (&sources, &[])).await?.into_iter();
    let unneeded = known
        .filter(|one| one.version != WITHDRAWN && !needed.contains(&(one.source, one.key)))
        .map(|one| (one.source, one.key));
    let missing = needed.iter().filter(|(_, key)| !there.contains(key)).copied();
    Ok(missing.chain(unneeded).collect())
}
