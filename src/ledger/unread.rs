//! Events that MISP was asked for in vain: they are tried ever later, and operators are told of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sql::{Result, SqlError, Transaction, row, statements, values};
use super::{Ledger, millis};
use crate::config::Rest;

statements! {
    PUT_OFF(Text, Integer, Integer, Integer, Integer, Text, Bytes, Integer) =
        "UPDATE reads SET vain = vain + 1, why = $1,
             due_at = $2 + CASE WHEN $3 * (vain + 1) < $4 THEN $3 * (vain + 1) ELSE $4 END,
             resync = resync AND vain + 1 < $5
         WHERE source = $6 AND event = $7 AND asked = $8 RETURNING vain";
    UNREAD(Integer) =
        "SELECT event, why, vain, due_at FROM reads WHERE vain > 0
         ORDER BY vain DESC, event LIMIT $1";
    COUNT() = "SELECT count(*) FROM reads WHERE vain > 0";
}

row! {
    /// An event whose last read told nothing.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Unread {
        pub event: Uuid,
        /// Why, with the remedy.
        pub why: String,
        /// Vain reads in a row.
        pub times: i64,
        /// When it is tried again, Unix milliseconds.
        pub next: i64,
    }
}

/// A read that told nothing.
#[derive(Debug, Clone, Copy)]
pub struct Vain<'a> {
    pub event: Uuid,
    /// Which asking it answers.
    pub asked: i64,
    pub why: &'a str,
    /// After so many vain reads a full resync goes on without the event.
    pub patience: i64,
    pub pauses: Pauses,
}

/// When a vain read is repeated, milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    pub now: i64,
    /// The first pause; each further one is longer by as much.
    pub step: i64,
    pub longest: i64,
}

impl Rest {
    /// The pauses before vain reads are repeated, from `now` on, Unix milliseconds.
    #[must_use]
    pub fn vain_pauses(&self, now: i64) -> Pauses {
        Pauses { now, step: millis(self.backoff_max), longest: millis(LONGEST) }
    }
}

/// Whatever `misp.rest.backoff_max` says.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Puts the read off. The number of vain reads in a row; `None` if the event was asked for anew
/// meanwhile.
pub(super) fn put_off(tx: &Transaction<'_>, source: &str, vain: Vain<'_>) -> Result<Option<i64>> {
    let Vain { event, asked, why, patience, pauses: Pauses { now, step, longest } } = vain;
    tx.row(&PUT_OFF, &values![why, now, step, longest, patience, source, event, asked])
}

impl Ledger {
    /// Puts off the read of an event whose answer was in vain: it is tried ever later.
    pub async fn put_off_read(&self, source: &str, vain: Vain<'_>) -> Result<Option<i64>> {
        let Vain { event, asked, why, patience, pauses } = vain;
        let (source, why) = (source.to_owned(), why.to_owned());
        self.write(move |unit| {
            put_off(unit, &source, Vain { event, asked, why: &why, patience, pauses })
        })
        .await
    }

    /// Events that were asked for in vain, those first that wait longest, at most `most`; and how many
    /// there are.
    pub async fn unread(&self, most: i64) -> Result<(Vec<Unread>, i64)> {
        self.read(move |tx| {
            let some = tx.rows(&UNREAD, &values![most])?;
            Ok((some, tx.row(&COUNT, &values![])?.ok_or(SqlError::NoRow)?))
        })
        .await
    }
}
