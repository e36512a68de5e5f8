//! Statements on `wanted` for indicators, live or withdrawn.

use uuid::Uuid;

use super::{WITHDRAWN, revoked};
use crate::ledger::sql::{Result, SqlError, Transaction, row, statements, values};
use crate::ledger::tables::keys::GenerationKey;
use crate::ledger::tables::packed::{UnpackedBody, pack_body};

/// The columns of [`KnownIndicator`].
macro_rules! indicators {
    () => {
        concat!(
            "SELECT key, object, stix_id, version, generation, ",
            revoked!(),
            " FROM wanted WHERE view = $1 AND kind = 'indicator'"
        )
    };
}

statements! {
    /// The first generation has its key as its object, and the others have an index.
    INDICATORS_OF_KEY(Text, Bytes) = concat!(
        indicators!(), " AND object = $2 AND key = $2
         UNION ALL ",
        indicators!(), " AND key = $2 AND key <> object"
    );
    /// The second condition is that of the index.
    INDICATORS_OF_OBSERVABLE(Text, Bytes) =
        concat!(indicators!(), " AND observable = $2 AND observable <> key");
    // Where the id is the object's own key, no other object has it, and the index by the id leaves it out.
    IS_ID_TAKEN(Text, Bytes, Bytes, Boolean) =
        "SELECT EXISTS (SELECT 1 FROM wanted
         WHERE view = $1 AND stix_id = $2 AND stix_id <> object AND object <> $3
         AND (revoke OR $4 AND version <> 0))";
    OBSERVABLES_OF_ID(Text, Bytes) =
        "SELECT observable FROM wanted WHERE view = $1 AND object = $2 AND stix_id = $2
         UNION ALL
         SELECT observable FROM wanted WHERE view = $1 AND stix_id = $2 AND stix_id <> object";
    CONTENT(Text, Bytes) =
        "SELECT key, observable, object, stix_id, body, valid_from, valid_until, version
         FROM wanted WHERE view = $1 AND object = $2";
    UNCLAIMED(Text, Integer) =
        "SELECT w.observable FROM wanted w
         WHERE w.view = $1 AND w.version <> 0 AND w.kind = 'indicator'
         AND NOT EXISTS (SELECT 1 FROM claims c WHERE c.object = w.observable) LIMIT $2";
    // Key, id and generation belong to the object and never change. `observable` may: of an indicator that
    // was found at a target and noted, it was unknown. What comes back after it was withdrawn is no longer
    // to be revoked.
    STORE_INDICATOR(
        Text, Bytes, Bytes, Bytes, Bytes, Bytes, Integer, Integer, Integer, Integer, Integer
    ) =
        "INSERT INTO wanted
         (view, object, key, observable, stix_id, body, valid_from, valid_until, version,
          generation, change, kind)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'indicator')
         ON CONFLICT (view, object) DO UPDATE SET body = excluded.body,
             valid_from = excluded.valid_from, valid_until = excluded.valid_until,
             version = excluded.version, change = excluded.change, revoke = FALSE,
             observable = excluded.observable, tlp = 0";
}

/// The keys of the claims for which an indicator with this id stands, or stood.
pub(in crate::ledger) fn observables_of_id(
    tx: &Transaction<'_>,
    view: &str,
    stix_id: Uuid,
) -> Result<Vec<Uuid>> {
    tx.rows(&OBSERVABLES_OF_ID, &values![view, stix_id])
}

row! {
    /// An indicator for which claims count, or counted.
    #[derive(Debug, Clone)]
    pub(in crate::ledger) struct KnownIndicator {
        pub key: Uuid,
        pub object: Uuid,
        pub stix_id: Uuid,
        pub version: i64,
        pub generation: i16,
        /// Whether it is withdrawn and its revocation was sent.
        pub revoked: bool,
    }
}

impl KnownIndicator {
    pub(in crate::ledger) fn is_live(&self) -> bool {
        self.version != WITHDRAWN
    }
}

/// The indicators with these keys, of all generations.
pub(in crate::ledger) fn indicators_of_keys(
    tx: &Transaction<'_>,
    view: &str,
    keys: &[Uuid],
) -> Result<Vec<KnownIndicator>> {
    tx.rows_each(&INDICATORS_OF_KEY, keys.iter().map(|key| values![view, key]))
}

/// The indicators of these observables, of all attributes and generations, in a view where each attribute has
/// an indicator of its own.
pub(in crate::ledger) fn indicators_of_observables(
    tx: &Transaction<'_>,
    view: &str,
    observables: &[Uuid],
) -> Result<Vec<KnownIndicator>> {
    let observables = observables.iter().map(|observable| values![view, observable]);
    tx.rows_each(&INDICATORS_OF_OBSERVABLE, observables)
}

/// A STIX id, and an object that would have it.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct IdOfObject {
    pub stix_id: Uuid,
    pub object: Uuid,
}

/// Whether an id may not be used for an object, because another object had it and its revocation was sent or will be.
/// `revokes`: the view withdraws by `revoked`, so a live object with this id will be revoked too.
pub(in crate::ledger) fn is_id_taken(
    tx: &Transaction<'_>,
    view: &str,
    IdOfObject { stix_id, object }: IdOfObject,
    revokes: bool,
) -> Result<bool> {
    tx.row(&IS_ID_TAKEN, &values![view, stix_id, object, revokes])?.ok_or(SqlError::NoRow)
}

row! {
    /// An indicator as it is wanted.
    #[derive(Debug)]
    pub(in crate::ledger) struct WantedRow {
        pub key: Uuid,
        /// The key of its claims.
        pub observable: Uuid,
        pub object: Uuid,
        pub stix_id: Uuid,
        pub body: String as UnpackedBody,
        pub valid_from: i64,
        pub valid_until: i64,
        pub version: i64,
    }
}

pub(in crate::ledger) fn contents(
    tx: &Transaction<'_>,
    view: &str,
    objects: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<WantedRow>> {
    tx.rows_each(&CONTENT, objects.into_iter().map(|object| values![view, object]))
}

/// The observables of live indicators that nothing claims.
pub(in crate::ledger) fn unclaimed(
    tx: &Transaction<'_>,
    view: &str,
    limit: i64,
) -> Result<Vec<Uuid>> {
    tx.rows(&UNCLAIMED, &values![view, limit])
}

/// An indicator to be written.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct NewIndicator<'a> {
    pub object: Uuid,
    pub generation: GenerationKey,
    /// The key of the claims.
    pub observable: Uuid,
    pub stix_id: Uuid,
    pub body: &'a str,
    pub valid_from: i64,
    pub valid_until: i64,
    /// Its fingerprint.
    pub version: i64,
}

/// Writes indicators as part of a change.
pub(in crate::ledger) fn store_indicators<'a>(
    tx: &Transaction<'_>,
    view: &str,
    indicators: impl Iterator<Item = NewIndicator<'a>>,
    change: i64,
) -> Result<()> {
    let packed: Vec<(NewIndicator<'a>, Vec<u8>)> =
        indicators.map(|one| (one, pack_body(one.body))).collect();
    let rows = packed.iter().map(|(one, body)| {
        values![
            view,
            one.object,
            one.generation.key,
            one.observable,
            one.stix_id,
            body.as_slice(),
            one.valid_from,
            one.valid_until,
            one.version,
            one.generation.number,
            change,
        ]
    });
    tx.execute_each(&STORE_INDICATOR, rows).map(drop)
}
