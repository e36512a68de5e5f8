//! Uploads objects that the ledger does not know: `cleanup` ends what another product left, under that
//! product's source system. These requests use the same quota as all others of their credential. The ledger
//! stores nothing about them, so a failure is retried here or reported to the caller.

use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;

use super::destination::Destination;
use super::outcome::UploadOutcome;
use super::session::UploadAccess;
use super::upload::BadEndpoint;
use crate::azure::pace::pass;
use crate::azure::token::{SignInError, TokenSource};
use crate::config::{Config, Delivery, Target};
use crate::pure::backoff::Backoff;
use crate::pure::pacer::Pacer;

/// The most failures of network or server in a row. After one more the upload is given up.
const MOST_FAILURES: u32 = 8;

/// Uploads to one target that bypass the ledger.
#[derive(Debug, Clone)]
pub struct ForeignUpload {
    destination: Destination,
    max_objects: usize,
    tokens: Arc<TokenSource>,
    pacer: Pacer,
    delivery: Delivery,
}

/// The reason why an upload stopped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ForeignUploadError {
    #[error(transparent)]
    SignIn(#[from] SignInError),
    #[error("Sentinel does not accept it: {0}")]
    Refused(String),
}

/// The last answer to a request, after all retries.
enum BatchVerdict {
    /// Sentinel took the request, except the records at these positions, each with Sentinel's words.
    Taken(Vec<(usize, String)>),
    /// Sentinel refused the request as a whole.
    Refused(String),
}

impl ForeignUpload {
    /// Prepares uploads to `target`.
    ///
    /// # Errors
    /// [`BadEndpoint`].
    pub fn new(
        config: &Config,
        target: &Target,
        http: &reqwest::Client,
        access: UploadAccess,
    ) -> Result<Self, BadEndpoint> {
        let delivery = config.delivery.clone();
        let destination = Destination::new(config, target, http)?;
        let pacer = access.pacer.unwrap_or_else(|| {
            Pacer::with_quota(target.limits.quota_requests, delivery.quota_window, Instant::now())
        });
        let (tokens, max_objects) = (access.tokens, target.limits.max_objects.max(1));
        Ok(Self { destination, max_objects, tokens, pacer, delivery })
    }

    /// Returns the most objects that a request may hold.
    pub fn max_objects(&self) -> usize {
        self.max_objects
    }

    /// Uploads objects under a source system and returns those that were rejected, with the reason.
    ///
    /// # Errors
    /// [`ForeignUploadError`]: Sentinel may have taken some of the objects.
    pub async fn send(
        &self,
        sourcesystem: &str,
        objects: Vec<String>,
    ) -> Result<Vec<(String, String)>, ForeignUploadError> {
        let (mut rejected, mut waiting) = (Vec::new(), vec![objects]);
        while let Some(mut batch) = waiting.pop() {
            match self.send_batch(sourcesystem, &batch).await? {
                BatchVerdict::Taken(complaints) => {
                    let named = complaints.into_iter();
                    rejected
                        .extend(named.filter_map(|(at, why)| Some((batch.get(at)?.clone(), why))));
                }
                BatchVerdict::Refused(why) if batch.len() <= 1 => {
                    rejected.extend(batch.pop().map(|object| (object, why)));
                }
                BatchVerdict::Refused(_) => {
                    // One bad record may make Sentinel refuse the whole request, so halves are sent until it is
                    // alone.
                    waiting.push(batch.split_off(batch.len() / 2));
                    waiting.push(batch);
                }
            }
        }
        Ok(rejected)
    }

    async fn send_batch(
        &self,
        sourcesystem: &str,
        objects: &[String],
    ) -> Result<BatchVerdict, ForeignUploadError> {
        let backoff = Backoff::new(self.delivery.backoff_min, self.delivery.backoff_max);
        let (mut failures, mut renewed) = (0, false);
        loop {
            let token = self.tokens.token().await?;
            pass(&self.pacer).await;
            let response = self.destination.send(Some(&token), sourcesystem, objects).await;
            let (why, wait) = match response.outcome {
                UploadOutcome::Accepted { rejected, .. } => {
                    return Ok(BatchVerdict::Taken(rejected));
                }
                UploadOutcome::BadRequest { why }
                | UploadOutcome::TooLarge { why }
                | UploadOutcome::Unreadable { why } => {
                    return Ok(BatchVerdict::Refused(why.to_string()));
                }
                UploadOutcome::Throttled { wait } => {
                    let wait = wait.unwrap_or(self.delivery.throttled_default);
                    // The quota belongs to the credential, so the target's sender must wait too.
                    self.pacer.hold(Instant::now() + wait);
                    continue;
                }
                UploadOutcome::Unauthorized { .. } if !renewed => {
                    // The token may have ended. A second 401, with a fresh token, has another cause.
                    renewed = true;
                    self.tokens.renew()?;
                    continue;
                }
                UploadOutcome::Transient { why, wait, .. } => (why, wait),
                UploadOutcome::Foreign { why, .. } => (why, None),
                UploadOutcome::Unauthorized { why }
                | UploadOutcome::Forbidden { why }
                | UploadOutcome::Misconfigured { why } => {
                    return Err(ForeignUploadError::Refused(why.to_string()));
                }
            };
            // Objects of a failed request may have been taken. Ending an indicator twice does no harm.
            failures += 1;
            if failures > MOST_FAILURES {
                return Err(ForeignUploadError::Refused(why.to_string()));
            }
            tokio::time::sleep(wait.unwrap_or_else(|| backoff.pause(failures, rand::random())))
                .await;
        }
    }
}
