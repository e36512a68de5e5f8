//! A copy of the ledger, to try something on.

use std::path::Path;

use uuid::Uuid;

use super::sql::{Result, SqlError, row, statements, values};
use super::wanted::WITHDRAWN;
use super::{Ledger, Resync, ResyncPhase};

statements! {
    LAST_CHANGE() = "SELECT value FROM counters WHERE name = 'change'";
    FORGET_READS(Text) = "DELETE FROM reads WHERE source = $1";
    ALTERED(Integer, Text, Bytes, Integer, Integer) =
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
         ORDER BY w.object LIMIT $5";
    TARGETS() = "SELECT target FROM targets ORDER BY target";
}

row! {
    /// What a target would be sent.
    #[derive(Debug, Clone, PartialEq, Eq)]
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
    pub async fn copy_to(&self, file: &Path) -> Result<()> {
        let file = file.to_owned();
        // SQLite's own statement; another database has its own dump.
        self.read_long_connection(move |connection| connection.copy_to(&file)).await
    }

    /// The number of the last change.
    pub async fn last_change(&self) -> Result<i64> {
        self.read(|tx| tx.row(&LAST_CHANGE, &values![])?.ok_or(SqlError::NoRow)).await
    }

    /// Forgets a resync under way and all that is to be read: a copy reads what it is asked for.
    pub async fn forget_resync(&self, source: &str) -> Result<()> {
        let of = source.to_owned();
        self.write(move |unit| unit.execute(&FORGET_READS, &values![&of])).await?;
        let Some(resync) = self.resync(source).await? else { return Ok(()) };
        self.store_resync(source, &Resync { phase: ResyncPhase::Done, ..resync }).await
    }

    /// What a target would be sent because of the changes after `change`, those after `after` in the
    /// order of their keys. `now` is Unix milliseconds.
    pub async fn altered_since(
        &self,
        target: &str,
        change: i64,
        after: Uuid,
        limit: i64,
        now: i64,
    ) -> Result<Vec<Altered>> {
        let target = target.to_owned();
        self.read(move |tx| tx.rows(&ALTERED, &values![change, &target, after, now, limit])).await
    }

    /// The names of the targets.
    pub async fn targets(&self) -> Result<Vec<String>> {
        self.read(|tx| tx.rows(&TARGETS, &values![])).await
    }
}
