//! The queue of events that only a REST read can settle. Whatever asks writes a row; one task works
//! the rows down. So an asking survives a crash, and many askings are one read.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::Ledger;
use super::clock::LONGEST_WAIT;
use super::writer::millis;
use crate::config::Rest;

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
pub(super) async fn ask(
    connection: &mut SqliteConnection,
    (source, event): (&str, Uuid),
    asking: Asking,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
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
                      ELSE reads.due_at END",
    )
    .bind(source)
    .bind(event)
    .bind(asking.urgency.number())
    .bind(asking.due_at)
    .bind(asking.publication.is_some())
    .bind(now)
    .bind(asking.confirm)
    .bind(asking.publication.unwrap_or_default())
    .bind(LONGEST_WAIT)
    .execute(connection)
    .await?;
    Ok(())
}

/// A read that is due.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
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

impl DueRead {
    /// Nobody waits for it in particular.
    #[must_use]
    pub fn is_backlog(&self) -> bool {
        self.lane >= Urgency::CatchUp.number()
    }
}

/// The read answered: it is asked for no more, unless it was asked for again meanwhile.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    (source, event): (&str, Uuid),
    asked: i64,
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM reads WHERE source = $1 AND event = $2 AND asked = $3")
        .bind(source)
        .bind(event)
        .bind(asked)
        .execute(&mut *connection)
        .await?;
    // Asked for again, but no longer in vain.
    sqlx::query(
        "UPDATE reads SET vain = 0, why = '' WHERE source = $1 AND event = $2 AND vain > 0",
    )
    .bind(source)
    .bind(event)
    .execute(connection)
    .await?;
    Ok(())
}

/// What was pushed is wholly applied, and nothing will read it.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    (source, event): (&str, Uuid),
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM reads WHERE source = $1 AND event = $2")
        .bind(source)
        .bind(event)
        .execute(connection)
        .await?;
    Ok(())
}

/// The read settled nothing: it is due again, unless it was asked for anew meanwhile. `attempts`: how
/// many more of those that confirm a publication are over.
pub(super) async fn postpone(
    connection: &mut SqliteConnection,
    (source, event): (&str, Uuid),
    (asked, due_at, attempts): (i64, i64, i64),
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE reads SET due_at = $1, attempts = attempts + $5
         WHERE source = $2 AND event = $3 AND asked = $4",
    )
    .bind(due_at)
    .bind(source)
    .bind(event)
    .bind(asked)
    .bind(attempts)
    .execute(connection)
    .await?;
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
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn due_reads(
        &self,
        source: &str,
        now: i64,
        limit: usize,
    ) -> sqlx::Result<Vec<DueRead>> {
        sqlx::query_as(
            "SELECT r.event, r.lane, r.asked, r.attempts, r.confirm, r.weight,
                 COALESCE(e.sequence, $4) AS sequence
             FROM reads r LEFT JOIN events e ON e.source = r.source AND e.event = r.event
             WHERE r.source = $1 AND r.due_at <= $2 AND r.not_before <= $2
             ORDER BY r.lane, r.due_at LIMIT $3",
        )
        .bind(source)
        .bind(now)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(self.strange())
        .fetch_all(&self.readers)
        .await
    }

    /// When the next read is due, Unix milliseconds.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn next_read(&self, source: &str) -> sqlx::Result<Option<i64>> {
        sqlx::query_scalar(
            "SELECT MIN(CASE WHEN due_at < not_before THEN not_before ELSE due_at END)
             FROM reads WHERE source = $1",
        )
        .bind(source)
        .fetch_one(&self.readers)
        .await
    }

    /// Asks for the reads of what a listing named.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn ask_for(
        &self,
        source: &str,
        candidates: &[Candidate],
        listing: Listing,
        now: i64,
    ) -> sqlx::Result<()> {
        let resync = listing == Listing::Resync;
        let urgency = if resync { Urgency::Resync } else { Urgency::CatchUp };
        let mut tx = self.begin().await?;
        for rows in candidates.chunks(ROWS) {
            let mut query = QueryBuilder::<Sqlite>::new(
                "INSERT INTO reads (source, event, lane, due_at, asked_at, asked, resync, weight) ",
            );
            query.push_values(rows, |mut row, candidate| {
                row.push_bind(source)
                    .push_bind(candidate.event)
                    .push_bind(urgency.number())
                    .push_bind(now)
                    .push_bind(now)
                    .push_bind(1_i64)
                    .push_bind(resync)
                    .push_bind(candidate.weight);
            });
            query.push(
                // A listing that names what is being read already asks nothing new: what the read
                // misses differs from the next listing. A resync reads what it asks for.
                " ON CONFLICT (source, event) DO UPDATE SET
                  asked = reads.asked + CASE WHEN excluded.resync THEN 1 ELSE 0 END,
                  lane = CASE WHEN excluded.lane < reads.lane THEN excluded.lane
                         ELSE reads.lane END,
                  resync = reads.resync OR excluded.resync,
                  due_at = CASE WHEN reads.due_at > excluded.due_at + 3600000
                           OR excluded.resync AND excluded.due_at < reads.due_at
                           THEN excluded.due_at ELSE reads.due_at END,
                  not_before = CASE WHEN reads.not_before > excluded.due_at + 3600000
                               THEN excluded.due_at ELSE reads.not_before END,
                  weight = CASE WHEN excluded.weight > reads.weight THEN excluded.weight
                           ELSE reads.weight END",
            );
            query.build().execute(&mut *tx).await?;
        }
        tx.commit().await?;
        self.note_written();
        self.shared.asked.notify_waiters();
        Ok(())
    }

    /// Completes with the next asking for a read, counted from this call.
    pub fn asked(&self) -> tokio::sync::futures::Notified<'_> {
        self.shared.asked.notified()
    }

    /// What a resync still waits for.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn resync_left(&self, source: &str) -> sqlx::Result<ResyncCount> {
        let (events, attributes) = sqlx::query_as(
            "SELECT count(*), COALESCE(SUM(weight), 0) FROM reads WHERE source = $1 AND resync",
        )
        .bind(source)
        .fetch_one(&self.readers)
        .await?;
        Ok(ResyncCount { events, attributes })
    }
}

/// Rows a statement.
const ROWS: usize = 400;
