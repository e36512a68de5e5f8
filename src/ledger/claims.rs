//! The rows of the table `claims`: reading, writing and ending them in bulk.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow, QueryBuilder, Sqlite, SqliteExecutor};
use uuid::Uuid;

use super::change::Change;
use super::wanted::encode;
use super::{Writing, hash};
use crate::pure::convert::{Claim, ClaimFacts};

/// Rows a statement: measured as the fastest on two cores.
pub(super) const ROWS: usize = 400;

/// A claim's place in its event: attribute and part.
pub(super) type Place = (Uuid, i16);

/// What the ledger holds of a claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub object: Uuid,
    /// [`ALTERED`], or of what the snapshot said.
    pub digest: i64,
}

/// The digest of a claim that is not what a snapshot said: the next one writes it anew.
pub(super) const ALTERED: i64 = 0;

/// A claim's primary key: where a walk over all claims stands.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct ClaimKey {
    pub source: String,
    pub event: Uuid,
    pub attribute: Uuid,
    pub part: i16,
}

impl ClaimKey {
    /// Before the first claim.
    pub(super) fn least() -> Self {
        Self { source: String::new(), event: Uuid::nil(), attribute: Uuid::nil(), part: -1 }
    }
}

/// The next claims behind `place` in the order of their keys, which each row begins with; `columns`
/// are what else it holds.
pub(super) async fn behind<'c, R>(
    connection: impl SqliteExecutor<'c>,
    place: &ClaimKey,
    columns: &str,
    limit: i64,
) -> sqlx::Result<Vec<R>>
where
    R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    sqlx::query_as(AssertSqlSafe(format!(
        "SELECT source, event, attribute, part, {columns} FROM claims
         WHERE (source, event, attribute, part) > ($1, $2, $3, $4)
         ORDER BY source, event, attribute, part LIMIT $5"
    )))
    .bind(&place.source)
    .bind(place.event)
    .bind(place.attribute)
    .bind(place.part)
    .bind(limit)
    .fetch_all(connection)
    .await
}

pub(super) async fn stored_claims(
    tx: &mut Writing,
    source: &str,
    event: Uuid,
) -> sqlx::Result<HashMap<Place, Stored>> {
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

/// What a stored claim says.
pub(super) async fn stored_facts(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    (attribute, part): Place,
) -> sqlx::Result<Option<ClaimFacts>> {
    let facts: Option<String> = sqlx::query_scalar(
        "SELECT facts FROM claims
         WHERE source = $1 AND event = $2 AND attribute = $3 AND part = $4",
    )
    .bind(source)
    .bind(event)
    .bind(attribute)
    .bind(part)
    .fetch_optional(&mut **tx)
    .await?;
    facts.map(|facts| super::wanted::decode(&facts)).transpose()
}

/// Gives a claim facts that no snapshot said so.
pub(super) async fn alter(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    (attribute, part): Place,
    facts: &ClaimFacts,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE claims SET facts = $1, digest = $2
         WHERE source = $3 AND event = $4 AND attribute = $5 AND part = $6",
    )
    .bind(encode(facts)?)
    .bind(ALTERED)
    .bind(source)
    .bind(event)
    .bind(attribute)
    .bind(part)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn object_of(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    (attribute, part): Place,
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar(
        "SELECT object FROM claims
         WHERE source = $1 AND event = $2 AND attribute = $3 AND part = $4",
    )
    .bind(source)
    .bind(event)
    .bind(attribute)
    .bind(part)
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn delete(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    (attribute, part): Place,
) -> sqlx::Result<()> {
    sqlx::query(
        "DELETE FROM claims WHERE source = $1 AND event = $2 AND attribute = $3 AND part = $4",
    )
    .bind(source)
    .bind(event)
    .bind(attribute)
    .bind(part)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A claim ready to be written.
#[derive(Debug)]
pub(super) struct Row {
    pub claim: Claim,
    pub object: Uuid,
    pub digest: i64,
    facts: String,
}

impl Row {
    pub(super) fn place(&self) -> Place {
        (self.claim.attribute, i16::from(self.claim.part))
    }

    pub(super) fn misp_object(&self) -> Option<Uuid> {
        self.claim.facts.object.as_ref().map(|object| object.uuid)
    }
}

pub(super) fn row(claim: Claim, change: &Change<'_>) -> sqlx::Result<Row> {
    let facts = encode(&claim.facts)?;
    let object = change.views.object_key(&claim.observable);
    let digest = hash([object.as_bytes().as_slice(), facts.as_bytes()]);
    Ok(Row { claim, object, digest, facts })
}

/// `claimed_at` outlives the publication while the observable stays, `heard_at` while MISP's timestamp
/// does.
pub(super) async fn write(
    tx: &mut Writing,
    source: &str,
    event: Uuid,
    rows: &[Row],
    now: i64,
) -> sqlx::Result<()> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO claims (source, event, attribute, part, object, attribute_id, misp_object,
         path, value, timestamp, claimed_at, heard_at, digest, facts) ",
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
            .push_bind(row.misp_object())
            .push_bind(row.claim.observable.path.as_ref())
            .push_bind(row.claim.observable.value.as_str())
            .push_bind(facts.timestamp)
            .push_bind(now)
            .push_bind(now)
            .push_bind(row.digest)
            .push_bind(row.facts.as_str());
    });
    query.push(
        " ON CONFLICT (source, event, attribute, part) DO UPDATE SET
            claimed_at = CASE WHEN claims.object = excluded.object
                         THEN claims.claimed_at ELSE excluded.claimed_at END,
            heard_at = CASE WHEN claims.object = excluded.object
                            AND claims.timestamp = excluded.timestamp
                       THEN claims.heard_at ELSE excluded.heard_at END,
            object = excluded.object, attribute_id = excluded.attribute_id,
            misp_object = excluded.misp_object, path = excluded.path, value = excluded.value,
            timestamp = excluded.timestamp, digest = excluded.digest, facts = excluded.facts",
    );
    query.build().execute(&mut **tx).await?;
    Ok(())
}
