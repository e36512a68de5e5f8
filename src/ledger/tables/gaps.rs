//! The table `gaps`: times in which the relay may have missed something. A catch-up over REST closes them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::EventKey;
use crate::ledger::sql::{Result, Transaction, row, statements, values};
use crate::notice::Gap;

statements! {
    // A gap that opens again before it is healed keeps its beginning.
    RECORD(Text, Text, Text, Bytes, Integer, Integer, Boolean) =
        "INSERT INTO gaps (source, intake, reason, event, since, until, times, publication)
         VALUES ($1, $2, $3, $4, $5, $6, 1, $7)
         ON CONFLICT (source, intake, reason, event) DO UPDATE SET until = excluded.until,
             times = gaps.times + 1, publication = gaps.publication OR excluded.publication";
    OPEN(Text) = "SELECT intake, reason, event, until FROM gaps WHERE source = $1";
    // If the end is another one, the gap went on while the catch-up ran, and is not healed by it.
    HEAL(Text, Text, Text, Bytes, Integer) =
        "DELETE FROM gaps WHERE source = $1 AND intake = $2 AND reason = $3
         AND event = $4 AND until = $5";
    HEAL_EVENT(Text, Bytes, Integer) =
        "DELETE FROM gaps WHERE source = $1 AND event = $2 AND until <= $3";
    CLOSE(Text) = "DELETE FROM gaps WHERE source = $1
         RETURNING source, intake, reason, since, until, times";
    LOST_PUBLICATION(Text, Bytes, Integer) =
        "SELECT until FROM gaps
         WHERE source = $1 AND event = $2 AND until > $3 AND publication";
    BY_REASON() =
        "SELECT source, intake, reason, MIN(since) AS since, MAX(until) AS until,
             CAST(SUM(times) AS BIGINT) AS times
         FROM gaps GROUP BY source, intake, reason ORDER BY until DESC";
    NOT_AFTER(Integer) =
        "UPDATE gaps SET since = CASE WHEN since > $1 THEN $1 ELSE since END,
             until = CASE WHEN until > $1 THEN $1 ELSE until END
         WHERE since > $1 OR until > $1";
}

/// A time in which something may have been missed, Unix milliseconds.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct Span {
    pub since: i64,
    pub until: i64,
}

/// Records that something may have been missed.
pub(in crate::ledger) fn record(
    tx: &Transaction<'_>,
    source: &str,
    gap: &Gap,
    Span { since, until }: Span,
) -> Result<()> {
    let Gap { intake, reason, event, publication, .. } = gap;
    let event = event.unwrap_or(Uuid::nil());
    let values = values![source, intake, reason.word(), event, since, until, *publication];
    tx.execute(&RECORD, &values).map(drop)
}

row! {
    /// Something may have been missed, and no catch-up has begun late enough after it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct OpenGap {
        intake: String,
        reason: String,
        event: Uuid,
        /// Unix milliseconds.
        pub until: i64,
    }
}

impl OpenGap {
    /// The event that the dropped notice was about, where it is known.
    #[must_use]
    pub fn event(&self) -> Option<Uuid> {
        (!self.event.is_nil()).then_some(self.event)
    }
}

/// The gaps that no catch-up has closed.
pub(in crate::ledger) fn open(tx: &Transaction<'_>, source: &str) -> Result<Vec<OpenGap>> {
    tx.rows(&OPEN, &values![source])
}

/// Closes these gaps, unless they went on meanwhile.
pub(in crate::ledger) fn heal(tx: &Transaction<'_>, source: &str, gaps: &[OpenGap]) -> Result<()> {
    let rows = gaps.iter().map(|gap| {
        let OpenGap { intake, reason, event, until } = gap;
        values![source, intake, reason, event, until]
    });
    tx.execute_each(&HEAL, rows).map(drop)
}

/// Closes the gaps that name an event and were over by `told_at`, Unix milliseconds.
pub(in crate::ledger) fn heal_event(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    told_at: i64,
) -> Result<()> {
    tx.execute(&HEAL_EVENT, &values![source, event, told_at]).map(drop)
}

/// Closes all gaps of a source, and returns them, those of each event by themselves.
pub(in crate::ledger) fn close(tx: &Transaction<'_>, source: &str) -> Result<Vec<GapStatus>> {
    tx.rows(&CLOSE, &values![source])
}

/// Whether the feed's publication of an event was dropped after `since`, Unix milliseconds.
pub(in crate::ledger) fn lost_publication(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    since: i64,
) -> Result<bool> {
    let lost: Option<i64> = tx.row(&LOST_PUBLICATION, &values![source, event, since])?;
    Ok(lost.is_some())
}

row! {
    /// Something may have been missed, and nothing has healed it yet.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct GapStatus {
        pub source: String,
        pub intake: String,
        pub reason: String,
        /// Unix milliseconds; RFC 3339 in JSON.
        #[serde(with = "crate::ledger::rfc3339")]
        pub since: i64,
        #[serde(with = "crate::ledger::rfc3339")]
        pub until: i64,
        pub times: i64,
    }
}

/// The gaps of each source and intake, by reason, the latest first.
pub(in crate::ledger) fn by_reason(tx: &Transaction<'_>) -> Result<Vec<GapStatus>> {
    tx.rows(&BY_REASON, &values![])
}

/// Sets stored times that are later than `now` to `now`: a clock that was ahead noted them.
pub(in crate::ledger) fn not_after(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOT_AFTER, &values![now]).map(drop)
}
