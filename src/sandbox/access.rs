//! Stores who may sign in to the sandbox and with what: secrets, certificates, trusted issuers, managed
//! identities, and the contents of key vaults. Tests can change all of it while the sandbox runs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use uuid::Uuid;

use super::Sandbox;
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
    /// The machine's own, which is meant where none is named.
    pub is_system_assigned: bool,
}

#[derive(Debug, Default)]
pub(super) struct Access {
    /// By client id, in place of the settings'.
    pub(super) secrets: HashMap<String, Secrets>,
    /// DER, by client id.
    pub(super) certificates: HashMap<String, Vec<Vec<u8>>>,
    pub(super) trusted: HashMap<String, Vec<Federated>>,
    pub(super) identities: Vec<MachineIdentity>,
    /// Requests to the metadata service.
    pub(super) metadata_requests: usize,
    /// Tokens that the sandbox made for other issuers, and their last moment.
    pub(super) issued: HashMap<String, (Federated, Instant)>,
    /// The `jti` of assertions.
    pub(super) seen: HashSet<String>,
    /// By vault and name.
    pub(super) vaults: BTreeMap<(String, String), Kept>,
    /// What their challenges name, in place of what their names say.
    pub(super) vault_resource: Option<String>,
    /// Requests to vaults that were answered with a secret.
    pub(super) vault_reads: usize,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Secrets {
    pub(super) good: Vec<Secret>,
    pub(super) expired: Vec<Secret>,
}

/// A secret of a vault.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    /// By version, the newest last.
    pub(super) versions: Vec<(String, Secret)>,
    /// Client ids with the role; empty: everybody.
    pub(super) readers: Vec<String>,
}

impl Access {
    /// A token of another issuer.
    pub(super) fn issue(&mut self, federated: Federated, lifetime: Duration) -> String {
        let Federated { issuer, subject, audience } = &federated;
        let id = Uuid::new_v4();
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": "sandbox"});
        let claims = json!({"iss": issuer, "sub": subject, "aud": [audience], "jti": id});
        let [header, claims, signature] =
            [header.to_string(), claims.to_string(), Uuid::new_v4().to_string()]
                .map(|part| URL_SAFE_NO_PAD.encode(part));
        let token = format!("{header}.{claims}.{signature}");
        self.issued.insert(token.clone(), (federated, Instant::now() + lifetime));
        token
    }
}

impl Sandbox {
    /// From now on `secret` is the application's only one; those before have expired.
    pub fn rotate_secret(&self, client_id: &str, secret: Secret) {
        let accounts = self.settings().accounts.iter();
        let first: Vec<Secret> = accounts
            .filter(|account| account.client_id == client_id)
            .map(|account| account.client_secret.clone())
            .collect();
        self.world.with(|state| {
            let secrets = state.access.secrets.entry(client_id.to_owned());
            let secrets = secrets.or_insert(Secrets { good: first, expired: Vec::new() });
            secrets.expired.append(&mut secrets.good);
            secrets.good.push(secret);
        });
    }

    /// Registers a certificate (DER) with an application.
    pub fn register_certificate(&self, client_id: &str, certificate: Vec<u8>) {
        self.world.with(|state| {
            state.access.certificates.entry(client_id.to_owned()).or_default().push(certificate);
        });
    }

    /// Has an application forget its certificates.
    pub fn forget_certificates(&self, client_id: &str) {
        self.world.with(|state| state.access.certificates.remove(client_id));
    }

    /// Has an application trust tokens of another issuer.
    pub fn trust(&self, client_id: &str, federated: Federated) {
        self.world.with(|state| {
            state.access.trusted.entry(client_id.to_owned()).or_default().push(federated);
        });
    }

    /// A token of another issuer, e.g. as a cluster would project it into a pod.
    pub fn federated_token(&self, federated: Federated, lifetime: Duration) -> String {
        self.world.with(|state| state.access.issue(federated, lifetime))
    }

    /// Assigns an identity to the machine.
    pub fn assign(&self, identity: MachineIdentity) {
        self.world.with(|state| state.access.identities.push(identity));
    }

    /// How often the metadata service was asked.
    pub fn metadata_requests(&self) -> usize {
        self.world.with(|state| state.access.metadata_requests)
    }

    /// A new version of a vault's secret, for those who may read it (client ids; empty: everybody).
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

    /// Has vaults ask for tokens for another resource than their own; `None`: as they should.
    pub fn set_vault_resource(&self, resource: Option<&str>) {
        self.world.with(|state| state.access.vault_resource = resource.map(str::to_owned));
    }

    /// How many secrets of vaults were read.
    pub fn vault_reads(&self) -> usize {
        self.world.with(|state| state.access.vault_reads)
    }
}

/// The object id of an application's service principal.
pub(super) fn object_id(client_id: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, client_id.as_bytes())
}
