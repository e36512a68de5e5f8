//! The table `hits`: what alerts of each target told of our indicators.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::counters;
use super::wanted::IndicatorAtTarget;
use crate::ledger::sql::{Result, Transaction, row, statements, values};

statements! {
    // An alert may be told again with a longer time.
    SEEN_AGAIN(Text, Text, Bytes, Integer, Integer) =
        "UPDATE hits SET first_seen = CASE WHEN first_seen > $4 THEN $4 ELSE first_seen END,
             last_seen = CASE WHEN last_seen < $5 THEN $5 ELSE last_seen END
         WHERE target = $1 AND alert = $2 AND object = $3";
    INSERT(Integer, Text, Text, Bytes, Bytes, Text, Integer, Integer, Integer) =
        "INSERT INTO hits
             (number, target, alert, object, observable, rule, first_seen, last_seen, heard_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    AFTER(Integer, Integer) =
        "SELECT number, target, observable, last_seen FROM hits
         WHERE number > $1 ORDER BY number LIMIT $2";
    OF_OBSERVABLE(Bytes) =
        "SELECT target, rule, count(DISTINCT alert) AS times, MIN(first_seen), MAX(last_seen) AS last
         FROM hits WHERE observable = $1 GROUP BY target, rule ORDER BY target, last DESC, rule";
    BY_TARGET() =
        "SELECT target, count(*), count(DISTINCT observable), MAX(last_seen) FROM hits
         GROUP BY target ORDER BY target";
    FORGET_OLDER(Integer, Integer) =
        "DELETE FROM hits WHERE number IN
             (SELECT number FROM hits WHERE heard_at < $1 ORDER BY heard_at LIMIT $2)";
    NOT_AFTER(Integer) = "UPDATE hits SET heard_at = $1 WHERE heard_at > $1";
}

/// What an alert tells of an indicator; times are Unix milliseconds.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct NewHit<'a> {
    pub target: &'a str,
    pub alert: &'a str,
    pub rule: &'a str,
    pub indicator: IndicatorAtTarget,
    pub first_seen: i64,
    pub last_seen: i64,
}

/// Records a hit at `now`, Unix milliseconds. Returns whether it is new.
pub(in crate::ledger) fn record(tx: &Transaction<'_>, hit: NewHit<'_>, now: i64) -> Result<bool> {
    let NewHit { target, alert, rule, indicator, first_seen, last_seen } = hit;
    let IndicatorAtTarget { object, observable, .. } = indicator;
    let again = values![target, alert, object, first_seen, last_seen];
    if tx.execute(&SEEN_AGAIN, &again)? > 0 {
        return Ok(false);
    }
    let number = counters::next_hit(tx)?;
    let new = values![number, target, alert, object, observable, rule, first_seen, last_seen, now];
    tx.execute(&INSERT, &new)?;
    Ok(true)
}

row! {
    /// A hit that sightings are made of.
    #[derive(Debug, Clone)]
    pub(in crate::ledger) struct NumberedHit {
        pub number: i64,
        pub target: String,
        pub observable: Uuid,
        /// Unix milliseconds.
        pub last_seen: i64,
    }
}

/// The next hits after a number, in their order.
pub(in crate::ledger) fn after(
    tx: &Transaction<'_>,
    number: i64,
    limit: i64,
) -> Result<Vec<NumberedHit>> {
    tx.rows(&AFTER, &values![number, limit])
}

/// The number of the last hit; 0: there was none.
pub(in crate::ledger) fn last(tx: &Transaction<'_>) -> Result<i64> {
    counters::last_hit(tx)
}

row! {
    /// How often a rule of a target hit an observable; times are Unix milliseconds.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(in crate::ledger) struct HitsOfRule {
        pub target: String,
        pub rule: String,
        pub times: i64,
        pub first_seen: i64,
        pub last_seen: i64,
    }
}

/// The hits of an observable, by target and rule, the latest rule of each target first.
pub(in crate::ledger) fn of_observable(
    tx: &Transaction<'_>,
    observable: Uuid,
) -> Result<Vec<HitsOfRule>> {
    tx.rows(&OF_OBSERVABLE, &values![observable])
}

row! {
    /// The hits of a target.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct HitsOfTarget {
        pub target: String,
        pub hits: i64,
        /// How many observables were hit.
        pub observables: i64,
        /// Unix milliseconds; RFC 3339 in JSON.
        #[serde(with = "crate::ledger::rfc3339")]
        pub last_seen: i64,
    }
}

pub(in crate::ledger) fn by_target(tx: &Transaction<'_>) -> Result<Vec<HitsOfTarget>> {
    tx.rows(&BY_TARGET, &values![])
}

/// Forgets at most `limit` hits that were heard of before `before`; returns how many.
pub(in crate::ledger) fn forget_older(
    tx: &Transaction<'_>,
    before: i64,
    limit: i64,
) -> Result<usize> {
    tx.execute(&FORGET_OLDER, &values![before, limit])
}

/// Sets stored times that are later than `now` to `now`: a clock that was ahead noted them.
pub(in crate::ledger) fn not_after(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOT_AFTER, &values![now]).map(drop)
}
