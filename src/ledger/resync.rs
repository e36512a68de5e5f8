//! How a full resync stands: kept in the ledger, so that a restart goes on with it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Candidate, Ledger, ResyncCount};

/// A full resync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resync {
    pub phase: ResyncPhase,
    /// Only what was touched since, MISP's time, Unix seconds.
    pub since: Option<i64>,
    /// Unix milliseconds.
    pub began_at: i64,
    pub finished_at: Option<i64>,
    /// What the listing named.
    pub events: i64,
    pub attributes: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResyncPhase {
    /// MISP is asked which events there are.
    Listing,
    /// The events are read.
    Reading,
    Done,
}

/// Under which name the ledger remembers that an operator takes an empty MISP for true.
#[must_use]
pub fn may_empty(source: &str) -> String {
    format!("may empty {source}")
}

impl Ledger {
    /// Begins a full resync, unless one is under way, which then goes on.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn begin_resync(
        &self,
        source: &str,
        since: Option<i64>,
        now: i64,
    ) -> sqlx::Result<()> {
        let under_way = self.resync(source).await?.filter(|one| one.phase != ResyncPhase::Done);
        // A full one covers what a partial one would have.
        if under_way.is_some_and(|one| one.since.is_none() || since.is_some()) {
            return Ok(());
        }
        let resync = Resync {
            phase: ResyncPhase::Listing,
            since,
            began_at: now,
            finished_at: None,
            events: 0,
            attributes: 0,
        };
        self.store_resync(source, &resync).await?;
        self.shared.asked.notify_waiters();
        Ok(())
    }

    /// Has one event read and compared.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn resync_event(&self, source: &str, event: Uuid, now: i64) -> sqlx::Result<()> {
        self.ask_for(source, &[Candidate { event, weight: 0 }], (true, now)).await?;
        let resync = Resync {
            phase: ResyncPhase::Reading,
            since: None,
            began_at: now,
            finished_at: None,
            events: 1,
            attributes: 0,
        };
        let under_way =
            self.resync(source).await?.is_some_and(|one| one.phase != ResyncPhase::Done);
        if !under_way {
            self.store_resync(source, &resync).await?;
        }
        self.shared.asked.notify_waiters();
        Ok(())
    }

    /// The last resync, under way or done.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn resync(&self, source: &str) -> sqlx::Result<Option<Resync>> {
        let stored = self.remembered(&name(source)).await?;
        Ok(stored.and_then(|stored| serde_json::from_value(stored).ok()))
    }

    /// Stores how it stands.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn store_resync(&self, source: &str, resync: &Resync) -> sqlx::Result<()> {
        let value =
            serde_json::to_value(resync).map_err(|error| sqlx::Error::Encode(error.into()))?;
        self.remember(&name(source), &value).await
    }

    /// How far the resync has come.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn resync_progress(
        &self,
        source: &str,
    ) -> sqlx::Result<Option<(Resync, ResyncCount)>> {
        let Some(resync) = self.resync(source).await? else { return Ok(None) };
        Ok(Some((resync, self.resync_left(source).await?)))
    }
}

fn name(source: &str) -> String {
    format!("resync {source}")
}
