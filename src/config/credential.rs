//! Who signs in to Azure: one kind of credential with its fields, read from any section.

use std::path::PathBuf;

use strum::IntoEnumIterator as _;

use super::mistake::Problem;
use super::reader::Reader;
use super::secret::Secret;
use super::unseen::as_meant;

/// A credential of one kind.
#[derive(Debug, Clone, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Credential {
    ClientSecret {
        tenant_id: String,
        client_id: String,
        secret: Secret,
    },
    /// RSA key and certificate in one file: PEM, or PKCS#12 with a password.
    Certificate {
        tenant_id: String,
        client_id: String,
        file: PathBuf,
        password: Secret,
    },
    ManagedIdentity(ManagedIdentity),
    /// A token of another issuer, which lies in a file and is replaced there (AKS).
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
        /// What the managed identity's token is for, e.g. `api://AzureADTokenExchange`.
        audience: String,
    },
    /// Whoever is signed in with `az login`; an empty tenant is that login's own.
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
    /// As the configuration spells the kind.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.into()
    }

    /// The secret that it signs in with, where it has one.
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

    /// The tenant that is signed in to; empty where somebody else decides it.
    #[must_use]
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

    /// The application that signs in; empty where it is none, or not known by its client id.
    #[must_use]
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

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumIter, strum::IntoStaticStr,
)]
#[strum(serialize_all = "kebab-case")]
enum CredentialKind {
    ClientSecret,
    Certificate,
    ManagedIdentity,
    WorkloadIdentity,
    FederatedManagedIdentity,
    AzureCli,
}

/// The keys of which each kind uses some.
const KEYS: [&str; 9] = [
    "tenant_id",
    "client_id",
    "client_secret",
    "client_secret_file",
    "certificate_file",
    "certificate_password",
    "certificate_password_file",
    "managed_identity",
    "federated_token_file",
];

impl CredentialKind {
    fn uses(self, key: &str) -> bool {
        match key {
            "tenant_id" => self != Self::ManagedIdentity,
            "client_id" => !matches!(self, Self::ManagedIdentity | Self::AzureCli),
            "client_secret" | "client_secret_file" => self == Self::ClientSecret,
            "managed_identity" => {
                matches!(self, Self::ManagedIdentity | Self::FederatedManagedIdentity)
            }
            "federated_token_file" => self == Self::WorkloadIdentity,
            _ => self == Self::Certificate,
        }
    }
}

/// The keys of a section, before it is known which of them count.
struct CredentialKeys {
    tenant_id: String,
    client_id: String,
    client_secret: Secret,
    certificate_file: Option<PathBuf>,
    certificate_password: Secret,
    managed_identity: ManagedIdentity,
    federated_token_file: Option<PathBuf>,
}

/// The credential of `section`. Where it is `needed`, what it lacks is a mistake; what it does not
/// use always is. `audience` is the cloud's for tokens of managed identities that applications
/// trust.
pub(super) fn read(reader: &mut Reader, section: &str, audience: &str, needed: bool) -> Credential {
    let key = |leaf: &str| format!("{section}.{leaf}");
    let kind = reader.word(&key("credential"), CredentialKind::ClientSecret);
    let mut fields = CredentialKeys {
        tenant_id: reader.parsed(
            &key("tenant_id"),
            String::new(),
            "a uuid, or a domain such as example.onmicrosoft.com",
            tenant,
        ),
        client_id: reader.parsed(
            &key("client_id"),
            String::new(),
            "the Application (client) ID that Entra shows, a uuid",
            |text| as_meant(text).map(str::to_owned),
        ),
        client_secret: reader.secret(&key("client_secret")),
        certificate_file: reader.path(&key("certificate_file")),
        certificate_password: reader.secret(&key("certificate_password")),
        managed_identity: reader
            .optional(
                &key("managed_identity"),
                "\"\" (system-assigned), client:ID, object:ID, resource:/subscriptions/...",
                managed_identity,
            )
            .unwrap_or(ManagedIdentity::SystemAssigned),
        federated_token_file: reader.path(&key("federated_token_file")),
    };
    if reader.sound(&key("credential")) {
        refuse_unused(reader, section, kind);
        if kind == CredentialKind::WorkloadIdentity {
            fields.take_from_pod(reader);
        }
        if needed {
            fields.check(reader, section, kind);
        }
    }
    fields.into_credential(kind, audience)
}

/// A key of another kind would be a setting without effect.
fn refuse_unused(reader: &mut Reader, section: &str, kind: CredentialKind) {
    for leaf in KEYS.into_iter().filter(|leaf| !kind.uses(leaf)) {
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
                let users: Vec<&str> = CredentialKind::iter()
                    .filter(|other| other.uses(leaf))
                    .map(<&str>::from)
                    .collect();
                format!("remove it, or set {section}.credential to {}", users.join(" or "))
            }
        };
        let problem = format!("credential = \"{kind}\" does not use it");
        reader.fault(&key, |mistake| mistake.hint(hint), problem);
    }
}

impl CredentialKeys {
    /// What AKS tells a pod where nothing else is set.
    fn take_from_pod(&mut self, reader: &Reader) {
        let variable = |name: &str| reader.environment(name).unwrap_or_default().to_owned();
        if self.tenant_id.is_empty() {
            self.tenant_id = variable("AZURE_TENANT_ID");
        }
        if self.client_id.is_empty() {
            self.client_id = variable("AZURE_CLIENT_ID");
        }
        let file = Some(variable("AZURE_FEDERATED_TOKEN_FILE")).filter(|file| !file.is_empty());
        self.federated_token_file = self.federated_token_file.take().or(file.map(PathBuf::from));
    }

    /// Named one by one: what this kind needs and nobody set.
    fn check(&self, reader: &mut Reader, section: &str, kind: CredentialKind) {
        let pod = if kind == CredentialKind::WorkloadIdentity {
            ", which AKS gives to a pod labelled azure.workload.identity/use"
        } else {
            ""
        };
        let tenant = format!("Directory (tenant) ID of the app{pod}");
        let client = format!("Application (client) ID of the app{pod}");
        let token = format!("the file that holds the federated token{pod}");
        let needs = [
            ("tenant_id", !self.tenant_id.is_empty(), tenant.as_str()),
            ("client_id", !self.client_id.is_empty(), &client),
            ("client_secret", self.client_secret.is_given(), "a client secret's Value"),
            (
                "certificate_file",
                self.certificate_file.is_some(),
                "a file with the certificate and its RSA key, PEM or PKCS#12",
            ),
            ("federated_token_file", self.federated_token_file.is_some(), &token),
        ];
        for (leaf, given, hint) in needs {
            let key = format!("{section}.{leaf}");
            let optional = kind == CredentialKind::AzureCli;
            if kind.uses(leaf) && !given && !optional && reader.sound(&key) {
                reader.missing(&key, hint);
            }
        }
    }

    fn into_credential(self, kind: CredentialKind, audience: &str) -> Credential {
        let Self { tenant_id, client_id, .. } = self;
        match kind {
            CredentialKind::ClientSecret => {
                Credential::ClientSecret { tenant_id, client_id, secret: self.client_secret }
            }
            CredentialKind::Certificate => Credential::Certificate {
                tenant_id,
                client_id,
                file: self.certificate_file.unwrap_or_default(),
                password: self.certificate_password,
            },
            CredentialKind::ManagedIdentity => Credential::ManagedIdentity(self.managed_identity),
            CredentialKind::WorkloadIdentity => Credential::WorkloadIdentity {
                tenant_id,
                client_id,
                token_file: self.federated_token_file.unwrap_or_default(),
            },
            CredentialKind::FederatedManagedIdentity => Credential::FederatedManagedIdentity {
                tenant_id,
                client_id,
                identity: self.managed_identity,
                audience: audience.to_owned(),
            },
            CredentialKind::AzureCli => Credential::AzureCli { tenant_id },
        }
    }
}

fn tenant(text: &str) -> Result<String, Problem> {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.') {
        Ok(text.to_owned())
    } else {
        Err(Problem::new("no tenant"))
    }
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
        _ => Err(Problem::new("no managed identity")),
    }
}
