//! Finds out how and when the last run ended. If a process dies, the notices that wait in its memory are lost without a
//! trace. So the next start records a gap, since the time of the last commit. While no relay runs, nobody hears the feed:
//! without a key, the next start records a gap since the end of the last run.

use std::time::{Duration, SystemTime};

use super::Ledger;
use super::source_news::ReadSource;
use super::sql::{Result, Transaction};
use super::tables::counters::{self, ClockTime};
use super::tables::{events, own_sightings, settings};
use crate::log_event::LogEvent;
use crate::notice::{Gap, GapReason};

/// The setting that exists while a relay runs. Its value is a time, Unix milliseconds. Everything that was received
/// before it is committed, or was still in memory at that time.
const RUNNING: &str = "running";

/// The setting that exists in a ledger that was restored from a copy, until its first run begins.
pub(super) const RESTORED: &str = "restored";

/// The setting that tells when such a run began, Unix milliseconds.
const RESTORED_AT: &str = "restored at";

/// When a run began on a ledger that was restored from a copy, Unix milliseconds. What was done after the copy was made
/// is not known to it.
pub(super) fn restored_at(tx: &Transaction<'_>) -> Result<Option<i64>> {
    Ok(settings::value(tx, RESTORED_AT)?.and_then(|at| at.parse().ok()))
}

/// Begins the name of the setting that holds until when a source was heard, Unix milliseconds. It exists while no relay
/// reads the source.
const HEARD_UNTIL: &str = "heard until ";

impl Ledger {
    /// A run that reads these sources begins. If the last one did not end in order, or the ledger was restored, a gap of
    /// each is recorded for catch-up to heal. A source without a key also gets a gap for the time in which no run read it.
    pub async fn begin_run(&self, sources: &[ReadSource<'_>], now: i64) -> Result<()> {
        let running = self.read(|tx| settings::value(tx, RUNNING)).await?;
        let running = running.and_then(|since| since.parse::<i64>().ok());
        let is_restored = self.read(|tx| settings::value(tx, RESTORED)).await?.is_some();
        // A copy of a ledger at rest ends where it noted the time last.
        let latest = self.read(|tx| counters::time(tx, ClockTime::Latest)).await?;
        // The gaps come before the mark of this run: a crash in between only has them recorded again.
        if let Some(since) = running.or(is_restored.then_some(latest)) {
            for source in sources {
                self.note_missed(source.name, GapReason::Interrupted, since, now).await?;
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
        for source in sources.iter().filter(|source| !source.has_key) {
            let name = heard_until(source.name);
            let heard = self.read(move |tx| settings::value(tx, &name)).await?;
            if let Some(since) = heard.and_then(|since| since.parse().ok()) {
                self.note_missed(source.name, GapReason::Stopped, since, now).await?;
            }
        }
        let read: Vec<String> = sources.iter().map(|source| heard_until(source.name)).collect();
        self.write(move |unit| {
            if is_restored {
                settings::store(unit, RESTORED_AT, &now.to_string())?;
                own_sightings::doubt_all(unit)?;
            }
            settings::forget(unit, RESTORED)?;
            read.iter().try_for_each(|name| settings::forget(unit, name))?;
            settings::store(unit, RUNNING, &now.to_string())
        })
        .await
    }

    /// Records that what a source told between two runs may have been missed.
    async fn note_missed(
        &self,
        source: &str,
        reason: GapReason,
        since: i64,
        now: i64,
    ) -> Result<()> {
        // A clock that was ahead is right again.
        let since = since.min(now);
        let at = SystemTime::UNIX_EPOCH
            + Duration::from_millis(u64::try_from(since).unwrap_or_default());
        let intake = "relay".into();
        let gap = Gap { reason, intake, since: at, event: None, publication: false };
        self.record_gap(source, &gap, since, now).await
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

    /// The run ends. All is committed that these sources told until `heard`, Unix milliseconds.
    pub async fn end_run(&self, sources: &[ReadSource<'_>], heard: i64) -> Result<()> {
        let read: Vec<String> = sources.iter().map(|source| heard_until(source.name)).collect();
        self.write(move |unit| {
            read.iter().try_for_each(|name| settings::store(unit, name, &heard.to_string()))?;
            settings::forget(unit, RUNNING)
        })
        .await
    }
}

fn heard_until(source: &str) -> String {
    format!("{HEARD_UNTIL}{source}")
}
