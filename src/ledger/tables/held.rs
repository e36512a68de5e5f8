//! The table `held`: the claims that the guard holds. MISP no longer shows them, but does not say that it deleted them.
//! They stand until an operator releases them.

use uuid::Uuid;

use super::keys::{ClaimKey, ClaimPlace, EventKey};
use crate::ledger::sql::{
    Columns, FromRow, Result, SqlError, Transaction, decode, row, statements, values,
};
use crate::pure::convert::EventFacts;

statements! {
    OF_EVENT(Text, Bytes) =
        "SELECT attribute, part FROM held WHERE source = $1 AND event = $2";
    // No source has an empty name, which stands for all.
    SOME(Text, Integer) =
        "SELECT source, event, attribute, part FROM held WHERE ($1 = '' OR source = $1) LIMIT $2";
    SOME_OF(Text, Bytes, Integer) =
        "SELECT source, event, attribute, part FROM held
         WHERE ($1 = '' OR source = $1) AND event = $2 LIMIT $3";
    // What is held already keeps the time since when.
    HOLD(Text, Bytes, Bytes, Integer, Integer) =
        "INSERT INTO held (source, event, attribute, part, since) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (source, event, attribute, part) DO NOTHING";
    RELEASE(Text, Bytes, Bytes, Integer) =
        "DELETE FROM held WHERE source = $1 AND event = $2 AND attribute = $3 AND part = $4";
    FORGET_GONE(Text, Bytes) =
        "DELETE FROM held WHERE source = $1 AND event = $2 AND NOT EXISTS (
             SELECT 1 FROM claims c WHERE c.attribute = held.attribute AND c.part = held.part
             AND c.event_number = (SELECT number FROM events WHERE source = $1 AND event = $2))";
    // The joins are outer ones, so that a held claim is told although its claim or event is gone.
    BY_EVENT() =
        "SELECT h.source, h.event, count(*), MIN(h.since) AS since, MIN(c.value), MIN(e.facts)
         FROM held h
         LEFT JOIN events e ON e.source = h.source AND e.event = h.event
         LEFT JOIN claims c ON c.event_number = e.number AND c.attribute = h.attribute AND c.part = h.part
         GROUP BY h.source, h.event ORDER BY since";
    SINCE(Text, Bytes, Bytes) =
        "SELECT MIN(since) FROM held WHERE source = $1 AND event = $2 AND attribute = $3";
    COUNT() = "SELECT count(*) FROM held";
    NOT_AFTER(Integer) = "UPDATE held SET since = $1 WHERE since > $1";
}

/// The held claims of an event.
pub(in crate::ledger) fn of_event(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<Vec<ClaimPlace>> {
    tx.rows(&OF_EVENT, &values![source, event])
}

/// A claim that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ledger) struct HeldClaim {
    pub source: String,
    pub event: Uuid,
    pub place: ClaimPlace,
}

impl FromRow for HeldClaim {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        let (source, event) = (columns.take()?, columns.take()?);
        Ok(Self { source, event, place: ClaimPlace::from_row(columns)? })
    }
}

impl HeldClaim {
    pub(in crate::ledger) fn key(&self) -> ClaimKey<'_> {
        EventKey::new(&self.source, self.event).claim(self.place)
    }
}

/// At most `most` held claims, of one source and event or of all.
pub(in crate::ledger) fn some(
    tx: &Transaction<'_>,
    source: Option<&str>,
    event: Option<Uuid>,
    most: i64,
) -> Result<Vec<HeldClaim>> {
    let source = source.unwrap_or_default();
    match event {
        Some(event) => tx.rows(&SOME_OF, &values![source, event, most]),
        None => tx.rows(&SOME, &values![source, most]),
    }
}

/// Holds claims from `now` on, Unix milliseconds, unless they are held already.
pub(in crate::ledger) fn hold<'k>(
    tx: &Transaction<'_>,
    claims: impl Iterator<Item = ClaimKey<'k>>,
    now: i64,
) -> Result<()> {
    let rows = claims.map(|ClaimKey { event: EventKey { source, event }, attribute, part }| {
        values![source, event, attribute, part, now]
    });
    tx.execute_each(&HOLD, rows).map(drop)
}

/// Ends the hold of claims.
pub(in crate::ledger) fn release<'k>(
    tx: &Transaction<'_>,
    claims: impl Iterator<Item = ClaimKey<'k>>,
) -> Result<()> {
    let rows = claims.map(|ClaimKey { event: EventKey { source, event }, attribute, part }| {
        values![source, event, attribute, part]
    });
    tx.execute_each(&RELEASE, rows).map(drop)
}

/// Ends the hold of claims of an event that no longer exist.
pub(in crate::ledger) fn forget_gone(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<()> {
    tx.execute(&FORGET_GONE, &values![source, event]).map(drop)
}

row! {
    /// The held claims of an event, together.
    #[derive(Debug)]
    pub(in crate::ledger) struct HeldOfEvent {
        pub source: String,
        pub event: Uuid,
        pub claims: i64,
        /// Unix milliseconds.
        pub since: i64,
        /// One of the values.
        pub example: Option<String>,
        facts: Option<String>,
    }
}

impl HeldOfEvent {
    pub(in crate::ledger) fn facts(&self) -> Option<EventFacts> {
        decode(self.facts.as_ref()?).ok()
    }
}

/// The events with held claims, the oldest first.
pub(in crate::ledger) fn by_event(tx: &Transaction<'_>) -> Result<Vec<HeldOfEvent>> {
    tx.rows(&BY_EVENT, &values![])
}

/// Since when an attribute's claims are held, if they are, Unix milliseconds.
pub(in crate::ledger) fn since(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    attribute: Uuid,
) -> Result<Option<i64>> {
    let since: Option<(Option<i64>,)> = tx.row(&SINCE, &values![source, event, attribute])?;
    Ok(since.and_then(|(since,)| since))
}

pub(in crate::ledger) fn count(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&COUNT, &values![])?.ok_or(SqlError::NoRow)
}

/// Sets stored times that are later than `now` to `now`: a clock that was ahead noted them.
pub(in crate::ledger) fn not_after(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOT_AFTER, &values![now]).map(drop)
}
