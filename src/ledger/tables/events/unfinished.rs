//! Statements on `events` for work on all claims of an event that has begun and is not finished.

use uuid::Uuid;

use crate::ledger::sql::{Result, Transaction, statements, values};
use crate::ledger::tables::keys::{EventKey, EventOfSource};

statements! {
    // The greater work stays: where claims are to end, merging them anew is not enough.
    BEGIN_WHOLE(Text, Bytes, Integer) =
        "UPDATE events SET unfinished = CASE WHEN unfinished > $3 THEN unfinished ELSE $3 END
         WHERE source = $1 AND event = $2";
    UNFINISHED(Text, Bytes) = "SELECT unfinished FROM events WHERE source = $1 AND event = $2";
    END_WHOLE(Text, Bytes) =
        "UPDATE events SET unfinished = 0 WHERE source = $1 AND event = $2";
    ALL_UNFINISHED(Text) = "SELECT event FROM events WHERE source = $1 AND unfinished <> 0";
    UNFINISHED_OF_ALL() = "SELECT source, event FROM events WHERE unfinished <> 0";
}

/// Work on all claims of an event, which may need several transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) enum Whole {
    /// Merge its objects anew.
    Refresh,
    /// End its claims.
    End,
}

impl Whole {
    fn code(self) -> i16 {
        match self {
            Self::Refresh => 1,
            Self::End => 2,
        }
    }
}

/// Notes that all claims of an event must be gone through, so that the next start continues the work after a crash.
pub(in crate::ledger) fn begin_whole(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    whole: Whole,
) -> Result<()> {
    tx.execute(&BEGIN_WHOLE, &values![source, event, whole.code()]).map(drop)
}

/// Returns the work that is still to be done on all claims of an event.
pub(in crate::ledger) fn unfinished(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<Option<Whole>> {
    let code: Option<i64> = tx.row(&UNFINISHED, &values![source, event])?;
    let all = [Whole::Refresh, Whole::End];
    Ok(all.into_iter().find(|whole| Some(i64::from(whole.code())) == code))
}

pub(in crate::ledger) fn end_whole(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<()> {
    tx.execute(&END_WHOLE, &values![source, event]).map(drop)
}

/// The events for which this work is not finished.
pub(in crate::ledger) fn all_unfinished(tx: &Transaction<'_>, source: &str) -> Result<Vec<Uuid>> {
    tx.rows(&ALL_UNFINISHED, &values![source])
}

/// The events of all sources for which this work is not finished.
pub(in crate::ledger) fn unfinished_of_all(tx: &Transaction<'_>) -> Result<Vec<EventOfSource>> {
    tx.rows(&UNFINISHED_OF_ALL, &values![])
}
