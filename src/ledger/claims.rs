//! The rows of the table `claims`: reading, writing and ending them in bulk.

use std::collections::HashMap;

use uuid::Uuid;

use super::change::Change;
use super::hash;
use super::sql::{Columns, FromRow, Json, Result, Statement, Transaction, statements, values};
use super::wanted::encode;
use crate::pure::convert::{Claim, ClaimFacts};

statements! {
    OF_EVENT(Text, Bytes) =
        "SELECT attribute, part, object, digest FROM claims WHERE source = $1 AND event = $2";
    FACTS(Text, Bytes, Bytes, Integer) =
        "SELECT facts FROM claims
         WHERE source = $1 AND event = $2 AND attribute = $3 AND part = $4";
    ALTER(Text, Integer, Text, Bytes, Bytes, Integer) =
        "UPDATE claims SET facts = $1, digest = $2
         WHERE source = $3 AND event = $4 AND attribute = $5 AND part = $6";
    OBJECT(Text, Bytes, Bytes, Integer) =
        "SELECT object FROM claims
         WHERE source = $1 AND event = $2 AND attribute = $3 AND part = $4";
    DELETE(Text, Bytes, Bytes, Integer) =
        "DELETE FROM claims WHERE source = $1 AND event = $2 AND attribute = $3 AND part = $4";
    /// `claimed_at` outlives the publication while the observable stays, `heard_at` while MISP's timestamp
    /// does.
    WRITE(Text, Bytes, Bytes, Integer, Bytes, Integer, Bytes, Text, Text, Integer, Integer, Integer, Text) =
        "INSERT INTO claims (source, event, attribute, part, object, attribute_id, misp_object,
         path, value, timestamp, claimed_at, heard_at, digest, facts)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, $13)
         ON CONFLICT (source, event, attribute, part) DO UPDATE SET
            claimed_at = CASE WHEN claims.object = excluded.object
                         THEN claims.claimed_at ELSE excluded.claimed_at END,
            heard_at = CASE WHEN claims.object = excluded.object
                            AND claims.timestamp = excluded.timestamp
                       THEN claims.heard_at ELSE excluded.heard_at END,
            object = excluded.object, attribute_id = excluded.attribute_id,
            misp_object = excluded.misp_object, path = excluded.path, value = excluded.value,
            timestamp = excluded.timestamp, digest = excluded.digest, facts = excluded.facts";
}

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
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl FromRow for ClaimKey {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            source: columns.take()?,
            event: columns.take()?,
            attribute: columns.take()?,
            part: columns.take()?,
        })
    }
}

/// The next claims behind `place` in the order of their keys: `statement` selects some columns of the claims
/// behind `$1` to `$4`, at most `$5` of them.
pub(super) fn behind<R: FromRow>(
    tx: &Transaction<'_>,
    statement: &Statement,
    place: &ClaimKey,
    limit: i64,
) -> Result<Vec<R>> {
    let ClaimKey { source, event, attribute, part } = place;
    tx.rows(statement, &values![source, event, attribute, *part, limit])
}

pub(super) fn stored_claims(
    tx: &Transaction<'_>,
    source: &str,
    event: Uuid,
) -> Result<HashMap<Place, Stored>> {
    let rows: Vec<(Uuid, i16, Uuid, i64)> = tx.rows(&OF_EVENT, &values![source, event])?;
    let keyed = |(attribute, part, object, digest)| ((attribute, part), Stored { object, digest });
    Ok(rows.into_iter().map(keyed).collect())
}

/// What a stored claim says.
pub(super) fn stored_facts(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    (attribute, part): Place,
) -> Result<Option<ClaimFacts>> {
    let facts: Option<(Json<ClaimFacts>,)> =
        tx.row(&FACTS, &values![source, event, attribute, part])?;
    Ok(facts.map(|(Json(facts),)| facts))
}

/// Gives a claim facts that no snapshot said so.
pub(super) fn alter(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    (attribute, part): Place,
    facts: &ClaimFacts,
) -> Result<()> {
    let facts = encode(facts)?;
    tx.execute(&ALTER, &values![&facts, ALTERED, source, event, attribute, part]).map(drop)
}

pub(super) fn object_of(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    (attribute, part): Place,
) -> Result<Option<Uuid>> {
    tx.row(&OBJECT, &values![source, event, attribute, part])
}

pub(super) fn delete(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    (attribute, part): Place,
) -> Result<()> {
    tx.execute(&DELETE, &values![source, event, attribute, part]).map(drop)
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

pub(super) fn row(claim: Claim, change: &Change<'_>) -> Result<Row> {
    let facts = encode(&claim.facts)?;
    let object = change.views.object_key(&claim.observable);
    let digest = hash([object.as_bytes().as_slice(), facts.as_bytes()]);
    Ok(Row { claim, object, digest, facts })
}

pub(super) fn write(
    tx: &Transaction<'_>,
    source: &str,
    event: Uuid,
    rows: &[Row],
    now: i64,
) -> Result<()> {
    let values = rows.iter().map(|row| {
        let Row { claim, object, digest, facts } = row;
        let Claim { attribute, part, observable, facts: said } = claim;
        values![
            source,
            event,
            *attribute,
            i16::from(*part),
            *object,
            said.attribute_id,
            row.misp_object(),
            observable.path.as_ref(),
            observable.value.as_str(),
            said.timestamp,
            now,
            *digest,
            facts.as_str(),
        ]
    });
    tx.execute_each(&WRITE, values).map(drop)
}
