//! Gets bearer tokens for a credential through azure_identity, with our own HTTP client, and caches them. The SDK
//! cannot drop a cached token, so a fresh token needs a new credential object. After a refused sign-in the secret is
//! read again from its source; if it changed, one more sign-in follows at once. A pacer spaces all sign-ins.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use azure_core::credentials::AccessToken;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

use super::assertion::CertificateEnd;
use super::credential::{Signer, Tools};
use super::pace::{TokenLife, pass};
use super::refusal::RefusedAnswer;
use crate::caught::caught;
use crate::config::{Azure, Credential, Proof, Secret};
use crate::http::causes;
use crate::log_event::{LogEvent, ms};
use crate::metrics;
use crate::pure::pacer::Pacer;

pub use super::refusal::SignInError;
pub use super::sign_in::SignIn;

/// The source of tokens for one credential.
#[derive(Debug)]
pub struct TokenSource {
    tools: Tools,
    pacer: Pacer,
    /// The task that holds it signs in. The others wait, and use the token that it gets.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<TokenState>,
    /// The time of the last sign-in that succeeded: a renewal drops the state, and not this.
    last: Mutex<Option<DateTime<Utc>>>,
}

/// How the sign-ins with a credential stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignInStanding {
    /// What is wrong with them while the cached token is still good. `None`: nothing is.
    pub trouble: Option<String>,
    /// The last one that succeeded.
    pub last: Option<DateTime<Utc>>,
    /// The end of the certificate that signed last. `None`: none has.
    pub certificate_ends: Option<DateTime<Utc>>,
}

#[derive(Debug)]
struct TokenState {
    /// The sign-in, with the secret as it was last read.
    sign_in: SignIn,
    signer: Signer,
    last: Option<(AccessToken, TokenLife)>,
    /// The time before which no renewal is tried. `None`: at any time.
    paused_until: Option<Instant>,
    /// See [`SignInStanding`].
    trouble: Option<String>,
}

impl TokenState {
    fn new(sign_in: SignIn, signer: Signer) -> Self {
        Self { sign_in, signer, last: None, paused_until: None, trouble: None }
    }

    /// Returns the cached token, if its lifetime passes the test.
    fn held(&self, test: fn(TokenLife, Instant) -> bool) -> Option<AccessToken> {
        let held = self.last.as_ref().filter(|(_, life)| test(*life, Instant::now()));
        held.map(|(token, _)| token.clone())
    }
}

impl TokenSource {
    /// Makes a source. It signs in when the first token is asked for.
    ///
    /// # Errors
    /// [`SignInError::Settings`].
    pub fn new(sign_in: SignIn, http: reqwest::Client, azure: &Azure) -> Result<Self, SignInError> {
        let tools = Tools {
            http,
            azure: azure.clone(),
            metadata: OnceLock::new(),
            certificate_ends: CertificateEnd::default(),
        };
        let signer = tools.signer(&sign_in)?;
        Ok(Self {
            tools,
            pacer: Pacer::with_pauses(azure.sign_in_pause, Instant::now()),
            turn: tokio::sync::Mutex::new(()),
            state: Mutex::new(TokenState::new(sign_in, signer)),
            last: Mutex::default(),
        })
    }

    /// Returns a token that is good now: the cached one, or a new one.
    ///
    /// # Errors
    /// [`SignInError`]. There is no error while the cached token is still good.
    pub async fn token(&self) -> Result<Secret, SignInError> {
        self.access().await.map(|token| Secret::new(token.token.secret()))
    }

    /// Returns how the sign-ins stand.
    pub fn standing(&self) -> SignInStanding {
        let trouble = self.with(|state| state.trouble.clone());
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        SignInStanding { trouble, last, certificate_ends: self.tools.certificate_ends.now() }
    }

    /// Does the same as [`TokenSource::token`], and also returns when the token ends.
    pub(super) async fn access(&self) -> Result<AccessToken, SignInError> {
        if let Some(token) = self.usable() {
            return Ok(token);
        }
        // A good token that is due for renewal is used at once if another task is already renewing it.
        let _turn = match self.with(|state| state.held(TokenLife::is_good)) {
            None => self.turn.lock().await,
            Some(good) => match self.turn.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(good),
            },
        };
        // Another task may have signed in while this one waited.
        if let Some(token) = self.usable() {
            return Ok(token);
        }
        let good = self.with(|state| state.held(TokenLife::is_good));
        match good {
            None => {
                pass(&self.pacer).await;
                self.sign_in().await
            }
            Some(good) if self.pacer.take(Instant::now()).is_err() => Ok(good),
            Some(good) => match self.sign_in().await {
                Ok(token) => Ok(token),
                Err(error) => {
                    tracing::warn!(
                        event = LogEvent::SignInRenewalFailed.word(),
                        %error,
                        "The token cannot be renewed, and is still good for a while"
                    );
                    self.with(|state| {
                        state.paused_until = Some(Instant::now() + self.tools.azure.sign_in_pause);
                        state.trouble = Some(format!("the token cannot be renewed: {error}"));
                    });
                    Ok(good)
                }
            },
        }
    }

    /// Returns the cached token, if no sign-in is necessary.
    fn usable(&self) -> Option<AccessToken> {
        self.with(|state| {
            // After a failed renewal the good token is used until the pause ends.
            let paused = state.paused_until.is_some_and(|until| Instant::now() < until);
            state.held(if paused { TokenLife::is_good } else { TokenLife::is_fresh })
        })
    }

    /// Returns the known source for this sign-in, or makes a new one and adds it to `known`.
    ///
    /// # Errors
    /// [`SignInError::Settings`].
    pub fn shared(
        known: &mut Vec<Arc<Self>>,
        sign_in: SignIn,
        http: &reqwest::Client,
        azure: &Azure,
    ) -> Result<Arc<Self>, SignInError> {
        let is_same = |source: &&Arc<Self>| source.with(|state| state.sign_in == sign_in);
        if let Some(same) = known.iter().find(is_same) {
            return Ok(Arc::clone(same));
        }
        let new = Arc::new(Self::new(sign_in, http.clone(), azure)?);
        known.push(Arc::clone(&new));
        Ok(new)
    }

    /// Drops the cached token, so that the next one is fresh.
    ///
    /// # Errors
    /// [`SignInError::Settings`], which [`TokenSource::new`] would have given too.
    pub fn renew(&self) -> Result<(), SignInError> {
        let sign_in = self.with(|state| state.sign_in.clone());
        self.replace(sign_in).map(drop)
    }

    /// Signs in. The caller has already taken a slot. After a refusal the secret is read again, and one
    /// more sign-in follows if it has changed.
    async fn sign_in(&self) -> Result<AccessToken, SignInError> {
        let (signer, sign_in) =
            self.with(|state| (Arc::clone(&state.signer), state.sign_in.clone()));
        let refused = match self.ask(&signer, &sign_in).await {
            Err(error @ (SignInError::Refused(_) | SignInError::Settings(_))) => error,
            answer => return answer,
        };
        let Some(sign_in) = self.read_again(sign_in).await else { return Err(refused) };
        let signer = self.replace(sign_in.clone())?;
        pass(&self.pacer).await;
        self.ask(&signer, &sign_in).await
    }

    /// Returns the sign-in with the secret that is there now. `None`: it is the same, or cannot be read.
    async fn read_again(&self, mut sign_in: SignIn) -> Option<SignIn> {
        let secret = sign_in.credential.secret_mut()?;
        match tokio::time::timeout(self.tools.azure.token_timeout, secret.read_again()).await {
            Ok(Ok(Some(new))) => {
                tracing::info!(
                    event = LogEvent::SecretChanged.word(),
                    secret = "of the sign-in",
                    "A secret was refused and has changed since, so the new one is tried"
                );
                *secret = new;
                Some(sign_in)
            }
            Ok(Ok(None)) | Err(_) => None,
            Ok(Err(why)) => {
                tracing::warn!(
                    event = LogEvent::SecretUnreadable.word(),
                    secret = "of the sign-in",
                    %why,
                    "A secret was refused, and cannot be read again"
                );
                None
            }
        }
    }

    /// Makes a new SDK credential and drops the token, because the SDK cannot forget a token that it cached.
    fn replace(&self, sign_in: SignIn) -> Result<Signer, SignInError> {
        let signer = self.tools.signer(&sign_in)?;
        let held = Arc::clone(&signer);
        self.with(|state| *state = TokenState::new(sign_in, signer));
        Ok(held)
    }

    /// Signs in once, counts it in the metrics, and caches the token.
    async fn ask(&self, signer: &Signer, sign_in: &SignIn) -> Result<AccessToken, SignInError> {
        let scopes = [sign_in.scope.as_str()];
        // A panic in the SDK must stop only this credential.
        let asked = caught(signer.get_token(&scopes, None));
        let answer = match tokio::time::timeout(self.tools.azure.token_timeout, asked).await {
            Ok(Ok(Ok(token))) => self.keep(signer, token, sign_in),
            Ok(Ok(Err(error))) => Err(explain(&error, sign_in)),
            Ok(Err(panicked)) => Err(SignInError::Unusable(panicked.to_string())),
            Err(_) => Err(self.silence(sign_in)),
        };
        metrics::sign_in(answer.as_ref().map_or_else(SignInError::word, |_| "granted"));
        answer
    }

    /// Makes the error for a sign-in that timed out.
    fn silence(&self, sign_in: &SignIn) -> SignInError {
        let timeout = humantime::format_duration(self.tools.azure.token_timeout);
        let asked = who(&sign_in.credential).unwrap_or(&sign_in.authority);
        SignInError::Unreachable(format!("no sign-in within {timeout}: {asked} does not answer"))
    }

    /// Caches a token, and warns if it came close to its end.
    fn keep(
        &self,
        signer: &Signer,
        token: AccessToken,
        sign_in: &SignIn,
    ) -> Result<AccessToken, SignInError> {
        let who = who(&sign_in.credential).unwrap_or("Entra");
        let lasts = SystemTime::from(token.expires_on).duration_since(SystemTime::now());
        let Some(lasts) = lasts.ok().filter(|lasts| lasts.as_secs() > 0) else {
            return Err(SignInError::Unusable(format!(
                "{who} gives one that has expired already; check this machine's clock"
            )));
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Utc::now());
        // The monotonic clock measures the remaining lifetime, so jumps of the system clock do no harm.
        let life = TokenLife { began: Instant::now(), lasts };
        let trouble = life.is_short().then(|| {
            format!(
                "{who} gives tokens that last less than five minutes, so sign-ins are frequent; if \
                 that does not pass, check the token lifetime of the identity"
            )
        });
        self.with(|state| {
            // A renew() in the meantime has dropped this credential, because its tokens were refused.
            if !Arc::ptr_eq(&state.signer, signer) {
                return;
            }
            if let (Some(words), None) = (&trouble, &state.trouble) {
                tracing::warn!(
                    event = LogEvent::TokenShort.word(),
                    lasts_ms = ms(lasts),
                    "{words}"
                );
            }
            state.last = Some((token.clone(), life));
            (state.paused_until, state.trouble) = (None, trouble);
        });
        Ok(token)
    }

    fn with<T>(&self, change: impl FnOnce(&mut TokenState) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the object ID of the token's principal, which roles are assigned to: the claim `oid`
/// (<https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference>).
pub fn object_id(token: &Secret) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims.get("oid")?.as_str().map(str::to_owned)
}

/// Returns who gives the tokens. `None`: Entra.
fn who(credential: &Credential) -> Option<&'static str> {
    match credential.proof {
        Proof::ManagedIdentity(_) => Some("the managed identity endpoint"),
        Proof::AzureCli => Some("az"),
        Proof::ClientSecret(_)
        | Proof::Certificate { .. }
        | Proof::WorkloadIdentity { .. }
        | Proof::FederatedManagedIdentity { .. } => None,
    }
}

/// Returns our own error if the SDK's error wraps one. Any other error is the SDK's trouble with the body of
/// a token answer. It is not quoted, because it could hold the token.
fn explain(error: &azure_core::Error, sign_in: &SignIn) -> SignInError {
    for cause in causes(error) {
        if let Some(refused) = cause.downcast_ref::<RefusedAnswer>() {
            return SignInError::of(refused, sign_in);
        }
        if let Some(ours) = cause.downcast_ref::<SignInError>() {
            return ours.clone();
        }
    }
    let who = who(&sign_in.credential).unwrap_or("Entra");
    let is_az = sign_in.credential.proof == Proof::AzureCli;
    let version = if is_az { ", of which version 2.54 or newer is needed" } else { "" };
    SignInError::Unreachable(format!("this is no answer of {who}{version}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;
    use azure_core::credentials::{TokenCredential, TokenRequestOptions};

    use super::super::http;
    use super::*;

    #[derive(Debug)]
    struct Broken;

    #[async_trait]
    impl TokenCredential for Broken {
        async fn get_token(
            &self,
            _: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            panic!("the calendar ends there")
        }
    }

    #[tokio::test]
    async fn panic_in_a_sign_in_is_an_error_of_this_credential() {
        let azure = Azure {
            ca_file: None,
            proxy: Some("none".to_owned()),
            connect_timeout: Duration::from_secs(1),
            token_timeout: Duration::from_secs(1),
            sign_in_pause: Duration::ZERO,
            metadata_endpoint: "http://127.0.0.1:1".to_owned(),
        };
        let sign_in = SignIn {
            credential: Credential {
                tenant_id: "t".to_owned(),
                client_id: "c".to_owned(),
                proof: Proof::ClientSecret(Secret::new("s3cret")),
            },
            authority: "https://127.0.0.1:1".to_owned(),
            scope: "https://management.example/.default".to_owned(),
        };
        let source = TokenSource::new(sign_in, http::client(&azure).unwrap(), &azure).unwrap();
        source.with(|state| state.signer = Arc::new(Broken));
        for _ in 0..2 {
            let error = source.token().await.unwrap_err();
            assert_eq!(error.word(), "unusable");
            assert!(error.to_string().contains("the calendar ends there"), "{error}");
        }
    }
}
