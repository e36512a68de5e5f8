//! Context objects in the ledger: what the wanted indicators need beside them. Identities, techniques
//! and actors are never withdrawn, and what the newest event says of them counts; a relationship
//! belongs to one indicator, and ends by `revoked` with what needs it.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::change::Change;
use super::generations::{Newest, revoked};
use super::sql::{Result, Transaction, row, statements, values};
use super::wanted::{Merged, WITHDRAWN, forget};
use super::{Lane, View};
use crate::pure::stix::{Admitted, ContextId, ContextObject};

/// The columns of [`Relationship`].
macro_rules! relationship_of {
    () => {
        concat!(
            "SELECT COALESCE(claimed, object), object, source, version, generation, ",
            revoked!(),
            " FROM wanted WHERE kind = 'relationship' AND view = $1"
        )
    };
}

statements! {
    KNOWN(Text, Bytes) = "SELECT said_at, body FROM wanted WHERE view = $1 AND object = $2";
    SAID_LATER(Integer, Text, Bytes) = "UPDATE wanted SET said_at = $1
         WHERE view = $2 AND object = $3";
    FROM_SOURCE(Text, Bytes) = concat!(relationship_of!(), " AND source = $2");
    OF_OBJECT(Text, Bytes) = concat!(relationship_of!(), " AND object = $2");
    OF_CLAIMED(Text, Bytes) = concat!(relationship_of!(), " AND claimed = $2");
    HAND_OVER(Bytes, Text, Bytes) = "UPDATE wanted SET source = $1
         WHERE view = $2 AND object = $3";
    STORE(
        Text, Bytes, Text, Bytes, Text, Integer, Integer, Integer, Integer, Bytes, Bytes, Integer
    ) = "INSERT INTO wanted
         (view, object, kind, stix_id, body, valid_from, valid_until, version, change, generation,
          claimed, source, said_at)
         VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (view, object) DO UPDATE SET body = excluded.body,
             version = excluded.version, change = excluded.change, revoke = FALSE,
             source = excluded.source, said_at = excluded.said_at";
    REVOKE(Integer, Text, Bytes) = "UPDATE wanted SET version = 0, revoke = TRUE, change = $1
         WHERE view = $2 AND object = $3";
    THERE(Text, Bytes) = "SELECT object FROM wanted
         WHERE version <> 0 AND view = $1 AND object = $2";
    THERE_AS_CLAIMED(Text, Bytes) = "SELECT claimed FROM wanted
         WHERE version <> 0 AND view = $1 AND claimed = $2";
}

/// Context has no end of its own: beyond every date, and still a date for who renders it.
const FOREVER: i64 = 253_402_300_799_000;

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

row! {
    /// A relationship as it is wanted.
    #[derive(Debug)]
    struct Relationship {
        key: Uuid,
        object: Uuid,
        source: Uuid,
        version: i64,
        generation: i16,
        /// A revocation of it has left.
        revoked: bool,
    }
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
pub(super) fn refresh<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    (newest, merged): (&HashMap<Uuid, Newest>, &[Merged]),
    change: &mut Change<'a>,
) -> Result<()> {
    // What has expired is not sent, so nothing should point from it.
    let live: Vec<&Merged> =
        merged.iter().filter(|one| one.indicator.valid_until > change.opened_at).collect();
    name(tx, view, &live, change)?;
    let mut sources: Vec<Uuid> = newest.values().map(|known| known.object).collect();
    sources.extend(live.iter().map(|one| one.place.object));
    let needed: HashSet<Uuid> =
        live.iter().flat_map(|one| &one.needs).map(|need| need.key).collect();
    let keys: Vec<Uuid> = needed.iter().copied().collect();
    let known = relationships(tx, &view.name, (&sources, &keys))?;
    let expired: HashSet<Uuid> = merged
        .iter()
        .filter(|one| one.indicator.valid_until <= change.opened_at)
        .map(|one| one.place.object)
        .collect();
    relate(tx, view, (&live, &known), change)?;
    let over = known.iter().filter(|one| {
        one.version != WITHDRAWN && !needed.contains(&one.key) && !expired.contains(&one.source)
    });
    let over: Vec<Uuid> = over.map(|one| one.object).collect();
    revoke(tx, view, &over, change)
}

/// Identities, techniques and actors: new ones, and those of which newer events say something else.
fn name<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    live: &[&Merged],
    change: &mut Change<'a>,
) -> Result<()> {
    let mut said: HashMap<Uuid, &ContextObject> = HashMap::new();
    for need in live.iter().flat_map(|one| &one.needs).filter(|need| need.target.is_none()) {
        let known = said.entry(need.key).or_insert(&need.object);
        if need.object.outranks(known) {
            *known = &need.object;
        }
    }
    let mut rows = Vec::new();
    for (key, object) in said {
        let known: Option<(i64, String)> = tx.row(&KNOWN, &values![&view.name, key])?;
        match known {
            Some((at, body)) if (object.timestamp, &object.body) <= (at, &body) => {}
            Some((_, body)) if body == object.body => {
                tx.execute(&SAID_LATER, &values![object.timestamp, &view.name, key])?;
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
    store(tx, view, &rows, change)
}

/// The relationships that start at these indicators or have these keys, revoked ones and all generations
/// among them. Under `identity = "attribute"` one may have started at another object with the same id.
fn relationships(
    tx: &Transaction<'_>,
    view: &str,
    (sources, keys): (&[Uuid], &[Uuid]),
) -> Result<Vec<Relationship>> {
    let mut found: HashMap<Uuid, Relationship> = HashMap::new();
    for (statement, ids) in [(&FROM_SOURCE, sources), (&OF_OBJECT, keys), (&OF_CLAIMED, keys)] {
        let ids = ids.iter().map(|id| values![view, id]);
        let rows: Vec<Relationship> = tx.rows_each(statement, ids)?;
        found.extend(rows.into_iter().map(|row| (row.object, row)));
    }
    Ok(found.into_values().collect())
}

/// Relationships that are needed and not there.
fn relate<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    (live, known): (&[&Merged], &[Relationship]),
    change: &mut Change<'a>,
) -> Result<()> {
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
                    hand_over(tx, view, known, one.place.object)?;
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
    store(tx, view, &rows, change)
}

/// It points from the same id, whichever object has that now.
fn hand_over(
    tx: &Transaction<'_>,
    view: &View,
    relationship: &Relationship,
    source: Uuid,
) -> Result<()> {
    if relationship.source == source {
        return Ok(());
    }
    tx.execute(&HAND_OVER, &values![source, &view.name, relationship.object])?;
    Ok(())
}

fn store<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    rows: &[Row<'_>],
    change: &mut Change<'a>,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let number = change.number(tx, view, Lane::Backlog)?;
    let values = rows.iter().map(|row| {
        values![
            &view.name,
            row.object,
            row.content.kind.word(),
            row.content.id,
            &row.content.body,
            FOREVER,
            row.content.fingerprint,
            number,
            row.generation,
            row.claimed,
            row.source,
            row.content.timestamp,
        ]
    });
    tx.execute_each(&STORE, values)?;
    change.context += rows.len();
    Ok(())
}

/// What no target was ever sent is forgotten.
fn revoke<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    over: &[Uuid],
    change: &mut Change<'a>,
) -> Result<()> {
    for object in over {
        if forget(tx, view, *object)? {
            continue;
        }
        let number = change.number(tx, view, Lane::Backlog)?;
        tx.execute(&REVOKE, &values![number, &view.name, object])?;
        change.context += 1;
    }
    Ok(())
}

/// What these indicators need and is not wanted, and relationships that nothing needs: for `ledger
/// check`. Of what has expired at `now` nothing is expected.
pub(super) fn astray(
    tx: &Transaction<'_>,
    view: &View,
    merged: &[&Merged],
    now: i64,
) -> Result<Vec<(Uuid, Uuid)>> {
    let live: Vec<&&Merged> = merged.iter().filter(|one| one.indicator.valid_until > now).collect();
    let needed: HashSet<(Uuid, Uuid)> = live
        .iter()
        .flat_map(|one| one.needs.iter().map(|need| (one.place.object, need.key)))
        .collect();
    let keys: Vec<Uuid> =
        needed.iter().map(|(_, key)| *key).collect::<HashSet<_>>().into_iter().collect();
    let mut there = HashSet::new();
    for statement in [&THERE, &THERE_AS_CLAIMED] {
        let keys = keys.iter().map(|key| values![&view.name, key]);
        there.extend(tx.rows_each::<Uuid>(statement, keys)?);
    }
    let sources: Vec<Uuid> = live.iter().map(|one| one.place.object).collect();
    let known = relationships(tx, &view.name, (&sources, &[]))?.into_iter();
    let unneeded = known
        .filter(|one| one.version != WITHDRAWN && !needed.contains(&(one.source, one.key)))
        .map(|one| (one.source, one.key));
    let missing = needed.iter().filter(|(_, key)| !there.contains(key)).copied();
    Ok(missing.chain(unneeded).collect())
}
