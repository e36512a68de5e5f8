//! Shares one status among all who look at it, so that many lookers cost the relay no more than one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveTime, Utc};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use super::{Services, Status};
use crate::ledger::{LedgerStatus, SqlError, SqlResult, Withdrawals};

/// For how long an answer is handed out at least.
const FRESH: Duration = Duration::from_secs(1);

/// An answer is handed out for so many times the time that it took: a large ledger is counted for at most a
/// twentieth of the time.
const TIMES_WHAT_IT_TOOK: u32 = 20;

/// How many withdrawn indicators are named.
pub(super) const NAMED: usize = 20;

/// A status that is being made. Whoever has a copy drives it on.
type Making = Shared<BoxFuture<'static, Result<Arc<Made>, Arc<SqlError>>>>;

/// The last status, and the one that is being made.
#[derive(Debug, Default)]
pub(super) struct SharedStatus(Mutex<Looks>);

#[derive(Debug, Default)]
struct Looks {
    last: Option<Arc<Made>>,
    /// It stays here if the client that asked for it hangs up: the next one waits for the same count.
    making: Option<Making>,
}

/// A status, and when it was made.
#[derive(Debug)]
pub(super) struct Made {
    pub status: Status,
    pub withdrawn: WithdrawnToday,
    /// For people.
    pub as_of: DateTime<Utc>,
    at: Instant,
    took: Duration,
}

/// The indicators that were withdrawn on a day in UTC.
#[derive(Debug, Clone, Default)]
pub(super) struct WithdrawnToday {
    /// Midnight.
    pub since: DateTime<Utc>,
    pub withdrawals: Withdrawals,
}

impl WithdrawnToday {
    async fn of(services: &Services, ledger: &LedgerStatus, now: DateTime<Utc>) -> SqlResult<Self> {
        let since = now.date_naive().and_time(NaiveTime::MIN).and_utc();
        let from = since.timestamp_millis();
        let sources = ledger.sources.iter().map(|held| held.source.clone()).collect();
        let Services { ledger, views, .. } = services;
        let withdrawals = ledger.withdrawals(views, sources, from, NAMED).await?;
        Ok(Self { since, withdrawals })
    }
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
    pub(super) async fn get(&self, services: &Services) -> Result<Arc<Made>, Arc<SqlError>> {
        let making = {
            let mut looks = self.looks();
            if let Some(made) = looks.last.as_ref().filter(|made| made.is_fresh()) {
                return Ok(Arc::clone(made));
            }
            looks.making.get_or_insert_with(|| make(services.clone()).boxed().shared()).clone()
        };
        let made = making.clone().await;
        let mut looks = self.looks();
        // Another client may have been here first, and a newer one may be in the making.
        if looks.making.as_ref().is_some_and(|current| current.ptr_eq(&making)) {
            looks.making = None;
            looks.last = made.as_ref().ok().map(Arc::clone);
        }
        made
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn make(services: Services) -> Result<Arc<Made>, Arc<SqlError>> {
    let began = Instant::now();
    let status = services.status().await?;
    let as_of = Utc::now();
    let withdrawn = WithdrawnToday::of(&services, &status.ledger, as_of).await?;
    let (at, took) = (Instant::now(), began.elapsed());
    Ok(Arc::new(Made { status, withdrawn, as_of, at, took }))
}
