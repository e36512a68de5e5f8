//! The copies of an attribute: its claims in all sources. MISPs synchronise events, and an attribute keeps its uuid.

use uuid::Uuid;

use crate::ledger::sql::{Columns, FromRow, Result, Transaction, statements, values};
use crate::ledger::tables::keys::{EventKey, EventOfSource};
use crate::ledger::tables::packed::PackedFacts;

statements! {
    OF_ATTRIBUTE(Bytes) =
        "SELECT c.attribute, e.source, e.event, c.object, c.timestamp, c.facts
         FROM claims c JOIN events e ON e.number = c.event_number WHERE c.attribute = $1";
    OBJECTS_ELSEWHERE(Bytes, Text) =
        "SELECT c.object FROM claims c JOIN events e ON e.number = c.event_number
         WHERE c.attribute = $1 AND e.source <> $2";
    OBJECTS(Bytes) = "SELECT object FROM claims WHERE attribute = $1";
    ATTRIBUTES_OF_EVENT(Text, Bytes) =
        "SELECT attribute FROM claims
         WHERE event_number = (SELECT number FROM events WHERE source = $1 AND event = $2)";
}

/// A claim of an attribute, as one of several sources shows it.
#[derive(Debug)]
pub(in crate::ledger) struct AttributeCopy {
    pub attribute: Uuid,
    pub event: EventOfSource,
    pub object: Uuid,
    /// `Attribute.timestamp`, Unix seconds.
    pub timestamp: i64,
    pub facts: PackedFacts,
}

impl FromRow for AttributeCopy {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            attribute: columns.take()?,
            event: EventOfSource::from_row(columns)?,
            object: columns.take()?,
            timestamp: columns.take()?,
            facts: columns.take()?,
        })
    }
}

/// All claims of these attributes, of any source. Those of an attribute are neighbours.
pub(in crate::ledger) fn copies_of(
    tx: &Transaction<'_>,
    attributes: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<AttributeCopy>> {
    tx.rows_each(&OF_ATTRIBUTE, attributes.into_iter().map(|attribute| values![attribute]))
}

/// The observables that sources other than this one claim by these attributes.
pub(in crate::ledger) fn objects_elsewhere(
    tx: &Transaction<'_>,
    source: &str,
    attributes: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<Uuid>> {
    let rows = attributes.into_iter().map(|attribute| values![attribute, source]);
    tx.rows_each(&OBJECTS_ELSEWHERE, rows)
}

/// The observables that any source claims by these attributes.
pub(in crate::ledger) fn objects_anywhere(
    tx: &Transaction<'_>,
    attributes: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<Uuid>> {
    tx.rows_each(&OBJECTS, attributes.into_iter().map(|attribute| values![attribute]))
}

/// The attributes by which an event claims anything.
pub(in crate::ledger) fn attributes_of(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<Vec<Uuid>> {
    tx.rows(&ATTRIBUTES_OF_EVENT, &values![source, event])
}
