//! The types of the answer to the command `status`. They are the JSON on the control socket and the output of
//! `status --json`.

use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::{Mode, Target};
use crate::deliver;
use crate::intake::rest::RestState;
use crate::intake::zmq;
use crate::ledger::{LedgerStatus, ListsState};

/// Everything at one moment. Times are RFC 3339 in UTC, those of the ledger Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// `None`: no relay runs, and the ledger alone was asked.
    pub relay: Option<RelayStatus>,
    pub ledger: LedgerStatus,
    /// What works less than promised, in words, with the remedy.
    pub degraded: Vec<String>,
    /// What cannot be promised without a key for MISP's REST API.
    pub without_rest: Vec<String>,
}

/// The ways to MISP that are configured besides the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    pub webhook: bool,
    /// There is a key.
    pub rest: bool,
}

/// The running relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStatus {
    pub process_id: u32,
    pub started_at: DateTime<Utc>,
    pub uptime_seconds: u64,
    /// Whether the last transaction went well.
    pub ledger_writable: bool,
    /// ZeroMQ, in the order of the configuration.
    pub endpoints: Vec<EndpointStatus>,
    /// Where the webhook listens.
    pub webhook: Option<SocketAddr>,
    /// Asking MISP over REST; `None` without a key.
    #[serde(default)]
    pub rest: Option<RestState>,
    /// MISP's warninglists; `None`: no policy asks for them, or there is no key to read them with.
    #[serde(default)]
    pub warninglists: Option<ListsState>,
    pub targets: Vec<SendingStatus>,
}

/// A ZeroMQ publisher of MISP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// `tcp://host:port`.
    pub endpoint: String,
    pub publications_connected: bool,
    /// The socket of all other topics.
    pub others_connected: bool,
    pub last_frame: Option<DateTime<Utc>>,
    pub last_publication: Option<DateTime<Utc>>,
    /// The publisher's age by its last heartbeat, seconds.
    pub uptime: Option<i64>,
    /// Why it is not connected or was last lost, with the remedy.
    pub error: Option<String>,
}

/// How sending to a target goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingStatus {
    pub target: String,
    /// `live` or `dry-run`.
    pub mode: String,
    /// Why it is tried slowly or not at all, with the remedy.
    pub degraded: Option<String>,
    /// What is wrong with the sign-ins although there is a token.
    #[serde(default)]
    pub sign_in: Option<String>,
    /// A dry run: the file that holds what would be sent.
    #[serde(default)]
    pub file: Option<String>,
    /// Requests in flight.
    pub in_flight: usize,
    pub last_accepted: Option<DateTime<Utc>>,
    /// When the pause after a failure ends.
    pub next_try: Option<DateTime<Utc>>,
}

impl SendingStatus {
    /// A target as its sender sees it.
    #[must_use]
    pub fn new(target: &Target, health: deliver::DeliveryHealth) -> Self {
        let file = (target.mode == Mode::DryRun).then(|| target.dry_run_file.display().to_string());
        Self {
            target: target.name.clone(),
            mode: target.mode.word().to_owned(),
            degraded: health.degraded,
            sign_in: health.sign_in,
            file,
            in_flight: health.in_flight,
            last_accepted: health.last_accepted.map(Into::into),
            next_try: health.next_try.map(Into::into),
        }
    }
}

impl From<&zmq::SocketStatus> for EndpointStatus {
    fn from(status: &zmq::SocketStatus) -> Self {
        Self {
            endpoint: status.endpoint.clone(),
            publications_connected: status.publications,
            others_connected: status.others,
            last_frame: status.last_frame.map(DateTime::from),
            last_publication: status.last_publication.map(DateTime::from),
            uptime: status.uptime,
            error: status.error.clone(),
        }
    }
}
