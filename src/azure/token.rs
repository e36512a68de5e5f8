//! Sign-in: a bearer token per credential, through azure_identity over our own HTTP client.
//!
//! The SDK caches a token until five minutes before its end and has no way to drop it: a fresh
//! token is a new credential object. Its retries are off; one deadline holds for the whole.

use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{AccessToken, TokenCredential};
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::refusal::Refusal;
use super::transport::{self, Failure};
use crate::config::{Azure, Credential, Secret, Target};
use crate::metrics;

/// After a failed renewal of a token that is still good, the next one is tried this much later.
const RENEWAL_PAUSE: Duration = Duration::from_secs(20);

/// A token is used until this close to its end.
const MARGIN: Duration = Duration::from_secs(30);

/// Who signs in, where, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    pub credential: Credential,
    /// e.g. `https://login.microsoftonline.com`; https only.
    pub authority: String,
    /// e.g. `https://management.azure.com/.default`.
    pub scope: String,
}

impl SignIn {
    /// That of a target.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        Self {
            credential: target.credential.clone(),
            authority: target.authority.clone(),
            scope: target.scope.clone(),
        }
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// Entra says no: somebody must change something.
    #[error("Entra refuses the sign-in: {0}")]
    Refused(Refusal),
    /// No answer, or one that may be another in a moment.
    #[error("Entra cannot be reached: {0}")]
    Unreachable(String),
    /// The settings cannot be used to sign in at all.
    #[error("sign-in is not possible: {0}")]
    Settings(String),
}

impl SignInError {
    /// The word in metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Unreachable(_) => "unreachable",
            Self::Settings(_) => "settings",
        }
    }
}

/// Tokens for one credential.
#[derive(Debug)]
pub struct TokenSource {
    sign_in: SignIn,
    http: reqwest::Client,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    signer: Arc<dyn TokenCredential>,
    last: Option<AccessToken>,
    /// No renewal before this.
    paused_until: Option<Instant>,
}

impl TokenSource {
    /// A source that signs in when it is first asked.
    ///
    /// # Errors
    /// [`SignInError::Settings`].
    pub fn new(sign_in: SignIn, http: reqwest::Client, azure: &Azure) -> Result<Self, SignInError> {
        let signer = signer(&sign_in, &http)?;
        let state = Mutex::new(State { signer, last: None, paused_until: None });
        Ok(Self { sign_in, http, timeout: azure.token_timeout, state })
    }

    /// A token that is good now: the cached one, or a new one.
    ///
    /// # Errors
    /// [`SignInError`]; none while the cached token is still good.
    pub async fn token(&self) -> Result<Secret, SignInError> {
        let (signer, last, paused) = self.with(|state| {
            let paused = state.paused_until.is_some_and(|until| Instant::now() < until);
            (Arc::clone(&state.signer), state.last.clone().filter(good), paused)
        });
        if let (true, Some(token)) = (paused, &last) {
            return Ok(Secret::new(token.token.secret()));
        }
        let (token, paused_until) = match (self.ask(signer.as_ref()).await, last) {
            (Ok(token), last) => {
                if last.is_none_or(|last| last.token.secret() != token.token.secret()) {
                    metrics::sign_in("granted");
                }
                (token, None)
            }
            (Err(error), last) => {
                metrics::sign_in(error.word());
                let token = last.ok_or_else(|| error.clone())?;
                tracing::warn!(%error, "sign-in renewal failed; the present token is still good");
                (token, Some(Instant::now() + RENEWAL_PAUSE))
            }
        };
        let secret = Secret::new(token.token.secret());
        self.remember(&signer, token, paused_until);
        Ok(secret)
    }

    /// Forgets the cached token: the next one is fresh.
    ///
    /// # Errors
    /// [`SignInError::Settings`], which [`TokenSource::new`] would have given too.
    pub fn renew(&self) -> Result<(), SignInError> {
        let signer = signer(&self.sign_in, &self.http)?;
        self.with(|state| *state = State { signer, last: None, paused_until: None });
        Ok(())
    }

    async fn ask(&self, signer: &dyn TokenCredential) -> Result<AccessToken, SignInError> {
        let scopes = [self.sign_in.scope.as_str()];
        let answer = tokio::time::timeout(self.timeout, signer.get_token(&scopes, None)).await;
        match answer {
            Ok(Ok(token)) => Ok(token),
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => {
                let timeout = humantime::format_duration(self.timeout);
                let authority = &self.sign_in.authority;
                let why = format!("no answer from {authority} within {timeout}");
                Err(SignInError::Unreachable(why))
            }
        }
    }

    /// Our transport's own error, which the SDK wraps. Anything else is the SDK's trouble with the
    /// body of a token answer, whose words could quote the token.
    fn explain(&self, error: &azure_core::Error) -> SignInError {
        let mut next = error.source();
        while let Some(cause) = next {
            if let Some(failure) = cause.downcast_ref::<Failure>() {
                return failure.explain(&self.sign_in);
            }
            next = cause.source();
        }
        SignInError::Unreachable("the answer is not one of Entra".to_owned())
    }

    fn remember(
        &self,
        signer: &Arc<dyn TokenCredential>,
        token: AccessToken,
        paused_until: Option<Instant>,
    ) {
        self.with(|state| {
            // Not after a renew() in the meantime.
            if Arc::ptr_eq(&state.signer, signer) {
                state.last = Some(token);
                state.paused_until = paused_until;
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whom Entra gave a token to, which roles are given to: the claim `oid`
/// (<https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference>).
#[must_use]
pub fn object_id(token: &Secret) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Claims {
        oid: String,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.oid)
}

fn good(token: &AccessToken) -> bool {
    SystemTime::from(token.expires_on) > SystemTime::now() + MARGIN
}

fn signer(
    sign_in: &SignIn,
    http: &reqwest::Client,
) -> Result<Arc<dyn TokenCredential>, SignInError> {
    let mut cloud = CustomConfiguration::default();
    cloud.authority_host.clone_from(&sign_in.authority);
    let client_options = ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(Transport::new(Arc::new(transport::OurClient(http.clone())))),
        cloud: Some(Arc::new(CloudConfiguration::Custom(cloud))),
        ..ClientOptions::default()
    };
    let Credential::ClientSecret { tenant_id, client_id, secret } = &sign_in.credential else {
        let word = sign_in.credential.word();
        return Err(SignInError::Settings(format!("credential = \"{word}\" is not known here")));
    };
    let signer = ClientSecretCredential::new(
        tenant_id,
        client_id.clone(),
        secret.expose().to_owned().into(),
        Some(ClientSecretCredentialOptions { client_options }),
    );
    signer.map(|signer| signer as Arc<_>).map_err(|error| SignInError::Settings(error.to_string()))
}
