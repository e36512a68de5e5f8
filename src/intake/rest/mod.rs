//! The intake that polls: it reads over MISP's REST API what the feed only hints at or may have missed.
//! `catch_up` and `resync` find out which events to read, and `reader` reads them for the ledger. `key`
//! checks whether the auth key still shows the same view of MISP, and `lists` keeps MISP's warninglists up to
//! date.

mod catch_up;
mod key;
mod lists;
mod plan;
mod reader;
mod resync;
mod resync_log;
mod status;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use status::{RestState, RestStatus};

use crate::config::{Guard, Rest, Source};
use crate::intake::Inbox;
use crate::ledger::{AdoptError, Candidate, KeyView, Ledger, Listing, SqlError, Views, millis};
use crate::log_event::{LogEvent, ms};
use crate::misp_api::{MispClient, RestError};
use crate::pure::backoff::Backoff;
use crate::pure::outage::Down;

/// The longest pause, even if a header of MISP asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// The most events that one request checks for existence.
const EXISTENCE: usize = 500;

/// The REST intake of one MISP.
#[derive(Debug, Clone)]
pub struct RestIntake {
    pub client: MispClient,
    pub ledger: Ledger,
    pub inbox: Inbox,
    /// The folder in which large events are spooled while they are read.
    pub data_dir: PathBuf,
    pub source: Arc<Source>,
    pub rest: Arc<Rest>,
    /// The view of the key: written here, read by the ledger's writer.
    pub key: KeyView,
    pub status: RestStatus,
    /// The views whose warninglists are kept up to date.
    pub views: Arc<Views>,
    /// The most indicators that a refresh of the warninglists may withdraw.
    pub guard: Guard,
    /// Whether it polls for changes by itself, or reads only what it is asked for.
    pub catches_up: bool,
    /// Whether a view that differs from the ledger's is accepted, once.
    pub accept_new_view: Arc<AtomicBool>,
    /// How often the progress of a resync is told.
    pub progress_every: Duration,
}

/// The fault that ended a round.
#[derive(Debug, Error)]
enum IntakeFault {
    #[error("{0}")]
    Misp(#[from] RestError),
    /// The request for the key's own user failed.
    #[error("{0}")]
    Key(RestError),
    #[error("the ledger: {0}")]
    Ledger(#[from] SqlError),
    #[error("{0}")]
    Lists(#[from] AdoptError),
}

impl IntakeFault {
    /// Returns how long MISP asks to wait.
    fn asks_for(&self) -> Option<Duration> {
        match self {
            Self::Misp(RestError::RateLimited { after })
            | Self::Key(RestError::RateLimited { after }) => Some(*after),
            Self::Misp(_) | Self::Key(_) | Self::Ledger(_) | Self::Lists(_) => None,
        }
    }
}

impl RestIntake {
    /// Runs until `stop`. Reads that are cut off by it stay in the ledger for the next run.
    pub async fn run(self, stop: CancellationToken) {
        if self.catches_up {
            self.status.expect_catch_up(self.rest.catch_up_every);
        }
        let read = async {
            // Until the key's view is known, an absent event may only be hidden from it.
            self.learn_key().await;
            let keep_up = async {
                if self.catches_up {
                    self.keep_up().await;
                }
            };
            tokio::join!(self.read_due(), keep_up, self.keep_resyncing());
        };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = futures::future::join(read, self.keep_lists()) => {}
        }
    }

    fn source(&self) -> &str {
        &self.source.name
    }

    /// Shows a fault and waits before the next attempt; `failures` is the number of failures in a row.
    async fn pause(&self, fault: &IntakeFault, failures: u32, doing: &'static str) {
        let pause = self.pause_after(fault, failures);
        let is_of_key = matches!(fault, IntakeFault::Key(_));
        self.status.failed(doing, &fault.to_string(), is_of_key, SystemTime::now() + pause);
        tokio::time::sleep(pause).await;
    }

    /// Notes that MISP answers as it should, and tells it if it did not before.
    async fn succeeded(&self) {
        let Some(Down { lasted, failures }) = self.status.succeeded() else { return };
        // Without the figure the line still tells what matters.
        let reads_waiting = self.ledger.waiting().await.map(|waiting| waiting.reads).ok();
        tracing::info!(
            event = LogEvent::MispRecovered.word(),
            down_ms = ms(lasted),
            failures,
            reads_waiting,
            "MISP answers again"
        );
    }

    fn pause_after(&self, fault: &IntakeFault, failures: u32) -> Duration {
        let backoff = Backoff::new(self.rest.backoff_min, self.rest.backoff_max);
        let own = backoff.pause(failures, rand::random());
        // MISP may ask for less than our own pause, or for days. Neither counts.
        fault.asks_for().map_or(own, |asked| asked.max(own)).min(LONGEST_PAUSE)
    }

    /// Asks for a read of each of these events.
    async fn ask_for(&self, candidates: &[Candidate], listing: Listing) -> Result<(), IntakeFault> {
        Ok(self.ledger.ask_for(self.source(), candidates, listing, now()).await?)
    }

    /// Returns all events that the ledger holds and that are not deleted.
    async fn known_events(&self) -> Result<Vec<Uuid>, IntakeFault> {
        let mut known: Vec<Uuid> = Vec::new();
        loop {
            // The events come in the order of their uuids, so the last one is where the next page begins.
            let after = known.last().copied().unwrap_or_default();
            let more = self.ledger.live_events(self.source(), after, EXISTENCE).await?;
            if more.is_empty() {
                return Ok(known);
            }
            known.extend(more);
        }
    }
}

/// Returns the events as candidates without a size. Their weight of 0 takes no room in a request.
fn unweighed(events: impl IntoIterator<Item = Uuid>) -> Vec<Candidate> {
    events.into_iter().map(|event| Candidate { event, weight: 0 }).collect()
}

/// Returns our own clock in Unix milliseconds.
fn now() -> i64 {
    Ledger::now()
}

/// Returns the time from now until `at` (Unix milliseconds); zero if it is over.
fn until(at: i64) -> Duration {
    Duration::from_millis(u64::try_from(at.saturating_sub(now())).unwrap_or_default())
}

/// Returns our own clock in Unix seconds, for answers that do not tell MISP's clock.
fn own_clock() -> i64 {
    now() / 1_000
}
