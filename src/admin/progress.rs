//! Computes from the ledger how far a full resync has come, and says it in one line.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ledger::{Lane, Ledger, Resync, ResyncCount, ResyncPhase, SqlResult};

/// How far a resync has come at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResyncState {
    #[serde(default)]
    pub source: String,
    pub resync: Resync,
    pub left: ResyncCount,
    /// The number of open changes of all targets, by lane: withdrawals, live, backlog.
    pub queued: [i64; 3],
    /// Why MISP cannot be asked now; `None` if it can.
    pub fault: Option<String>,
}

impl ResyncState {
    /// Reads the progress of each source from the ledger. A source that never had a resync is left out.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn of_all(ledger: &Ledger, sources: &[String]) -> SqlResult<Vec<Self>> {
        let mut all = Vec::new();
        for source in sources {
            all.extend(Self::of(ledger, source).await?);
        }
        Ok(all)
    }

    async fn of(ledger: &Ledger, source: &str) -> SqlResult<Option<Self>> {
        let Some((resync, left)) = ledger.resync_progress(source).await? else { return Ok(None) };
        let mut queued = [0; 3];
        for target in ledger.targets().await? {
            for (sum, depth) in queued.iter_mut().zip(ledger.queue_depth(&target).await?) {
                *sum += depth;
            }
        }
        Ok(Some(Self { source: source.to_owned(), resync, left, queued, fault: None }))
    }

    pub fn is_done(&self) -> bool {
        self.resync.phase == ResyncPhase::Done
    }

    /// Returns how many events and how many attributes were read so far.
    pub fn read(&self) -> (i64, i64) {
        let ResyncCount { events, attributes } = self.left;
        ((self.resync.events - events).max(0), (self.resync.attributes - attributes).max(0))
    }

    /// Returns one line for people. `elapsed` is the time since the resync began.
    pub fn line(&self, elapsed: Duration) -> String {
        let queued: Vec<String> = Lane::ALL
            .iter()
            .zip(self.queued)
            .filter(|(_, count)| *count > 0)
            .map(|(lane, count)| format!("{count} {}", lane.word()))
            .collect();
        let queued = if queued.is_empty() { "nothing".to_owned() } else { queued.join(", ") };
        match self.resync.phase {
            ResyncPhase::Listing => "asking MISP which events there are".to_owned(),
            ResyncPhase::Reading | ResyncPhase::Done => {
                let (events, attributes) = self.read();
                // Right at the beginning no time has passed, and nothing may be divided by zero.
                let rate = attributes as f64 / elapsed.as_secs_f64().max(0.001);
                format!(
                    "{events} of {} events, {attributes} of {} attributes, {rate:.0} attributes/s, queued: {queued}",
                    self.resync.events, self.resync.attributes
                )
            }
        }
    }
}
