//! The configuration of the relay as checked, typed values. All defaults are in `config.toml.example`, which
//! is compiled in; there is none in the code. [`load`] lays the operator's file and the environment over it
//! and reports every mistake at once.

mod address;
mod api;
mod check;
mod cloud;
mod credential;
mod delivery;
mod held;
mod layers;
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
mod section;
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
pub use delivery::{AcceptBody, Delivery, Limits};
pub use held::{READ_AGAIN, SharedSecret};
pub use layers::{DEFAULT_FILE, EXAMPLE, FILE_VARIABLE, variable};
pub use load::{PLACEHOLDER_URL, load, load_admin, load_ledger, load_rules, load_with};
pub use log::{Log, LogFormat};
pub use management::{ManagedWorkspace, Management};
pub use misp::{Misp, OnUnpublish, Plain, TlsFiles, WarninglistRules, Webhook, ZeroMq};
pub use mistake::{Mistake, Mistakes, Problem, SettingOrigin};
pub use rest::Rest;
pub use schedule::Schedule;
pub use secret::{FoundSecrets, Secret, Vault};
pub use warnings::warnings;

use address::{proxy, web_address};
use reader::Reader;
use section::section;

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

section! {
    /// How many withdrawals may be inferred before an operator is asked: the larger of the two.
    #[derive(Debug, Clone, Copy)]
    pub struct Guard at "guard" {
        /// Indicators in `window`.
        max: u64 = |reader, key| reader.number(key, 0..=1_000_000_000),
        /// Of the source's live indicators in `window`.
        percent: u32 = |reader, key| reader.number(key, 0..=100),
        window: Duration = Reader::time,
    }
}

section! {
    /// The memory on disk.
    #[derive(Debug, Clone)]
    pub struct LedgerConfig at "ledger" {
        /// Folder of `ledger.db` and of the control socket `relay.sock`.
        data_dir: PathBuf = |reader, key| reader.required(key, "the ledger needs a folder").into(),
        /// SQLite's `synchronous`: `true` is FULL (fsync at each commit), `false` NORMAL.
        fsync: bool = Reader::flag,
        /// How long tombstones are kept.
        tombstones: Duration = Reader::time,
    }
}

section! {
    /// The way to Azure, common to all targets.
    #[derive(Debug, Clone)]
    pub struct Azure at "azure" {
        /// Extra certificate authorities, PEM; the system's are always used.
        ca_file: Option<PathBuf> = Reader::path,
        /// Proxy URL, or `none` for no proxy whatever the environment says; `None` takes `HTTPS_PROXY`
        /// and `NO_PROXY` from the environment.
        proxy: Option<String> = proxy,
        connect_timeout: Duration = Reader::time,
        /// The whole of a sign-in.
        token_timeout: Duration = Reader::time,
        /// Between two sign-ins of one credential, once some were made at once.
        sign_in_pause: Duration = Reader::time,
        /// Where managed identities are asked for, unless App Service names an address.
        metadata_endpoint: String = |reader, key| {
            reader.parsed(key, "an http or https URL", |text| web_address(text).map(String::from))
        },
    }
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
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// Where operators and Prometheus look in.
#[derive(Debug, Clone)]
pub struct Admin {
    pub listen: SocketAddr,
}
