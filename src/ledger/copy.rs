//! Copies the ledger for a trial on the copy (`resync --dry-run`), and lists the objects that the trial altered. It
//! decides whether an object counts as new, changed or withdrawn.

use std::path::Path;

use uuid::Uuid;

use super::sql::Result;
use super::tables::pending::{self, Altered};
use super::tables::targets;
use super::tables::wanted::{self, WITHDRAWN};
use super::tables::{counters, reads};
use super::{Ledger, Resync, ResyncPhase};

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
    pub async fn copy_to(&self, file: &Path) -> Result<()> {
        let file = file.to_owned();
        // SQLite's own statement; another database has its own dump.
        self.read_long_connection(move |connection| connection.copy_to(&file)).await
    }

    /// The number of the last change.
    pub async fn last_change(&self) -> Result<i64> {
        self.read(counters::last_change).await
    }

    /// Forgets a resync under way and all that is to be read: a copy reads what it is asked for.
    pub async fn forget_resync(&self, source: &str) -> Result<()> {
        let of = source.to_owned();
        // Otherwise the copy would go on with what the relay itself is reading.
        self.write(move |unit| reads::forget_all(unit, &of)).await?;
        let Some(resync) = self.resync(source).await? else { return Ok(()) };
        self.store_resync(source, &Resync { phase: ResyncPhase::Done, ..resync }).await
    }

    /// How many of a target's live indicators a source claims.
    pub async fn live_of_source(&self, target: &str, source: &str) -> Result<i64> {
        let (target, source) = (target.to_owned(), source.to_owned());
        self.read_long(move |tx| {
            targets::with_view(tx, &target, |at| wanted::count_live_of_source(tx, at.view, &source))
        })
        .await
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
        self.read(move |tx| {
            targets::with_view(tx, &target, |at| {
                pending::altered(tx, at, change, after, now, limit)
            })
        })
        .await
    }
}
