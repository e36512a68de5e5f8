//! The table `event_tags`: which events carry a tag, by MISP's number of it. A frame that tells of a renamed
//! or deleted tag names no event.

use std::collections::HashSet;

use uuid::Uuid;

use super::keys::EventKey;
use crate::ledger::sql::{Result, Transaction, statements, values};

statements! {
    DELETE(Text, Bytes) = "DELETE FROM event_tags WHERE source = $1 AND event = $2";
    INSERT(Text, Bytes, Integer) =
        "INSERT INTO event_tags (source, event, tag) VALUES ($1, $2, $3)";
    CARRIERS(Text, Integer) =
        "SELECT t.event FROM event_tags t JOIN events e ON e.source = t.source AND e.event = t.event
         WHERE t.source = $1 AND t.tag = $2 AND e.deleted_at IS NULL ORDER BY t.event";
}

/// Stores the tags that a snapshot shows on its event and on the event's attributes, in place of the former ones.
pub(in crate::ledger) fn store(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    tags: &HashSet<i64>,
) -> Result<()> {
    tx.execute(&DELETE, &values![source, event])?;
    // A frame names a tag by its number, so one that has none is never looked for.
    let tags = tags.iter().filter(|tag| **tag != 0);
    tx.execute_each(&INSERT, tags.map(|tag| values![source, event, tag])).map(drop)
}

/// The events with the tag that are not deleted.
pub(in crate::ledger) fn carriers(
    tx: &Transaction<'_>,
    source: &str,
    tag: i64,
) -> Result<Vec<Uuid>> {
    tx.rows(&CARRIERS, &values![source, tag])
}
