//! The types of the answer to the command `status`. They are the JSON on the control socket and the output of
//! `status --json`.

use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::{Mode, Target};
use crate::deliver::DeliveryHealth;
use crate::intake::rest::RestState;
use crate::intake::zmq::EndpointStatus;
use crate::ledger::{LedgerStatus, ListsState};

/// The status of everything at one moment. Times are RFC 3339 in UTC; the ledger's times are Unix
/// milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// The running relay; `None` where none runs and only the ledger was asked.
    pub relay: Option<RelayStatus>,
    pub ledger: LedgerStatus,
    /// What works less than promised, each in words and with the remedy.
    pub degraded: Vec<String>,
    /// What cannot be promised without a key for MISP's REST API.
    pub without_rest: Vec<String>,
}

/// Which ways to MISP are configured besides the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    pub webhook: bool,
    /// Whether there is a key for MISP's REST API.
    pub rest: bool,
}

/// The state of the running relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStatus {
    pub process_id: u32,
    pub started_at: DateTime<Utc>,
    pub uptime_seconds: u64,
    /// Whether the ledger's last transaction succeeded.
    pub ledger_writable: bool,
    /// The ZeroMQ endpoints, in the order of the configuration.
    pub endpoints: Vec<EndpointStatus>,
    /// The address that the webhook listens on; `None` where there is no webhook.
    pub webhook: Option<SocketAddr>,
    /// The state of the REST intake; `None` without a key.
    pub rest: Option<RestState>,
    /// The state of MISP's warninglists; `None` if no policy uses them, or if there is no key to read them
    /// with.
    pub warninglists: Option<ListsState>,
    pub targets: Vec<SendingStatus>,
}

/// How sending to a target goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingStatus {
    pub target: String,
    /// `live` or `dry-run`.
    pub mode: String,
    /// The file that a dry run writes to; `None` for a live target.
    pub file: Option<String>,
    #[serde(flatten)]
    pub health: DeliveryHealth,
}

impl SendingStatus {
    /// Describes a target by its sender's health.
    pub(super) fn new(target: &Target, health: DeliveryHealth) -> Self {
        let file = (target.mode == Mode::DryRun).then(|| target.dry_run_file.display().to_string());
        Self { target: target.name.clone(), mode: target.mode.word().to_owned(), file, health }
    }
}
