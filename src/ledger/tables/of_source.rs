//! Statements that delete what the tables hold of a source, without its claims, which end event by event.

use uuid::Uuid;

use super::keys::EventKey;
use crate::ledger::sql::{Result, Statement, Transaction, statements, values};

statements! {
    EVENTS(Text, Integer) = "SELECT event FROM events WHERE source = $1 ORDER BY event LIMIT $2";
    // Of what is said of attributes apart from claims, only what is kept for copies.
    ATTRIBUTES(Text) =
        "SELECT attribute FROM tombstones WHERE source = $1
         UNION SELECT attribute FROM sightings WHERE source = $1";
    DELETE_EVENT(Text, Bytes) = "DELETE FROM events WHERE source = $1 AND event = $2";
    DELETE_TOMBSTONES(Text) = "DELETE FROM tombstones WHERE source = $1";
    DELETE_ANNOUNCED(Text) = "DELETE FROM announced WHERE source = $1";
    DELETE_GAPS(Text) = "DELETE FROM gaps WHERE source = $1";
    DELETE_CURSORS(Text) = "DELETE FROM cursors WHERE source = $1";
    DELETE_READS(Text) = "DELETE FROM reads WHERE source = $1";
    DELETE_HELD(Text) = "DELETE FROM held WHERE source = $1";
    DELETE_INFERRED(Text) = "DELETE FROM inferred WHERE source = $1";
    DELETE_SIGHTINGS(Text) = "DELETE FROM sightings WHERE source = $1";
    DELETE_OWN_SIGHTINGS(Text) = "DELETE FROM own_sightings WHERE source = $1";
    DELETE_DECAY(Text) = "DELETE FROM decay WHERE source = $1";
    DELETE_TAG_CHANGES(Text) = "DELETE FROM tag_changes WHERE source = $1";
    DELETE_EVENT_TAGS(Text) = "DELETE FROM event_tags WHERE source = $1";
    // What is remembered of a source has the source's name at its end, after one of a few words.
    DELETE_SETTINGS(Text, Text, Text, Text) =
        "DELETE FROM settings WHERE name IN ($1, $2, $3, $4)";
}

/// At most `most` events of a source, deleted ones too.
pub(in crate::ledger) fn events(
    tx: &Transaction<'_>,
    source: &str,
    most: i64,
) -> Result<Vec<Uuid>> {
    tx.rows(&EVENTS, &values![source, most])
}

/// The attributes of which a source withdrew something, or that were sighted there.
pub(in crate::ledger) fn attributes(tx: &Transaction<'_>, source: &str) -> Result<Vec<Uuid>> {
    tx.rows(&ATTRIBUTES, &values![source])
}

/// Deletes an event that claims nothing any more.
pub(in crate::ledger) fn delete_event(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<()> {
    tx.execute(&DELETE_EVENT, &values![source, event]).map(drop)
}

/// Deletes all else that is known of a source.
pub(in crate::ledger) fn delete_rest(tx: &Transaction<'_>, source: &str) -> Result<()> {
    let of_tables: [&Statement; 12] = [
        &DELETE_TOMBSTONES,
        &DELETE_ANNOUNCED,
        &DELETE_GAPS,
        &DELETE_CURSORS,
        &DELETE_READS,
        &DELETE_HELD,
        &DELETE_INFERRED,
        &DELETE_SIGHTINGS,
        &DELETE_OWN_SIGHTINGS,
        &DELETE_DECAY,
        &DELETE_TAG_CHANGES,
        &DELETE_EVENT_TAGS,
    ];
    for statement in of_tables {
        tx.execute(statement, &values![source])?;
    }
    let [resync, key, leave, heard] =
        ["resync", "key", "may empty", "heard until"].map(|words| format!("{words} {source}"));
    tx.execute(&DELETE_SETTINGS, &values![&resync, &key, &leave, &heard]).map(drop)
}
