//! The type `Services`: all that is needed to answer an operator's request, such as the ledger and the client
//! for MISP. Its parts belong to the running relay, or a command made them for itself.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Semaphore, watch};

use super::{Means, RelayStatus, SendingStatus, SourceMeans, SourceStatus, Status};
use crate::compare::Readback;
use crate::config::Target;
use crate::deliver::Health;
use crate::intake::rest::RestStatus;
use crate::intake::zmq::EndpointStatus;
use crate::ledger::{Ledger, SqlResult, TargetStatus, Views, Warninglists};
use crate::misp_api::MispClient;

/// Cheap handles on the parts that answer requests: those of a running relay, or those that a command made
/// for itself.
#[derive(Debug, Clone)]
pub struct Services {
    pub ledger: Ledger,
    /// How claims are judged and merged.
    pub views: Arc<Views>,
    /// The sources that are read.
    pub sources: Arc<[SourceServices]>,
    /// The configured targets, under the names that they have in the ledger.
    pub targets: Arc<[Target]>,
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
    pub health: Health,
}

/// A MISP: how it can be asked, and how its intakes are.
#[derive(Debug, Clone)]
pub struct SourceServices {
    /// Its name in the configuration and in the ledger.
    pub name: String,
    /// Its section of the configuration: `misp`, or `source.NAME`.
    pub section: String,
    pub means: Means,
    /// The client of its REST API; `None` without a key.
    pub misp: Option<MispClient>,
    /// The address and path of its webhook; `None` where there is none, or no relay runs.
    pub webhook: Option<String>,
    /// The state of its REST intake; `None` without a key, or if no relay runs.
    pub rest: Option<RestStatus>,
    /// `None`: no relay runs.
    pub endpoints: Option<watch::Receiver<Vec<EndpointStatus>>>,
}

impl SourceServices {
    fn means(&self) -> SourceMeans {
        SourceMeans { source: self.name.clone(), section: self.section.clone(), means: self.means }
    }

    /// Returns the state of its intakes, and of its lists among those in force.
    fn status(&self, lists: &Warninglists) -> SourceStatus {
        let endpoints = self.endpoints.as_ref();
        SourceStatus {
            source: self.name.clone(),
            endpoints: endpoints.map(|all| all.borrow().clone()).unwrap_or_default(),
            webhook: self.webhook.clone(),
            rest: self.rest.as_ref().map(RestStatus::now),
            warninglists: lists.state_of(&self.name),
        }
    }
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
        let means: Vec<SourceMeans> = self.sources.iter().map(SourceServices::means).collect();
        Ok(Status::new(relay, ledger, &means))
    }

    /// Returns the state of the running relay, without its targets.
    pub fn relay_status(&self) -> Option<RelayStatus> {
        let lists = self.views.warninglists();
        self.relay.as_ref().map(|relay| RelayStatus {
            process_id: std::process::id(),
            started_at: relay.started.into(),
            // A clock that was set back gives no negative uptime.
            uptime_seconds: relay.started.elapsed().unwrap_or_default().as_secs(),
            ledger_writable: self.ledger.is_writable(),
            sources: self.sources.iter().map(|source| source.status(lists)).collect(),
            warninglists: lists.state(),
            targets: Vec::new(),
        })
    }

    /// Returns the sources that can be asked over REST, with their clients.
    pub fn clients(&self) -> impl Iterator<Item = (&str, &MispClient)> {
        self.sources.iter().filter_map(|source| Some((source.name.as_str(), source.misp.as_ref()?)))
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
