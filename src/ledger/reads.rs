//! The queue of events that only a REST read can settle. Whatever asks writes a row; one task works
//! the rows down. So an asking survives a crash, and many askings are one read.

use uuid::Uuid;

use super::Ledger;
use super::apply::STEP;
use super::clock::LONGEST_WAIT;
use super::sql::{Result, SqlError, Transaction, row, statements, values};
use super::writer::millis;
use crate::config::Rest;

statements! {
    ASK(Text, Bytes, Integer, Integer, Boolean, Integer, Boolean, Integer, Integer) =
        "INSERT INTO reads (source, event, lane, due_at, not_before, asked_at, asked, confirm)
         VALUES ($1, $2, $3, $4, CASE WHEN $5 THEN $4 ELSE 0 END, $6, 1, $7)
         ON CONFLICT (source, event) DO UPDATE SET
             asked = reads.asked + 1, attempts = 0,
             lane = CASE WHEN excluded.lane < reads.lane THEN excluded.lane ELSE reads.lane END,
             confirm = reads.confirm OR excluded.confirm,
             not_before = CASE WHEN NOT $5 AND reads.not_before > $6 + $9 THEN $6
                          WHEN NOT $5 THEN reads.not_before
                          WHEN excluded.due_at < reads.asked_at + $8 OR reads.asked_at > $6
                          THEN excluded.due_at
                          ELSE reads.asked_at + $8 END,
             asked_at = CASE WHEN reads.asked_at > $6 THEN $6 ELSE reads.asked_at END,
             due_at = CASE WHEN excluded.due_at < reads.due_at THEN excluded.due_at
                      ELSE reads.due_at END";
    /// A listing that names what is being read already asks nothing new: what the read misses differs
    /// from the next listing. A resync reads what it asks for.
    ASK_FOR_LISTED(Text, Bytes, Integer, Integer, Boolean, Integer) =
        "INSERT INTO reads (source, event, lane, due_at, asked_at, asked, resync, weight)
         VALUES ($1, $2, $3, $4, $4, 1, $5, $6)
         ON CONFLICT (source, event) DO UPDATE SET
             asked = reads.asked + CASE WHEN excluded.resync THEN 1 ELSE 0 END,
             lane = CASE WHEN excluded.lane < reads.lane THEN excluded.lane ELSE reads.lane END,
             resync = reads.resync OR excluded.resync,
             due_at = CASE WHEN reads.due_at > excluded.due_at + 3600000
                      OR excluded.resync AND excluded.due_at < reads.due_at
                      THEN excluded.due_at ELSE reads.due_at END,
             not_before = CASE WHEN reads.not_before > excluded.due_at + 3600000
                          THEN excluded.due_at ELSE reads.not_before END,
             weight = CASE WHEN excluded.weight > reads.weight THEN excluded.weight
                      ELSE reads.weight END";
    SETTLE(Text, Bytes, Integer) =
        "DELETE FROM reads WHERE source = $1 AND event = $2 AND asked = $3";
    NO_LONGER_IN_VAIN(Text, Bytes) =
        "UPDATE reads SET vain = 0, why = '' WHERE source = $1 AND event = $2 AND vain > 0";
    FORGET(Text, Bytes) = "DELETE FROM reads WHERE source = $1 AND event = $2";
    POSTPONE(Integer, Text, Bytes, Integer, Integer) =
        "UPDATE reads SET due_at = $1, attempts = attempts + $5
         WHERE source = $2 AND event = $3 AND asked = $4";
    DUE(Text, Integer, Integer, Integer) =
        "SELECT r.event, r.lane, r.asked, r.attempts, r.confirm, r.weight,
             COALESCE(e.sequence, $4)
         FROM reads r LEFT JOIN events e ON e.source = r.source AND e.event = r.event
         WHERE r.source = $1 AND r.due_at <= $2 AND r.not_before <= $2
         ORDER BY r.lane, r.due_at LIMIT $3";
    NEXT(Text) =
        "SELECT MIN(CASE WHEN due_at < not_before THEN not_before ELSE due_at END)
         FROM reads WHERE source = $1";
    OF_RESYNC(Text) =
        "SELECT count(*), COALESCE(CAST(SUM(weight) AS BIGINT), 0)
         FROM reads WHERE source = $1 AND resync";
}

/// How soon an event is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// A gap, or a withdrawal that cannot be judged.
    Now,
    /// What was pushed is read back.
    ReadBack,
    /// Catch-up and existence.
    CatchUp,
    Resync,
}

/// What listed an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Catch-up, or the check of existence.
    CatchUp,
    /// A full resync, which waits for the reads.
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

/// An asking for a read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub urgency: Urgency,
    /// Earliest, Unix milliseconds.
    pub due_at: i64,
    /// The event was just published: nothing that began before `due_at` tells, and a later
    /// publication moves the read on, up to this.
    pub publication: Option<i64>,
    /// The publication counts only if a read shows it.
    pub confirm: bool,
}

impl Asking {
    /// The read of what was just pushed.
    pub(super) fn read_back(times: &Rest, now: i64) -> Self {
        Self {
            urgency: Urgency::ReadBack,
            due_at: now + millis(times.read_back_after),
            publication: Some(millis(times.read_back_within)),
            confirm: true,
        }
    }

    /// The read of a publication that nothing else may add.
    pub(super) fn confirmation(times: &Rest, now: i64) -> Self {
        let first = times.confirm_after.first().copied().unwrap_or_default();
        let due_at = now + millis(first);
        Self { urgency: Urgency::Now, due_at, publication: None, confirm: true }
    }

    /// The read that settles news which cannot be judged.
    pub(super) fn at_once(now: i64) -> Self {
        Self { urgency: Urgency::Now, due_at: now, publication: None, confirm: false }
    }

    /// The read that follows news without a time of MISP's, such as tags: many come together.
    pub(super) fn soon(times: &Rest, now: i64) -> Self {
        Self { publication: None, confirm: false, ..Self::read_back(times, now) }
    }
}

/// Asks for a read. An earlier asking keeps what is stricter of both, unless it is of a clock that was
/// ahead.
pub(super) fn ask(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    asking: Asking,
    now: i64,
) -> Result<()> {
    let Asking { urgency, due_at, publication, confirm } = asking;
    tx.execute(
        &ASK,
        &values![
            source,
            event,
            urgency.number(),
            due_at,
            publication.is_some(),
            now,
            confirm,
            publication.unwrap_or_default(),
            LONGEST_WAIT,
        ],
    )?;
    Ok(())
}

row! {
    /// A read that is due.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DueRead {
        pub event: Uuid,
        /// How urgent it is: 0 the most.
        pub lane: i16,
        /// Which asking it answers.
        pub asked: i64,
        pub attempts: i64,
        pub confirm: bool,
        /// Attributes, as far as known.
        pub weight: i64,
        /// Of the event in the ledger; negative or 0 where it is unknown, moved by notices about unknown
        /// events.
        pub sequence: i64,
    }
}

impl DueRead {
    /// Nobody waits for it in particular.
    #[must_use]
    pub fn is_backlog(&self) -> bool {
        self.lane >= Urgency::CatchUp.number()
    }
}

/// The read answered: it is asked for no more, unless it was asked for again meanwhile.
pub(super) fn settle(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    asked: i64,
) -> Result<()> {
    tx.execute(&SETTLE, &values![source, event, asked])?;
    // Asked for again, but no longer in vain.
    tx.execute(&NO_LONGER_IN_VAIN, &values![source, event])?;
    Ok(())
}

/// What was pushed is wholly applied, and nothing will read it.
pub(super) fn forget(tx: &Transaction<'_>, (source, event): (&str, Uuid)) -> Result<()> {
    tx.execute(&FORGET, &values![source, event])?;
    Ok(())
}

/// The read settled nothing: it is due again, unless it was asked for anew meanwhile. `attempts`: how
/// many more of those that confirm a publication are over.
pub(super) fn postpone(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    (asked, due_at, attempts): (i64, i64, i64),
) -> Result<()> {
    tx.execute(&POSTPONE, &values![due_at, source, event, asked, attempts])?;
    Ok(())
}

/// An event that a listing names as one to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub event: Uuid,
    /// Attributes.
    pub weight: i64,
}

/// How far a full resync has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ResyncCount {
    /// Events still to be read, and their attributes as far as known.
    pub events: i64,
    pub attributes: i64,
}

impl Ledger {
    /// Reads that are due, the most urgent and oldest first.
    pub async fn due_reads(&self, source: &str, now: i64, limit: usize) -> Result<Vec<DueRead>> {
        let (source, strange) = (source.to_owned(), self.strange());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |tx| tx.rows(&DUE, &values![&source, now, limit, strange])).await
    }

    /// When the next read is due, Unix milliseconds.
    pub async fn next_read(&self, source: &str) -> Result<Option<i64>> {
        let source = source.to_owned();
        let next: Option<(Option<i64>,)> =
            self.read(move |tx| tx.row(&NEXT, &values![&source])).await?;
        Ok(next.and_then(|(next,)| next))
    }

    /// Asks for the reads of what a listing named.
    pub async fn ask_for(
        &self,
        source: &str,
        candidates: &[Candidate],
        listing: Listing,
        now: i64,
    ) -> Result<()> {
        let resync = listing == Listing::Resync;
        let urgency = if resync { Urgency::Resync } else { Urgency::CatchUp };
        for candidates in candidates.chunks(STEP) {
            let (source, candidates) = (source.to_owned(), candidates.to_vec());
            self.write(move |unit| {
                let rows = candidates.iter().map(|Candidate { event, weight }| {
                    values![&source, event, urgency.number(), now, resync, weight]
                });
                unit.execute_each(&ASK_FOR_LISTED, rows)
            })
            .await?;
        }
        self.shared.asked.notify_waiters();
        Ok(())
    }

    /// Completes with the next asking for a read, counted from this call.
    pub fn asked(&self) -> tokio::sync::futures::Notified<'_> {
        self.shared.asked.notified()
    }

    /// What a resync still waits for.
    pub async fn resync_left(&self, source: &str) -> Result<ResyncCount> {
        let source = source.to_owned();
        let left = self.read(move |tx| tx.row(&OF_RESYNC, &values![&source])).await?;
        let (events, attributes) = left.ok_or(SqlError::NoRow)?;
        Ok(ResyncCount { events, attributes })
    }
}
