//! Finds out whether the last run ended in order. If a process dies, the notices that wait in its memory are lost
//! without a trace. So the next start records a gap, since the time of the last commit.

use std::time::{Duration, SystemTime};

use super::Ledger;
use super::sql::Result;
use super::tables::counters::{self, ClockTime};
use super::tables::{events, settings};
use crate::log_event::LogEvent;
use crate::notice::{Gap, GapReason};

/// The setting that exists while a relay runs. Its value is a time, Unix milliseconds. Everything that was received
/// before it is committed, or was still in memory at that time.
const RUNNING: &str = "running";

/// The setting that exists in a ledger that was restored from a copy, until its first run begins.
pub(super) const RESTORED: &str = "restored";

impl Ledger {
    /// A run that reads these sources begins. If the last one did not end in order, or the ledger was restored, a gap of
    /// each is recorded for catch-up to heal.
    pub async fn begin_run(&self, sources: &[&str], now: i64) -> Result<()> {
        let running = self.read(|tx| settings::value(tx, RUNNING)).await?;
        let running = running.and_then(|since| since.parse::<i64>().ok());
        let is_restored = self.read(|tx| settings::value(tx, RESTORED)).await?.is_some();
        // A copy of a ledger at rest ends where it noted the time last.
        let latest = self.read(|tx| counters::time(tx, ClockTime::Latest)).await?;
        if let Some(since) = running.or(is_restored.then_some(latest)) {
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
            // Before the mark of this run: a crash in between only has the gap recorded again.
            for source in sources {
                self.record_gap(source, &gap, since, now).await?;
            }
            if is_restored {
                tracing::warn!(
                    event = LogEvent::LedgerRestored.word(),
                    "The ledger was restored from a copy. What came after the copy was made is not in it, and a gap is noted"
                );
            } else {
                tracing::warn!(
                    event = LogEvent::LastRunBroken.word(),
                    "The last run did not end in order. What it had received and not committed is lost, and a gap is noted"
                );
            }
        }
        self.write(move |unit| {
            settings::forget(unit, RESTORED)?;
            settings::store(unit, RUNNING, &now.to_string())
        })
        .await
    }

    /// Whether an intake of a source that is not connected since `since` (Unix milliseconds) has never been connected. If the
    /// ledger holds nothing of the source, nothing can be missing then. Otherwise something can, however often the outage was
    /// reported.
    pub(super) async fn is_first_outage(
        &self,
        source: &str,
        intake: &str,
        since: i64,
    ) -> Result<bool> {
        let (name, source) = (format!("first outage {intake}"), source.to_owned());
        self.write(move |unit| {
            if events::any(unit, &source)? {
                return Ok(false);
            }
            if let Some(first) = settings::value(unit, &name)? {
                return Ok(first == since.to_string());
            }
            settings::store(unit, &name, &since.to_string())?;
            Ok(true)
        })
        .await
    }

    /// Notes that everything received before `now` is committed or waits in memory.
    pub(super) async fn note_running(&self, now: i64) -> Result<()> {
        self.write(move |unit| settings::update(unit, RUNNING, &now.to_string())).await
    }

    /// The run ends, and everything that it received is committed.
    pub async fn end_run(&self) -> Result<()> {
        self.write(|unit| settings::forget(unit, RUNNING)).await
    }
}
