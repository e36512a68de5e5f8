//! The table `queue`: the changes that a target has not fully taken. Change 0 stands for all that the view of
//! the target wants.

use uuid::Uuid;

use crate::ledger::lane::Lane;
use crate::ledger::sql::{Result, SqlError, Transaction, row, statements, values};

statements! {
    AFTER(Text, Integer, Integer, Integer) =
        "SELECT change, lane, event, opened_at, summary FROM queue
         WHERE target = $1 AND lane = $2 AND change > $3 ORDER BY change LIMIT $4";
    DEPTHS(Text) = "SELECT lane, count(*) FROM queue WHERE target = $1 GROUP BY lane";
    COUNT() = "SELECT count(*) FROM queue";
    LANES(Text) =
        "SELECT lane, MIN(opened_at) AS opened_at FROM queue WHERE target = $1 GROUP BY lane";
    IS_EVERYTHING_OPEN(Text) =
        "SELECT EXISTS (SELECT 1 FROM queue WHERE target = $1 AND change = 0)";
    // No conflict is expected: the number of a change is given once, and each target is in one view.
    OPEN(Text, Integer, Integer, Bytes, Integer) =
        "INSERT INTO queue (target, change, lane, event, opened_at, summary)
         VALUES ($1, $2, $3, $4, $5, '{}')";
    OPEN_EVERYTHING(Text, Integer, Integer) =
        "INSERT INTO queue (target, change, lane, opened_at, summary)
         VALUES ($1, 0, $2, $3, '{}')
         ON CONFLICT (target, change) DO UPDATE SET opened_at = queue.opened_at + 1";
    // Changes of context that an event brings along name no event: the line about the event leaves them
    // out.
    SUMMARISE(Text, Integer) =
        "UPDATE queue SET summary = $1 WHERE change = $2 AND event IS NOT NULL";
    CLOSE(Text, Integer, Integer) =
        "DELETE FROM queue WHERE target = $1 AND change = $2 AND ($2 <> 0 OR opened_at = $3)";
    CLOSE_CHANGES(Text) = "DELETE FROM queue WHERE target = $1 AND change <> 0";
    DELETE(Text) = "DELETE FROM queue WHERE target = $1";
    DELETE_ALL() = "DELETE FROM queue";
}

row! {
    /// A change that a target has not fully taken.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct OpenChange {
        /// 0 stands for everything that the view wants, for example after a target was added.
        pub change: i64,
        pub lane: Lane,
        pub event: Option<Uuid>,
        /// When its notice arrived, Unix milliseconds.
        pub opened_at: i64,
        /// JSON for the log line of the event.
        pub summary: String,
    }
}

/// A change that begins.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct NewChange {
    pub number: i64,
    pub lane: Lane,
    pub event: Option<Uuid>,
    /// When its notice arrived, Unix milliseconds.
    pub opened_at: i64,
}

/// The oldest changes of a target in a lane, those after `after`.
pub(in crate::ledger) fn after(
    tx: &Transaction<'_>,
    target: &str,
    lane: Lane,
    after: i64,
    limit: i64,
) -> Result<Vec<OpenChange>> {
    tx.rows(&AFTER, &values![target, lane.number(), after, limit])
}

/// How many changes of a target are open, per lane in the order of [`Lane::ALL`].
pub(in crate::ledger) fn depths(tx: &Transaction<'_>, target: &str) -> Result<[i64; 3]> {
    let rows: Vec<(Lane, i64)> = tx.rows(&DEPTHS, &values![target])?;
    let depth = |lane| rows.iter().find(|(one, _)| *one == lane).map_or(0, |(_, depth)| *depth);
    Ok(Lane::ALL.map(depth))
}

row! {
    /// A lane in which changes are open.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::ledger) struct OpenLane {
        pub lane: Lane,
        /// When the notice of the oldest change arrived, Unix milliseconds.
        pub oldest: i64,
    }
}

/// The lanes of a target in which changes are open.
pub(in crate::ledger) fn lanes(tx: &Transaction<'_>, target: &str) -> Result<Vec<OpenLane>> {
    tx.rows(&LANES, &values![target])
}

/// Whether change 0 is open.
pub(in crate::ledger) fn is_everything_open(tx: &Transaction<'_>, target: &str) -> Result<bool> {
    tx.row(&IS_EVERYTHING_OPEN, &values![target])?.ok_or(SqlError::NoRow)
}

pub(in crate::ledger) fn count(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&COUNT, &values![])?.ok_or(SqlError::NoRow)
}

/// Puts a change into the queues of these targets.
pub(in crate::ledger) fn open(
    tx: &Transaction<'_>,
    targets: &[String],
    change: NewChange,
) -> Result<()> {
    let NewChange { number, lane, event, opened_at } = change;
    let each =
        targets.iter().map(|target| values![target, number, lane.number(), event, opened_at]);
    tx.execute_each(&OPEN, each).map(drop)
}

/// Opens change 0 in the backlog, so that everything is sent that the target does not hold. If change 0 is open
/// already, it is marked as opened again, so that a sender that is about to close it looks again.
pub(in crate::ledger) fn open_everything(
    tx: &Transaction<'_>,
    target: &str,
    now: i64,
) -> Result<()> {
    tx.execute(&OPEN_EVERYTHING, &values![target, Lane::Backlog.number(), now]).map(drop)
}

/// Stores the figures for the event's log line in the changes with these numbers.
pub(in crate::ledger) fn summarise(
    tx: &Transaction<'_>,
    numbers: impl Iterator<Item = i64>,
    summary: &str,
) -> Result<()> {
    tx.execute_each(&SUMMARISE, numbers.map(|number| values![summary, number])).map(drop)
}

/// Removes a change from a target's queue, unless it is change 0 and was opened again. Returns whether it is gone.
pub(in crate::ledger) fn close(
    tx: &Transaction<'_>,
    target: &str,
    open: &OpenChange,
) -> Result<bool> {
    let OpenChange { change, opened_at, .. } = *open;
    let closed = tx.execute(&CLOSE, &values![target, change, opened_at])?;
    // Any change but 0 is opened once, so whoever took it off, it is gone.
    Ok(change != 0 || closed > 0)
}

/// Removes all changes except change 0 from a target's queue.
pub(in crate::ledger) fn close_changes(tx: &Transaction<'_>, target: &str) -> Result<()> {
    tx.execute(&CLOSE_CHANGES, &values![target]).map(drop)
}

/// Removes everything from a target's queue.
pub(in crate::ledger) fn delete(tx: &Transaction<'_>, target: &str) -> Result<()> {
    tx.execute(&DELETE, &values![target]).map(drop)
}

pub(in crate::ledger) fn delete_all(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(&DELETE_ALL, &values![]).map(drop)
}
