//! Keeps the sign-in of a sender: it holds the token, signs in again when the token is refused, and pauses
//! after a sign-in that failed.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

use crate::azure::token::{SignInError, SignInStanding, TokenSource};
use crate::config::{Delivery, Secret};
use crate::pure::backoff::Backoff;
use crate::pure::outage::Outage;
use crate::pure::pacer::Pacer;

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
    /// The source of tokens. `None`: the targets are dry runs, which need no token.
    pub tokens: Option<Arc<TokenSource>>,
    /// The sign-in that is under way, at most one. No slot is taken meanwhile.
    under_way: FuturesUnordered<BoxFuture<'static, Result<Secret, SignInError>>>,
    /// How many sign-ins failed in a row.
    failures: u32,
    /// The end of the pause after a failed sign-in. Nothing is sent before.
    pub paused_until: Option<Instant>,
    /// The number of tokens that were dropped. It tells answers to the present token from answers to an older one.
    pub token_number: u64,
    /// Some target accepted the present token. If another target refuses it, the token is not the cause.
    pub is_token_good: bool,
    backoff: Backoff,
    refused_pause: Duration,
    /// The sign-ins that failed since the last one that succeeded.
    pub outage: Outage,
}

/// A failed sign-in, and the pause before the next one.
#[derive(Debug)]
pub(super) struct SignInFailed {
    pub error: SignInError,
    pub pause: Duration,
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
            outage: Outage::default(),
        }
    }

    /// Whether a sign-in is under way.
    pub(super) fn is_signing_in(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Returns a token without waiting for one, or no token for a dry run. `None`: a sign-in is under way now.
    pub(super) async fn authorize(&mut self) -> Option<Result<Option<Secret>, SignInFailed>> {
        let Some(tokens) = self.tokens.clone() else { return Some(Ok(None)) };
        self.under_way.push(Box::pin(async move { tokens.token().await }));
        // A sign-in takes time. It is not awaited here, since answers are settled meanwhile.
        let Poll::Ready(Some(result)) = futures::poll!(self.under_way.next()) else { return None };
        Some(self.signed_in(result).map(Some))
    }

    /// Waits for the end of the sign-in that is under way. Without one it waits forever.
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
            // Only a person can put these right, so frequent tries would be in vain.
            SignInError::Refused(_) | SignInError::Unusable(_) | SignInError::Settings(_) => {
                self.refused_pause
            }
        }
    }

    /// Returns how the sign-ins stand.
    pub(super) fn standing(&self) -> SignInStanding {
        self.tokens.as_ref().map(|tokens| tokens.standing()).unwrap_or_default()
    }

    /// Notes that a target accepted the token of this number.
    pub(super) fn accepted(&mut self, token_number: u64) {
        self.is_token_good |= token_number == self.token_number;
    }

    /// Whether the token of this number was dropped since.
    pub(super) fn is_outdated(&self, token_number: u64) -> bool {
        token_number < self.token_number
    }

    /// Drops the present token, so that the next request signs in anew.
    pub(super) fn renew(&mut self) -> Result<(), SignInError> {
        // Requests in flight still have the old token. A 401 to one of them must not drop the new token.
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
            outage: Outage::default(),
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
        assert_eq!(session.paused_until, None);
        let pauses = [1, 2, 3, 4].map(|_| session.signed_in(Err(unreachable())).unwrap_err().pause);
        for (pause, most) in pauses.into_iter().zip([1, 2, 4, 8]) {
            assert!(pause >= SECOND * most / 2 && pause <= SECOND * most, "{pause:?} of {most} s");
        }
        assert!(session.paused_until.is_some_and(|until| until > Instant::now()));
        assert!(session.signed_in(Ok(secret())).is_ok());
        assert_eq!((session.failures, session.paused_until), (0, None));
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
            assert!(session.is_signing_in() && session.paused_until.is_none());
            assert_eq!(session.sign_in_ended().await.is_ok(), is_good);
            assert!(!session.is_signing_in());
            assert_eq!(session.failures, if is_good { 0 } else { 5 });
        }
    }

    #[tokio::test]
    async fn dry_run_needs_no_token() {
        assert_eq!(session().authorize().await.unwrap().unwrap(), None);
    }

    #[test]
    fn token_is_good_once_a_target_accepted_it_and_until_it_is_renewed() {
        let mut session = session();
        assert!(!session.is_token_good);
        session.accepted(0);
        assert!(session.is_token_good && !session.is_outdated(0));
        session.renew().unwrap();
        assert!(!session.is_token_good && session.is_outdated(0) && !session.is_outdated(1));
        session.accepted(0);
        assert!(!session.is_token_good, "that was the token before");
        session.accepted(1);
        assert!(session.is_token_good);
    }
}
