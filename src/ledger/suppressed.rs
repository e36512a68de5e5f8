//! Withholds the values that an operator suppressed. No view admits a claim of such a value until the suppression ends.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::change::Change;
use super::full_claims::{KnownEvents, claims_of};
use super::owner::Unit;
use super::refresh::refresh;
use super::sources::Sources;
use super::sql::{Result, Transaction};
use super::tables::claims::{self, SpelledClaim};
use super::tables::suppressed::{self, SuppressedValue};
use super::{Ledger, Views};
use crate::pure::policy::{self, Tlp};

/// The most suppressions that are ended at a time.
const STEP: i64 = 100;

/// A value that is withheld.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressed {
    /// As the operator wrote it.
    pub value: String,
    /// Unix milliseconds; RFC 3339 in JSON.
    #[serde(with = "crate::ledger::rfc3339")]
    pub since: i64,
    /// `None`: until an operator takes it back.
    #[serde(with = "crate::ledger::rfc3339_option", default)]
    pub until: Option<i64>,
    pub reason: String,
    /// How many claims it withholds now.
    pub claims: i64,
}

/// A suppression that has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted {
    /// As the operator wrote it.
    pub value: String,
    /// Unix milliseconds. `None`: it had no end of its own.
    #[serde(with = "crate::ledger::rfc3339_option", default)]
    pub until: Option<i64>,
    pub reason: String,
}

/// What a suppression, or its end, changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// The suppressions of this value, in any spelling, that were replaced or taken back.
    pub before: Vec<Lifted>,
    /// Claims of the value.
    pub claims: i64,
    /// Indicators that are withdrawn, or come back, in all views.
    pub indicators: usize,
    /// The strictest level of these claims, for whoever logs the value. `None`: nothing claims it.
    #[serde(skip)]
    pub tlp: Option<Tlp>,
}

/// A suppression whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndedSuppression {
    pub value: String,
    /// See [`Suppression`].
    pub tlp: Option<Tlp>,
}

impl Ledger {
    /// Withholds a value, in any spelling, until `until` (Unix milliseconds) or until an operator takes the suppression
    /// back. It replaces an earlier suppression of the value.
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
            let (value, reason) = (value.clone(), reason.clone());
            let LiftedAll { before, spellings: others } = lift(unit, &value)?;
            let suppressed = SuppressedValue { value, since: now, until, reason };
            suppressed::insert(unit, &suppressed, &spellings)?;
            let spellings = [spellings.as_slice(), &others].concat();
            Ok(Suppression { before, ..judge_again(unit, &views, &spellings, now)? })
        })
        .await
    }

    /// Takes back the suppression of a value, in any spelling.
    pub async fn unsuppress(&self, views: &Views, value: &str, now: i64) -> Result<Suppression> {
        let (views, value) = (views.clone(), value.to_owned());
        self.write(move |unit| {
            let LiftedAll { before, spellings } = lift(unit, &value)?;
            Ok(Suppression { before, ..judge_again(unit, &views, &spellings, now)? })
        })
        .await
    }

    /// Takes back the suppressions whose time is over; returns them.
    pub(super) async fn end_suppressions(
        &self,
        views: &Views,
        now: i64,
    ) -> Result<Vec<EndedSuppression>> {
        let over = self.read(move |tx| suppressed::over(tx, now, STEP)).await?;
        let mut ended = Vec::with_capacity(over.len());
        for value in &over {
            let (views, value) = (views.clone(), value.clone());
            let end = move |unit: &Unit<'_>| {
                // The operator may have renewed it since it was read.
                let Some(spellings) = suppressed::delete_over(unit, &value, now)? else {
                    return Ok(None);
                };
                let tlp = judge_again(unit, &views, &spellings, now)?.tlp;
                Ok(Some(EndedSuppression { value: value.clone(), tlp }))
            };
            ended.extend(self.write(end).await?);
        }
        Ok(ended)
    }

    /// All suppressions, the newest first.
    pub async fn suppressed(&self) -> Result<Vec<Suppressed>> {
        self.read(|tx| {
            let rows = suppressed::all(tx)?;
            let mut all = Vec::with_capacity(rows.len());
            // One by one: SQLite finds the claims of all at once only by going through every claim.
            for SuppressedValue { value, since, until, reason } in rows {
                let claims = claims::spelled(tx, &suppressed::spellings(tx, &value)?)?;
                all.push(Suppressed { value, since, until, reason, claims: count(&claims) });
            }
            Ok(all)
        })
        .await
    }
}

/// Judges all claims of a value again. Returns how many claims there are, and how many indicators changed.
fn judge_again(
    unit: &Unit<'_>,
    views: &Views,
    spellings: &[String],
    now: i64,
) -> Result<Suppression> {
    let claims = claims::spelled(unit, spellings)?;
    let mut objects: Vec<Uuid> = claims.iter().map(|claim| claim.object).collect();
    // `spelled` returns the claims in the order of their objects.
    objects.dedup();
    let mut change = Change::new(views, None, now);
    refresh(unit, &objects, &mut change)?;
    unit.wake(&change);
    let indicators = change.altered + change.withdrawn;
    let tlp = level(unit, views, &objects)?;
    Ok(Suppression { claims: count(&claims), indicators, tlp, ..Suppression::default() })
}

/// The strictest level that claims on these observables say. `None`: there are none.
fn level(tx: &Transaction<'_>, views: &Views, objects: &[Uuid]) -> Result<Option<Tlp>> {
    let claims = claims_of(tx, objects, views, &Sources::load(tx)?)?;
    let events = KnownEvents::of(tx, &claims)?;
    let levels = views.iter().flat_map(|view| claims.iter().map(|one| one.level(view, &events)));
    Ok(levels.max())
}

fn count(claims: &[SpelledClaim]) -> i64 {
    i64::try_from(claims.len()).unwrap_or(i64::MAX)
}

/// Suppressions that have ended, and how claims spell their values.
struct LiftedAll {
    before: Vec<Lifted>,
    spellings: Vec<String>,
}

/// Removes the suppressions of this value, in any spelling. A suppression of another value that covers this one stays,
/// such as that of the host of a URL.
fn lift(tx: &Transaction<'_>, value: &str) -> Result<LiftedAll> {
    let mut lifted = LiftedAll { before: Vec::new(), spellings: Vec::new() };
    // One by one: there are few, and only `is_same` tells which spellings mean one value.
    for known in suppressed::all(tx)? {
        if policy::is_same(&known.value, value) {
            lifted.spellings.extend(suppressed::delete(tx, &known.value)?);
            let SuppressedValue { value, until, reason, .. } = known;
            lifted.before.push(Lifted { value, until, reason });
        }
    }
    Ok(lifted)
}
