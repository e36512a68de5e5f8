//! The row of an event: what a snapshot's head says of it.

use uuid::Uuid;

use super::sql::{Result, SqlError, Transaction, statements, values};
use super::wanted::encode;
use crate::pure::convert::EventFacts;

statements! {
    WRITE(Text, Bytes, Integer, Integer, Text) =
        "INSERT INTO events (source, event, misp_id, timestamp, sequence, generation, facts)
         VALUES ($1, $2, $3, $4, 1, 1, $5)
         ON CONFLICT (source, event) DO UPDATE SET misp_id = excluded.misp_id,
             timestamp = excluded.timestamp, facts = excluded.facts, content = NULL,
             deleted_at = NULL,
             sequence = events.sequence + 1, generation = events.generation + 1
         RETURNING generation";
    GENERATION(Text, Bytes) =
        "SELECT generation FROM events
         WHERE source = $1 AND event = $2 AND deleted_at IS NULL";
}

/// Whether anything differs that policy or merging reads of an event: its own times are not.
pub(super) fn says_more(stored: &EventFacts, now: &EventFacts) -> bool {
    let without_times = |facts: &EventFacts| EventFacts {
        timestamp: 0,
        publish_timestamp: 0,
        narrowed_at: 0,
        ..facts.clone()
    };
    without_times(stored) != without_times(now)
}

/// Writes the head of a snapshot that begins; returns its generation.
pub(super) fn write_head(tx: &Transaction<'_>, source: &str, facts: &EventFacts) -> Result<i64> {
    let encoded = encode(facts)?;
    let EventFacts { uuid, id, timestamp, .. } = *facts;
    tx.row(&WRITE, &values![source, uuid, id, timestamp, &encoded])?.ok_or(SqlError::NoRow)
}

/// Which snapshot of an event was begun last; `None` of an event that is deleted or unknown.
pub(super) fn generation(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
) -> Result<Option<i64>> {
    tx.row(&GENERATION, &values![source, event])
}
