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
use crate::ledger::{Ledger, SqlResult, TargetStatus, Views};
use crate::misp_api::MispClient;

/// Cheap handles on the parts that answer requests: those of a running relay, or those that a command made
/// for itself.
#[derive(Debug, Clone)]
pub struct Services {
    pub ledger: Ledger,
    /// How claims are judged and merged.
    pub views: Arc<Views>,
    /// The name of the source in the ledger.
    pub source: String,
    /// The configured targets, under the names that they have in the ledger.
    pub targets: Arc<[Target]>,
    pub means: Means,
    /// The client of MISP's REST API; `None` without a key.
    pub misp: Option<MispClient>,
    /// The targets whose workspaces can be read back.
    pub readback: Arc<Readback>,
    /// The running relay; `None` where a command opened the ledger itself.
    pub relay: Option<RunningRelay>,
    /// The turn that an export or a check of the ledger takes: each occupies one of its few readers for long.
    pub long_read: Arc<Semaphore>,
}

/// The parts of a running relay that operators may look at.
#[derive(Debug, Clone)]
pub struct RunningRelay {
    pub started: SystemTime,
    /// The address that the webhook listens on; `None` where there is no webhook.
    pub webhook: Option<SocketAddr>,
    /// The state of the REST intake; `None` without a key.
    pub rest: Option<RestStatus>,
    pub endpoints: watch::Receiver<Vec<EndpointStatus>>,
    pub health: Health,
}

impl Services {
    /// Returns the status of everything now. It scans the ledger's tables.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn status(&self) -> SqlResult<Status> {
        let ledger = self.ledger.status().await?;
        let relay = self.relay_status();
        let relay =
            relay.map(|relay| RelayStatus { targets: self.sending(&ledger.targets), ..relay });
        Ok(Status::new(relay, ledger, self.means))
    }

    /// Returns the state of the running relay, without its targets.
    pub fn relay_status(&self) -> Option<RelayStatus> {
        self.relay.as_ref().map(|relay| RelayStatus {
            process_id: std::process::id(),
            started_at: relay.started.into(),
            // A clock that was set back gives no negative uptime.
            uptime_seconds: relay.started.elapsed().unwrap_or_default().as_secs(),
            ledger_writable: self.ledger.is_writable(),
            endpoints: relay.endpoints.borrow().clone(),
            webhook: relay.webhook,
            rest: relay.rest.as_ref().map(RestStatus::now),
            warninglists: self.views.warninglists().state(),
            targets: Vec::new(),
        })
    }

    /// Returns how sending goes for every enabled target, if a relay runs. `waiting` says what waits for all of them.
    pub fn sending(&self, waiting: &[TargetStatus]) -> Vec<SendingStatus> {
        let Some(relay) = &self.relay else { return Vec::new() };
        let mut now = relay.health.now();
        // A target that is not enabled has no sender.
        let enabled = self.targets.iter().filter(|target| target.enabled);
        let mut health = |target: &Target| now.remove(&target.name).unwrap_or_default();
        enabled.map(|target| SendingStatus::new(target, health(target), waiting)).collect()
    }
}
