//! What MISP takes back. Withdrawals count at once, match by uuid and never by value, and leave a
//! tombstone, so that a snapshot from before them brings nothing back.

use std::collections::{HashMap, HashSet};

use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite};
use uuid::Uuid;

use super::apply::STEP;
use super::change::Change;
use super::reads::{self, Asking};
use super::wanted::refresh;
use super::{Writing, claims, guard, push_uuids};
use crate::pure::convert::ClaimFacts;

/// What became of a withdrawal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Withdrawn {
    /// Claims that ended.
    Claims(usize),
    /// It looks older than the claim: only a REST read of the event can tell, which is noted.
    Older,
}

/// Claims that a withdrawal may end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    Attribute(Uuid),
    /// By the uuid of the MISP object around them.
    Object(Uuid),
}

#[derive(Debug, Clone, Copy, sqlx::FromRow)]
struct Found {
    attribute: Uuid,
    part: i16,
    object: Uuid,
    timestamp: i64,
}

/// A withdrawal, made ready for the ledger.
#[derive(Debug)]
pub(super) struct Ending {
    pub which: Which,
    /// MISP's, of the withdrawal, Unix seconds.
    pub timestamp: i64,
    /// Of an edited attribute: the objects that it still claims.
    pub keep: Option<Vec<Uuid>>,
    /// See [`Tombstone`].
    pub ids_only: bool,
    /// For people.
    pub why: &'static str,
}

impl Ending {
    /// Keeps older snapshots from claiming it (again). What an edit says comes with a snapshot of that
    /// very second.
    fn tombstone(&self) -> Tombstone {
        let (Which::Attribute(uuid) | Which::Object(uuid)) = self.which;
        let timestamp = self.timestamp.saturating_sub(i64::from(self.keep.is_some()));
        Tombstone { ids_only: self.ids_only, ..Tombstone::of(uuid, timestamp) }
    }

    fn keeps(&self, object: Uuid) -> bool {
        self.keep.as_ref().is_some_and(|keep| keep.contains(&object))
    }
}

/// The events whose claims a withdrawal is about, whatever MISP's number of them is now.
pub(super) async fn claimants(
    tx: &mut Writing,
    source: &str,
    which: Which,
) -> sqlx::Result<Vec<Uuid>> {
    let (column, uuid) = column(which);
    let query = format!("SELECT DISTINCT event FROM claims WHERE source = $1 AND {column} = $2");
    sqlx::query_scalar(AssertSqlSafe(query)).bind(source).bind(uuid).fetch_all(&mut **tx).await
}

/// What is withdrawn may be on its way in a snapshot from before: it stays out.
pub(super) async fn remember(
    tx: &mut Writing,
    source: &str,
    withdrawal: &Ending,
    now: i64,
) -> sqlx::Result<()> {
    bury(tx, source, &withdrawal.tombstone(), now).await
}

/// Ends the claims of an attribute or object in one event, except those that are kept.
pub(super) async fn withdraw(
    tx: &mut Writing,
    event: (&str, Uuid),
    withdrawal: &Ending,
    change: &mut Change<'_>,
) -> sqlx::Result<Withdrawn> {
    let Ending { timestamp, ids_only, .. } = *withdrawal;
    let found = find(tx, event, withdrawal.which).await?;
    let ending: Vec<Found> =
        found.into_iter().filter(|claim| !withdrawal.keeps(claim.object)).collect();
    if ending.iter().any(|claim| claim.timestamp > timestamp) {
        reads::ask(tx, event, Asking::at_once(change.opened_at), change.opened_at).await?;
        return Ok(Withdrawn::Older);
    }
    let is_whole = withdrawal.keep.as_ref().is_none_or(Vec::is_empty);
    for claim in &ending {
        let object = if is_whole { Uuid::nil() } else { claim.object };
        let tombstone = Tombstone { object, ids_only, ..Tombstone::of(claim.attribute, timestamp) };
        bury(tx, event.0, &tombstone, change.opened_at).await?;
        end(tx, event, (claim.attribute, claim.part), (ids_only, change)).await?;
    }
    if !ending.is_empty() {
        guard::forget_gone(tx, event).await?;
        touch(tx, event).await?;
    }
    let objects: HashSet<Uuid> = ending.iter().map(|claim| claim.object).collect();
    refresh(tx, &objects.into_iter().collect::<Vec<_>>(), change).await?;
    Ok(Withdrawn::Claims(ending.len()))
}

pub(super) fn column(which: Which) -> (&'static str, Uuid) {
    match which {
        Which::Attribute(uuid) => ("attribute", uuid),
        Which::Object(uuid) => ("misp_object", uuid),
    }
}

/// A claim that marks its value as a false positive goes on doing so without `to_ids`, until MISP shows
/// the attribute otherwise: switching `to_ids` off is what people do next.
async fn end(
    tx: &mut Writing,
    event: (&str, Uuid),
    place: claims::Place,
    (ids_only, change): (bool, &Change<'_>),
) -> sqlx::Result<()> {
    let facts = if ids_only { claims::stored_facts(tx, event, place).await? } else { None };
    match facts.filter(|facts| change.views.iter().any(|view| view.judge.disputes(facts))) {
        Some(facts) => {
            let facts = ClaimFacts { to_ids: false, ..facts };
            claims::alter(tx, event, place, &facts).await
        }
        None => claims::delete(tx, event, place).await,
    }
}

async fn find(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    which: Which,
) -> sqlx::Result<Vec<Found>> {
    let (column, uuid) = column(which);
    let query = format!(
        "SELECT attribute, part, object, timestamp FROM claims
         WHERE source = $1 AND event = $2 AND {column} = $3"
    );
    sqlx::query_as(AssertSqlSafe(query))
        .bind(source)
        .bind(event)
        .bind(uuid)
        .fetch_all(&mut **tx)
        .await
}

/// What keeps a snapshot from before a withdrawal from undoing it.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(super) struct Tombstone {
    /// Or a MISP object: whatever its attributes claim.
    pub attribute: Uuid,
    /// Nil: whatever the attribute claims.
    pub object: Uuid,
    /// MISP's, of the withdrawal, Unix seconds.
    pub timestamp: i64,
    /// `to_ids` was switched off, and nothing else.
    pub ids_only: bool,
    /// When the relay heard of it, Unix milliseconds.
    pub withdrawn_at: i64,
}

impl Tombstone {
    /// For whatever the attribute claims.
    pub(super) fn of(attribute: Uuid, timestamp: i64) -> Self {
        Self { attribute, object: Uuid::nil(), timestamp, ids_only: false, withdrawn_at: 0 }
    }

    /// Whether a snapshot that says this is from before the withdrawal. Of the same second, the
    /// withdrawal wins.
    pub(super) fn keeps_out(&self, facts: &ClaimFacts) -> bool {
        let same_news = self.ids_only && !facts.to_ids;
        facts.timestamp < self.timestamp || (facts.timestamp == self.timestamp && !same_news)
    }
}

/// The tombstones of these attributes and MISP objects, by them and the object that they claimed.
pub(super) async fn tombstones(
    tx: &mut Writing,
    source: &str,
    attributes: &[Uuid],
) -> sqlx::Result<HashMap<(Uuid, Uuid), Tombstone>> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT attribute, object, timestamp, ids_only, withdrawn_at FROM tombstones WHERE source = ",
    );
    query.push_bind(source);
    push_uuids(&mut query, " AND attribute IN ", attributes);
    let found: Vec<Tombstone> = query.build_query_as().fetch_all(&mut **tx).await?;
    Ok(found.into_iter().map(|one| ((one.attribute, one.object), one)).collect())
}

/// Writes a tombstone; the later of two withdrawals counts, of the same second the stricter.
pub(super) async fn bury(
    tx: &mut Writing,
    source: &str,
    tombstone: &Tombstone,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO tombstones (source, attribute, object, timestamp, ids_only, withdrawn_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (source, attribute, object) DO UPDATE SET
             ids_only = CASE WHEN excluded.timestamp > tombstones.timestamp
                        THEN excluded.ids_only
                        WHEN excluded.timestamp = tombstones.timestamp
                        THEN excluded.ids_only AND tombstones.ids_only
                        ELSE tombstones.ids_only END,
             timestamp = CASE WHEN excluded.timestamp > tombstones.timestamp
                         THEN excluded.timestamp ELSE tombstones.timestamp END,
             withdrawn_at = excluded.withdrawn_at",
    )
    .bind(source)
    .bind(tombstone.attribute)
    .bind(tombstone.object)
    .bind(tombstone.timestamp)
    .bind(tombstone.ids_only)
    .bind(now)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A notice was applied: the stored content is no longer that of a snapshot.
pub(super) async fn touch(tx: &mut Writing, (source, event): (&str, Uuid)) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE events SET sequence = sequence + 1, content = NULL
         WHERE source = $1 AND event = $2",
    )
    .bind(source)
    .bind(event)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends a tombstone.
pub(super) async fn unbury(
    tx: &mut Writing,
    source: &str,
    attribute: Uuid,
    object: Uuid,
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM tombstones WHERE source = $1 AND attribute = $2 AND object = $3")
        .bind(source)
        .bind(attribute)
        .bind(object)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Marks an event as deleted, known or not; its claims end by [`end_claims`].
pub(super) async fn delete_event(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    timestamp: i64,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO events
         (source, event, misp_id, timestamp, sequence, generation, deleted_at, facts)
         VALUES ($1, $2, 0, $3, 1, 1, $4, '{}')
         ON CONFLICT (source, event) DO UPDATE SET deleted_at = excluded.deleted_at,
             content = NULL, sequence = events.sequence + 1, generation = events.generation + 1",
    )
    .bind(source)
    .bind(event)
    .bind(timestamp)
    .bind(now)
    .execute(&mut **tx)
    .await?;
    sqlx::query("DELETE FROM announced WHERE source = $1 AND event = $2")
        .bind(source)
        .bind(event)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Ends at most [`STEP`] claims of a deleted event; returns how many.
pub(super) async fn end_claims(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    change: &mut Change<'_>,
) -> sqlx::Result<usize> {
    let rows: Vec<(Uuid, i16, Uuid)> = sqlx::query_as(
        "SELECT attribute, part, object FROM claims WHERE source = $1 AND event = $2 LIMIT $3",
    )
    .bind(source)
    .bind(event)
    .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
    .fetch_all(&mut **tx)
    .await?;
    for (attribute, part, _) in &rows {
        claims::delete(tx, (source, event), (*attribute, *part)).await?;
    }
    guard::forget_gone(tx, (source, event)).await?;
    let objects: HashSet<Uuid> = rows.iter().map(|(.., object)| *object).collect();
    refresh(tx, &objects.into_iter().collect::<Vec<_>>(), change).await?;
    Ok(rows.len())
}
