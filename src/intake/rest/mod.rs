//! The intake that asks: whatever the feed only hinted at, or may have missed, is read over MISP's
//! REST API.
//!
//! Three loops: `catch_up` and `resync` find out which events to read, `reader` reads them and hands the
//! answers to the ledger. `key` watches whose view the key shows, `lists` keeps MISP's warninglists.

mod catch_up;
mod key;
mod lists;
mod plan;
mod reader;
mod resync;
mod status;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tokio_util::sync::CancellationToken;

pub use status::{RestState, RestStatus};

use crate::config::{Guard, Misp, Rest};
use crate::intake::Inbox;
use crate::ledger::{AdoptError, KeyView, Ledger, Views, millis};
use crate::pure::backoff::Backoff;
use crate::rest::{Client, RestError};

/// Whatever a header says.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// Asks one MISP.
#[derive(Debug, Clone)]
pub struct RestIntake {
    pub client: Client,
    pub ledger: Ledger,
    pub inbox: Inbox,
    pub misp: Arc<Misp>,
    pub rest: Arc<Rest>,
    /// Filled in here, read by the ledger's writer.
    pub key: KeyView,
    pub status: RestStatus,
    /// Whose warninglists are kept.
    pub views: Arc<Views>,
    /// What a refresh of them may withdraw.
    pub guard: Guard,
    /// Whether it looks by itself for what changed; else only for what is asked.
    pub catches_up: bool,
    /// Another view than the ledger remembers is accepted, once.
    pub accept_new_view: Arc<AtomicBool>,
}

/// What ends a round.
#[derive(Debug, Error)]
enum Fault {
    #[error("{0}")]
    Misp(#[from] RestError),
    /// MISP does not tell whose the key is.
    #[error("{0}")]
    Key(RestError),
    #[error("the ledger: {0}")]
    Ledger(#[from] sqlx::Error),
    #[error("{0}")]
    Lists(#[from] AdoptError),
}

impl Fault {
    /// How long MISP asked to be left alone.
    fn asks_for(&self) -> Option<Duration> {
        match self {
            Self::Misp(RestError::RateLimited { after })
            | Self::Key(RestError::RateLimited { after }) => Some(*after),
            Self::Misp(_) | Self::Key(_) | Self::Ledger(_) | Self::Lists(_) => None,
        }
    }
}

impl RestIntake {
    /// Runs until `stop`. What is in hand then is asked for again by the next run.
    pub async fn run(self, stop: CancellationToken) {
        if self.catches_up {
            self.status.expect_catch_up(self.rest.catch_up_every);
        }
        let read = async {
            // Until it is known what the key sees, an absence means nothing.
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
        &self.misp.name
    }

    /// Notes a fault and waits before the next attempt: `failures` in a row.
    async fn pause(&self, fault: &Fault, failures: u32, doing: &'static str) {
        let backoff = Backoff::new(self.rest.backoff_min, self.rest.backoff_max);
        let own = backoff.pause(failures, rand::random());
        let pause = fault.asks_for().map_or(own, |asked| asked.max(own)).min(LONGEST_PAUSE);
        self.status.failed(doing, &fault.to_string(), SystemTime::now() + pause);
        tokio::time::sleep(pause).await;
    }
}

/// Unix milliseconds.
fn now() -> i64 {
    Ledger::now()
}

fn until(at: i64) -> Duration {
    Duration::from_millis(u64::try_from(at.saturating_sub(now())).unwrap_or_default())
}

/// Unix seconds, where MISP's clock is not told.
fn own_clock() -> i64 {
    now() / 1_000
}
