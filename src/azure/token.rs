//! Sign-in: a bearer token per credential, through azure_identity over our own HTTP client.
//!
//! The SDK caches a token until five minutes before its end and has no way to drop it: a fresh
//! token is a new credential object. Its retries are off; one deadline holds for the whole.
//! A refused sign-in reads the secret again, where it came from, and tries a new one at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use azure_core::credentials::{AccessToken, TokenCredential};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::credential::Tools;
use super::refusal::Refusal;
use super::transport::Failure;
use crate::config::{Azure, Credential, Secret, Target};
use crate::http::causes;
use crate::metrics;

/// After a failed renewal of a token that is still good, the next one is tried this much later.
const RENEWAL_PAUSE: Duration = Duration::from_secs(20);

/// A token is used until this close to its end.
const MARGIN: Duration = Duration::from_secs(30);

/// From this close to its end on, another one is asked for. The SDK's own caches keep it too.
const RENEWAL: Duration = Duration::from_secs(300);

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

impl SignIn {
    /// Whether both sign in as one application or identity, by whatever proof: Sentinel's quota is its.
    #[must_use]
    pub fn is_same_principal(&self, other: &Self) -> bool {
        let name = |one: &Self| {
            let Self { credential, authority, .. } = one;
            let (tenant, client) = (credential.tenant_id(), credential.client_id());
            (!client.is_empty())
                .then(|| (authority.clone(), tenant.to_lowercase(), client.to_lowercase()))
        };
        match (name(self), name(other)) {
            (Some(own), Some(others)) => own == others,
            (None, None) => self.credential == other.credential,
            _ => false,
        }
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// Entra, or whoever stands before it, says no: somebody must change something.
    #[error("{who} refuses the sign-in: {0}", who = .0.who)]
    Refused(Refusal),
    /// No answer, or one that may be another in a moment.
    #[error("{0}")]
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
    tools: Tools,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// With the secret as it was last read.
    sign_in: SignIn,
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
        let tools = Tools::new(http, azure);
        let signer = tools.signer(&sign_in)?;
        let state = Mutex::new(State { sign_in, signer, last: None, paused_until: None });
        Ok(Self { tools, timeout: azure.token_timeout, state })
    }

    /// A token that is good now: the cached one, or a new one.
    ///
    /// # Errors
    /// [`SignInError`]; none while the cached token is still good.
    pub async fn token(&self) -> Result<Secret, SignInError> {
        self.access().await.map(|token| Secret::new(token.token.secret()))
    }

    /// As [`TokenSource::token`], with the time of its end.
    pub(super) async fn access(&self) -> Result<AccessToken, SignInError> {
        let (signer, last, paused) = self.with(|state| {
            let paused = state.paused_until.is_some_and(|until| Instant::now() < until);
            (Arc::clone(&state.signer), state.last.clone(), paused)
        });
        let good = last.filter(|token| lasts(token, MARGIN));
        if let Some(token) = good.as_ref().filter(|token| paused || lasts(token, RENEWAL)) {
            return Ok(token.clone());
        }
        let (signer, answer) = self.sign_in(signer).await;
        let (token, paused_until) = match (answer, good) {
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
        self.remember(&signer, token.clone(), paused_until);
        Ok(token)
    }

    /// The source of this sign-in among those known, or else a new one.
    ///
    /// # Errors
    /// [`SignInError::Settings`].
    pub fn shared(
        known: &mut Vec<Arc<Self>>,
        sign_in: SignIn,
        http: &reqwest::Client,
        azure: &Azure,
    ) -> Result<Arc<Self>, SignInError> {
        if let Some(same) = known.iter().find(|source| source.is_of(&sign_in)) {
            return Ok(Arc::clone(same));
        }
        let new = Arc::new(Self::new(sign_in, http.clone(), azure)?);
        known.push(Arc::clone(&new));
        Ok(new)
    }

    /// Forgets the cached token: the next one is fresh.
    ///
    /// # Errors
    /// [`SignInError::Settings`], which [`TokenSource::new`] would have given too.
    pub fn renew(&self) -> Result<(), SignInError> {
        let sign_in = self.with(|state| state.sign_in.clone());
        self.replace(sign_in).map(drop)
    }

    /// Whether it signs in like that.
    pub(super) fn is_of(&self, sign_in: &SignIn) -> bool {
        self.with(|state| state.sign_in == *sign_in)
    }

    /// Signs in; refused, once more with the secret that is there now, if it is another one. Returns
    /// the signer that is in use then.
    async fn sign_in(
        &self,
        signer: Arc<dyn TokenCredential>,
    ) -> (Arc<dyn TokenCredential>, Result<AccessToken, SignInError>) {
        let sign_in = self.with(|state| state.sign_in.clone());
        let refused = match self.ask(signer.as_ref(), &sign_in).await {
            Err(error @ (SignInError::Refused(_) | SignInError::Settings(_))) => error,
            answer => return (signer, answer),
        };
        let Some(sign_in) = self.read_again(sign_in).await else { return (signer, Err(refused)) };
        match self.replace(sign_in.clone()) {
            Ok(signer) => {
                let answer = self.ask(signer.as_ref(), &sign_in).await;
                (signer, answer)
            }
            Err(error) => (signer, Err(error)),
        }
    }

    /// The same with another secret, if there is one.
    async fn read_again(&self, mut sign_in: SignIn) -> Option<SignIn> {
        let secret = sign_in.credential.secret_mut()?;
        match tokio::time::timeout(self.timeout, secret.read_again()).await {
            Ok(Ok(Some(new))) => {
                tracing::info!("sign-in refused, and the secret is another one now: trying that");
                *secret = new;
                Some(sign_in)
            }
            Ok(Ok(None)) => None,
            Ok(Err(why)) => {
                tracing::warn!(%why, "the secret of a refused sign-in cannot be read again");
                None
            }
            Err(_) => None,
        }
    }

    fn replace(&self, sign_in: SignIn) -> Result<Arc<dyn TokenCredential>, SignInError> {
        let signer = self.tools.signer(&sign_in)?;
        let held = Arc::clone(&signer);
        self.with(|state| *state = State { sign_in, signer, last: None, paused_until: None });
        Ok(held)
    }

    async fn ask(
        &self,
        signer: &dyn TokenCredential,
        sign_in: &SignIn,
    ) -> Result<AccessToken, SignInError> {
        let scopes = [sign_in.scope.as_str()];
        let answer = tokio::time::timeout(self.timeout, signer.get_token(&scopes, None)).await;
        match answer {
            Ok(Ok(token)) => Ok(token),
            Ok(Err(error)) => Err(explain(&error, sign_in)),
            Err(_) => {
                let timeout = humantime::format_duration(self.timeout);
                let asked = match &sign_in.credential {
                    Credential::ManagedIdentity(_) => "the managed identity endpoint",
                    Credential::AzureCli { .. } => "az",
                    Credential::ClientSecret { .. }
                    | Credential::Certificate { .. }
                    | Credential::WorkloadIdentity { .. }
                    | Credential::FederatedManagedIdentity { .. } => &sign_in.authority,
                };
                let why = format!("no sign-in within {timeout}: {asked} does not answer");
                Err(SignInError::Unreachable(why))
            }
        }
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

fn lasts(token: &AccessToken, margin: Duration) -> bool {
    SystemTime::from(token.expires_on) > SystemTime::now() + margin
}

/// Our own failure, which the SDK wraps. Anything else is the SDK's trouble with the body of a
/// token answer, whose words could quote the token.
fn explain(error: &azure_core::Error, sign_in: &SignIn) -> SignInError {
    let ours = causes(error).find_map(|cause| cause.downcast_ref::<Failure>());
    if let Some(failure) = ours {
        return failure.explain(sign_in);
    }
    let who = match sign_in.credential {
        Credential::AzureCli { .. } => "az, of which version 2.54 or newer is needed",
        Credential::ManagedIdentity(_) => "the managed identity endpoint",
        Credential::ClientSecret { .. }
        | Credential::Certificate { .. }
        | Credential::WorkloadIdentity { .. }
        | Credential::FederatedManagedIdentity { .. } => "Entra",
    };
    SignInError::Unreachable(format!("the answer is not one of {who}"))
}
