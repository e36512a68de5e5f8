//! Walks over all claims, some at a time.

use uuid::Uuid;

use crate::ledger::sql::{Columns, FromRow, Result, Transaction, statements, values};
use crate::ledger::tables::keys::{
    ClaimCursor, ClaimKey, ClaimPlace, EventCursor, EventKey, EventOfSource,
};
use crate::ledger::tables::packed::PackedFacts;
use crate::ledger::tables::sightings::expires_at;
use crate::pure::stix::{Observable, Sight};

statements! {
    OBJECTS_AFTER(Bytes, Integer) =
        "SELECT DISTINCT object FROM claims WHERE object > $1 ORDER BY object LIMIT $2";
    // Event by event, as the index has them: attributes are random, and in their order each row would be on
    // another page.
    WALK(Integer, Integer, Bytes, Integer, Integer) = concat!(
        "SELECT event_number, attribute_id, attribute, part, e.source, e.event, object, path, value,
             claimed_at, heard_at, ", expires_at!(), ", claims.facts
         FROM claims JOIN events e ON e.number = event_number
         WHERE (event_number, attribute_id, attribute, part) > ($1, $2, $3, $4)
         ORDER BY event_number, attribute_id, attribute, part LIMIT $5"
    );
}

/// The next observables after `after` that have a claim.
pub(in crate::ledger) fn objects_after(
    tx: &Transaction<'_>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>> {
    tx.rows(&OBJECTS_AFTER, &values![after, limit])
}

/// A claim, as a walk over all claims reads it.
#[derive(Debug)]
pub(in crate::ledger) struct WalkedClaim {
    pub cursor: ClaimCursor,
    pub event: EventOfSource,
    pub object: Uuid,
    pub observable: Observable,
    pub sight: Sight,
    pub expires_at: Option<i64>,
    pub facts: PackedFacts,
}

impl WalkedClaim {
    pub(in crate::ledger) fn key(&self) -> ClaimKey<'_> {
        let EventOfSource { source, event } = &self.event;
        EventKey::new(source, *event).claim(self.cursor.at.place)
    }
}

impl FromRow for WalkedClaim {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            cursor: ClaimCursor::from_row(columns)?,
            event: EventOfSource::from_row(columns)?,
            object: columns.take()?,
            observable: Observable::from_row(columns)?,
            sight: Sight::from_row(columns)?,
            expires_at: columns.take()?,
            facts: columns.take()?,
        })
    }
}

/// The next claims after `cursor`, event by event.
pub(in crate::ledger) fn walk(
    tx: &Transaction<'_>,
    cursor: ClaimCursor,
    limit: i64,
) -> Result<Vec<WalkedClaim>> {
    let ClaimCursor { event_number, at: EventCursor { attribute_id, place } } = cursor;
    let ClaimPlace { attribute, part } = place;
    tx.rows(&WALK, &values![event_number, attribute_id, attribute, part, limit])
}
