//! Whether the last run ended in order. A notice that waits in memory when the process dies is lost
//! without a trace; the next start knows that there may be some, and since when.

use std::time::{Duration, SystemTime};

use super::Ledger;
use super::start::{setting, store_setting};
use crate::metrics;
use crate::notice::{Gap, GapReason};

/// Its value is a time at which everything received before was committed or still in memory, Unix
/// milliseconds; it is there while a relay runs.
const RUNNING: &str = "running";

impl Ledger {
    /// A run begins. If the last one did not end in order, a gap is recorded for catch-up to heal.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn begin_run(&self, source: &str, now: i64) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        let before = setting(&mut tx, RUNNING).await?;
        tx.commit().await?;
        if let Some(since) = before.and_then(|since| since.parse::<i64>().ok()) {
            // A clock that was ahead is right again.
            let since = since.min(now);
            let at = SystemTime::UNIX_EPOCH
                + Duration::from_millis(u64::try_from(since).unwrap_or_default());
            let gap = Gap {
                reason: GapReason::Interrupted,
                intake: "relay".into(),
                since: at,
                event: None,
                publication: false,
            };
            self.record_gap(source, &gap, since, now).await?;
            metrics::gap("relay", GapReason::Interrupted);
            tracing::warn!(
                "the last run did not end in order: what it had received and not committed is lost, a gap is noted"
            );
        }
        let mut tx = self.begin().await?;
        store_setting(&mut tx, RUNNING, &now.to_string()).await?;
        tx.commit().await
    }

    /// Whether an intake that was not connected `since` then (Unix milliseconds) has never been: beside
    /// an empty ledger nothing can be missing. Beside any other something can, however often an outage
    /// was told.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(super) async fn is_first_outage(&self, intake: &str, since: i64) -> sqlx::Result<bool> {
        let name = format!("first outage {intake}");
        let mut tx = self.begin().await?;
        let known: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM events LIMIT 1").fetch_optional(&mut *tx).await?;
        if known.is_some() {
            return Ok(false);
        }
        if let Some(first) = setting(&mut tx, &name).await? {
            return Ok(first == since.to_string());
        }
        store_setting(&mut tx, &name, &since.to_string()).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Everything received before `now` was committed or waits in memory.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(super) async fn note_running(&self, now: i64) -> sqlx::Result<()> {
        sqlx::query("UPDATE settings SET value = $1 WHERE name = $2")
            .bind(now.to_string())
            .bind(RUNNING)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// The run ends, and everything that it received is committed.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn end_run(&self) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM settings WHERE name = $1")
            .bind(RUNNING)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}
