//! Holds the configuration of the relay as checked, typed values. All defaults are in `config.toml.example`, which is
//! compiled in. The code has no defaults of its own. [`load()`] lays the operator's file and the environment over the
//! example, and reports every mistake at once.

mod address;
mod admin;
mod api;
mod check;
mod cloud;
mod credential;
mod delivery;
mod excerpt;
mod hits;
mod layers;
mod listeners;
mod load;
mod log;
mod looks;
mod management;
mod mapping;
mod mistake;
mod overlay;
mod policy;
mod reader;
mod reference;
mod rest;
mod schedule;
mod secret;
mod section;
mod sightings;
mod source;
mod target;
mod tenants;
mod unreadable;
mod unseen;
mod values;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use admin::Admin;
pub use api::Api;
pub use credential::{Credential, ManagedIdentity, Proof};
pub use delivery::{AcceptBody, Delivery, Limits};
pub use hits::Hits;
pub use layers::{ConfigSource, DEFAULT_FILE, EXAMPLE, FILE_VARIABLE, ONE_SOURCE, variable};
pub use load::{PLACEHOLDER_URL, load, load_rules};
pub use log::{Log, LogFormat};
pub use management::{ManagedWorkspace, Management};
pub use mistake::{Mistake, Mistakes, Problem, SettingOrigin};
pub use rest::Rest;
pub use schedule::Schedule;
pub use secret::{FoundSecrets, READ_AGAIN, Secret, SharedSecret, Vault, VaultSecret};
pub use sightings::{LONGEST_SOURCE, Telling};
pub use source::{OnUnpublish, Plain, Source, TlsFiles, WarninglistRules, Webhook, ZeroMq};
pub use warnings::warnings;

use address::{proxy, web_address};
use reader::Reader;
use section::section;

use crate::pure::policy::Policy;
use crate::pure::stix::{Identity, Rendering, Withdraw};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The sources in the order of their names: the one of `[misp]`, or those of `[source.NAME]`.
    pub sources: Vec<Source>,
    /// The policy of targets that set none of their own.
    pub policy: Policy,
    /// How claims become indicators: confidence, expiry, links, and the identity and withdrawal of targets
    /// that set none of their own.
    pub rendering: Rendering,
    pub ledger: LedgerConfig,
    pub guard: Guard,
    pub delivery: Delivery,
    pub azure: Azure,
    /// The settings of `[azure.management]`.
    pub management: Management,
    /// The targets in the order of their names, including those of `tenants`.
    pub targets: Vec<Target>,
    pub admin: Admin,
    pub log: Log,
    /// How the relay signs in to Key Vaults.
    pub vault: VaultAccess,
    /// Whether the list of `tenants` lies in a vault and is not read yet. Then its targets are not known.
    pub has_unread_tenants: bool,
    /// The addresses of secrets that must still be read from vaults. These secrets have no text yet.
    pub lookups: BTreeSet<String>,
    /// When secrets of vaults end, by address, where the vault says so.
    pub secret_ends: BTreeMap<String, DateTime<Utc>>,
}

/// The settings that shape indicators: all that `convert` needs of the configuration.
#[derive(Debug, Clone)]
pub struct Rules {
    pub policy: Policy,
    pub rendering: Rendering,
    /// Whether neither misp.public_url nor misp.url is usable, so that links to MISP lead nowhere.
    pub has_placeholder_url: bool,
}

section! {
    /// How many withdrawals may be inferred before an operator is asked: the larger of the two.
    #[derive(Debug, Clone, Copy)]
    pub struct Guard at "guard" {
        /// The number of indicators in `window`.
        max: u64 = |reader, key| reader.number(key, 0..=1_000_000_000),
        /// The percentage of the source's live indicators in `window`.
        percent: u32 = |reader, key| reader.number(key, 0..=100),
        window: Duration = Reader::time,
    }
}

section! {
    /// The memory on disk.
    #[derive(Debug, Clone)]
    pub struct LedgerConfig at "ledger" {
        /// The folder of `ledger.db` and of the control socket `relay.sock`.
        data_dir: PathBuf = |reader, key| reader.required(key, "the ledger needs a folder").into(),
        /// SQLite's `synchronous`: `true` is FULL (fsync at each commit), `false` NORMAL.
        fsync: bool = Reader::flag,
        /// How long tombstones are kept.
        tombstones: Duration = Reader::time,
    }
}

section! {
    /// How Azure is reached, the same for all targets.
    #[derive(Debug, Clone)]
    pub struct Azure at "azure" {
        /// Extra certificate authorities, PEM; the system's are always used.
        ca_file: Option<PathBuf> = Reader::path,
        /// The URL of a proxy, or `none` for no proxy, whatever the environment says. `None`: the variables
        /// `HTTPS_PROXY` and `NO_PROXY` count.
        proxy: Option<String> = proxy,
        connect_timeout: Duration = Reader::time,
        /// The time-out of a whole sign-in.
        token_timeout: Duration = Reader::time,
        /// The pause between two sign-ins of one credential, after the first few.
        sign_in_pause: Duration = Reader::time,
        /// The URL of the metadata service for managed identities, unless App Service names one.
        metadata_endpoint: String = |reader, key| {
            reader.parsed(key, "an http or https URL", |text| web_address(text).map(String::from))
        },
    }
}

/// The credential and the authority for Key Vaults.
#[derive(Debug, Clone)]
pub struct VaultAccess {
    pub credential: Credential,
    /// The same as [`Target::authority`].
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
    /// The base URL of the authority, e.g. `https://login.microsoftonline.com`.
    pub authority: String,
    /// The scope of tokens, e.g. `https://management.azure.com/.default`.
    pub scope: String,
    pub api: Api,
    /// The base URL of the upload API, e.g. `https://api.ti.sentinel.azure.com`.
    pub endpoint: String,
    /// The path of the upload API, with the placeholder `{workspace_id}`.
    pub path: String,
    /// The API version. Empty: the API has none.
    pub api_version: String,
    /// The workspace on the management plane. `None`: its names are not set.
    pub managed: Option<ManagedWorkspace>,
    /// How its alerts are read for hits. `None`: they are not.
    pub hits: Option<Hits>,
    /// The file into which a `dry-run` target writes what it would send, as NDJSON.
    pub dry_run_file: PathBuf,
    /// The target's policy: its own keys override those of `[policy]`.
    pub policy: Policy,
    /// What the ids of its indicators are derived from.
    pub identity: Identity,
    /// How its indicators end.
    pub withdraw: Withdraw,
    /// The target's limits: its own keys override those of `[delivery]`.
    pub limits: Limits,
}

impl Config {
    /// Returns the sources that are read.
    pub fn enabled_sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.enabled)
    }

    /// Returns whether any source can be asked over REST.
    pub fn has_key(&self) -> bool {
        self.enabled_sources().any(|source| source.rest.is_some())
    }
}

impl Target {
    /// Returns whether its objects are sent.
    pub fn is_live(&self) -> bool {
        self.enabled && self.mode == Mode::Live
    }
}

/// Whether a target's objects are sent or written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Mode {
    Live,
    DryRun,
}

impl Mode {
    /// Returns the name of the mode in the configuration and in `status`.
    pub fn word(self) -> &'static str {
        self.into()
    }
}
