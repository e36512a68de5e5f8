//! Statements that find and correct claims whose times were noted while our clock was wrong.

use uuid::Uuid;

use super::STEP_ROWS;
use crate::ledger::sql::{Result, Statement, Transaction, statements, values};

/// Which claims were heard by a clock that was ahead of $1.
macro_rules! future {
    () => {
        "(claimed_at > $1 OR heard_at > $1)"
    };
}

/// Which claims spoke of the future when they were heard, and do so no longer. Our clock may have been behind then. The
/// first condition is that of the index on claims that speak of the future. A difference of less than a minute is one
/// between two clocks that are right. Where MISP's clock is ahead by less than a day, ours must have been behind by
/// more than that: so a claim is heard again once. A claim whose `claimed_at` is the time that is put right was first
/// seen by the same clock.
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
    /// They spoke of the future when they were heard, and do not any more.
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

    /// Those of these observables count as heard at `now`.
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
