//! Stores who may sign in to the sandbox and with what: secrets, certificates, trusted issuers, managed
//! identities, and the contents of key vaults. Tests can change all of it while the sandbox runs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use uuid::Uuid;

use super::{Account, Sandbox};
use crate::config::Secret;

/// A token of an issuer outside of Entra that an application trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Federated {
    pub issuer: String,
    pub subject: String,
    pub audience: String,
}

/// An identity of the machine whose metadata service this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineIdentity {
    pub tenant_id: String,
    pub client_id: String,
    pub object_id: String,
    pub resource_id: String,
    /// Whether it is the machine's own, which is meant if a request names none.
    pub is_system_assigned: bool,
}

#[derive(Debug, Default)]
pub(super) struct Access {
    /// The secrets of the applications, by client id.
    pub(super) secrets: HashMap<String, Secrets>,
    /// Certificates (DER), by client id.
    pub(super) certificates: HashMap<String, Vec<Vec<u8>>>,
    pub(super) trusted: HashMap<String, Vec<Federated>>,
    pub(super) identities: Vec<MachineIdentity>,
    /// The number of requests to the metadata service.
    pub(super) metadata_requests: usize,
    /// Tokens that the sandbox made for other issuers, and their last moment.
    pub(super) issued: HashMap<String, (Federated, Instant)>,
    /// The `jti` of all assertions so far.
    pub(super) seen: HashSet<String>,
    /// The secrets of vaults, by vault and name.
    pub(super) vaults: BTreeMap<(String, String), Kept>,
    /// The resource that the challenges of vaults name; `None`: the one that follows from the vault's name.
    pub(super) vault_resource: Option<String>,
    /// The number of requests to vaults that were answered with a secret.
    pub(super) vault_reads: usize,
}

#[derive(Debug)]
pub(super) struct Secrets {
    pub(super) good: Secret,
    pub(super) expired: Vec<Secret>,
}

/// A secret of a vault.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    /// The texts by version, the newest last.
    pub(super) versions: Vec<(String, Secret)>,
    /// The client ids with the role; empty: everybody.
    pub(super) readers: Vec<String>,
    /// When it ends, Unix seconds.
    pub(super) ends: Option<i64>,
}

impl Access {
    /// Makes the state at the start, when each account has the secret of its settings.
    pub(super) fn new(accounts: &[Account]) -> Self {
        let secrets = accounts.iter().map(|account| {
            let good = account.client_secret.clone();
            (account.client_id.clone(), Secrets { good, expired: Vec::new() })
        });
        Self { secrets: secrets.collect(), ..Self::default() }
    }

    /// Makes a token of another issuer.
    pub(super) fn issue(&mut self, federated: Federated, lifetime: Duration) -> String {
        let Federated { issuer, subject, audience } = &federated;
        let id = Uuid::new_v4();
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": "sandbox"});
        let claims = json!({"iss": issuer, "sub": subject, "aud": [audience], "jti": id});
        let parts = [header.to_string(), claims.to_string(), Uuid::new_v4().to_string()];
        let token = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        self.issued.insert(token.clone(), (federated, Instant::now() + lifetime));
        token
    }
}

impl Sandbox {
    /// Makes `secret` the only valid one of an application. Its secrets before have expired.
    pub fn rotate_secret(&self, client_id: &str, secret: Secret) {
        self.world.with(|state| {
            if let Some(secrets) = state.access.secrets.get_mut(client_id) {
                secrets.expired.push(std::mem::replace(&mut secrets.good, secret));
            }
        });
    }

    /// Adds a version of a vault's secret. `readers` are the client ids that may read it; empty: everybody.
    /// Returns the version.
    pub fn keep_secret(&self, vault: &str, name: &str, text: Secret, readers: &[&str]) -> String {
        let version = Uuid::new_v4().simple().to_string();
        self.world.with(|state| {
            let kept = state.access.vaults.entry((vault.to_owned(), name.to_owned())).or_default();
            kept.versions.push((version.clone(), text));
            kept.readers = readers.iter().map(|reader| (*reader).to_owned()).collect();
        });
        version
    }

    /// Gives a kept secret an end, Unix seconds.
    pub fn end_secret(&self, vault: &str, name: &str, ends: i64) {
        self.world.with(|state| {
            let kept = state.access.vaults.entry((vault.to_owned(), name.to_owned())).or_default();
            kept.ends = Some(ends);
        });
    }
}

/// Returns the object id of an application's service principal.
pub(super) fn object_id(client_id: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, client_id.as_bytes())
}
