//! Values that an operator withholds: what claims them counts for nothing until the suppression ends.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::change::Change;
use super::wanted::refresh;
use super::{Ledger, Views, Writing};
use crate::pure::policy;

/// A value that is withheld.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
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

/// A suppression that is no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Lifted {
    /// As the operator wrote it.
    pub value: String,
    /// Unix milliseconds; `None`: until it was to be taken back.
    pub until: Option<i64>,
    pub reason: String,
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
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn suppress(
        &self,
        views: &Views,
        value: &str,
        reason: &str,
        until: Option<i64>,
        now: i64,
    ) -> sqlx::Result<Suppression> {
        let spellings: Vec<String> = policy::spellings(value).into_iter().collect();
        let mut tx = self.begin().await?;
        let before = lift(&mut tx, value).await?;
        sqlx::query("INSERT INTO suppressed (value, since, until, reason) VALUES ($1, $2, $3, $4)")
            .bind(value)
            .bind(now)
            .bind(until)
            .bind(reason)
            .execute(&mut *tx)
            .await?;
        for spelling in &spellings {
            sqlx::query("INSERT INTO suppressed_spellings (spelling, value) VALUES ($1, $2)")
                .bind(spelling)
                .bind(value)
                .execute(&mut *tx)
                .await?;
        }
        let (before, others) = before;
        let concerned = [spellings, others].concat();
        let (claims, indicators) = self.judge_again(tx, views, &concerned, now).await?;
        Ok(Suppression { before, claims, indicators })
    }

    /// Takes back the suppression of a value, in whichever spelling it was.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn unsuppress(
        &self,
        views: &Views,
        value: &str,
        now: i64,
    ) -> sqlx::Result<Suppression> {
        let mut tx = self.begin().await?;
        let (before, spellings) = lift(&mut tx, value).await?;
        let (claims, indicators) = self.judge_again(tx, views, &spellings, now).await?;
        Ok(Suppression { before, claims, indicators })
    }

    /// Takes back the suppressions whose time is over; returns their values.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(super) async fn end_suppressions(
        &self,
        views: &Views,
        now: i64,
    ) -> sqlx::Result<Vec<String>> {
        let over: Vec<String> =
            sqlx::query_scalar("SELECT value FROM suppressed WHERE until <= $1 LIMIT 100")
                .bind(now)
                .fetch_all(&self.readers)
                .await?;
        for value in &over {
            let mut tx = self.begin().await?;
            let spellings = take_off(&mut tx, value).await?;
            self.judge_again(tx, views, &spellings, now).await?;
        }
        Ok(over)
    }

    /// All suppressions, the newest first.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn suppressed(&self) -> sqlx::Result<Vec<Suppressed>> {
        sqlx::query_as(
            "SELECT value, since, until, reason,
                 (SELECT count(*) FROM (SELECT DISTINCT c.source, c.event, c.attribute, c.part
                     FROM claims named JOIN claims c ON c.source = named.source
                         AND c.event = named.event AND c.attribute = named.attribute
                     WHERE (c.part = named.part OR c.path = 'url:value') AND lower(named.value) IN
                         (SELECT spelling FROM suppressed_spellings s
                          WHERE s.value = suppressed.value)) AS withheld)
                 AS claims
             FROM suppressed ORDER BY since DESC, value",
        )
        .fetch_all(&self.readers)
        .await
    }

    /// Judges all claims of a value anew and commits: how many claims, and how many indicators changed.
    async fn judge_again(
        &self,
        mut tx: Writing,
        views: &Views,
        spellings: &[String],
        now: i64,
    ) -> sqlx::Result<(i64, usize)> {
        // The claims of the value, and of a URL those of its other form, which it withholds as well.
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT DISTINCT c.object, c.source, c.event, c.attribute, c.part
             FROM claims named JOIN claims c ON c.source = named.source
                 AND c.event = named.event AND c.attribute = named.attribute
             WHERE (c.part = named.part OR c.path = 'url:value') AND",
        );
        push_texts(&mut query, " lower(named.value) IN ", spellings);
        let found: Vec<Named> = query.build_query_as().fetch_all(&mut *tx).await?;
        let claims = i64::try_from(found.len()).unwrap_or(i64::MAX);
        let objects: BTreeSet<Uuid> = found.into_iter().map(|named| named.object).collect();
        let objects: Vec<Uuid> = objects.into_iter().collect();
        let mut change = Change::new(views, None, now);
        refresh(&mut tx, &objects, &mut change).await?;
        self.commit(tx, &change).await?;
        Ok((claims, change.altered + change.withdrawn))
    }
}

/// A claim that a suppression concerns.
#[derive(Debug, sqlx::FromRow)]
struct Named {
    object: Uuid,
}

/// Takes off the suppressions of this value, in whichever spelling; gives them back with their spellings.
/// One that covers more, such as that of a host whose URL this is, stays.
async fn lift(tx: &mut Writing, value: &str) -> sqlx::Result<(Vec<Lifted>, Vec<String>)> {
    let mut lifted: Vec<Lifted> =
        sqlx::query_as("SELECT value, until, reason FROM suppressed").fetch_all(&mut **tx).await?;
    lifted.retain(|known| policy::is_same(&known.value, value));
    let mut spellings = Vec::new();
    for one in &lifted {
        spellings.extend(take_off(tx, &one.value).await?);
    }
    Ok((lifted, spellings))
}

/// The spellings of a suppression that is no more.
async fn take_off(tx: &mut Writing, value: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query("DELETE FROM suppressed WHERE value = $1").bind(value).execute(&mut **tx).await?;
    sqlx::query_scalar("DELETE FROM suppressed_spellings WHERE value = $1 RETURNING spelling")
        .bind(value)
        .fetch_all(&mut **tx)
        .await
}

fn push_texts(query: &mut QueryBuilder<Sqlite>, words: &str, texts: &[String]) {
    query.push(words).push("(");
    let mut list = query.separated(", ");
    for text in texts {
        list.push_bind(text.clone());
    }
    query.push(")");
}
