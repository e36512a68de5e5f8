//! Applying a snapshot of an event: what is new or changed is written in chunks, each a transaction
//! of its own that only adds; the last one removes what the snapshot no longer holds.

use std::collections::{HashMap, HashSet};

use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::small::Whole;
use super::wanted::{Change, decode, encode, refresh};
use super::{Writing, events, hash, tags, withdraw};
use crate::convert::{Claim, ClaimFacts, EventFacts, Skipped};

/// Rows a statement: measured as the fastest on two cores.
const ROWS: usize = 400;

/// Objects refreshed in one transaction.
pub(super) const STEP: usize = 5_000;

/// What an event's snapshot did to its claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub new: usize,
    pub changed: usize,
    pub gone: usize,
    /// Kept out by a tombstone: withdrawn after this snapshot was taken.
    pub withdrawn: usize,
    /// What policy does not admit now.
    pub forbidden: Skipped,
}

/// Whether a snapshot is to be applied.
#[derive(Debug)]
pub(super) enum Begun {
    /// The ledger holds exactly this.
    Unchanged,
    /// An older snapshot than the applied one, which `Event.timestamp` tells.
    Stale,
    /// The event was deleted; only a REST read begun after that brings it back.
    Deleted,
    Started(Box<Application>),
}

/// A snapshot on its way into the ledger.
#[derive(Debug)]
pub(super) struct Application {
    source: String,
    event: Uuid,
    facts: EventFacts,
    generation: i64,
    /// Claims of the event that the snapshot has not mentioned so far.
    unseen: HashMap<(Uuid, i16), Stored>,
    /// Claims that it has mentioned.
    mentioned: HashSet<(Uuid, i16)>,
    /// The event's own facts changed: all its objects are merged anew.
    event_changed: bool,
    pub counts: Counts,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    object: Uuid,
    /// [`ALTERED`], or of what the snapshot said.
    digest: i64,
}

/// The digest of a claim that is not what a snapshot said: the next one writes it anew.
pub(super) const ALTERED: i64 = 0;

#[derive(Debug, sqlx::FromRow)]
struct EventRow {
    timestamp: i64,
    content: Option<i64>,
    deleted_at: Option<i64>,
    facts: String,
}

/// Compares a snapshot's head with the ledger and, if it is to be applied, writes the head.
///
/// `content` is the fingerprint of the whole snapshot.
pub(super) async fn begin(
    tx: &mut Writing,
    source: &str,
    facts: &EventFacts,
    content: i64,
) -> sqlx::Result<Begun> {
    let stored: Option<EventRow> = sqlx::query_as(
        "SELECT timestamp, content, deleted_at, facts FROM events WHERE source = $1 AND event = $2",
    )
    .bind(source)
    .bind(facts.uuid)
    .fetch_optional(&mut **tx)
    .await?;
    let mut facts = facts.clone();
    let mut event_changed = false;
    if let Some(row) = stored {
        if row.deleted_at.is_some() {
            return Ok(Begun::Deleted);
        }
        if facts.timestamp < row.timestamp {
            return Ok(Begun::Stale);
        }
        if row.content == Some(content) {
            return Ok(Begun::Unchanged);
        }
        let before: EventFacts = decode(&row.facts)?;
        tags::keep_attached(&before.tags, facts.timestamp, &mut facts.tags);
        event_changed = says_more(&before, &facts);
    }
    let generation = write_head(tx, source, &facts).await?;
    if event_changed {
        // If this does not come to its end, all claims are judged by the new head nevertheless.
        events::begin_whole(tx, (source, facts.uuid), Whole::Refresh).await?;
    }
    let unseen = stored_claims(tx, source, facts.uuid).await?;
    let counts = Counts::default();
    Ok(Begun::Started(Box::new(Application {
        source: source.to_owned(),
        event: facts.uuid,
        facts,
        generation,
        unseen,
        mentioned: HashSet::new(),
        event_changed,
        counts,
    })))
}

/// Whether anything differs that policy or merging reads of an event: its own times are not.
fn says_more(stored: &EventFacts, now: &EventFacts) -> bool {
    let without_times =
        |facts: &EventFacts| EventFacts { timestamp: 0, publish_timestamp: 0, ..facts.clone() };
    without_times(stored) != without_times(now)
}

/// Until it is wholly applied, the event counts as one to be read again: a crash leaves a part.
async fn write_head(tx: &mut Writing, source: &str, facts: &EventFacts) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO events (source, event, misp_id, timestamp, sequence, generation, facts, reread)
         VALUES ($1, $2, $3, $4, 1, 1, $5, TRUE)
         ON CONFLICT (source, event) DO UPDATE SET misp_id = excluded.misp_id, reread = TRUE,
             timestamp = excluded.timestamp, facts = excluded.facts, content = NULL,
             sequence = events.sequence + 1, generation = events.generation + 1
         RETURNING generation",
    )
    .bind(source)
    .bind(facts.uuid)
    .bind(facts.id)
    .bind(facts.timestamp)
    .bind(encode(facts)?)
    .fetch_one(&mut **tx)
    .await
}

async fn stored_claims(
    tx: &mut Writing,
    source: &str,
    event: Uuid,
) -> sqlx::Result<HashMap<(Uuid, i16), Stored>> {
    let rows: Vec<(Uuid, i16, Uuid, i64)> = sqlx::query_as(
        "SELECT attribute, part, object, digest FROM claims WHERE source = $1 AND event = $2",
    )
    .bind(source)
    .bind(event)
    .fetch_all(&mut **tx)
    .await?;
    let keyed = |(attribute, part, object, digest)| ((attribute, part), Stored { object, digest });
    Ok(rows.into_iter().map(keyed).collect())
}

/// A claim ready to be written.
struct Row {
    claim: Claim,
    object: Uuid,
    digest: i64,
    facts: String,
}

impl Row {
    fn key(&self) -> (Uuid, i16) {
        (self.claim.attribute, i16::from(self.claim.part))
    }
}

impl Application {
    /// Writes a chunk of the snapshot's claims. `false`: a newer snapshot has begun, give way.
    pub(super) async fn add(
        &mut self,
        tx: &mut Writing,
        claims: Vec<Claim>,
        change: &mut Change<'_>,
    ) -> sqlx::Result<bool> {
        if !self.is_current(tx).await? {
            return Ok(false);
        }
        let mut rows = Vec::with_capacity(claims.len());
        for mut claim in claims {
            let altered = self.keep_tags(tx, &mut claim).await?;
            if let Err(reason) =
                change.view.judge.admit(&self.facts, &claim.facts, &claim.observable)
            {
                self.counts.forbidden.add(reason);
            }
            let mut row = row(claim, change)?;
            if altered {
                row.digest = ALTERED;
            }
            rows.push(row);
        }
        self.drop_withdrawn(tx, &mut rows).await?;
        let touched = self.compare(&mut rows);
        for rows in rows.chunks(ROWS) {
            write(tx, &self.source, self.event, rows, change.opened_at).await?;
        }
        refresh(tx, &touched, change).await?;
        Ok(true)
    }

    async fn is_current(&self, tx: &mut Writing) -> sqlx::Result<bool> {
        let generation: Option<i64> = sqlx::query_scalar(
            "SELECT generation FROM events
             WHERE source = $1 AND event = $2 AND deleted_at IS NULL",
        )
        .bind(&self.source)
        .bind(self.event)
        .fetch_optional(&mut **tx)
        .await?;
        Ok(generation == Some(self.generation))
    }

    /// Tags that were put on the attribute since its publication stay, if this snapshot may be from
    /// before them. Whether there are any.
    async fn keep_tags(&self, tx: &mut Writing, claim: &mut Claim) -> sqlx::Result<bool> {
        let part = i16::from(claim.part);
        let stored = self.unseen.get(&(claim.attribute, part));
        if stored.is_none_or(|stored| stored.digest != ALTERED) {
            return Ok(false);
        }
        let facts: Option<String> = sqlx::query_scalar(
            "SELECT facts FROM claims
             WHERE source = $1 AND event = $2 AND attribute = $3 AND part = $4",
        )
        .bind(&self.source)
        .bind(self.event)
        .bind(claim.attribute)
        .bind(part)
        .fetch_optional(&mut **tx)
        .await?;
        // It may have ended between two chunks.
        let Some(facts) = facts else { return Ok(false) };
        let before: ClaimFacts = decode(&facts)?;
        Ok(tags::keep_attached(&before.tags, self.facts.timestamp, &mut claim.facts.tags))
    }

    /// Takes out what was withdrawn at or after the attribute's time in this snapshot.
    async fn drop_withdrawn(&mut self, tx: &mut Writing, rows: &mut Vec<Row>) -> sqlx::Result<()> {
        let mut tombstones = HashMap::new();
        for rows in rows.chunks(ROWS) {
            let attributes: Vec<Uuid> = rows.iter().map(|row| row.claim.attribute).collect();
            tombstones.extend(withdraw::tombstones(tx, &self.source, &attributes).await?);
        }
        let before = rows.len();
        rows.retain(|row| {
            let of = |object| tombstones.get(&(row.claim.attribute, object));
            let mut standing = [of(Uuid::nil()), of(row.object)].into_iter().flatten();
            !standing.any(|tombstone| tombstone.keeps_out(&row.claim.facts))
        });
        self.counts.withdrawn += before - rows.len();
        Ok(())
    }

    /// Keeps the rows that are new or changed; returns the objects to refresh.
    fn compare(&mut self, rows: &mut Vec<Row>) -> Vec<Uuid> {
        let mut touched = HashSet::new();
        rows.retain(|row| {
            let key = row.key();
            if !self.mentioned.insert(key) {
                return false;
            }
            let stored = self.unseen.remove(&key);
            let same =
                stored.is_some_and(|stored| stored.digest == row.digest && row.digest != ALTERED);
            if !same || self.event_changed {
                touched.insert(row.object);
                touched.extend(stored.map(|stored| stored.object));
            }
            match stored {
                None => self.counts.new += 1,
                Some(_) if !same => self.counts.changed += 1,
                Some(_) => {}
            }
            !same
        });
        let mut touched: Vec<Uuid> = touched.into_iter().collect();
        touched.sort_unstable();
        touched
    }

    /// Removes what the snapshot does not hold, at most [`STEP`] claims; `false`: call again.
    pub(super) async fn remove_unseen(
        &mut self,
        tx: &mut Writing,
        change: &mut Change<'_>,
    ) -> sqlx::Result<bool> {
        if !self.is_current(tx).await? {
            return Ok(true);
        }
        let gone: Vec<((Uuid, i16), Stored)> =
            self.unseen.iter().take(STEP).map(|(key, stored)| (*key, *stored)).collect();
        for ((attribute, part), _) in &gone {
            self.unseen.remove(&(*attribute, *part));
            sqlx::query(
                "DELETE FROM claims
                 WHERE source = $1 AND event = $2 AND attribute = $3 AND part = $4",
            )
            .bind(&self.source)
            .bind(self.event)
            .bind(attribute)
            .bind(part)
            .execute(&mut **tx)
            .await?;
        }
        self.counts.gone += gone.len();
        let mut objects: Vec<Uuid> = gone.iter().map(|(_, stored)| stored.object).collect();
        objects.sort_unstable();
        objects.dedup();
        refresh(tx, &objects, change).await?;
        Ok(self.unseen.is_empty())
    }

    /// Marks the snapshot as wholly applied.
    pub(super) async fn finish(
        &self,
        tx: &mut Writing,
        content: i64,
        skipped: &str,
    ) -> sqlx::Result<()> {
        sqlx::query(
            "UPDATE events SET content = $1, skipped = $2, reread = FALSE, unfinished = 0
             WHERE source = $3 AND event = $4 AND generation = $5",
        )
        .bind(content)
        .bind(skipped)
        .bind(&self.source)
        .bind(self.event)
        .bind(self.generation)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

fn row(claim: Claim, change: &Change<'_>) -> sqlx::Result<Row> {
    let facts = encode(&claim.facts)?;
    let object = change.view.merger.object_key(&claim.observable, claim.attribute);
    let digest = hash([object.as_bytes().as_slice(), facts.as_bytes()]);
    Ok(Row { claim, object, digest, facts })
}

/// `claimed_at` and an expiration sighting outlive the publication while the observable stays.
async fn write(
    tx: &mut Writing,
    source: &str,
    event: Uuid,
    rows: &[Row],
    now: i64,
) -> sqlx::Result<()> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO claims (source, event, attribute, part, object, attribute_id, misp_object,
         path, value, timestamp, claimed_at, digest, facts) ",
    );
    query.push_values(rows, |mut values, row| {
        let facts = &row.claim.facts;
        values
            .push_bind(source)
            .push_bind(event)
            .push_bind(row.claim.attribute)
            .push_bind(i16::from(row.claim.part))
            .push_bind(row.object)
            .push_bind(facts.attribute_id)
            .push_bind(facts.object.as_ref().map(|object| object.uuid))
            .push_bind(row.claim.observable.path.as_ref())
            .push_bind(row.claim.observable.value.as_str())
            .push_bind(facts.timestamp)
            .push_bind(now)
            .push_bind(row.digest)
            .push_bind(row.facts.as_str());
    });
    query.push(
        " ON CONFLICT (source, event, attribute, part) DO UPDATE SET
            claimed_at = CASE WHEN claims.object = excluded.object
                         THEN claims.claimed_at ELSE excluded.claimed_at END,
            expires_at = CASE WHEN claims.object = excluded.object THEN claims.expires_at END,
            object = excluded.object, attribute_id = excluded.attribute_id,
            misp_object = excluded.misp_object, path = excluded.path, value = excluded.value,
            timestamp = excluded.timestamp, digest = excluded.digest, facts = excluded.facts",
    );
    query.build().execute(&mut **tx).await?;
    Ok(())
}
