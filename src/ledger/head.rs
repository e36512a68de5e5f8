//! The row of an event: what a snapshot's head says of it.

use uuid::Uuid;

use super::Writing;
use super::wanted::encode;
use crate::pure::convert::EventFacts;

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
pub(super) async fn write_head(
    tx: &mut Writing,
    source: &str,
    facts: &EventFacts,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO events (source, event, misp_id, timestamp, sequence, generation, facts)
         VALUES ($1, $2, $3, $4, 1, 1, $5)
         ON CONFLICT (source, event) DO UPDATE SET misp_id = excluded.misp_id,
             timestamp = excluded.timestamp, facts = excluded.facts, content = NULL,
             deleted_at = NULL,
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

/// Which snapshot of an event was begun last; `None` of an event that is deleted or unknown.
pub(super) async fn generation(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "SELECT generation FROM events
         WHERE source = $1 AND event = $2 AND deleted_at IS NULL",
    )
    .bind(source)
    .bind(event)
    .fetch_optional(&mut **tx)
    .await
}
