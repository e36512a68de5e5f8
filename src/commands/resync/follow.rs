//! Shows the progress of a resync until it is done: a bar on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::super::output::{self, note};
use crate::admin::ResyncState;
use crate::app::{RestReading, Scope};
use crate::config::Config;

/// How often the progress is read.
const LOOK: Duration = Duration::from_millis(300);

/// How often a line shows the progress where there is no terminal.
const TELL: Duration = Duration::from_secs(10);

/// Reads into the ledger of `config` until the resync is done. Returns the last line of its progress.
pub(super) async fn read(config: &Config, scope: Scope) -> anyhow::Result<(RestReading, String)> {
    let reading = RestReading::begin(config, scope).await?;
    let done = follow(async || {
        if let Some(fault) = reading.fault() {
            bail!("{fault}");
        }
        Ok(ResyncState::of_all(&reading.ledger, &reading.sources()).await?)
    });
    match done.await {
        Ok(done) => Ok((reading, done)),
        Err(error) => {
            reading.end().await.close().await;
            Err(error)
        }
    }
}

/// Shows the progress until the resyncs of all sources are done. Returns the last line.
pub(super) async fn follow(
    look: impl AsyncFn() -> anyhow::Result<Vec<ResyncState>>,
) -> anyhow::Result<String> {
    let bar = output::bar("{bar:30} {percent}% ETA {eta}  {msg}");
    let mut fault = None;
    let (began, mut told) = (Instant::now(), Instant::now());
    loop {
        let all = look().await?;
        if !all.is_empty() {
            let line = line(&all, began.elapsed());
            let attributes = all.iter().map(|one| one.resync.attributes).sum::<i64>();
            bar.set_length(u64::try_from(attributes).unwrap_or_default());
            let read = all.iter().map(|one| one.read().1).sum::<i64>();
            bar.set_position(u64::try_from(read).unwrap_or_default());
            bar.set_message(line.clone());
            // A fault is tried again for long: it is told once, and again only when it changes.
            let now = all.iter().find_map(|one| one.fault.clone());
            if now != fault {
                fault = now;
                let words = fault.iter().map(|fault| format!("{fault}; it is tried again"));
                words.for_each(|words| bar.suspend(|| note(&words)));
            }
            if all.iter().all(ResyncState::is_done) {
                bar.finish_and_clear();
                return Ok(line);
            }
            // Without a terminal, a line now and then shows that it goes on.
            if bar.is_hidden() && told.elapsed() >= TELL {
                told = Instant::now();
                note(&line);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Returns the progress of all sources in one line. A source is named where there are several.
fn line(all: &[ResyncState], elapsed: Duration) -> String {
    match all {
        [one] => one.line(elapsed),
        several => {
            let line = |one: &ResyncState| format!("{}: {}", one.source, one.line(elapsed));
            several.iter().map(line).collect::<Vec<_>>().join("; ")
        }
    }
}
