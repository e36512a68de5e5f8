//! Shares one status among all who look at it, so that many lookers cost the relay no more than one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::{Services, Status};
use crate::ledger::SqlResult;

/// For how long an answer is handed out at least.
const FRESH: Duration = Duration::from_secs(1);

/// An answer is handed out for so many times the time that it took: a large ledger is counted for at most a
/// twentieth of the time.
const REST: u32 = 20;

/// The last status, and when it was made.
#[derive(Debug, Default)]
pub(super) struct SharedStatus(Mutex<Option<Made>>);

#[derive(Debug, Clone)]
struct Made {
    at: Instant,
    took: Duration,
    status: Arc<Status>,
}

impl Made {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH.max(self.took.saturating_mul(REST))
    }
}

impl SharedStatus {
    /// Returns a status of a moment ago. One at a time is made, and those who ask meanwhile wait for it.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(super) async fn get(&self, services: &Services) -> SqlResult<Arc<Status>> {
        let mut last = self.0.lock().await;
        if let Some(made) = last.as_ref().filter(|made| made.is_fresh()) {
            return Ok(Arc::clone(&made.status));
        }
        let began = Instant::now();
        let status = Arc::new(services.status().await?);
        let (at, took) = (Instant::now(), began.elapsed());
        *last = Some(Made { at, took, status: Arc::clone(&status) });
        Ok(status)
    }
}
