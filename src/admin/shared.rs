//! Shares one status among all who look at it, so that many lookers cost the relay no more than one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Mutex;

use super::{Services, Status};
use crate::ledger::SqlResult;

/// For how long an answer is handed out at least.
const FRESH: Duration = Duration::from_secs(1);

/// An answer is handed out for so many times the time that it took: a large ledger is counted for at most a
/// twentieth of the time.
const TIMES_WHAT_IT_TOOK: u32 = 20;

/// The last status.
#[derive(Debug, Default)]
pub(super) struct SharedStatus(Mutex<Option<Arc<Made>>>);

/// A status, and when it was made.
#[derive(Debug)]
pub(super) struct Made {
    pub status: Status,
    /// For people.
    pub as_of: DateTime<Utc>,
    at: Instant,
    took: Duration,
}

impl Made {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH.max(self.took.saturating_mul(TIMES_WHAT_IT_TOOK))
    }
}

impl SharedStatus {
    /// Returns a status of a moment ago. One at a time is made, and those who ask meanwhile wait for it.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(super) async fn get(&self, services: &Services) -> SqlResult<Arc<Made>> {
        let mut last = self.0.lock().await;
        if let Some(made) = last.as_ref().filter(|made| made.is_fresh()) {
            return Ok(Arc::clone(made));
        }
        let began = Instant::now();
        let status = services.status().await?;
        let (at, took) = (Instant::now(), began.elapsed());
        let made = Arc::new(Made { status, as_of: Utc::now(), at, took });
        *last = Some(Arc::clone(&made));
        Ok(made)
    }
}
