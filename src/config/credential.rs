//! Reads the credential of a section, with which the relay signs in to Azure. Each kind has its own keys; a
//! key of another kind is a mistake.

use std::collections::BTreeSet;
use std::path::PathBuf;

use strum::IntoEnumIterator as _;

use super::mistake::Problem;
use super::reader::Reader;
use super::secret::Secret;
use super::unseen::as_meant;
use super::values::fitting;

/// A credential of one kind.
#[derive(Debug, Clone, PartialEq, Eq, strum::EnumDiscriminants)]
#[strum_discriminants(name(CredentialKind), vis(), strum(serialize_all = "kebab-case"))]
#[strum_discriminants(derive(strum::Display, strum::EnumIter, strum::IntoStaticStr))]
pub enum Credential {
    ClientSecret {
        tenant_id: String,
        client_id: String,
        secret: Secret,
    },
    /// An RSA key and its certificate in one file: PEM, or PKCS#12 with a password.
    Certificate {
        tenant_id: String,
        client_id: String,
        file: PathBuf,
        password: Secret,
    },
    ManagedIdentity(ManagedIdentity),
    /// A token of another issuer, in a file in which the issuer replaces it (AKS).
    WorkloadIdentity {
        tenant_id: String,
        client_id: String,
        token_file: PathBuf,
    },
    /// An application, possibly of another tenant, that trusts a managed identity.
    FederatedManagedIdentity {
        tenant_id: String,
        client_id: String,
        identity: ManagedIdentity,
        /// The audience of the managed identity's token, e.g. `api://AzureADTokenExchange`.
        audience: String,
    },
    /// The account of `az login`. An empty tenant stands for the tenant of that login.
    AzureCli {
        tenant_id: String,
    },
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
    /// Returns the name of the kind in the configuration.
    pub fn word(&self) -> &'static str {
        CredentialKind::from(self).into()
    }

    /// Returns the secret of the credential. `None`: the kind has no secret.
    pub fn secret_mut(&mut self) -> Option<&mut Secret> {
        match self {
            Self::ClientSecret { secret, .. } => Some(secret),
            Self::Certificate { password, .. } => Some(password),
            Self::ManagedIdentity(_)
            | Self::WorkloadIdentity { .. }
            | Self::FederatedManagedIdentity { .. }
            | Self::AzureCli { .. } => None,
        }
    }

    /// Returns the tenant that it signs in to. Empty: the machine or `az login` decides.
    pub fn tenant_id(&self) -> &str {
        match self {
            Self::ClientSecret { tenant_id, .. }
            | Self::Certificate { tenant_id, .. }
            | Self::WorkloadIdentity { tenant_id, .. }
            | Self::FederatedManagedIdentity { tenant_id, .. }
            | Self::AzureCli { tenant_id } => tenant_id,
            Self::ManagedIdentity(_) => "",
        }
    }

    /// Returns the client id that signs in. Empty: there is none, or the identity is named in another way.
    pub fn client_id(&self) -> &str {
        match self {
            Self::ClientSecret { client_id, .. }
            | Self::Certificate { client_id, .. }
            | Self::WorkloadIdentity { client_id, .. }
            | Self::FederatedManagedIdentity { client_id, .. }
            | Self::ManagedIdentity(ManagedIdentity::ClientId(client_id)) => client_id,
            Self::ManagedIdentity(_) | Self::AzureCli { .. } => "",
        }
    }
}

impl CredentialKind {
    /// Returns the keys that this kind uses.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::ClientSecret => {
                &["tenant_id", "client_id", "client_secret", "client_secret_file"]
            }
            Self::Certificate => &[
                "tenant_id",
                "client_id",
                "certificate_file",
                "certificate_password",
                "certificate_password_file",
            ],
            Self::ManagedIdentity => &["managed_identity"],
            Self::WorkloadIdentity => &["tenant_id", "client_id", "federated_token_file"],
            Self::FederatedManagedIdentity => &["tenant_id", "client_id", "managed_identity"],
            Self::AzureCli => &["tenant_id"],
        }
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
        let given = [
            ("tenant_id", !tenant_id.is_empty()),
            ("client_id", !client_id.is_empty()),
            ("client_secret", secret.is_given()),
            ("certificate_file", !file.as_os_str().is_empty()),
            ("federated_token_file", !token_file.as_os_str().is_empty()),
        ];
        let lacking =
            given.into_iter().filter(|(leaf, given)| kind.keys().contains(leaf) && !given);
        demand(reader, section, kind, lacking.map(|(leaf, _)| leaf));
    }
    match kind {
        CredentialKind::ClientSecret => Credential::ClientSecret { tenant_id, client_id, secret },
        CredentialKind::Certificate => {
            Credential::Certificate { tenant_id, client_id, file, password }
        }
        CredentialKind::ManagedIdentity => Credential::ManagedIdentity(identity),
        CredentialKind::WorkloadIdentity => {
            Credential::WorkloadIdentity { tenant_id, client_id, token_file }
        }
        CredentialKind::FederatedManagedIdentity => {
            let audience = audience.to_owned();
            Credential::FederatedManagedIdentity { tenant_id, client_id, identity, audience }
        }
        CredentialKind::AzureCli => Credential::AzureCli { tenant_id },
    }
}

/// Notes a mistake for each key that this kind needs and nobody set.
fn demand(
    reader: &mut Reader,
    section: &str,
    kind: CredentialKind,
    lacking: impl Iterator<Item = &'static str>,
) {
    let pod = if kind == CredentialKind::WorkloadIdentity {
        ", which AKS gives to a pod labelled azure.workload.identity/use"
    } else {
        ""
    };
    for leaf in lacking {
        let hint = match leaf {
            "tenant_id" => format!("Directory (tenant) ID of the app{pod}"),
            "client_id" => format!("Application (client) ID of the app{pod}"),
            "client_secret" => "a client secret's Value".to_owned(),
            "certificate_file" => {
                "a file with the certificate and its RSA key, PEM or PKCS#12".to_owned()
            }
            _ => format!("the file that holds the federated token{pod}"),
        };
        reader.missing(&format!("{section}.{leaf}"), &hint);
    }
}

/// Refuses the keys of other kinds, because they would have no effect.
fn refuse_unused(reader: &mut Reader, section: &str, kind: CredentialKind) {
    let all: BTreeSet<&str> =
        CredentialKind::iter().flat_map(CredentialKind::keys).copied().collect();
    for leaf in all.into_iter().filter(|leaf| !kind.keys().contains(leaf)) {
        let key = format!("{section}.{leaf}");
        if !reader.says_something(&key) {
            continue;
        }
        let hint = match (kind, leaf) {
            (CredentialKind::ManagedIdentity, "client_id") => {
                "for a user-assigned identity set managed_identity = \"client:ID\"; for an \
                 application that trusts the identity, credential = \"federated-managed-identity\""
                    .to_owned()
            }
            _ => {
                let users = CredentialKind::iter().filter(|other| other.keys().contains(&leaf));
                let users = users.map(<&str>::from).collect::<Vec<_>>().join(" or ");
                format!("remove it, or set {section}.credential to {users}")
            }
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
