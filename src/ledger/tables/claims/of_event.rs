//! The claims of one event: by attribute, by MISP object, one after the other.

use uuid::Uuid;

use super::STEP_ROWS;
use crate::ledger::sql::{Columns, FromRow, Result, SqlError, Transaction, statements, values};
use crate::ledger::tables::events::number;
use crate::ledger::tables::keys::{ClaimPlace, EventCursor, EventKey};
use crate::ledger::tables::packed::PackedFacts;

/// The columns of [`EventClaim`].
macro_rules! of_event {
    () => {
        concat!(
            "SELECT attribute, part, object, timestamp, facts FROM claims WHERE event_number = ",
            number!()
        )
    };
}

statements! {
    OF_ATTRIBUTE(Text, Bytes, Bytes) = concat!(of_event!(), " AND attribute = $3");
    OF_MISP_OBJECT(Text, Bytes, Bytes) = concat!(of_event!(), " AND misp_object = $3");
    OF_ATTRIBUTE_ID(Text, Bytes, Integer) = concat!(of_event!(), " AND attribute_id = $3");
    // The order is that of the index. Two attributes may have one number all the same, so the place decides
    // between them.
    AFTER(Text, Bytes, Integer, Bytes, Integer, Integer) = concat!(
        "SELECT attribute_id, attribute, part, object FROM claims WHERE event_number = ", number!(),
        " AND (attribute_id, attribute, part) > ($3, $4, $5)
         ORDER BY attribute_id, attribute, part LIMIT $6"
    );
    COUNT_OF_EVENT(Text, Bytes) =
        concat!("SELECT count(*) FROM claims WHERE event_number = ", number!());
    OBJECTS_OF_ATTRIBUTE(Text, Bytes, Bytes) = concat!(
        "SELECT object FROM claims WHERE attribute = $3 AND event_number = ", number!()
    );
    VALUES_OF_ATTRIBUTE(Text, Bytes, Bytes) = concat!(
        "SELECT value FROM claims WHERE attribute = $3 AND event_number = ", number!()
    );
    EVENTS_OF_ATTRIBUTE(Text, Bytes) =
        "SELECT e.event FROM claims c JOIN events e ON e.number = c.event_number
         WHERE c.attribute = $2 AND e.source = $1";
    EVENTS_OF_MISP_OBJECT(Text, Bytes) =
        "SELECT e.event FROM claims c JOIN events e ON e.number = c.event_number
         WHERE c.misp_object = $2 AND e.source = $1";
}

/// A stored claim of an event.
#[derive(Debug)]
pub(in crate::ledger) struct EventClaim {
    pub place: ClaimPlace,
    pub object: Uuid,
    /// `Attribute.timestamp`, Unix seconds.
    pub timestamp: i64,
    pub facts: PackedFacts,
}

impl FromRow for EventClaim {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        let place = ClaimPlace::from_row(columns)?;
        let (object, timestamp) = (columns.take()?, columns.take()?);
        Ok(Self { place, object, timestamp, facts: columns.take()? })
    }
}

/// The claims that MISP names by one uuid: those of an attribute, or of a MISP object.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) enum ClaimGroup {
    OfAttribute(Uuid),
    OfMispObject(Uuid),
}

/// The claims of such a group in an event.
pub(in crate::ledger) fn of_group(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    group: ClaimGroup,
) -> Result<Vec<EventClaim>> {
    match group {
        ClaimGroup::OfAttribute(uuid) => tx.rows(&OF_ATTRIBUTE, &values![source, event, uuid]),
        ClaimGroup::OfMispObject(uuid) => tx.rows(&OF_MISP_OBJECT, &values![source, event, uuid]),
    }
}

/// The claims of an event's attribute with MISP's number `id`.
pub(in crate::ledger) fn of_attribute_id(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    id: i64,
) -> Result<Vec<EventClaim>> {
    tx.rows(&OF_ATTRIBUTE_ID, &values![source, event, id])
}

/// The events that have claims of such a group.
pub(in crate::ledger) fn events_of(
    tx: &Transaction<'_>,
    source: &str,
    group: ClaimGroup,
) -> Result<Vec<Uuid>> {
    let (statement, uuid) = match group {
        ClaimGroup::OfAttribute(uuid) => (&EVENTS_OF_ATTRIBUTE, uuid),
        ClaimGroup::OfMispObject(uuid) => (&EVENTS_OF_MISP_OBJECT, uuid),
    };
    let mut events: Vec<Uuid> = tx.rows(statement, &values![source, uuid])?;
    // DISTINCT would have SQLite go through all claims of the source, in the order of their events.
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

/// How many claims an event makes.
pub(in crate::ledger) fn count_of_event(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<usize> {
    let count: i64 = tx.row(&COUNT_OF_EVENT, &values![source, event])?.ok_or(SqlError::NoRow)?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// The observable that a claim counts for.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct PlacedObject {
    pub place: ClaimPlace,
    pub object: Uuid,
}

impl FromRow for PlacedObject {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { place: ClaimPlace::from_row(columns)?, object: columns.take()? })
    }
}

/// A claim, as a walk over the claims of an event reads it.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct WalkedObject {
    pub at: EventCursor,
    pub object: Uuid,
}

impl FromRow for WalkedObject {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { at: EventCursor::from_row(columns)?, object: columns.take()? })
    }
}

/// The next [`STEP`](super::STEP) claims of an event after `after`.
pub(in crate::ledger) fn after(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    EventCursor { attribute_id, place: ClaimPlace { attribute, part } }: EventCursor,
) -> Result<Vec<WalkedObject>> {
    tx.rows(&AFTER, &values![source, event, attribute_id, attribute, part, STEP_ROWS])
}

/// The observables that these attributes of an event claim, each once and in order.
pub(in crate::ledger) fn objects_of(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    attributes: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<Uuid>> {
    let attributes = attributes.into_iter().map(|attribute| values![source, event, attribute]);
    let mut objects: Vec<Uuid> = tx.rows_each(&OBJECTS_OF_ATTRIBUTE, attributes)?;
    objects.sort_unstable();
    objects.dedup();
    Ok(objects)
}

/// The values that an attribute of an event claims.
pub(in crate::ledger) fn values_of(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    attribute: Uuid,
) -> Result<Vec<String>> {
    tx.rows(&VALUES_OF_ATTRIBUTE, &values![source, event, attribute])
}
