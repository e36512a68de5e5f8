//! Walks over all claims, some at a time.

use uuid::Uuid;

use crate::ledger::sql::{Columns, FromRow, Result, Transaction, statements, values};
use crate::ledger::tables::keys::{ClaimCursor, ClaimPlace, EventCursor};
use crate::ledger::tables::packed::PackedFacts;
use crate::ledger::tables::sightings::expires_at;
use crate::pure::stix::{Observable, Sight};

statements! {
    OBJECTS_AFTER(Bytes, Integer) =
        "SELECT DISTINCT object FROM claims WHERE object > $1 ORDER BY object LIMIT $2";
    WALK(Text, Bytes, Integer, Bytes, Integer, Integer) = concat!(
        "SELECT source, event, attribute_id, attribute, part, object, path, value, claimed_at, heard_at, ",
        expires_at!(), ", facts FROM claims
         WHERE (source, event, attribute_id, attribute, part) > ($1, $2, $3, $4, $5)
         ORDER BY source, event, attribute_id, attribute, part LIMIT $6"
    );
}

/// The next observables behind `after` that are claimed.
pub(in crate::ledger) fn objects_after(
    tx: &Transaction<'_>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>> {
    tx.rows(&OBJECTS_AFTER, &values![after, limit])
}

/// A claim that a walk over all claims comes by.
#[derive(Debug)]
pub(in crate::ledger) struct WalkedClaim {
    pub cursor: ClaimCursor,
    pub object: Uuid,
    pub observable: Observable,
    pub sight: Sight,
    pub expires_at: Option<i64>,
    pub facts: PackedFacts,
}

impl FromRow for WalkedClaim {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            cursor: ClaimCursor::from_row(columns)?,
            object: columns.take()?,
            observable: Observable::from_row(columns)?,
            sight: Sight::from_row(columns)?,
            expires_at: columns.take()?,
            facts: columns.take()?,
        })
    }
}

/// The next claims behind `cursor`, event by event.
pub(in crate::ledger) fn walk(
    tx: &Transaction<'_>,
    cursor: &ClaimCursor,
    limit: i64,
) -> Result<Vec<WalkedClaim>> {
    let ClaimCursor { source, event, at: EventCursor { attribute_id, place } } = cursor;
    let ClaimPlace { attribute, part } = *place;
    tx.rows(&WALK, &values![source, event, attribute_id, attribute, part, limit])
}
