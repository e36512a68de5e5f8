//! The configuration of the relay as checked, typed values. All defaults are in `config.toml.example`, which
//! is compiled in; there is none in the code. [`load`] lays the operator's file and the environment over it
//! and reports every mistake at once.

mod address;
mod api;
mod check;
mod cloud;
mod credential;
mod held;
mod layers;
mod limits;
mod load;
mod log;
mod looks;
mod management;
mod mapping;
mod misp;
mod mistake;
mod overlay;
mod policy;
mod reader;
mod reference;
mod rest;
mod schedule;
mod secret;
mod target;
mod tenants;
mod unseen;
mod values;
mod warnings;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

pub use api::Api;
pub use credential::{Credential, ManagedIdentity};
pub use held::{READ_AGAIN, SharedSecret};
pub use layers::{DEFAULT_FILE, EXAMPLE, FILE_VARIABLE, variable};
pub use load::{PLACEHOLDER_URL, load, load_admin, load_ledger, load_rules, load_with};
pub use log::{Log, LogFormat};
pub use management::{ManagedWorkspace, Management};
pub use mistake::{Mistake, Mistakes, SettingOrigin};
pub use schedule::Schedule;
pub use secret::{FoundSecrets, Secret, Vault};
pub use warnings::warnings;

use crate::pure::policy::Policy;
use crate::pure::stix::{Identity, Rendering, Withdraw};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub misp: Misp,
    /// Of the targets without one of their own.
    pub policy: Policy,
    /// How claims become indicators: confidence, expiry, links; identity and withdrawal of the targets
    /// without a word of their own.
    pub rendering: Rendering,
    pub ledger: LedgerConfig,
    pub guard: Guard,
    pub delivery: Delivery,
    pub azure: Azure,
    /// `[azure.management]`
    pub management: Management,
    /// By name, in the order of names; those of `tenants` among them.
    pub targets: Vec<Target>,
    pub admin: Admin,
    pub log: Log,
    /// How Key Vaults are signed in to.
    pub vault: VaultAccess,
    /// The list of `tenants` is one of those: its targets are not known yet.
    pub has_unread_tenants: bool,
    /// Addresses of secrets that are not looked up yet: those have no text.
    pub lookups: BTreeSet<String>,
}

/// What shapes indicators: all that `convert` needs of the configuration.
#[derive(Debug, Clone)]
pub struct Rules {
    pub policy: Policy,
    pub rendering: Rendering,
    /// Neither misp.public_url nor misp.url is set: links to MISP lead nowhere.
    pub has_placeholder_url: bool,
}

/// The MISP instance that is relayed: one source.
#[derive(Debug, Clone)]
pub struct Misp {
    /// Name of the source in the ledger, in metrics and in logs.
    pub name: String,
    pub zeromq: ZeroMq,
    /// `None` when `misp.webhook.listen` is empty.
    pub webhook: Option<Webhook>,
    /// `None` without `misp.key`.
    pub rest: Option<Rest>,
    pub on_unpublish: OnUnpublish,
    /// How far back `publish_timestamp` may lie in what is fetched; `None`: all.
    pub window: Option<Duration>,
    /// `misp.search`: parameters of restSearch that an event must meet besides; empty: none.
    pub search: serde_json::Map<String, serde_json::Value>,
    /// When a full resync begins by itself; `None`: never.
    pub resync: Option<Schedule>,
    pub warninglists: WarninglistRules,
}

/// How MISP's warninglists are read.
#[derive(Debug, Clone, Copy)]
pub struct WarninglistRules {
    pub refresh_every: Duration,
    /// Larger lists are an error, bytes of MISP's answer.
    pub max_list: usize,
}

/// What becomes of an event that is no longer published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum OnUnpublish {
    /// Its last published attributes stay, as far as MISP still shows them.
    Keep,
    Withdraw,
}

/// MISP's REST API, and how it is asked.
#[derive(Debug, Clone)]
pub struct Rest {
    /// Without a slash at the end, e.g. `https://misp.example.org`.
    pub url: String,
    /// The authentication key: goes into the header `Authorization`, and nowhere else.
    pub key: Secret,
    /// `false`: certificates are not looked at.
    pub verify_tls: bool,
    /// Extra certificate authorities, PEM; the system's are always used.
    pub ca_file: Option<PathBuf>,
    /// As [`Azure::proxy`].
    pub proxy: Option<String>,
    pub connect_timeout: Duration,
    /// The longest silence: before an answer begins, and between two parts of it.
    pub request_timeout: Duration,
    /// The longest time from the beginning of an answer to its end.
    pub answer_timeout: Duration,
    /// Requests a second, at most.
    pub requests_per_second: u32,
    /// Larger events are passed over, bytes.
    pub max_event: usize,
    /// Events asked for at once, at most.
    pub page_events: usize,
    /// Attributes asked for at once, at most, as far as their number is known; one event is always
    /// asked for.
    pub page_attributes: usize,
    /// When a publication is read back, and how long further ones may put that off.
    pub read_back_after: Duration,
    pub read_back_within: Duration,
    /// When a webhook's publication is looked for, each counted from its arrival.
    pub confirm_after: Vec<Duration>,
    pub catch_up_every: Duration,
    /// How often the ledger's events are checked for existence.
    pub existence_every: Duration,
    /// How long after a gap's end catch-up begins, and after which time one counts as having healed it.
    pub gap_settle: Duration,
    pub gap_grace: Duration,
    /// How far before its cursor a listing begins.
    pub overlap: Duration,
    /// Back-off: first and longest pause.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// Repeats of a request whose answer did not begin.
    pub retries: u32,
    /// `misp.decay`: events are read with the scores of decaying models.
    pub decay: bool,
}

/// How many withdrawals may be inferred before an operator is asked: the larger of the two.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// Indicators in `window`.
    pub max: u64,
    /// Of the source's live indicators in `window`.
    pub percent: u32,
    pub window: Duration,
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

/// How objects leave.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// How long a batch that is not full waits for more.
    pub linger: Duration,
    /// Those of targets without their own.
    pub limits: Limits,
    pub quota_window: Duration,
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
    /// Which bodies of a success count as accepted.
    pub accept_body: AcceptBody,
    /// How long SIGTERM waits for what is in hand.
    pub grace: Duration,
}

/// `delivery.accept_body`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum AcceptBody {
    /// The bodies that Microsoft documents: status 200 with no body, `null`, or an object with `errors`.
    #[default]
    Documented,
    /// Also those of another 2xx, and other JSON that tells of no error.
    AnyJson,
}

/// How much a target is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Objects a request, at most 100.
    pub max_objects: usize,
    /// Bytes a request.
    pub max_bytes: usize,
    /// Requests in any `quota_window`, at most 99; 0 is no limit (tests only). Targets that share a
    /// credential share the smallest of theirs.
    pub quota_requests: u32,
    /// Requests in flight; targets that share a credential share the largest of theirs.
    pub max_in_flight: usize,
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
    /// The whole of a sign-in.
    pub token_timeout: Duration,
    /// Between two sign-ins of one credential, once some were made at once.
    pub sign_in_pause: Duration,
    /// Where managed identities are asked for, unless App Service names an address.
    pub metadata_endpoint: String,
}

/// Who signs in to Key Vaults, and where.
#[derive(Debug, Clone)]
pub struct VaultAccess {
    pub credential: Credential,
    /// As [`Target::authority`].
    pub authority: String,
}

/// A Sentinel workspace.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    pub enabled: bool,
    pub mode: Mode,
    pub workspace_id: Uuid,
    pub credential: Credential,
    pub sourcesystem: String,
    /// e.g. `https://login.microsoftonline.com`.
    pub authority: String,
    /// e.g. `https://management.azure.com/.default`.
    pub scope: String,
    pub api: Api,
    /// e.g. `https://api.ti.sentinel.azure.com`.
    pub endpoint: String,
    /// With `{workspace_id}` to fill in.
    pub path: String,
    /// Empty: the API has none.
    pub api_version: String,
    /// Its workspace on the management plane; `None` without names.
    pub managed: Option<ManagedWorkspace>,
    /// Where a `dry-run` target writes what it would send, NDJSON.
    pub dry_run_file: PathBuf,
    /// `[policy]`, and over it the target's own.
    pub policy: Policy,
    /// What its ids are made of.
    pub identity: Identity,
    /// How its indicators end.
    pub withdraw: Withdraw,
    /// `[delivery]`'s, and over them the target's own.
    pub limits: Limits,
}

/// Whether a target's objects are sent or written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Mode {
    Live,
    DryRun,
}

impl Mode {
    /// As the configuration, `status` and the ledger spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// Where operators and Prometheus look in.
#[derive(Debug, Clone)]
pub struct Admin {
    pub listen: SocketAddr,
}
