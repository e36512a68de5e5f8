//! Reads secrets from Azure Key Vaults with the SDK's client, over our own HTTP client. One sign-in serves
//! all vaults of a cloud.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{StatusCode, Url};
use azure_security_keyvault_secrets::models::SecretClientGetSecretOptions;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use chrono::DateTime;
use serde_json::Value;

use super::credential::options;
use super::refusal::RefusedAnswer;
use super::sign_in::Who;
use super::token::{SignIn, SignInError, TokenSource};
use super::transport::OurClient;
use crate::caught::caught;
use crate::config::{Azure, Config, FoundSecrets, Secret, Vault, VaultAccess, VaultSecret};
use crate::http::causes;
use crate::metrics;

/// The most characters of Key Vault's own message that are quoted.
const KEPT: usize = 400;

/// The client for all vaults that one identity can read.
#[derive(Debug)]
pub struct KeyVaults {
    http: reqwest::Client,
    azure: Azure,
    access: VaultAccess,
    /// The sources of tokens by their scope, one for each cloud's vaults.
    tokens: Mutex<BTreeMap<String, Arc<TokenSource>>>,
}

/// The parts of a secret's URL.
#[derive(Debug, PartialEq, Eq)]
struct SecretAddress {
    /// The URL of the vault, e.g. `https://kv.vault.azure.net/`.
    vault: String,
    /// The scope of the token, e.g. `https://vault.azure.net/.default`. It covers all vaults of the cloud.
    scope: String,
    name: String,
    version: Option<String>,
}

/// Reads all secrets that `config` names in vaults.
///
/// # Errors
/// A secret cannot be read. The error names it and the reason.
pub async fn look_up(config: &Config, known: FoundSecrets) -> anyhow::Result<FoundSecrets> {
    let vault = match known.vault {
        Some(vault) => vault,
        None => Arc::new(KeyVaults::new(config)?),
    };
    let (mut secrets, mut ends) = (known.secrets, known.ends);
    for address in &config.lookups {
        let read = vault.read(address).await;
        let read = read.map_err(|why| anyhow::anyhow!("vault:{address}: {why}"))?;
        secrets.insert(address.clone(), read.secret);
        ends.extend(read.ends.map(|at| (address.clone(), at)));
    }
    Ok(FoundSecrets { vault: Some(vault), secrets, ends })
}

impl KeyVaults {
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(config: &Config) -> Result<Self, super::http::HttpError> {
        let http = super::http::client(&config.azure)?;
        let (azure, access) = (config.azure.clone(), config.vault.clone());
        Ok(Self { http, azure, access, tokens: Mutex::default() })
    }

    fn tokens_for(&self, scope: &str) -> Result<Arc<TokenSource>, SignInError> {
        let mut known = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        // The scope finds the source, and not its secret: that changes when it is rotated.
        if let Some(tokens) = known.get(scope) {
            return Ok(Arc::clone(tokens));
        }
        let VaultAccess { credential, authority } = self.access.clone();
        let sign_in = SignIn { credential, authority, scope: scope.to_owned() };
        let tokens = Arc::new(TokenSource::new(sign_in, self.http.clone(), &self.azure)?);
        known.insert(scope.to_owned(), Arc::clone(&tokens));
        Ok(tokens)
    }

    /// Reads a secret. The error holds whether a fresh token may help, and the reason.
    async fn ask(
        &self,
        client: &SecretClient,
        address: &SecretAddress,
    ) -> Result<VaultSecret, (bool, String)> {
        let options = SecretClientGetSecretOptions {
            secret_version: address.version.clone(),
            ..SecretClientGetSecretOptions::default()
        };
        // One call may sign in and then ask, and each may take the time of a sign-in.
        let patience: Duration = self.azure.token_timeout * 2;
        let asked = client.get_secret(&address.name, Some(options));
        // A panic in the SDK must stop only this read.
        let answer = tokio::time::timeout(patience, caught(asked)).await.map_err(|_| {
            let waited = humantime::format_duration(patience);
            (false, format!("no answer within {waited}"))
        })?;
        let answer = answer.map_err(|panicked| (false, panicked.to_string()))?;
        let secret = match answer {
            Ok(answer) => {
                answer.into_model().map_err(|_| (false, "the answer holds no secret".to_owned()))?
            }
            Err(error) => {
                let is_refused = error.http_status() == Some(StatusCode::Unauthorized);
                return Err((is_refused, explain(&error)));
            }
        };
        let ends = secret.attributes.and_then(|attributes| attributes.expires);
        let ends = ends.and_then(|at| DateTime::from_timestamp(at.unix_timestamp(), 0));
        match secret.value {
            Some(text) if !text.is_empty() => Ok(VaultSecret { secret: Secret::new(text), ends }),
            _ => Err((false, "the secret is empty".to_owned())),
        }
    }
}

#[async_trait]
impl Vault for KeyVaults {
    async fn read(&self, url: &str) -> Result<VaultSecret, String> {
        let address = SecretAddress::parse(url).ok_or("not the address of a secret")?;
        let tokens = self.tokens_for(&address.scope).map_err(|error| error.to_string())?;
        let bearer = Bearer { scope: address.scope.clone(), tokens: Arc::clone(&tokens) };
        let client = OurClient {
            http: self.http.clone(),
            who: Who::KeyVault,
            metadata: None,
            azure: self.azure.clone(),
        };
        let options = SecretClientOptions {
            client_options: options(client),
            ..SecretClientOptions::default()
        };
        let client = SecretClient::new(&address.vault, Arc::new(bearer), Some(options))
            .map_err(|error| error.to_string())?;
        let read = match self.ask(&client, &address).await {
            // The cached token was refused, so one more attempt follows with a fresh one.
            Err((true, _)) => {
                tokens.renew().map_err(|error| error.to_string())?;
                self.ask(&client, &address).await
            }
            answer => answer,
        };
        let read = read.map_err(|(_, why)| why)?;
        metrics::vault_secret_ends(url, read.ends.map(SystemTime::from));
        Ok(read)
    }
}

impl SecretAddress {
    // The settings accept only addresses of the form `https://NAME.SUFFIX/secrets/SECRET[/VERSION]`.
    fn parse(address: &str) -> Option<Self> {
        let url = Url::parse(address).ok()?;
        let (_, resource) = url.host_str()?.split_once('.')?;
        let mut parts = url.path_segments()?.skip(1);
        Some(Self {
            vault: format!("{}/", url.origin().ascii_serialization()),
            scope: format!("https://{resource}/.default"),
            name: parts.next()?.to_owned(),
            version: parts.next().map(str::to_owned),
        })
    }
}

/// Gives our tokens to the SDK's client. The scope that the vault's challenge names must be the one that
/// follows from the vault's URL, so that no other server gets a token.
#[derive(Debug)]
struct Bearer {
    scope: String,
    tokens: Arc<TokenSource>,
}

#[async_trait]
impl TokenCredential for Bearer {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let token = if scopes == [self.scope.as_str()] {
            self.tokens.access().await
        } else {
            let why =
                format!("the vault asks for a token for {scopes:?} instead of {}", self.scope);
            Err(SignInError::Settings(why))
        };
        token.map_err(|error| Error::new(ErrorKind::Credential, NoToken(error)))
    }
}

/// The failed sign-in before the request to the vault.
#[derive(Debug, thiserror::Error)]
#[error("{0} (the credential of [azure.vault])")]
struct NoToken(SignInError);

/// Returns our own error if the SDK's error wraps one, or else the start of the SDK's message.
fn explain(error: &Error) -> String {
    for cause in causes(error) {
        if let Some(refused) = cause.downcast_ref() {
            return in_words(refused);
        }
        if cause.is::<NoToken>() || cause.is::<SignInError>() {
            return cause.to_string();
        }
    }
    error.to_string().chars().take(KEPT).collect()
}

fn in_words(RefusedAnswer { status, body, .. }: &RefusedAnswer) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let code = text("/error/code");
    let message = text("/error/message").replace(['\r', '\n'], " ");
    let message: String = message.chars().take(KEPT).collect();
    let remedy = match (*status, text("/error/innererror/code"), code) {
        (403, "ForbiddenByFirewall" | "ForbiddenByConnection", _) => {
            "let this machine's address through the vault's firewall (Networking)"
        }
        (403, "SecretDisabled" | "SecretExpired" | "SecretNotYetValid", _)
        | (403, _, "SecretDisabled") => "enable the secret, or name another version",
        (403, ..) => {
            "give the identity of [azure.vault] the role Key Vault Secrets User on this vault (or, \
             with access policies, the secret permission Get)"
        }
        (404, ..) => "check the secret's name and version; it may have been deleted",
        _ => "",
    };
    let joint = if remedy.is_empty() { "" } else { " -- " };
    format!("Key Vault answers HTTP {status}, {code}: {message}{joint}{remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_its_tokens_are_from() {
        let address =
            SecretAddress::parse("https://kv.vault.usgovcloudapi.net/secrets/misp-key").unwrap();
        assert_eq!(address.vault, "https://kv.vault.usgovcloudapi.net/");
        assert_eq!(address.scope, "https://vault.usgovcloudapi.net/.default");
        assert_eq!((address.name.as_str(), address.version), ("misp-key", None));
        let address = SecretAddress::parse("https://kv.vault.azure.net:8443/secrets/a/1b").unwrap();
        assert_eq!(address.vault, "https://kv.vault.azure.net:8443/");
        assert_eq!(address.scope, "https://vault.azure.net/.default");
        assert_eq!(address.version.as_deref(), Some("1b"));
    }

    #[test]
    fn refusals_name_what_to_change() {
        let refused = |status, inner: &str| {
            let body = format!(
                r#"{{"error":{{"code":"Forbidden","message":"no","innererror":{{"code":"{inner}"}}}}}}"#
            );
            let who = Who::KeyVault;
            in_words(&RefusedAnswer { who, status, body: body.into_bytes() })
        };
        assert!(refused(403, "ForbiddenByRbac").contains("Key Vault Secrets User"));
        assert!(refused(403, "ForbiddenByFirewall").contains("firewall"));
        assert!(refused(404, "").contains("name and version"));
    }
}
