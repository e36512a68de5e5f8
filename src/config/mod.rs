//! What the operator decides, as the program uses it: checked, typed, with no default in code.
//!
//! The defaults are `config.toml.example`, which is compiled in. [`load`] lays the operator's file
//! and the environment over it and reports every mistake at once.

mod check;
mod layers;
mod load;
mod mistake;
mod reader;
mod secret;
mod target;
mod values;
mod warnings;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

pub use layers::{DEFAULT_FILE, EXAMPLE, FILE_VARIABLE, variable};
pub use load::{load, load_rules};
pub use mistake::{Mistake, Mistakes, Origin};
pub use secret::Secret;
pub use warnings::warnings;

use crate::policy::Policy;
use crate::stix::Rendering;

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub misp: Misp,
    pub policy: Policy,
    /// How claims become indicators: identity, confidence, expiry, links.
    pub rendering: Rendering,
    pub ledger: LedgerConfig,
    pub delivery: Delivery,
    pub azure: Azure,
    /// By name, in the order of names.
    pub targets: Vec<Target>,
    pub admin: Admin,
    pub log: Log,
}

/// What shapes indicators: all that `convert` needs of the configuration.
#[derive(Debug, Clone)]
pub struct Rules {
    pub policy: Policy,
    pub rendering: Rendering,
}

/// The MISP instance that is relayed: one source.
#[derive(Debug, Clone)]
pub struct Misp {
    /// Name of the source in the ledger, in metrics and in logs.
    pub name: String,
    pub zeromq: ZeroMq,
    /// `None` when `misp.webhook.listen` is empty.
    pub webhook: Option<Webhook>,
}

/// MISP's ZeroMQ publishers and how closely they are watched.
#[derive(Debug, Clone)]
pub struct ZeroMq {
    /// `tcp://host:port`, each a publisher of this one MISP.
    pub endpoints: Vec<String>,
    /// `Plugin.ZeroMQ_username` and `_password`: ZMTP PLAIN.
    pub credentials: Option<Plain>,
    /// For connect and handshake together.
    pub connect_timeout: Duration,
    /// The longest pause between two attempts to connect.
    pub reconnect_max: Duration,
    /// How long an endpoint may say nothing, on both its sockets, before it is reconnected.
    pub silence: Duration,
    /// Larger frames are dropped and recorded as a gap, bytes.
    pub max_frame: usize,
    /// Publications held in memory before the ledger takes them, bytes.
    pub max_waiting: usize,
}

/// ZMTP PLAIN credentials.
#[derive(Debug, Clone)]
pub struct Plain {
    pub username: String,
    pub password: Secret,
}

/// The listener for MISP's workflow webhook module.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub listen: SocketAddr,
    /// Path that MISP posts to, e.g. `/misp`.
    pub path: String,
    /// Name of the header that carries the shared secret.
    pub secret_header: String,
    pub secret: Secret,
    /// One body, bytes; larger ones are answered 413.
    pub max_body: usize,
    /// All bodies in progress, bytes; beyond it the answer is 503.
    pub max_total: usize,
    /// MISP is answered within this time, whatever happens.
    pub answer_within: Duration,
    /// How long a stored publication waits for its confirmation before it is dropped.
    pub confirm_within: Duration,
    /// Certificate chain and key, PEM.
    pub tls: Option<TlsFiles>,
}

/// Certificate chain and private key, PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The memory on disk.
#[derive(Debug, Clone)]
pub struct LedgerConfig {
    /// Folder of `ledger.db` and of the control socket `relay.sock`.
    pub data_dir: PathBuf,
    /// SQLite's `synchronous`: `true` is FULL (fsync at each commit), `false` NORMAL.
    pub fsync: bool,
    /// How long tombstones are kept.
    pub tombstones: Duration,
}

/// How objects leave: the same for all targets.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// How long a batch that is not full waits for more.
    pub linger: Duration,
    /// Objects a request, at most 100.
    pub max_objects: usize,
    /// Bytes a request.
    pub max_bytes: usize,
    /// Requests in any `quota_window` per credential, at most 99; 0 is no limit (tests only).
    pub quota_requests: u32,
    pub quota_window: Duration,
    /// Requests in flight per credential.
    pub max_in_flight: usize,
    /// One request, from connect to the last byte of the answer.
    pub request_timeout: Duration,
    /// Back-off after 5xx, time-outs, resets: first and longest pause.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// The wait after a 429 that names none.
    pub throttled_default: Duration,
    /// How slowly a misconfigured or forbidden target is tried.
    pub degraded_retry: Duration,
    /// After an ambiguous failure of an object that changed since: when its final version is sent
    /// once more.
    pub resend_after: Duration,
    /// How long SIGTERM waits for what is in hand.
    pub grace: Duration,
}

/// The way to Azure, common to all targets.
#[derive(Debug, Clone)]
pub struct Azure {
    /// Extra certificate authorities, PEM; the system's are always used.
    pub ca_file: Option<PathBuf>,
    /// Proxy URL, or `none` for no proxy whatever the environment says; `None` takes `HTTPS_PROXY`
    /// and `NO_PROXY` from the environment.
    pub proxy: Option<String>,
    pub connect_timeout: Duration,
    /// The whole of a sign-in, the SDK's retries included.
    pub token_timeout: Duration,
}

/// A Sentinel workspace.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    pub enabled: bool,
    pub mode: Mode,
    pub workspace_id: Uuid,
    pub tenant_id: String,
    pub client_id: String,
    pub client_secret: Secret,
    pub sourcesystem: String,
    /// e.g. `https://login.microsoftonline.com`.
    pub authority: String,
    /// e.g. `https://management.azure.com/.default`.
    pub scope: String,
    /// e.g. `https://api.ti.sentinel.azure.com`.
    pub endpoint: String,
    /// With `{workspace_id}` to fill in.
    pub path: String,
    pub api_version: String,
    /// Where a `dry-run` target writes what it would send, NDJSON.
    pub dry_run_file: PathBuf,
}

/// Whether a target's objects are sent or written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Live,
    DryRun,
}

impl Mode {
    /// As the configuration, `status` and the ledger spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::DryRun => "dry-run",
        }
    }
}

/// Where operators and Prometheus look in.
#[derive(Debug, Clone)]
pub struct Admin {
    pub listen: SocketAddr,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing` filter, e.g. `info` or `info,misp_sentinel_relay::intake=debug`.
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Pretty,
    Json,
}

/// Days of validity per observable path (`ipv4-addr`, `file`, … or a whole path).
pub type DaysByType = BTreeMap<String, u32>;
