//! Statements on `wanted` for context objects: identities, techniques, actors, and the relationships to them.

use uuid::Uuid;

use super::{WITHDRAWN, revoked};
use crate::ledger::sql::{Result, Transaction, row, statements, values};
use crate::ledger::tables::keys::GenerationKey;
use crate::ledger::tables::packed::{UnpackedBody, pack_body};

/// The columns of [`Relationship`].
macro_rules! relationships {
    () => {
        concat!(
            "SELECT key, object, source, version, generation, ",
            revoked!(),
            " FROM wanted WHERE view = $1 AND kind = 'relationship'"
        )
    };
}

statements! {
    CONTEXT_SAID(Text, Bytes) = "SELECT said_at, body FROM wanted WHERE view = $1 AND object = $2";
    // The body is the same, so nothing is sent. But what an event from between the two says must not
    // outrank it.
    SAID_LATER(Integer, Text, Bytes) =
        "UPDATE wanted SET said_at = $1 WHERE view = $2 AND object = $3";
    RELATIONSHIPS_FROM(Text, Bytes) = concat!(relationships!(), " AND source = $2");
    RELATIONSHIPS_OF_KEY(Text, Bytes) = concat!(
        relationships!(), " AND object = $2 AND key = $2
         UNION ALL ",
        relationships!(), " AND key = $2 AND key <> object"
    );
    // Under `identity = "attribute"` one object may follow another under the same id, from which the
    // relationship points.
    HAND_OVER(Bytes, Text, Bytes) =
        "UPDATE wanted SET source = $1 WHERE view = $2 AND object = $3";
    // A relationship that is needed again before its revocation has left lives on as the same object.
    STORE_CONTEXT(
        Text, Bytes, Bytes, Text, Bytes, Bytes, Integer, Integer, Integer, Integer, Bytes, Integer
    ) =
        "INSERT INTO wanted
         (view, object, key, observable, kind, stix_id, body, valid_from, valid_until, version,
          change, generation, source, said_at)
         VALUES ($1, $2, $3, $3, $4, $5, $6, 0, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (view, object) DO UPDATE SET body = excluded.body,
             version = excluded.version, change = excluded.change, revoke = FALSE,
             source = excluded.source, said_at = excluded.said_at";
}

row! {
    /// What the ledger knows of an identity, a technique or an actor.
    #[derive(Debug)]
    pub(in crate::ledger) struct ContextSaid {
        /// `Event.timestamp` of the event that says so, Unix seconds.
        pub said_at: i64,
        pub body: String as UnpackedBody,
    }
}

pub(in crate::ledger) fn context_said(
    tx: &Transaction<'_>,
    view: &str,
    object: Uuid,
) -> Result<Option<ContextSaid>> {
    tx.row(&CONTEXT_SAID, &values![view, object])
}

/// A newer event says the same of a context object.
pub(in crate::ledger) fn said_later(
    tx: &Transaction<'_>,
    view: &str,
    object: Uuid,
    at: i64,
) -> Result<()> {
    tx.execute(&SAID_LATER, &values![at, view, object]).map(drop)
}

row! {
    /// A relationship as it is wanted.
    #[derive(Debug)]
    pub(in crate::ledger) struct Relationship {
        pub key: Uuid,
        pub object: Uuid,
        /// The indicator that it starts at.
        pub source: Uuid,
        version: i64,
        pub generation: i16,
        /// Whether its revocation was sent.
        pub revoked: bool,
    }
}

impl Relationship {
    pub(in crate::ledger) fn is_live(&self) -> bool {
        self.version != WITHDRAWN
    }
}

/// The relationships that start at these indicators, withdrawn ones and all generations among them.
pub(in crate::ledger) fn relationships_from(
    tx: &Transaction<'_>,
    view: &str,
    sources: &[Uuid],
) -> Result<Vec<Relationship>> {
    tx.rows_each(&RELATIONSHIPS_FROM, sources.iter().map(|source| values![view, source]))
}

/// The relationships with these keys, withdrawn ones and all generations among them.
pub(in crate::ledger) fn relationships_of(
    tx: &Transaction<'_>,
    view: &str,
    keys: &[Uuid],
) -> Result<Vec<Relationship>> {
    tx.rows_each(&RELATIONSHIPS_OF_KEY, keys.iter().map(|key| values![view, key]))
}

/// Has a relationship start at another indicator.
pub(in crate::ledger) fn hand_over(
    tx: &Transaction<'_>,
    view: &str,
    relationship: Uuid,
    source: Uuid,
) -> Result<()> {
    tx.execute(&HAND_OVER, &values![source, view, relationship]).map(drop)
}

/// A context object to be written.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct NewContext<'a> {
    pub object: Uuid,
    pub generation: GenerationKey,
    /// Of a relationship: the indicator that it starts at.
    pub source: Option<Uuid>,
    pub kind: &'a str,
    pub stix_id: Uuid,
    pub body: &'a str,
    pub valid_until: i64,
    /// Its fingerprint.
    pub version: i64,
    /// `Event.timestamp` of the event that says so, Unix seconds.
    pub said_at: i64,
}

/// Writes context objects as part of a change.
pub(in crate::ledger) fn store_context<'a>(
    tx: &Transaction<'_>,
    view: &str,
    objects: impl Iterator<Item = NewContext<'a>>,
    change: i64,
) -> Result<()> {
    let packed: Vec<(NewContext<'a>, Vec<u8>)> =
        objects.map(|one| (one, pack_body(one.body))).collect();
    let rows = packed.iter().map(|(one, body)| {
        values![
            view,
            one.object,
            one.generation.key,
            one.kind,
            one.stix_id,
            body.as_slice(),
            one.valid_until,
            one.version,
            change,
            one.generation.number,
            one.source,
            one.said_at,
        ]
    });
    tx.execute_each(&STORE_CONTEXT, rows).map(drop)
}
