//! Which events carry a tag, by MISP's number of it: a frame that tells of a renamed or deleted tag
//! names no event.

use std::collections::HashSet;

use uuid::Uuid;

use super::sql::{Result, Transaction, statements, values};

statements! {
    FORGET(Text, Bytes) = "DELETE FROM event_tags WHERE source = $1 AND event = $2";
    STORE(Text, Bytes, Integer) =
        "INSERT INTO event_tags (source, event, tag) VALUES ($1, $2, $3)";
    CARRIERS(Text, Integer) =
        "SELECT t.event FROM event_tags t JOIN events e ON e.source = t.source AND e.event = t.event
         WHERE t.source = $1 AND t.tag = $2 AND e.deleted_at IS NULL ORDER BY t.event";
}

/// A snapshot shows these tags of its event and of the event's attributes.
pub(super) fn store(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    tags: &HashSet<i64>,
) -> Result<()> {
    tx.execute(&FORGET, &values![source, event])?;
    let tags = tags.iter().filter(|tag| **tag != 0);
    tx.execute_each(&STORE, tags.map(|tag| values![source, event, tag]))?;
    Ok(())
}

/// The living events that carry the tag.
pub(super) fn carriers(tx: &Transaction<'_>, source: &str, tag: i64) -> Result<Vec<Uuid>> {
    tx.rows(&CARRIERS, &values![source, tag])
}
