//! Statements that find and correct claims whose times were noted while our clock was wrong.

use uuid::Uuid;

use super::STEP_ROWS;
use crate::ledger::sql::{Result, Statement, Transaction, statements, values};

/// Finds claims that were heard while our clock was ahead of $1.
macro_rules! future {
    () => {
        "(claimed_at > $1 OR heard_at > $1)"
    };
}

/// Finds claims whose timestamp was in the future when they were heard, and is not any more. Our clock may have been
/// behind then. The first condition is that of the index on claims with a timestamp in the future. Two right clocks may
/// differ by less than a minute, so such a difference does not count. If MISP's clock is ahead by less than a day, ours
/// must have been behind by more than that, so that a claim is corrected only once. If `claimed_at` is equal to
/// `heard_at`, the same clock noted it, and it is corrected too.
macro_rules! overtaken {
    () => {
        "(heard_at / 1000 < timestamp AND heard_at / 1000 + 60 < timestamp
          AND (timestamp <= CAST($1 AS BIGINT) / 1000
               OR timestamp <= CAST($1 AS BIGINT) / 1000 + 86400 AND heard_at / 1000 + 172800 < timestamp))"
    };
}

statements! {
    FUTURE(Integer, Integer) =
        concat!("SELECT DISTINCT object FROM claims WHERE ", future!(), " LIMIT $2");
    // The condition again: other claims of the same object have times that are right.
    HEAR_FUTURE(Integer, Bytes) = concat!(
        "UPDATE claims SET claimed_at = CASE WHEN claimed_at > $1 THEN $1 ELSE claimed_at END,
             heard_at = CASE WHEN heard_at > $1 THEN $1 ELSE heard_at END
         WHERE object = $2 AND ",
        future!()
    );
    OVERTAKEN(Integer, Integer) =
        concat!("SELECT DISTINCT object FROM claims WHERE ", overtaken!(), " LIMIT $2");
    HEAR_OVERTAKEN(Integer, Bytes) = concat!(
        "UPDATE claims SET claimed_at = CASE WHEN claimed_at = heard_at THEN $1 ELSE claimed_at END,
             heard_at = $1
         WHERE object = $2 AND ",
        overtaken!()
    );
}

/// Claims whose times were judged by a clock that was wrong.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) enum Mistimed {
    /// They were heard in the future.
    Future,
    /// Their timestamp was in the future when they were heard, and is not any more.
    Overtaken,
}

impl Mistimed {
    /// The observables that such claims count for at `now`, at most [`STEP`](super::STEP).
    pub(in crate::ledger) fn objects(self, tx: &Transaction<'_>, now: i64) -> Result<Vec<Uuid>> {
        let statement = match self {
            Self::Future => &FUTURE,
            Self::Overtaken => &OVERTAKEN,
        };
        tx.rows(statement, &values![now, STEP_ROWS])
    }

    /// Makes such claims on these observables count as heard at `now`.
    pub(in crate::ledger) fn hear(
        self,
        tx: &Transaction<'_>,
        objects: &[Uuid],
        now: i64,
    ) -> Result<()> {
        let statement: &Statement = match self {
            Self::Future => &HEAR_FUTURE,
            Self::Overtaken => &HEAR_OVERTAKEN,
        };
        tx.execute_each(statement, objects.iter().map(|object| values![now, object])).map(drop)
    }
}
