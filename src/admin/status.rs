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

/// How sending to a target goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingStatus {
    pub target: String,
    /// `live` or `dry-run`.
    pub mode: String,
    /// A dry run: the file that holds what would be sent.
    #[serde(default)]
    pub file: Option<String>,
    #[serde(flatten)]
    pub health: DeliveryHealth,
}

impl SendingStatus {
    /// A target as its sender sees it.
    pub(super) fn new(target: &Target, health: DeliveryHealth) -> Self {
        let file = (target.mode == Mode::DryRun).then(|| target.dry_run_file.display().to_string());
        Self { target: target.name.clone(), mode: target.mode.word().to_owned(), file, health }
    }
}
