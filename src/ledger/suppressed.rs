//! Values that an operator withholds: what claims them counts for nothing until the suppression ends.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::change::Change;
use super::owner::Unit;
use super::sql::{Result, Transaction, row, statements, values};
use super::wanted::refresh;
use super::{Ledger, Views};
use crate::pure::policy;

statements! {
    SUPPRESS(Text, Integer, Integer, Text) =
        "INSERT INTO suppressed (value, since, until, reason) VALUES ($1, $2, $3, $4)";
    SPELL(Text, Text) = "INSERT INTO suppressed_spellings (spelling, value) VALUES ($1, $2)";
    OVER(Integer) = "SELECT value FROM suppressed WHERE until <= $1 LIMIT 100";
    SUPPRESSED() =
        "SELECT value, since, until, reason FROM suppressed ORDER BY since DESC, value";
    SPELLINGS(Text) = "SELECT spelling FROM suppressed_spellings WHERE value = $1";
    /// The claims of a value, and of a URL those of its other form, which it withholds as well.
    CONCERNED(Text) =
        "SELECT DISTINCT c.object, c.source, c.event, c.attribute, c.part
         FROM claims named JOIN claims c ON c.source = named.source
             AND c.event = named.event AND c.attribute = named.attribute
         WHERE (c.part = named.part OR c.path = 'url:value') AND lower(named.value) = $1";
    ALL() = "SELECT value, until, reason FROM suppressed";
    LIFT(Text) = "DELETE FROM suppressed WHERE value = $1";
    TAKE_SPELLINGS(Text) = "DELETE FROM suppressed_spellings WHERE value = $1 RETURNING spelling";
}

/// A value that is withheld.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressed {
    /// As the operator wrote it.
    pub value: String,
    /// Unix milliseconds.
    pub since: i64,
    /// `None`: until it is taken back.
    pub until: Option<i64>,
    pub reason: String,
    /// How many claims it withholds now.
    pub claims: i64,
}

row! {
    /// A suppression that is no more.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Lifted {
        /// As the operator wrote it.
        pub value: String,
        /// Unix milliseconds; `None`: until it was to be taken back.
        pub until: Option<i64>,
        pub reason: String,
    }
}

/// What a suppression, or its end, did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// Those that it replaced or took back: of this value, in whichever spelling.
    pub before: Vec<Lifted>,
    /// Claims of the value.
    pub claims: i64,
    /// Indicators that end, or come back, in all views.
    pub indicators: usize,
}

impl Ledger {
    /// Withholds a value, in whichever spelling claims have it, until `until` (Unix milliseconds) or
    /// until it is taken back. An earlier suppression of it is replaced.
    pub async fn suppress(
        &self,
        views: &Views,
        value: &str,
        reason: &str,
        until: Option<i64>,
        now: i64,
    ) -> Result<Suppression> {
        let spellings: Vec<String> = policy::spellings(value).into_iter().collect();
        let (views, value, reason) = (views.clone(), value.to_owned(), reason.to_owned());
        self.write(move |unit| {
            let (before, others) = lift(unit, &value)?;
            unit.execute(&SUPPRESS, &values![&value, now, until, &reason])?;
            let rows = spellings.iter().map(|spelling| values![spelling, &value]);
            unit.execute_each(&SPELL, rows)?;
            let concerned = [spellings.as_slice(), &others].concat();
            let (claims, indicators) = judge_again(unit, &views, &concerned, now)?;
            Ok(Suppression { before, claims, indicators })
        })
        .await
    }

    /// Takes back the suppression of a value, in whichever spelling it was.
    pub async fn unsuppress(&self, views: &Views, value: &str, now: i64) -> Result<Suppression> {
        let (views, value) = (views.clone(), value.to_owned());
        self.write(move |unit| {
            let (before, spellings) = lift(unit, &value)?;
            let (claims, indicators) = judge_again(unit, &views, &spellings, now)?;
            Ok(Suppression { before, claims, indicators })
        })
        .await
    }

    /// Takes back the suppressions whose time is over; returns their values.
    pub(super) async fn end_suppressions(&self, views: &Views, now: i64) -> Result<Vec<String>> {
        let over: Vec<String> = self.read(move |tx| tx.rows(&OVER, &values![now])).await?;
        for value in &over {
            let (views, value) = (views.clone(), value.clone());
            self.write(move |unit| {
                let spellings = take_off(unit, &value)?;
                judge_again(unit, &views, &spellings, now)
            })
            .await?;
        }
        Ok(over)
    }

    /// All suppressions, the newest first.
    pub async fn suppressed(&self) -> Result<Vec<Suppressed>> {
        self.read(|tx| {
            let rows: Vec<(String, i64, Option<i64>, String)> = tx.rows(&SUPPRESSED, &values![])?;
            let mut all = Vec::with_capacity(rows.len());
            // One by one: SQLite finds the claims of all at once only by going through every claim.
            for (value, since, until, reason) in rows {
                let spellings: Vec<String> = tx.rows(&SPELLINGS, &values![&value])?;
                let claims = count(&concerned(tx, &spellings)?);
                all.push(Suppressed { value, since, until, reason, claims });
            }
            Ok(all)
        })
        .await
    }
}

row! {
    /// A claim that a suppression concerns.
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Concerned {
        object: Uuid,
        source: String,
        event: Uuid,
        attribute: Uuid,
        part: i16,
    }
}

/// Judges all claims of a value anew: how many claims, and how many indicators changed.
fn judge_again(
    unit: &Unit<'_>,
    views: &Views,
    spellings: &[String],
    now: i64,
) -> Result<(i64, usize)> {
    let found = concerned(unit, spellings)?;
    let claims = count(&found);
    let mut objects: Vec<Uuid> = found.into_iter().map(|claim| claim.object).collect();
    objects.dedup();
    let mut change = Change::new(views, None, now);
    refresh(unit, &objects, &mut change)?;
    unit.wake(&change);
    Ok((claims, change.altered + change.withdrawn))
}

/// The claims of a value with these spellings. Two of them may name the same claim.
fn concerned(tx: &Transaction<'_>, spellings: &[String]) -> Result<BTreeSet<Concerned>> {
    let found: Vec<Concerned> =
        tx.rows_each(&CONCERNED, spellings.iter().map(|spelling| values![spelling]))?;
    Ok(found.into_iter().collect())
}

fn count(claims: &BTreeSet<Concerned>) -> i64 {
    i64::try_from(claims.len()).unwrap_or(i64::MAX)
}

/// Takes off the suppressions of this value, in whichever spelling; gives them back with their spellings.
/// One that covers more, such as that of a host whose URL this is, stays.
fn lift(tx: &Transaction<'_>, value: &str) -> Result<(Vec<Lifted>, Vec<String>)> {
    let mut lifted: Vec<Lifted> = tx.rows(&ALL, &values![])?;
    lifted.retain(|known| policy::is_same(&known.value, value));
    let mut spellings = Vec::new();
    for one in &lifted {
        spellings.extend(take_off(tx, &one.value)?);
    }
    Ok((lifted, spellings))
}

/// The spellings of a suppression that is no more.
fn take_off(tx: &Transaction<'_>, value: &str) -> Result<Vec<String>> {
    tx.execute(&LIFT, &values![value])?;
    tx.rows(&TAKE_SPELLINGS, &values![value])
}
