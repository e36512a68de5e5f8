//! Keeps the sign-in of a sender: it holds the token, signs in again when the token is refused, and pauses
//! after a sign-in that failed.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

use super::pacer::Pacer;
use crate::azure::token::{SignInError, TokenSource};
use crate::config::{Delivery, Secret};
use crate::pure::backoff::Backoff;

/// The tokens and the quota of one credential.
#[derive(Debug, Clone)]
pub struct UploadAccess {
    pub tokens: Arc<TokenSource>,
    /// The pacer of the target's sender. `None` where no sender runs: a new one is made.
    pub pacer: Option<Pacer>,
}

/// The tokens of one credential, as its sender uses them.
#[derive(Debug)]
pub(super) struct Session {
    /// `None` for dry-run targets, which need no token.
    tokens: Option<Arc<TokenSource>>,
    /// The sign-in that is under way: at most one. No slot is taken meanwhile.
    under_way: FuturesUnordered<BoxFuture<'static, Result<Secret, SignInError>>>,
    /// The sign-ins that failed in a row.
    failures: u32,
    /// Nothing is sent before, since the last sign-in failed.
    paused_until: Option<Instant>,
    /// Counts the tokens that were thrown away. It tells the answers to the present token from older
    /// ones.
    token_number: u64,
    /// Some target accepted the present token. If another target refuses it, the token is not at fault.
    is_token_good: bool,
    backoff: Backoff,
    refused_pause: Duration,
}

/// A sign-in failed, and the next one is tried after a pause.
#[derive(Debug)]
pub(super) struct SignInFailed {
    pub error: SignInError,
    pub pause: Duration,
}

/// What a request needs in order to be authorised.
#[derive(Debug)]
pub(super) struct Authorization {
    /// `None` for a dry run.
    pub token: Option<Secret>,
    /// The token's number: see [`Session::is_outdated`].
    pub token_number: u64,
}

impl Session {
    pub(super) fn new(tokens: Option<Arc<TokenSource>>, delivery: &Delivery) -> Self {
        Self {
            tokens,
            under_way: FuturesUnordered::new(),
            failures: 0,
            paused_until: None,
            token_number: 0,
            is_token_good: false,
            backoff: Backoff::new(delivery.backoff_min, delivery.backoff_max),
            refused_pause: delivery.degraded_retry,
        }
    }

    /// Returns the tokens and the quota of the credential; `None` for a dry run.
    pub(super) fn access(&self, pacer: &Pacer) -> Option<UploadAccess> {
        Some(UploadAccess { tokens: self.tokens.clone()?, pacer: Some(pacer.clone()) })
    }

    /// Whether a sign-in is under way.
    pub(super) fn is_signing_in(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Returns the end of the pause after a failed sign-in.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Returns a token without waiting for one. `None`: a sign-in is under way now.
    pub(super) async fn authorize(&mut self) -> Option<Result<Authorization, SignInFailed>> {
        let token_number = self.token_number;
        let Some(tokens) = self.tokens.clone() else {
            return Some(Ok(Authorization { token: None, token_number }));
        };
        self.under_way.push(Box::pin(async move { tokens.token().await }));
        // A sign-in takes time. It is not awaited here, since answers are settled meanwhile.
        let Poll::Ready(Some(result)) = futures::poll!(self.under_way.next()) else { return None };
        let token = self.signed_in(result);
        Some(token.map(|token| Authorization { token: Some(token), token_number }))
    }

    /// Waits until the sign-in that is under way ends. Never ends if there is none.
    pub(super) async fn sign_in_ended(&mut self) -> Result<(), SignInFailed> {
        match self.under_way.next().await {
            Some(result) => self.signed_in(result).map(drop),
            None => std::future::pending().await,
        }
    }

    fn signed_in(&mut self, result: Result<Secret, SignInError>) -> Result<Secret, SignInFailed> {
        let failures = std::mem::take(&mut self.failures).saturating_add(1);
        self.paused_until = None;
        result.map_err(|error| {
            let pause = self.pause(&error, failures);
            (self.failures, self.paused_until) = (failures, Some(Instant::now() + pause));
            SignInFailed { error, pause }
        })
    }

    fn pause(&self, error: &SignInError, failures: u32) -> Duration {
        match error {
            SignInError::Unreachable(_) => self.backoff.pause(failures, rand::random()),
            // Only a person mends these, so frequent tries would be in vain.
            SignInError::Refused(_) | SignInError::Unusable(_) | SignInError::Settings(_) => {
                self.refused_pause
            }
        }
    }

    /// Returns what is wrong with the sign-ins although there is a token.
    pub(super) fn trouble(&self) -> Option<String> {
        self.tokens.as_ref()?.trouble()
    }

    /// Notes that a target accepted the token of this number.
    pub(super) fn accepted(&mut self, token_number: u64) {
        self.is_token_good |= token_number == self.token_number;
    }

    /// Whether the token of this number was thrown away since.
    pub(super) fn is_outdated(&self, token_number: u64) -> bool {
        token_number < self.token_number
    }

    /// Whether some target accepted the present token.
    pub(super) fn is_token_good(&self) -> bool {
        self.is_token_good
    }

    /// Throws the present token away, so that the next request signs in anew.
    pub(super) fn renew(&mut self) -> Result<(), SignInError> {
        // Requests in flight still hold the old token. Their 401 must not throw the new one away.
        self.token_number += 1;
        self.is_token_good = false;
        self.tokens.as_ref().map_or(Ok(()), |tokens| tokens.renew())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn session() -> Session {
        Session {
            tokens: None,
            under_way: FuturesUnordered::new(),
            failures: 0,
            paused_until: None,
            token_number: 0,
            is_token_good: false,
            backoff: Backoff::new(SECOND, SECOND * 60),
            refused_pause: SECOND * 300,
        }
    }

    fn unreachable() -> SignInError {
        SignInError::Unreachable("no answer".to_owned())
    }

    fn secret() -> Secret {
        Secret::new("token")
    }

    #[test]
    fn pauses_grow_with_failed_sign_ins_until_one_succeeds() {
        let mut session = session();
        assert_eq!(session.paused_until(), None);
        let pauses = [1, 2, 3, 4].map(|_| session.signed_in(Err(unreachable())).unwrap_err().pause);
        for (pause, most) in pauses.into_iter().zip([1, 2, 4, 8]) {
            assert!(pause >= SECOND * most / 2 && pause <= SECOND * most, "{pause:?} of {most} s");
        }
        assert!(session.paused_until().is_some_and(|until| until > Instant::now()));
        assert!(session.signed_in(Ok(secret())).is_ok());
        assert_eq!((session.failures, session.paused_until()), (0, None));
    }

    #[test]
    fn what_only_a_person_mends_is_tried_rarely() {
        let settings = SignInError::Settings("no key".to_owned());
        let failed = session().signed_in(Err(settings.clone())).unwrap_err();
        assert_eq!((failed.error, failed.pause), (settings, SECOND * 300));
    }

    #[tokio::test]
    async fn sign_in_under_way_keeps_the_failures_before_it() {
        for result in [Ok(secret()), Err(unreachable())] {
            let is_good = result.is_ok();
            let mut session = session();
            let token: BoxFuture<'static, _> = Box::pin(std::future::ready(result));
            session.failures = 4;
            session.under_way.push(token);
            assert!(session.is_signing_in() && session.paused_until().is_none());
            assert_eq!(session.sign_in_ended().await.is_ok(), is_good);
            assert!(!session.is_signing_in());
            assert_eq!(session.failures, if is_good { 0 } else { 5 });
        }
    }

    #[tokio::test]
    async fn dry_run_needs_no_token() {
        let authorization = session().authorize().await.unwrap().unwrap();
        assert!(authorization.token.is_none());
    }

    #[test]
    fn token_is_good_once_a_target_accepted_it_and_until_it_is_renewed() {
        let mut session = session();
        assert!(!session.is_token_good());
        session.accepted(0);
        assert!(session.is_token_good() && !session.is_outdated(0));
        session.renew().unwrap();
        assert!(!session.is_token_good() && session.is_outdated(0) && !session.is_outdated(1));
        session.accepted(0);
        assert!(!session.is_token_good(), "that was the token before");
        session.accepted(1);
        assert!(session.is_token_good());
    }
}
