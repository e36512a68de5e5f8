//! Builds a credential of the Azure SDK from a configured credential. The SDK then sends its requests through
//! our own HTTP clients.

use std::ffi::OsStr;
use std::io;
use std::process::{Output, Stdio};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::TokenCredential;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{ClientOptions, RetryOptions, Transport, Url};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertion, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    Executor, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
};

use super::assertion::{ByFile, ByIdentity, BySignature, CertificateEnd};
use super::http;
use super::refusal::SignInError;
use super::sign_in::{SignIn, Who};
use super::transport::OurClient;
use crate::config::{Azure, Credential, ManagedIdentity, Proof};

/// The most characters of `az`'s standard error that are quoted.
const KEPT: usize = 600;

pub(super) type Signer = Arc<dyn TokenCredential>;

/// What every credential is made with: the HTTP client and the settings of `[azure]`.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) http: reqwest::Client,
    pub(super) azure: Azure,
    /// The client for the metadata service. It is made once, so that a later sign-in cannot fail at files
    /// that have gone since.
    pub(super) metadata: OnceLock<reqwest::Client>,
    /// The end of the certificate that signed last.
    pub(super) certificate_ends: CertificateEnd,
}

impl Tools {
    /// Makes the SDK's credential for `sign_in`. It holds no cached token yet.
    pub(super) fn signer(&self, sign_in: &SignIn) -> Result<Signer, SignInError> {
        let Credential { tenant_id, client_id, proof } = &sign_in.credential;
        let made = match proof {
            Proof::ClientSecret(secret) => {
                let client_options = self.to_entra(&sign_in.authority);
                let options = Some(ClientSecretCredentialOptions { client_options });
                let secret = secret.expose().to_owned().into();
                ClientSecretCredential::new(tenant_id, client_id.clone(), secret, options)
                    .map(|signer| signer as Signer)
            }
            Proof::Certificate { file, password } => {
                let assertion = BySignature {
                    file: file.clone(),
                    password: password.clone(),
                    client_id: client_id.clone(),
                    audience: format!("{}/{tenant_id}/oauth2/v2.0/token", sign_in.authority),
                    ends: self.certificate_ends.clone(),
                };
                self.by_assertion(sign_in, assertion)
            }
            Proof::WorkloadIdentity { token_file } => {
                self.by_assertion(sign_in, ByFile(token_file.clone()))
            }
            Proof::FederatedManagedIdentity { identity, audience } => {
                self.managed_identity(identity).and_then(|identity| {
                    let scope = format!("{audience}/.default");
                    self.by_assertion(sign_in, ByIdentity { identity, scope })
                })
            }
            Proof::ManagedIdentity(identity) => self.managed_identity(identity),
            Proof::AzureCli => {
                let options = AzureCliCredentialOptions {
                    tenant_id: Some(tenant_id.clone()).filter(|tenant| !tenant.is_empty()),
                    executor: Some(Arc::new(Shell)),
                    ..AzureCliCredentialOptions::default()
                };
                AzureCliCredential::new(Some(options)).map(|signer| signer as Signer)
            }
        };
        made.map_err(|error| SignInError::Settings(error.to_string()))
    }

    fn by_assertion<A: ClientAssertion + 'static>(
        &self,
        sign_in: &SignIn,
        assertion: A,
    ) -> azure_core::Result<Signer> {
        let client_options = self.to_entra(&sign_in.authority);
        Ok(ClientAssertionCredential::new(
            sign_in.credential.tenant_id.clone(),
            sign_in.credential.client_id.clone(),
            assertion,
            Some(ClientAssertionCredentialOptions { client_options }),
        )?)
    }

    fn managed_identity(&self, identity: &ManagedIdentity) -> azure_core::Result<Signer> {
        let endpoint = Url::parse(&self.azure.metadata_endpoint)?;
        let http = self.metadata_client().map_err(|error| Error::new(ErrorKind::Other, error))?;
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: match identity.clone() {
                ManagedIdentity::SystemAssigned => None,
                ManagedIdentity::ClientId(id) => Some(UserAssignedId::ClientId(id)),
                ManagedIdentity::ObjectId(id) => Some(UserAssignedId::ObjectId(id)),
                ManagedIdentity::ResourceId(id) => Some(UserAssignedId::ResourceId(id)),
            },
            client_options: options(OurClient {
                http,
                who: Who::ManagedIdentity,
                metadata: Some(endpoint),
                azure: self.azure.clone(),
            }),
        };
        Ok(ManagedIdentityCredential::new(Some(options))?)
    }

    fn metadata_client(&self) -> Result<reqwest::Client, http::HttpError> {
        if let Some(known) = self.metadata.get() {
            return Ok(known.clone());
        }
        let new = http::metadata_client(&self.azure)?;
        Ok(self.metadata.get_or_init(|| new).clone())
    }

    fn to_entra(&self, authority: &str) -> ClientOptions {
        let mut cloud = CustomConfiguration::default();
        authority.clone_into(&mut cloud.authority_host);
        let cloud = Some(Arc::new(CloudConfiguration::Custom(cloud)));
        let (http, azure) = (self.http.clone(), self.azure.clone());
        let client = OurClient { http, who: Who::Entra, metadata: None, azure };
        ClientOptions { cloud, ..options(client) }
    }
}

/// Returns the SDK's options without retries: the caller that asks for a token decides when to ask again.
pub(super) fn options(client: OurClient) -> ClientOptions {
    ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(Transport::new(Arc::new(client))),
        ..ClientOptions::default()
    }
}

/// Runs `az`. The process is killed when its caller stops waiting, e.g. after a time-out.
#[derive(Debug)]
struct Shell;

#[async_trait]
impl Executor for Shell {
    async fn run(&self, program: &OsStr, arguments: &[&OsStr]) -> io::Result<Output> {
        let output = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        if output.status.success() {
            return Ok(output);
        }
        let told = String::from_utf8_lossy(&output.stderr).replace(['\r', '\n'], " ");
        let told: String = told.trim().chars().take(KEPT).collect();
        let why = match output.status.code() {
            Some(127) => {
                "az is not found: credential = \"azure-cli\" needs the Azure CLI in PATH, \
                          which the relay's image does not hold"
                    .to_owned()
            }
            _ => format!("az says: {told}; sign in with az login on this machine, as this user"),
        };
        Err(io::Error::other(SignInError::Settings(why)))
    }
}
