//! Uploads of what is not the ledger's: what another product left, ended under its own source system. They
//! pay the same quota as everything else of their credential, and are remembered by nobody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::outcome::{Asked, Outcome};
use super::pacer::{Pacer, SharedPacer};
use super::upload::{self, BadEndpoint};
use crate::azure::token::{SignInError, TokenSource};
use crate::config::{Config, Delivery, Target};
use crate::pure::backoff::Backoff;

/// Faults of network or server in a row after which it is given up.
const MOST_FAILURES: u32 = 8;

/// Uploads to one target.
#[derive(Debug, Clone)]
pub struct Guest {
    client: upload::Client,
    target: Target,
    tokens: Arc<TokenSource>,
    pacer: SharedPacer,
    delivery: Delivery,
}

/// Why nothing more is uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GuestError {
    #[error(transparent)]
    SignIn(#[from] SignInError),
    #[error("Sentinel does not take it: {0}")]
    Refused(String),
}

/// What became of a request.
enum Sent {
    /// Those that were rejected, by position, with Sentinel's words.
    Taken(Vec<(usize, String)>),
    /// The request is bad as a whole.
    Bad(String),
}

impl Guest {
    /// `pacer`: that of the target's sender; without one, a new one.
    ///
    /// # Errors
    /// [`BadEndpoint`].
    pub fn new(
        config: &Config,
        target: &Target,
        http: &reqwest::Client,
        (tokens, pacer): (Arc<TokenSource>, Option<SharedPacer>),
    ) -> Result<Self, BadEndpoint> {
        let delivery = config.delivery.clone();
        let client = upload::Client::new(http.clone(), target, delivery.request_timeout)?;
        let pacer = pacer.unwrap_or_else(|| {
            let requests = target.limits.quota_requests;
            SharedPacer::new(Pacer::new(requests, delivery.quota_window, Instant::now()))
        });
        Ok(Self { client, target: target.clone(), tokens, pacer, delivery })
    }

    /// Objects a request.
    #[must_use]
    pub fn at_once(&self) -> usize {
        self.target.limits.max_objects.max(1)
    }

    /// Uploads objects under a source system; returns those that were rejected, with the reason.
    ///
    /// # Errors
    /// [`GuestError`]: some may have been taken.
    pub async fn send(
        &self,
        sourcesystem: &str,
        objects: Vec<String>,
    ) -> Result<Vec<(String, String)>, GuestError> {
        let (mut rejected, mut waiting) = (Vec::new(), vec![objects]);
        while let Some(mut batch) = waiting.pop() {
            match self.send_batch(sourcesystem, &batch).await? {
                Sent::Taken(complaints) => {
                    let named = complaints.into_iter();
                    rejected
                        .extend(named.filter_map(|(at, why)| Some((batch.get(at)?.clone(), why))));
                }
                Sent::Bad(why) if batch.len() <= 1 => {
                    rejected.extend(batch.pop().map(|object| (object, why)));
                }
                Sent::Bad(_) => {
                    waiting.push(batch.split_off(batch.len() / 2));
                    waiting.push(batch);
                }
            }
        }
        Ok(rejected)
    }

    async fn send_batch(&self, sourcesystem: &str, objects: &[String]) -> Result<Sent, GuestError> {
        let backoff = Backoff::new(self.delivery.backoff_min, self.delivery.backoff_max);
        let asked = Asked {
            workspace: self.target.workspace_id,
            objects: objects.len(),
            accept_body: self.delivery.accept_body,
        };
        let (mut failures, mut renewed) = (0, false);
        loop {
            let token = self.tokens.token().await?;
            self.slot().await;
            let body = upload::body(self.target.api, sourcesystem, objects);
            let (why, wait) = match Outcome::of(&self.client.send(&token, body).await, asked) {
                Outcome::Accepted { rejected, .. } => return Ok(Sent::Taken(rejected)),
                Outcome::BadRequest { why }
                | Outcome::TooLarge { why }
                | Outcome::Unreadable { why } => {
                    return Ok(Sent::Bad(why));
                }
                Outcome::Throttled { wait } => {
                    let wait = wait.unwrap_or(self.delivery.throttled_default);
                    self.pacer.hold(Instant::now() + wait);
                    continue;
                }
                Outcome::Unauthorized { .. } if !renewed => {
                    renewed = true;
                    self.tokens.renew()?;
                    continue;
                }
                Outcome::Transient { why, wait, .. } => (why, wait),
                Outcome::Foreign { why, .. } => (why, None),
                Outcome::Unauthorized { why }
                | Outcome::Forbidden { why }
                | Outcome::Misconfigured { why } => return Err(GuestError::Refused(why)),
            };
            failures += 1;
            if failures > MOST_FAILURES {
                return Err(GuestError::Refused(why));
            }
            tokio::time::sleep(wait.unwrap_or_else(|| backoff.pause(failures, rand::random())))
                .await;
        }
    }

    /// Waits for a slot of the quota.
    async fn slot(&self) {
        while let Err(wait) = self.pacer.take(Instant::now()) {
            tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
        }
    }
}
