//! The type `Services`: all that is needed to answer an operator's request, such as the ledger and the client
//! for MISP. Its parts belong to the running relay, or a command made them for itself.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;

use super::{EndpointStatus, Means, RelayStatus, SendingStatus, Status};
use crate::compare::Readback;
use crate::intake::rest::RestStatus;
use crate::ledger::{Ledger, Views};
use crate::misp_api::MispClient;

/// Cheap handles on the parts that answer: those of a running relay, or those that a command made for
/// itself.
#[derive(Debug, Clone)]
pub struct Services {
    pub ledger: Ledger,
    /// How claims are judged and merged.
    pub views: Arc<Views>,
    /// Name of the source in the ledger.
    pub source: String,
    /// The targets of the configuration.
    pub targets: Arc<[ConfiguredTarget]>,
    pub means: Means,
    /// `None` without a key.
    pub misp: Option<MispClient>,
    /// The targets whose workspaces can be asked what they hold.
    pub readback: Arc<Readback>,
    /// `None` where a command opened the ledger itself.
    pub relay: Option<RunningRelay>,
    /// Held by an export or a check of the ledger: each keeps one of its few readers.
    pub long_read: Arc<Semaphore>,
}

/// A target of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredTarget {
    /// As the ledger names it.
    pub name: String,
    pub sourcesystem: String,
    pub is_enabled: bool,
}

/// A running relay's parts, as far as operators may look at them. The closures are asked each time.
#[derive(Clone)]
pub struct RunningRelay {
    pub started: SystemTime,
    /// Where the webhook listens.
    pub webhook: Option<SocketAddr>,
    /// `None` without a key.
    pub rest: Option<RestStatus>,
    pub endpoints: Arc<dyn Fn() -> Vec<EndpointStatus> + Send + Sync>,
    /// Of every enabled target.
    pub targets: Arc<dyn Fn() -> Vec<SendingStatus> + Send + Sync>,
}

impl fmt::Debug for RunningRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningRelay").field("started", &self.started).finish_non_exhaustive()
    }
}

impl Services {
    /// Everything now; a scan of the ledger's tables.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn status(&self) -> sqlx::Result<Status> {
        let ledger = self.ledger.status().await?;
        let relay = self.relay.as_ref().map(|relay| RelayStatus {
            process_id: std::process::id(),
            started_at: relay.started.into(),
            uptime_seconds: relay.started.elapsed().unwrap_or_default().as_secs(),
            ledger_writable: self.ledger.is_writable(),
            endpoints: (relay.endpoints)(),
            webhook: relay.webhook,
            rest: relay.rest.as_ref().map(RestStatus::now),
            warninglists: self.views.warninglists().state(),
            targets: (relay.targets)(),
        });
        Ok(Status::new(relay, ledger, self.means))
    }
}
