//! A copy of the ledger, to try something on.

use std::path::Path;

use uuid::Uuid;

use super::wanted::WITHDRAWN;
use super::{Ledger, Resync, ResyncPhase};

/// What a target would be sent.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Altered {
    pub object: Uuid,
    /// The indicator without its times.
    pub body: String,
    /// 0: a withdrawal.
    version: i64,
    /// Of the event whose change it is part of.
    pub event: Option<Uuid>,
    known: bool,
    /// An attribute claims it as the form of its URL that requests have.
    pub second_form: bool,
}

/// How an object is altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alteration {
    New,
    Changed,
    Withdrawn,
}

impl Altered {
    #[must_use]
    pub fn how(&self) -> Alteration {
        match (self.version == WITHDRAWN, self.known) {
            (true, _) => Alteration::Withdrawn,
            (false, true) => Alteration::Changed,
            (false, false) => Alteration::New,
        }
    }
}

impl Ledger {
    /// Writes a consistent copy of the ledger's file; the relay goes on meanwhile.
    ///
    /// # Errors
    /// The file exists, there is no room, or whatever else SQLite says.
    pub async fn copy_to(&self, file: &Path) -> sqlx::Result<()> {
        // SQLite's own statement; another database has its own dump.
        sqlx::query("VACUUM INTO $1")
            .bind(file.to_string_lossy().into_owned())
            .execute(&self.readers)
            .await?;
        Ok(())
    }

    /// The number of the last change.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn last_change(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar("SELECT value FROM counters WHERE name = 'change'")
            .fetch_one(&self.readers)
            .await
    }

    /// Forgets a resync under way and all that is to be read: a copy reads what it is asked for.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn forget_resync(&self, source: &str) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM reads WHERE source = $1").bind(source).execute(&mut *tx).await?;
        tx.commit().await?;
        let Some(resync) = self.resync(source).await? else { return Ok(()) };
        self.store_resync(source, &Resync { phase: ResyncPhase::Done, ..resync }).await
    }

    /// What a target would be sent because of the changes after `change`, those after `after` in the
    /// order of their keys. `now` is Unix milliseconds.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn altered_since(
        &self,
        target: &str,
        change: i64,
        after: Uuid,
        limit: i64,
        now: i64,
    ) -> sqlx::Result<Vec<Altered>> {
        sqlx::query_as(
            "SELECT w.object, w.body, w.version, q.event, d.accepted IS NOT NULL AS known,
                 EXISTS (SELECT 1 FROM claims c
                     WHERE c.object = COALESCE(w.observable, w.claimed, w.object)
                         AND c.part = 1 AND c.path = 'url:value') AS second_form
             FROM targets t
             JOIN wanted w ON w.view = t.view AND w.change > $1
             LEFT JOIN queue q ON q.target = t.target AND q.change = w.change
             LEFT JOIN delivered d ON d.target = t.target AND d.object = w.object
             WHERE t.target = $2 AND w.object > $3 AND w.version <> COALESCE(d.accepted, 0)
                 AND (w.version = 0 OR w.valid_until > $4)
             ORDER BY w.object LIMIT $5",
        )
        .bind(change)
        .bind(target)
        .bind(after)
        .bind(now)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
    }

    /// The names of the targets.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn targets(&self) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar("SELECT target FROM targets ORDER BY target")
            .fetch_all(&self.readers)
            .await
    }
}
