//! Makes the client assertions that an application sends to Entra in place of a secret. An assertion is a JWT
//! signed with the key of its certificate, a token of another issuer, or the token of a managed identity.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::ClientMethodOptions;
use azure_identity::ClientAssertion;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use super::certificate::{Certificate, CertificateError};
use super::refusal::SignInError;
use crate::config::Secret;
use crate::log_event::LogEvent;

/// The validity of an assertion, in seconds. Entra accepts no longer one.
const LIFETIME: i64 = 600;

/// The remaining validity of a certificate, in days, below which the log warns.
const REMINDER: i64 = 30;

/// Returns a signed assertion in the format of
/// <https://learn.microsoft.com/en-us/entra/identity-platform/certificate-credentials>.
///
/// # Errors
/// The key cannot sign.
pub fn statement(
    certificate: &Certificate,
    client_id: &str,
    audience: &str,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<String, CertificateError> {
    let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": certificate.thumbprint});
    let now = now.timestamp();
    let claims = json!({
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": id,
        "nbf": now,
        "iat": now,
        "exp": now + LIFETIME,
    });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(certificate.sign(signed.as_bytes())?);
    Ok(format!("{signed}.{signature}"))
}

/// Signs assertions with a certificate. Its file is read again for each sign-in, because it may have been
/// replaced.
#[derive(Debug)]
pub(super) struct BySignature {
    pub(super) file: PathBuf,
    pub(super) password: Secret,
    pub(super) client_id: String,
    /// The URL of the token endpoint.
    pub(super) audience: String,
    pub(super) ends: CertificateEnd,
}

/// The end of the certificate that signed last. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct CertificateEnd(Arc<Mutex<Option<DateTime<Utc>>>>);

impl CertificateEnd {
    /// `None`: none has signed.
    pub(super) fn now(&self) -> Option<DateTime<Utc>> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, ends: DateTime<Utc>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ends);
    }
}

#[async_trait]
impl ClientAssertion for BySignature {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let file = self.file.display();
        let unusable =
            |why: String| SignInError::Settings(format!("certificate_file {file}: {why}"));
        let content = tokio::fs::read(&self.file).await;
        let content = content.map_err(|error| unusable(format!("cannot be read: {error}")))?;
        let now = Utc::now();
        let certificate = Certificate::read(&content, self.password.expose(), now)
            .map_err(|error| unusable(error.to_string()))?;
        self.ends.set(certificate.ends);
        let left = certificate.ends - now;
        if left < TimeDelta::days(REMINDER) {
            tracing::warn!(
                event = LogEvent::CertificateEnds.word(),
                %file,
                days = left.num_days(),
                "The certificate ends soon. Make a new one"
            );
        }
        let (id, audience) = (Uuid::new_v4(), &self.audience);
        let statement = statement(&certificate, &self.client_id, audience, id, now);
        Ok(statement.map_err(|error| unusable(error.to_string()))?)
    }
}

/// Uses the token in a file as the assertion. The file is read again for each sign-in, because the issuer
/// replaces it. The SDK's own credential caches the token for ten minutes, and cannot be made before the file
/// exists.
#[derive(Debug)]
pub(super) struct ByFile(pub(super) PathBuf);

#[async_trait]
impl ClientAssertion for ByFile {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let file = self.0.display();
        let missing = |why: &dyn std::fmt::Display| {
            SignInError::Settings(format!(
                "federated_token_file {file}: {why}; on AKS the pod needs the label \
                 azure.workload.identity/use: \"true\" and its service account the annotation \
                 azure.workload.identity/client-id"
            ))
        };
        let token = tokio::fs::read_to_string(&self.0).await.map_err(|error| missing(&error))?;
        match token.trim() {
            "" => Err(missing(&"it is empty").into()),
            token => Ok(token.to_owned()),
        }
    }
}

/// Uses the token of a managed identity as the assertion.
#[derive(Debug)]
pub(super) struct ByIdentity {
    pub(super) identity: Arc<dyn TokenCredential>,
    /// The scope of that token, e.g. `api://AzureADTokenExchange/.default`.
    pub(super) scope: String,
}

#[async_trait]
impl ClientAssertion for ByIdentity {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let token = self.identity.get_token(&[&self.scope], None).await?;
        Ok(token.token.secret().to_owned())
    }
}
