//! A service of Azure that is asked over HTTP with a token: it is asked again after failures that may pass, and with a
//! fresh token after a 401.

use std::sync::Arc;
use std::time::Instant;

use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::{Method, Url};

use super::http::{exchange, silence};
use super::pace::pass;
use super::reply::{Reply, may_pass};
use super::token::{SignInError, TokenSource};
use crate::config::Management;
use crate::log_event::ms;
use crate::pure::backoff::Backoff;
use crate::pure::pacer::Pacer;

/// The reason why a service gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoAnswer {
    SignIn(SignInError),
    /// There was no answer, or a failure that may pass, in all attempts.
    Unreachable(String),
    /// The answer has more than so many bytes.
    TooLong(usize),
}

impl From<SignInError> for NoAnswer {
    fn from(error: SignInError) -> Self {
        Self::SignIn(error)
    }
}

/// A request before it gets its token.
#[derive(Debug)]
pub(super) struct Message {
    pub method: Method,
    pub url: Url,
    pub body: Option<String>,
    /// A header besides those of every request.
    pub header: Option<(HeaderName, &'static str)>,
}

impl Message {
    pub(super) fn new(method: Method, url: Url, body: Option<String>) -> Self {
        Self { method, url, body, header: None }
    }
}

/// How a service is asked.
#[derive(Debug)]
pub(super) struct Service {
    /// What errors call it, e.g. `the management plane`.
    pub name: &'static str,
    pub http: reqwest::Client,
    /// `host:port` of the proxy on the way, if there is one.
    pub proxy: Option<String>,
    pub tokens: Arc<TokenSource>,
    pub rules: Management,
    pub pacer: Pacer,
    /// The longest body of an answer, in bytes.
    pub max_answer: usize,
}

impl Service {
    pub(super) fn pacer(rules: &Management) -> Pacer {
        Pacer::with_pauses(rules.request_pause, Instant::now())
    }

    /// Sends a message. It is sent again after a failure that may pass, as often as configured, and once more
    /// with a fresh token after a 401.
    pub(super) async fn exchange(&self, message: &Message) -> Result<Reply, NoAnswer> {
        let Management { retries, backoff_min, backoff_max, .. } = self.rules;
        let backoff = Backoff::new(backoff_min, backoff_max);
        let (mut failures, mut renewed) = (0, false);
        loop {
            let (why, wait) = match self.attempt(message).await {
                Ok(reply) if reply.status == 401 && !renewed => {
                    renewed = true;
                    self.tokens.renew()?;
                    continue;
                }
                Ok(reply) if may_pass(reply.status) => {
                    let host = message.url.host_str().unwrap_or_default();
                    let why = format!("{} at {host} fails: {}", self.name, reply.words());
                    (why, reply.wait())
                }
                Err(NoAnswer::Unreachable(why)) => (why, None),
                answer => return answer,
            };
            failures += 1;
            if failures > retries {
                return Err(NoAnswer::Unreachable(why));
            }
            let pause = wait.unwrap_or_else(|| backoff.pause(failures, rand::random()));
            tracing::debug!(
                why,
                wait_ms = ms(pause),
                "A service of Azure failed, and is asked again"
            );
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a message once.
    async fn attempt(&self, message: &Message) -> Result<Reply, NoAnswer> {
        let token = self.tokens.token().await?;
        pass(&self.pacer).await;
        let mut request = self
            .http
            .request(message.method.clone(), message.url.clone())
            .bearer_auth(token.expose())
            .timeout(self.rules.request_timeout);
        if let Some((name, value)) = &message.header {
            request = request.header(name, *value);
        }
        if let Some(body) = &message.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let answer = exchange(request, self.max_answer).await;
        let reply = answer.map_err(|error| {
            let proxy = self.proxy.as_deref();
            NoAnswer::Unreachable(silence(self.name, &message.url, proxy, &error))
        })?;
        if reply.is_cut {
            return Err(NoAnswer::TooLong(self.max_answer));
        }
        Ok(reply)
    }
}
