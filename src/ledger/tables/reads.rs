//! The table `reads`: the events that are to be read over REST, and when. Each request for a read writes a row, and one
//! task works through the rows. So a request survives a crash, and many requests for one event become one read.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::EventKey;
use crate::ledger::sql::{Result, SqlError, Transaction, row, statements, values};

statements! {
    // `asked` counts, so that a read under way, which answers an earlier asking, does not settle this one.
    // `not_before`: MISP saves a publication after it tells of it, so a read that begins sooner may show
    // the state before. A later publication moves it on, but only so far from the first asking: an event
    // that is published all the time must be read too. A stored time beyond the longest wait is from a
    // clock that was ahead.
    ASK(Text, Bytes, Integer, Integer, Boolean, Integer, Boolean, Integer, Integer) =
        "INSERT INTO reads (source, event, urgency, due_at, not_before, asked_at, asked, confirm)
         VALUES ($1, $2, $3, $4, CASE WHEN $5 THEN $4 ELSE 0 END, $6, 1, $7)
         ON CONFLICT (source, event) DO UPDATE SET
             asked = reads.asked + 1, attempts = 0,
             urgency = CASE WHEN excluded.urgency < reads.urgency THEN excluded.urgency
                       ELSE reads.urgency END,
             confirm = reads.confirm OR excluded.confirm,
             not_before = CASE WHEN NOT $5 AND reads.not_before > $6 + $9 THEN $6
                          WHEN NOT $5 THEN reads.not_before
                          WHEN excluded.due_at < reads.asked_at + $8 OR reads.asked_at > $6
                          THEN excluded.due_at
                          ELSE reads.asked_at + $8 END,
             asked_at = CASE WHEN reads.asked_at > $6 THEN $6 ELSE reads.asked_at END,
             due_at = CASE WHEN excluded.due_at < reads.due_at THEN excluded.due_at
                      ELSE reads.due_at END";
    // The same for a listing, but only a resync counts as a new asking.
    ASK_FOR_LISTED(Text, Bytes, Integer, Integer, Boolean, Integer, Integer) =
        "INSERT INTO reads (source, event, urgency, due_at, asked_at, asked, resync, weight)
         VALUES ($1, $2, $3, $4, $4, 1, $5, $6)
         ON CONFLICT (source, event) DO UPDATE SET
             asked = reads.asked + CASE WHEN excluded.resync THEN 1 ELSE 0 END,
             urgency = CASE WHEN excluded.urgency < reads.urgency THEN excluded.urgency
                       ELSE reads.urgency END,
             resync = reads.resync OR excluded.resync,
             due_at = CASE WHEN reads.due_at > excluded.due_at + $7
                      OR excluded.resync AND excluded.due_at < reads.due_at
                      THEN excluded.due_at ELSE reads.due_at END,
             not_before = CASE WHEN reads.not_before > excluded.due_at + $7
                          THEN excluded.due_at ELSE reads.not_before END,
             weight = CASE WHEN excluded.weight > reads.weight THEN excluded.weight
                      ELSE reads.weight END";
    // The sequence goes along with the request: if it is another one when the answer comes, something was
    // heard meanwhile.
    DUE(Text, Integer, Integer, Integer) =
        "SELECT r.event, r.urgency, r.asked, r.attempts, r.confirm, r.weight,
             COALESCE(e.sequence, $4)
         FROM reads r LEFT JOIN events e ON e.source = r.source AND e.event = r.event
         WHERE r.source = $1 AND r.due_at <= $2 AND r.not_before <= $2
         ORDER BY r.urgency, r.due_at LIMIT $3";
    // A read may begin once both of its times have come.
    NEXT(Text) =
        "SELECT MIN(CASE WHEN due_at < not_before THEN not_before ELSE due_at END)
         FROM reads WHERE source = $1";
    SETTLE(Text, Bytes, Integer) =
        "DELETE FROM reads WHERE source = $1 AND event = $2 AND asked = $3";
    NO_LONGER_IN_VAIN(Text, Bytes) =
        "UPDATE reads SET vain = 0, why = '' WHERE source = $1 AND event = $2 AND vain > 0";
    FORGET(Text, Bytes) = "DELETE FROM reads WHERE source = $1 AND event = $2";
    FORGET_ALL(Text) = "DELETE FROM reads WHERE source = $1";
    POSTPONE(Text, Bytes, Integer, Integer, Integer) =
        "UPDATE reads SET due_at = $4, attempts = attempts + $5
         WHERE source = $1 AND event = $2 AND asked = $3";
    // After as many vain reads as it has patience for, a resync no longer waits for the event, which stays
    // here to be read.
    PUT_OFF(Text, Integer, Integer, Integer, Integer, Text, Bytes, Integer) =
        "UPDATE reads SET vain = vain + 1, why = $1,
             due_at = $2 + CASE WHEN $3 * (vain + 1) < $4 THEN $3 * (vain + 1) ELSE $4 END,
             resync = resync AND vain + 1 < $5
         WHERE source = $6 AND event = $7 AND asked = $8 RETURNING vain";
    IN_VAIN(Integer) =
        "SELECT source, event, why, vain, due_at FROM reads WHERE vain > 0
         ORDER BY vain DESC, event LIMIT $1";
    IN_VAIN_OF(Bytes) =
        "SELECT source, event, why, vain, due_at FROM reads WHERE event = $1 AND vain > 0";
    COUNT_IN_VAIN() = "SELECT count(*) FROM reads WHERE vain > 0";
    COUNT() = "SELECT count(*) FROM reads";
    BY_SOURCE() =
        "SELECT source, count(*),
             CAST(COALESCE(SUM(CASE WHEN vain > 0 THEN 1 ELSE 0 END), 0) AS BIGINT)
         FROM reads GROUP BY source";
    OF_RESYNC(Text) =
        "SELECT count(*), COALESCE(CAST(SUM(weight) AS BIGINT), 0)
         FROM reads WHERE source = $1 AND resync";
    NOT_AFTER(Integer) = "UPDATE reads SET asked_at = $1 WHERE asked_at > $1";
    BRING_FORWARD(Integer, Integer) =
        "UPDATE reads SET due_at = CASE WHEN due_at > $2 THEN $1 ELSE due_at END,
             not_before = CASE WHEN not_before > $2 THEN $1 ELSE not_before END
         WHERE due_at > $2 OR not_before > $2";
}

/// How soon an event is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ledger) enum Urgency {
    /// A gap, or a withdrawal that cannot be judged.
    Now,
    /// An event that was pushed is read back.
    ReadBack,
    /// A catch-up, or the check of existence.
    CatchUp,
    Resync,
}

impl Urgency {
    fn number(self) -> i16 {
        match self {
            Self::Now => 0,
            Self::ReadBack => 1,
            Self::CatchUp => 2,
            Self::Resync => 3,
        }
    }
}

/// What listed an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Catch-up, or the check of existence.
    CatchUp,
    /// A full resync, which waits for the reads.
    Resync,
}

/// No wait is meant to be longer than this many milliseconds. If a stored time is further ahead, a clock that was ahead
/// noted it.
pub(in crate::ledger) const LONGEST_WAIT: i64 = 3_600_000;

/// A request for a read.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct Asking {
    pub urgency: Urgency,
    /// The earliest time of the read, Unix milliseconds.
    pub due_at: i64,
    /// Set if the event was just published. Then a read that began before `due_at` settles nothing. A later publication
    /// puts the read off, but by no more than this many milliseconds in all.
    pub publication: Option<i64>,
    /// The publication counts only if a read shows it.
    pub confirm: bool,
}

/// Asks for a read. If there is an earlier request, the stricter values of both count, unless a clock that was ahead
/// noted the earlier one.
pub(in crate::ledger) fn ask(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    asking: Asking,
    now: i64,
) -> Result<()> {
    let Asking { urgency, due_at, publication, confirm } = asking;
    let values = values![
        source,
        event,
        urgency.number(),
        due_at,
        publication.is_some(),
        now,
        confirm,
        publication.unwrap_or_default(),
        LONGEST_WAIT,
    ];
    tx.execute(&ASK, &values).map(drop)
}

/// An event that a listing names as one to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub event: Uuid,
    /// Attributes.
    pub weight: i64,
}

/// Asks for reads of the events that a listing named. If an event is being read already, a catch-up asks for nothing
/// new: if the read misses something, the next listing shows it. A resync always reads what it asks for.
pub(in crate::ledger) fn ask_for_listed(
    tx: &Transaction<'_>,
    source: &str,
    candidates: &[Candidate],
    listing: Listing,
    now: i64,
) -> Result<()> {
    let is_resync = listing == Listing::Resync;
    let urgency = if is_resync { Urgency::Resync } else { Urgency::CatchUp };
    let rows = candidates.iter().map(|Candidate { event, weight }| {
        values![source, event, urgency.number(), now, is_resync, weight, LONGEST_WAIT]
    });
    tx.execute_each(&ASK_FOR_LISTED, rows).map(drop)
}

row! {
    /// A read that is due.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DueRead {
        pub event: Uuid,
        /// 0 is the most urgent.
        pub urgency: i16,
        /// Which request it answers.
        pub asked: i64,
        pub attempts: i64,
        pub confirm: bool,
        /// Attributes, as far as known.
        pub weight: i64,
        /// The sequence of the event in the ledger. If the event is unknown, it is 0 or negative, and notices about
        /// unknown events change it.
        pub sequence: i64,
    }
}

impl DueRead {
    /// Whether nobody waits for this read in particular.
    #[must_use]
    pub fn is_backlog(&self) -> bool {
        self.urgency >= Urgency::CatchUp.number()
    }
}

/// At most `limit` reads that are due, the most urgent and oldest first. `strange` stands for the sequence of
/// events that the ledger does not know.
pub(in crate::ledger) fn due(
    tx: &Transaction<'_>,
    source: &str,
    now: i64,
    limit: i64,
    strange: i64,
) -> Result<Vec<DueRead>> {
    tx.rows(&DUE, &values![source, now, limit, strange])
}

/// When the next read is due, Unix milliseconds.
pub(in crate::ledger) fn next_due(tx: &Transaction<'_>, source: &str) -> Result<Option<i64>> {
    let next: Option<(Option<i64>,)> = tx.row(&NEXT, &values![source])?;
    Ok(next.and_then(|(next,)| next))
}

/// Removes the request of a read that was answered, unless it was made again meanwhile.
pub(in crate::ledger) fn settle(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    asked: i64,
) -> Result<()> {
    tx.execute(&SETTLE, &values![source, event, asked])?;
    // It was asked for again, but no longer in vain.
    tx.execute(&NO_LONGER_IN_VAIN, &values![source, event]).map(drop)
}

/// Removes a request for a read after the pushed snapshot is wholly applied, if there is no REST API that could answer
/// it.
pub(in crate::ledger) fn forget(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<()> {
    tx.execute(&FORGET, &values![source, event]).map(drop)
}

/// Forgets all reads of a source.
pub(in crate::ledger) fn forget_all(tx: &Transaction<'_>, source: &str) -> Result<()> {
    tx.execute(&FORGET_ALL, &values![source]).map(drop)
}

/// Puts off a read that settled nothing, unless the event was asked for again meanwhile.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct Postponement {
    /// Which request the read answered.
    pub asked: i64,
    /// When it is due again, Unix milliseconds.
    pub due_at: i64,
    /// By how many the count of the reads that confirm a publication rises.
    pub attempts: i64,
}

pub(in crate::ledger) fn postpone(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    Postponement { asked, due_at, attempts }: Postponement,
) -> Result<()> {
    tx.execute(&POSTPONE, &values![source, event, asked, due_at, attempts]).map(drop)
}

/// A read that failed.
#[derive(Debug, Clone, Copy)]
pub struct Vain<'a> {
    pub event: Uuid,
    /// Which request it answers.
    pub asked: i64,
    pub why: &'a str,
    /// After this many failed reads a full resync continues without the event.
    pub patience: i64,
    pub pauses: Pauses,
}

/// The pauses before a failed read is repeated, milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    pub now: i64,
    /// The first pause; each further one is longer by as much.
    pub step: i64,
    pub longest: i64,
}

/// Puts off a read that failed. Returns the number of failed reads in a row. `None`: the event was asked for again
/// meanwhile.
pub(in crate::ledger) fn put_off(
    tx: &Transaction<'_>,
    source: &str,
    vain: Vain<'_>,
) -> Result<Option<i64>> {
    let Vain { event, asked, why, patience, pauses: Pauses { now, step, longest } } = vain;
    tx.row(&PUT_OFF, &values![why, now, step, longest, patience, source, event, asked])
}

row! {
    /// An event whose last read failed.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Unread {
        #[serde(default)]
        pub source: String,
        pub event: Uuid,
        /// Why, with the remedy.
        pub why: String,
        /// The number of failed reads in a row.
        pub times: i64,
        /// When it is tried again, Unix milliseconds.
        pub next: i64,
    }
}

/// Returns at most `most` of the events whose reads failed, those first that wait longest.
pub(in crate::ledger) fn in_vain(tx: &Transaction<'_>, most: i64) -> Result<Vec<Unread>> {
    tx.rows(&IN_VAIN, &values![most])
}

/// Returns the failed reads of an event, of any source.
pub(in crate::ledger) fn in_vain_of(tx: &Transaction<'_>, event: Uuid) -> Result<Vec<Unread>> {
    tx.rows(&IN_VAIN_OF, &values![event])
}

/// How many events have failed reads.
pub(in crate::ledger) fn count_in_vain(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&COUNT_IN_VAIN, &values![])?.ok_or(SqlError::NoRow)
}

row! {
    /// What is to be read of a source.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct ReadsOfSource {
        pub source: String,
        pub all: i64,
        /// Those whose last read failed.
        pub in_vain: i64,
    }
}

/// How many events are to be read, by source. A source of which none is to be read is left out.
pub(in crate::ledger) fn by_source(tx: &Transaction<'_>) -> Result<Vec<ReadsOfSource>> {
    tx.rows(&BY_SOURCE, &values![])
}

/// How many events are to be read.
pub(in crate::ledger) fn count(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&COUNT, &values![])?.ok_or(SqlError::NoRow)
}

row! {
    /// How far a full resync has come.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ResyncCount {
        /// Events still to be read, and their attributes as far as known.
        pub events: i64,
        pub attributes: i64,
    }
}

/// Returns the reads that a resync still waits for.
pub(in crate::ledger) fn of_resync(tx: &Transaction<'_>, source: &str) -> Result<ResyncCount> {
    tx.row(&OF_RESYNC, &values![source])?.ok_or(SqlError::NoRow)
}

/// Sets stored times that are later than `now` to `now`: a clock that was ahead noted them.
pub(in crate::ledger) fn not_after(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOT_AFTER, &values![now]).map(drop)
}

/// Brings those reads forward to `now` that wait until later than `limit`.
pub(in crate::ledger) fn bring_forward(tx: &Transaction<'_>, now: i64, limit: i64) -> Result<()> {
    tx.execute(&BRING_FORWARD, &values![now, limit]).map(drop)
}
