//! The type `Services`: all that is needed to answer an operator's request, such as the ledger and the client
//! for MISP. Its parts belong to the running relay, or a command made them for itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Semaphore, watch};

use super::{Means, RelayStatus, SendingStatus, Status};
use crate::compare::Readback;
use crate::config::Target;
use crate::deliver::Health;
use crate::intake::rest::RestStatus;
use crate::intake::zmq::EndpointStatus;
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
    /// The targets of the configuration, named as the ledger names them.
    pub targets: Arc<[Target]>,
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

/// A running relay's parts, as far as operators may look at them.
#[derive(Debug, Clone)]
pub struct RunningRelay {
    pub started: SystemTime,
    /// Where the webhook listens.
    pub webhook: Option<SocketAddr>,
    /// `None` without a key.
    pub rest: Option<RestStatus>,
    pub endpoints: watch::Receiver<Vec<EndpointStatus>>,
    pub health: Health,
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
            endpoints: relay.endpoints.borrow().clone(),
            webhook: relay.webhook,
            rest: relay.rest.as_ref().map(RestStatus::now),
            warninglists: self.views.warninglists().state(),
            targets: self.sending(&relay.health),
        });
        Ok(Status::new(relay, ledger, self.means))
    }

    /// Of every enabled target.
    fn sending(&self, health: &Health) -> Vec<SendingStatus> {
        let mut now = health.now();
        let enabled = self.targets.iter().filter(|target| target.enabled);
        let mut health = |target: &Target| now.remove(&target.name).unwrap_or_default();
        enabled.map(|target| SendingStatus::new(target, health(target))).collect()
    }
}
