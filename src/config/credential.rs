//! Reads the credential of a section, with which the relay signs in to Azure. Each kind has its own keys; a
//! key of another kind is a mistake.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use strum::IntoEnumIterator as _;

use super::mistake::Problem;
use super::reader::Reader;
use super::secret::Secret;
use super::unseen::as_meant;
use super::values::fitting;

/// A credential: who signs in, and the proof that it is who it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The tenant that it signs in to. Empty: the machine or `az login` decides.
    pub tenant_id: String,
    /// The client id that signs in. Empty: there is none, or the identity is named in another way.
    pub client_id: String,
    pub proof: Proof,
}

/// What a credential signs in with.
#[derive(Debug, Clone, PartialEq, Eq, strum::EnumDiscriminants)]
#[strum_discriminants(name(CredentialKind), vis(), strum(serialize_all = "kebab-case"))]
#[strum_discriminants(derive(strum::Display, strum::EnumIter, strum::IntoStaticStr))]
pub enum Proof {
    ClientSecret(Secret),
    /// An RSA key and its certificate in one file: PEM, or PKCS#12 with a password.
    Certificate {
        file: PathBuf,
        password: Secret,
    },
    ManagedIdentity(ManagedIdentity),
    /// A token of another issuer, in a file in which the issuer replaces it (AKS).
    WorkloadIdentity {
        token_file: PathBuf,
    },
    /// The token of a managed identity that the application trusts, possibly one of another tenant.
    FederatedManagedIdentity {
        identity: ManagedIdentity,
        /// The audience of the managed identity's token, e.g. `api://AzureADTokenExchange`.
        audience: String,
    },
    /// The account of `az login`.
    AzureCli,
}

/// An identity of the machine that the relay runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManagedIdentity {
    SystemAssigned,
    ClientId(String),
    ObjectId(String),
    /// `/subscriptions/…/userAssignedIdentities/NAME`.
    ResourceId(String),
}

impl Credential {
    /// Makes the credential of a managed identity. The machine knows its tenant.
    pub fn of_machine(identity: ManagedIdentity) -> Self {
        let named = if let ManagedIdentity::ClientId(id) = &identity { id.as_str() } else { "" };
        let client_id = named.to_owned();
        Self { tenant_id: String::new(), client_id, proof: Proof::ManagedIdentity(identity) }
    }

    /// Returns the name of the kind in the configuration.
    pub fn word(&self) -> &'static str {
        CredentialKind::from(&self.proof).into()
    }

    /// Returns the secret of the credential. `None`: the kind has no secret.
    pub fn secret_mut(&mut self) -> Option<&mut Secret> {
        let (Proof::ClientSecret(secret) | Proof::Certificate { password: secret, .. }) =
            &mut self.proof
        else {
            return None;
        };
        Some(secret)
    }
}

impl CredentialKind {
    /// Returns the keys that this kind uses.
    fn keys(self) -> impl Iterator<Item = &'static str> {
        let keys = match self {
            Self::ClientSecret => "tenant_id client_id client_secret client_secret_file",
            Self::Certificate => {
                "tenant_id client_id certificate_file certificate_password certificate_password_file"
            }
            Self::ManagedIdentity => "managed_identity",
            Self::WorkloadIdentity => "tenant_id client_id federated_token_file",
            Self::FederatedManagedIdentity => "tenant_id client_id managed_identity",
            Self::AzureCli => "tenant_id",
        };
        keys.split(' ')
    }

    fn uses(self, leaf: &str) -> bool {
        self.keys().any(|key| key == leaf)
    }
}

const TENANT_ID: &str = "a uuid, or a domain such as example.onmicrosoft.com";
const CLIENT_ID: &str = "the Application (client) ID that Entra shows, a uuid";
const MANAGED_IDENTITY: &str =
    "\"\" (system-assigned), client:ID, object:ID, resource:/subscriptions/...";

/// Reads the credential of `section`. If it is `needed`, a missing key is a mistake. A key that the kind does
/// not use always is. `audience` is the cloud's audience for tokens of managed identities that applications
/// trust.
pub(super) fn read(reader: &mut Reader, section: &str, audience: &str, needed: bool) -> Credential {
    let key = |leaf: &str| format!("{section}.{leaf}");
    let kind = reader.word(&key("credential"), CredentialKind::ClientSecret);
    let mut tenant_id = reader.parsed(&key("tenant_id"), TENANT_ID, tenant);
    let mut client_id =
        reader.parsed(&key("client_id"), CLIENT_ID, |text| as_meant(text).map(str::to_owned));
    let secret = reader.secret(&key("client_secret"));
    let file = reader.path(&key("certificate_file")).unwrap_or_default();
    let password = reader.secret(&key("certificate_password"));
    let identity = reader
        .optional(&key("managed_identity"), MANAGED_IDENTITY, managed_identity)
        .unwrap_or(ManagedIdentity::SystemAssigned);
    let mut token_file = reader.path(&key("federated_token_file")).unwrap_or_default();
    let is_sound = reader.sound(&key("credential"));
    if is_sound && kind == CredentialKind::WorkloadIdentity {
        // AKS sets these variables in a pod. They count only if the configuration sets nothing.
        let variable = |name: &str| reader.environment(name).unwrap_or_default().to_owned();
        if tenant_id.is_empty() {
            tenant_id = variable("AZURE_TENANT_ID");
        }
        if client_id.is_empty() {
            client_id = variable("AZURE_CLIENT_ID");
        }
        if token_file.as_os_str().is_empty() {
            token_file = variable("AZURE_FEDERATED_TOKEN_FILE").into();
        }
    }
    if is_sound {
        // After a mistake in the kind it is unknown which keys are used.
        refuse_unused(reader, section, kind);
    }
    if is_sound && needed && kind != CredentialKind::AzureCli {
        let is_set = |path: &Path| !path.as_os_str().is_empty();
        let certificate = "a file with the certificate and its RSA key, PEM or PKCS#12";
        let given = [
            ("tenant_id", !tenant_id.is_empty(), "Directory (tenant) ID of the app"),
            ("client_id", !client_id.is_empty(), "Application (client) ID of the app"),
            ("client_secret", secret.is_given(), "a client secret's Value"),
            ("certificate_file", is_set(&file), certificate),
            (
                "federated_token_file",
                is_set(&token_file),
                "the file that holds the federated token",
            ),
        ];
        let pod = ", which AKS gives to a pod labelled azure.workload.identity/use";
        let pod = if kind == CredentialKind::WorkloadIdentity { pod } else { "" };
        for (leaf, _, hint) in given.iter().filter(|(leaf, given, _)| kind.uses(leaf) && !given) {
            reader.missing(&key(leaf), &format!("{hint}{pod}"));
        }
    }
    let audience = audience.to_owned();
    let proof = match kind {
        CredentialKind::ClientSecret => Proof::ClientSecret(secret),
        CredentialKind::Certificate => Proof::Certificate { file, password },
        CredentialKind::ManagedIdentity => return Credential::of_machine(identity),
        CredentialKind::WorkloadIdentity => Proof::WorkloadIdentity { token_file },
        CredentialKind::FederatedManagedIdentity => {
            Proof::FederatedManagedIdentity { identity, audience }
        }
        CredentialKind::AzureCli => Proof::AzureCli,
    };
    Credential { tenant_id, client_id, proof }
}

/// The hint for a `client_id` beside `credential = "managed-identity"`.
const OF_IDENTITY: &str = "for a user-assigned identity set managed_identity = \"client:ID\"; for an application that trusts the identity, credential = \"federated-managed-identity\"";

/// Refuses the keys of other kinds, because they would have no effect.
fn refuse_unused(reader: &mut Reader, section: &str, kind: CredentialKind) {
    let all: BTreeSet<&str> = CredentialKind::iter().flat_map(CredentialKind::keys).collect();
    for leaf in all.into_iter().filter(|leaf| !kind.uses(leaf)) {
        let key = format!("{section}.{leaf}");
        if !reader.says_something(&key) {
            continue;
        }
        let users = CredentialKind::iter().filter(|other| other.uses(leaf));
        let users = users.map(<&str>::from).collect::<Vec<_>>().join(" or ");
        let hint = match (kind, leaf) {
            (CredentialKind::ManagedIdentity, "client_id") => OF_IDENTITY.to_owned(),
            _ => format!("remove it, or set {section}.credential to {users}"),
        };
        let problem = Problem::new(format!("credential = \"{kind}\" does not use it"));
        reader.fault(&key, problem.hint(hint));
    }
}

fn tenant(text: &str) -> Result<String, Problem> {
    let fits = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    fitting(text, fits, "no tenant")
}

fn managed_identity(text: &str) -> Result<ManagedIdentity, Problem> {
    let (kind, id) = text.split_once(':').unwrap_or(("", text));
    let is_id = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    match kind {
        "client" if is_id => Ok(ManagedIdentity::ClientId(id.to_owned())),
        "object" if is_id => Ok(ManagedIdentity::ObjectId(id.to_owned())),
        "resource" if id.starts_with("/subscriptions/") => {
            Ok(ManagedIdentity::ResourceId(id.to_owned()))
        }
        "" if is_id => Err(Problem::new("does not say what kind of ID it is")
            .hint(format!("client:{id} is the one that the portal shows first"))),
        _ => Err("no managed identity".into()),
    }
}
