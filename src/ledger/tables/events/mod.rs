//! The table `events`: what MISP said of each event, and how far the ledger has taken it in.

pub(super) mod unfinished;

pub(in crate::ledger) use unfinished::{
    Whole, all_unfinished, begin_whole, end_whole, unfinished, unfinished_of_all,
};

use uuid::Uuid;

use super::counters;
use super::keys::EventKey;
use crate::ledger::sql::{Result, SqlError, Transaction, decode, encode, row, statements, values};
use crate::pure::convert::EventFacts;

/// The number of the event of source $1 with uuid $2.
macro_rules! number {
    () => {
        "(SELECT number FROM events WHERE source = $1 AND event = $2)"
    };
}
pub(super) use number;

statements! {
    NUMBER(Text, Bytes) = "SELECT number FROM events WHERE source = $1 AND event = $2";
    STORED(Text, Bytes) =
        "SELECT timestamp, content, sequence, deleted_at, facts FROM events
         WHERE source = $1 AND event = $2";
    // Once, when a ledger of an earlier release is opened.
    SOURCES() = "SELECT DISTINCT source FROM events ORDER BY source";
    FACTS(Text, Bytes) = "SELECT facts FROM events WHERE source = $1 AND event = $2";
    STORE_FACTS(Text, Bytes, Text) =
        "UPDATE events SET facts = $3 WHERE source = $1 AND event = $2";
    // A snapshot that begins decides which claims live. So the work of ending them all (`unfinished` 2) becomes
    // that of merging them anew (1), in case the snapshot does not come to its end.
    BEGIN_SNAPSHOT(Text, Bytes, Integer, Integer, Text, Integer) =
        "INSERT INTO events (number, source, event, misp_id, timestamp, sequence, generation, facts)
         VALUES ($6, $1, $2, $3, $4, 1, 1, $5)
         ON CONFLICT (source, event) DO UPDATE SET misp_id = excluded.misp_id,
             timestamp = excluded.timestamp, facts = excluded.facts, content = NULL,
             deleted_at = NULL, unfinished = CASE WHEN events.unfinished = 2 THEN 1 ELSE events.unfinished END,
             sequence = events.sequence + 1, generation = events.generation + 1
         RETURNING generation, sequence";
    // A deleted event has no stage, so a snapshot that began before the deletion gives way.
    STAGE(Text, Bytes) =
        "SELECT generation, sequence FROM events
         WHERE source = $1 AND event = $2 AND deleted_at IS NULL";
    // An older snapshot that ends late must not mark the claims of a newer one as complete.
    FINISH_SNAPSHOT(Text, Bytes, Integer, Integer, Text) =
        "UPDATE events SET content = $4, skipped = $5, unfinished = 0
         WHERE source = $1 AND event = $2 AND generation = $3";
    NOTE_READ(Text, Bytes, Integer, Integer, Boolean, Integer) =
        "UPDATE events SET read_timestamp = $3, read_publication = $4, read_published = $5,
             read_at = $6 WHERE source = $1 AND event = $2";
    // Without `content` the same snapshot counts as news. The next `sequence` overtakes a read that is
    // under way.
    TOUCH(Text, Bytes) =
        "UPDATE events SET sequence = sequence + 1, content = NULL
         WHERE source = $1 AND event = $2";
    FORGET_CONTENT(Text, Bytes) =
        "UPDATE events SET content = NULL WHERE source = $1 AND event = $2";
    // The next generation makes a snapshot in work give way, even if a read brings the event back before
    // its next step. `facts` and `timestamp` stay those of the applied snapshot: while the claims end step
    // by step, those that are left are still merged with these facts.
    DELETE(Text, Bytes, Integer, Integer, Integer) =
        "INSERT INTO events
             (number, source, event, misp_id, timestamp, sequence, generation, deleted_at, facts)
         VALUES ($5, $1, $2, 0, $3, 1, 1, $4, '{}')
         ON CONFLICT (source, event) DO UPDATE SET deleted_at = excluded.deleted_at,
             content = NULL, sequence = events.sequence + 1, generation = events.generation + 1";
    KNOWN(Text, Bytes) = "SELECT event FROM events WHERE source = $1 AND event = $2";
    WITH_NUMBER(Text, Integer) =
        "SELECT event, deleted_at IS NULL FROM events WHERE source = $1 AND misp_id = $2
         ORDER BY timestamp DESC, event";
    LAST_READS(Text, Bytes) =
        "SELECT event, deleted_at IS NOT NULL, read_timestamp, read_publication, read_published,
             read_at
         FROM events WHERE source = $1 AND event = $2";
    LIVING_AFTER(Text, Bytes, Integer) =
        "SELECT event FROM events
         WHERE source = $1 AND event > $2 AND deleted_at IS NULL ORDER BY event LIMIT $3";
    ANY(Text) = "SELECT 1 FROM events WHERE source = $1 LIMIT 1";
    COUNT_LIVING() = "SELECT count(*) FROM events WHERE deleted_at IS NULL";
    BY_SOURCE() = "SELECT source, count(*) FROM events WHERE deleted_at IS NULL GROUP BY source";
    COUNT_DELETED() = "SELECT count(*) FROM events WHERE deleted_at IS NOT NULL";
    SKIPPED() = "SELECT skipped FROM events WHERE deleted_at IS NULL";
    NOTES(Bytes) =
        "SELECT e.deleted_at, e.skipped, r.due_at FROM events e
         LEFT JOIN reads r ON r.source = e.source AND r.event = e.event WHERE e.event = $1";
    // The row stays while anything needs it: claims name it by its number, and a read may bring the event
    // back.
    FORGET_DELETED(Integer, Integer) =
        "DELETE FROM events WHERE number IN
         (SELECT e.number FROM events e WHERE e.deleted_at < $1 AND e.unfinished = 0
          AND NOT EXISTS (SELECT 1 FROM claims c WHERE c.event_number = e.number)
          AND NOT EXISTS (SELECT 1 FROM reads r WHERE r.source = e.source AND r.event = e.event)
          LIMIT $2)";
    NOT_AFTER(Integer) = "UPDATE events SET deleted_at = $1 WHERE deleted_at > $1";
}

/// The number by which its claims name an event, if the ledger knows it.
pub(super) fn number_of(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<Option<i64>> {
    tx.row(&NUMBER, &values![source, event])
}

/// The same of an event that may be new.
fn number_or_next(tx: &Transaction<'_>, event: EventKey<'_>) -> Result<i64> {
    number_of(tx, event)?.map_or_else(|| counters::next_event(tx), Ok)
}

row! {
    /// What the ledger holds of an event.
    #[derive(Debug)]
    pub(in crate::ledger) struct StoredEvent {
        /// `Event.timestamp` of the applied snapshot, Unix seconds.
        pub timestamp: i64,
        /// The fingerprint of the applied snapshot; `None` while one is being applied, or if the event was
        /// altered since.
        pub content: Option<i64>,
        /// How many notices about the event were applied.
        pub sequence: i64,
        pub deleted_at: Option<i64>,
        facts: String,
    }
}

impl StoredEvent {
    /// `None`: the event was deleted before the ledger knew it.
    pub(in crate::ledger) fn facts(&self) -> Option<EventFacts> {
        decode(&self.facts).ok()
    }
}

pub(in crate::ledger) fn stored(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<Option<StoredEvent>> {
    tx.row(&STORED, &values![source, event])
}

/// The facts of a known event.
pub(in crate::ledger) fn facts(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<Option<EventFacts>> {
    let facts: Option<String> = tx.row(&FACTS, &values![source, event])?;
    facts.map(|facts| decode(&facts)).transpose()
}

pub(in crate::ledger) fn store_facts(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    facts: &EventFacts,
) -> Result<()> {
    tx.execute(&STORE_FACTS, &values![source, event, &encode(facts)?]).map(drop)
}

row! {
    /// How far an event has come.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in crate::ledger) struct EventStage {
        /// How many snapshots of it were begun, and how often it was deleted.
        pub generation: i64,
        /// How many notices about it were applied.
        pub sequence: i64,
    }
}

/// Writes the head of a snapshot that begins. If the claims of the event were still being ended, the snapshot
/// decides on them.
pub(in crate::ledger) fn begin_snapshot(
    tx: &Transaction<'_>,
    source: &str,
    facts: &EventFacts,
) -> Result<EventStage> {
    let encoded = encode(facts)?;
    let EventFacts { uuid, id, timestamp, .. } = *facts;
    let number = number_or_next(tx, EventKey::new(source, uuid))?;
    let values = values![source, uuid, id, timestamp, &encoded, number];
    tx.row(&BEGIN_SNAPSHOT, &values)?.ok_or(SqlError::NoRow)
}

/// Returns how far an event has come. `None`: it is deleted or unknown.
pub(in crate::ledger) fn stage(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<Option<EventStage>> {
    tx.row(&STAGE, &values![source, event])
}

/// The result of a snapshot that is wholly applied.
#[derive(Debug)]
pub(in crate::ledger) struct SnapshotEnd<'s> {
    pub generation: i64,
    /// The fingerprint of the snapshot. `None`: the same snapshot must be compared again.
    pub content: Option<i64>,
    /// What was left out, as JSON.
    pub skipped: &'s str,
}

/// Marks a snapshot as wholly applied, unless a newer one was begun.
pub(in crate::ledger) fn finish_snapshot(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    end: &SnapshotEnd<'_>,
) -> Result<()> {
    let SnapshotEnd { generation, content, skipped } = *end;
    let values = values![source, event, generation, content, skipped];
    tx.execute(&FINISH_SNAPSHOT, &values).map(drop)
}

/// What a read showed of an event's head; the times are MISP's, Unix seconds.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct ShownHead {
    pub timestamp: i64,
    /// 0: never published.
    pub publication: i64,
    pub published: bool,
    /// MISP's clock at the read.
    pub date: i64,
}

/// Notes what the last read of an event showed.
pub(in crate::ledger) fn note_read(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    shown: ShownHead,
) -> Result<()> {
    let ShownHead { timestamp, publication, published, date } = shown;
    let values = values![source, event, timestamp, publication, published, date];
    tx.execute(&NOTE_READ, &values).map(drop)
}

/// Notes that a notice was applied: the stored content is no longer that of a snapshot.
pub(in crate::ledger) fn touch(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<()> {
    tx.execute(&TOUCH, &values![source, event]).map(drop)
}

/// Has the same snapshot of an event taken in again, as if it were news.
pub(in crate::ledger) fn forget_content(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<()> {
    tx.execute(&FORGET_CONTENT, &values![source, event]).map(drop)
}

/// When an event was deleted.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct DeletedAt {
    /// MISP's time, Unix seconds.
    pub timestamp: i64,
    /// When the relay heard of it, Unix milliseconds.
    pub heard: i64,
}

/// Marks an event as deleted, known or not.
pub(in crate::ledger) fn delete(
    tx: &Transaction<'_>,
    key: EventKey<'_>,
    DeletedAt { timestamp, heard }: DeletedAt,
) -> Result<()> {
    let number = number_or_next(tx, key)?;
    let EventKey { source, event } = key;
    tx.execute(&DELETE, &values![source, event, timestamp, heard, number]).map(drop)
}

/// Whether the ledger knows an event, deleted or not.
pub(in crate::ledger) fn is_known(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<bool> {
    Ok(tx.row::<Uuid>(&KNOWN, &values![source, event])?.is_some())
}

row! {
    /// An event that has, or had, a number of MISP's.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::ledger) struct NumberedEvent {
        pub event: Uuid,
        pub lives: bool,
    }
}

/// The events with a number of MISP's, the newest first.
pub(in crate::ledger) fn with_number(
    tx: &Transaction<'_>,
    source: &str,
    number: i64,
) -> Result<Vec<NumberedEvent>> {
    tx.rows(&WITH_NUMBER, &values![source, number])
}

row! {
    /// What the last read of an event showed.
    #[derive(Debug)]
    pub(in crate::ledger) struct LastRead {
        pub event: Uuid,
        pub is_deleted: bool,
        /// Unix seconds of MISP, as the ones below.
        pub timestamp: i64,
        pub publication: i64,
        pub published: bool,
        /// MISP's clock at the read.
        pub date: i64,
    }
}

/// Returns the last reads of those of these events that the ledger knows.
pub(in crate::ledger) fn last_reads(
    tx: &Transaction<'_>,
    source: &str,
    events: &[Uuid],
) -> Result<Vec<LastRead>> {
    tx.rows_each(&LAST_READS, events.iter().map(|event| values![source, event]))
}

/// At most `most` events that are not deleted, in the order of their uuids, those after `after`.
pub(in crate::ledger) fn living_after(
    tx: &Transaction<'_>,
    EventKey { source, event: after }: EventKey<'_>,
    most: i64,
) -> Result<Vec<Uuid>> {
    tx.rows(&LIVING_AFTER, &values![source, after, most])
}

/// The sources that have events.
pub(in crate::ledger) fn sources(tx: &Transaction<'_>) -> Result<Vec<String>> {
    tx.rows(&SOURCES, &values![])
}

/// Whether the ledger knows any event of a source.
pub(in crate::ledger) fn any(tx: &Transaction<'_>, source: &str) -> Result<bool> {
    Ok(tx.row::<i64>(&ANY, &values![source])?.is_some())
}

row! {
    /// How much the ledger holds of a source.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(in crate::ledger) struct EventsOfSource {
        pub source: String,
        pub events: i64,
    }
}

/// The number of events that are not deleted, by source.
pub(in crate::ledger) fn by_source(tx: &Transaction<'_>) -> Result<Vec<EventsOfSource>> {
    tx.rows(&BY_SOURCE, &values![])
}

pub(in crate::ledger) fn count_living(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&COUNT_LIVING, &values![])?.ok_or(SqlError::NoRow)
}

pub(in crate::ledger) fn count_deleted(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&COUNT_DELETED, &values![])?.ok_or(SqlError::NoRow)
}

/// What was left out of each event that is not deleted, as JSON.
pub(in crate::ledger) fn skipped(tx: &Transaction<'_>) -> Result<Vec<String>> {
    tx.rows(&SKIPPED, &values![])
}

row! {
    /// What the ledger knows of an event besides its claims.
    #[derive(Debug)]
    pub(in crate::ledger) struct EventNotes {
        pub deleted_at: Option<i64>,
        /// What was left out of it, as JSON.
        pub skipped: String,
        /// When it is to be read, Unix milliseconds.
        pub due_at: Option<i64>,
    }
}

/// Returns what the ledger knows of an event, of any source.
pub(in crate::ledger) fn notes(tx: &Transaction<'_>, event: Uuid) -> Result<Vec<EventNotes>> {
    tx.rows(&NOTES, &values![event])
}

/// Forgets at most `most` events that were deleted before `before`, Unix milliseconds, claim nothing and are
/// not to be read; returns how many.
pub(in crate::ledger) fn forget_deleted(
    tx: &Transaction<'_>,
    before: i64,
    most: i64,
) -> Result<usize> {
    tx.execute(&FORGET_DELETED, &values![before, most])
}

/// Sets stored times that are later than `now` to `now`: a clock that was ahead noted them.
pub(in crate::ledger) fn not_after(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOT_AFTER, &values![now]).map(drop)
}
