//! The client for the management plane (Azure Resource Manager). It queries, counts and deletes the
//! indicators of a workspace. The shapes are those of `ThreatIntelligenceQuery.json` and
//! `ThreatIntelligenceCount.json` in the swagger of `Microsoft.SecurityInsights` 2025-07-01-preview.

mod refusal;
mod shape;
mod walk;

use std::sync::Arc;
use std::time::Instant;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Url};
use uuid::Uuid;

pub use shape::{Condition, WorkspaceObject};
pub use walk::Walk;

use super::http::{exchange, silence};
use super::pace::pass;
use super::reply::{Reply, may_pass};
use super::token::{SignInError, TokenSource};
use crate::config::{Azure, ManagedWorkspace, Management};
use crate::log_event::ms;
use crate::pure::backoff::Backoff;
use crate::pure::pacer::Pacer;

/// The longest body of an answer, in bytes. A page of 1,000 indicators takes a few MB.
const MAX_ANSWER: usize = 64 << 20;

/// The API version of `Microsoft.OperationalInsights/workspaces`.
const WORKSPACE_VERSION: &str = "2023-09-01";

/// The reason why the management plane gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManageError {
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// The request was refused, and an operator must change something. The text holds the remedy.
    #[error("the management plane refuses: {0}")]
    Refused(String),
    /// There was no answer, or a failure that may pass, in all attempts.
    #[error("{0}")]
    Unreachable(String),
    /// The answer is not one of this API.
    #[error("the answer of the management plane cannot be read: {0}")]
    Unreadable(String),
}

/// The error if the setting `management` is no https URL.
#[derive(Debug, thiserror::Error)]
#[error("management = {address} is no https address")]
pub struct BadAddress {
    address: String,
}

/// The client for one workspace.
#[derive(Debug)]
pub struct ManageClient {
    http: reqwest::Client,
    /// `host:port` of the proxy on the way, if there is one.
    proxy: Option<String>,
    /// The URL of the workspace. All its threat intelligence lies below it.
    scope: Url,
    api_version: String,
    tokens: Arc<TokenSource>,
    rules: Management,
    pacer: Pacer,
}

/// A request before it gets its token.
pub(super) struct Message {
    pub method: Method,
    pub url: Url,
    pub body: Option<String>,
}

impl ManageClient {
    /// Makes a client for a workspace. It sends nothing yet.
    ///
    /// # Errors
    /// [`BadAddress`].
    pub fn new(
        http: reqwest::Client,
        azure: &Azure,
        workspace: &ManagedWorkspace,
        tokens: Arc<TokenSource>,
        rules: &Management,
    ) -> Result<Self, BadAddress> {
        let bad = || BadAddress { address: workspace.management.clone() };
        let mut scope = Url::parse(&workspace.management).map_err(|_| bad())?;
        // The token is sent there.
        if scope.scheme() != "https" {
            return Err(bad());
        }
        let subscription = workspace.subscription_id.to_string();
        scope.path_segments_mut().map_err(|()| bad())?.pop_if_empty().extend([
            "subscriptions",
            &subscription,
            "resourceGroups",
            &workspace.resource_group,
            "providers",
            "Microsoft.OperationalInsights",
            "workspaces",
            &workspace.workspace_name,
        ]);
        let api_version = workspace.api_version.clone();
        let pacer = Pacer::with_pauses(rules.request_pause, Instant::now());
        let proxy = super::http::way(azure).proxy_to(&scope);
        Ok(Self { http, proxy, scope, api_version, tokens, rules: rules.clone(), pacer })
    }

    /// Returns the workspace's resource ID, on which roles are assigned.
    pub fn scope(&self) -> &str {
        self.scope.path()
    }

    /// Asks for the workspace ID, which uploads name. `None`: the role does not allow to read it.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn workspace_id(&self) -> Result<Option<Uuid>, ManageError> {
        let mut url = self.scope.clone();
        url.query_pairs_mut().append_pair("api-version", WORKSPACE_VERSION);
        let message = Message { method: Method::GET, url, body: None };
        let reply = self.send(&message, &[401, 403]).await?;
        if !reply.is_success() {
            return Ok(None);
        }
        shape::workspace_id(&reply.body).map(Some)
    }

    /// Asks how many objects meet a condition.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn count(&self, condition: &Condition<'_>) -> Result<u64, ManageError> {
        let message = self.post("count", shape::count_body(condition));
        shape::count(&self.send(&message, &[]).await?.body)
    }

    /// Returns the objects that meet a condition, page by page. The first page is asked for later.
    pub fn walk(&self, condition: &Condition<'_>) -> Walk<'_> {
        let body = shape::query_body(condition, self.rules.page);
        Walk::new(self, self.post("query", body), condition.source)
    }

    /// Deletes an object, and returns whether it existed.
    ///
    /// # Errors
    /// [`ManageError`]. The management plane answers 500 for some ids that it does not know
    /// (<https://github.com/Azure/Azure-Sentinel/issues/11913>). Here that is the same as any other failure.
    pub async fn delete(&self, resource: &str) -> Result<bool, ManageError> {
        let mut url = self.scope.join(resource).map_err(|_| foreign(resource))?;
        // The resource comes from an answer. Only what lies below the workspace may be deleted.
        let below = format!("{}/", self.scope()).to_ascii_lowercase();
        if !url.path().to_ascii_lowercase().starts_with(&below) {
            return Err(foreign(resource));
        }
        self.check_host(&url)?;
        url.query_pairs_mut().append_pair("api-version", &self.api_version);
        let message = Message { method: Method::DELETE, url, body: None };
        let reply = self.send(&message, &[404, 410]).await?;
        Ok(reply.is_success() && reply.status != 204)
    }

    fn post(&self, action: &str, body: String) -> Message {
        let mut url = self.scope.clone();
        // This cannot fail: `new` has extended the path of the same URL.
        if let Ok(mut path) = url.path_segments_mut() {
            let room = ["providers", "Microsoft.SecurityInsights", "threatIntelligence", "main"];
            path.extend(room).push(action);
        }
        url.query_pairs_mut().append_pair("api-version", &self.api_version);
        Message { method: Method::POST, url, body: Some(body) }
    }

    /// Checks that a URL has the host of the workspace's URL. The token is sent to no other host.
    fn check_host(&self, url: &Url) -> Result<(), ManageError> {
        let is_ours = url.origin() == self.scope.origin();
        if is_ours { Ok(()) } else { Err(foreign(url.as_str())) }
    }

    /// Sends a message, with retries. An answer whose status is neither 2xx nor one of `expected` is an error.
    async fn send(&self, message: &Message, expected: &[u16]) -> Result<Reply, ManageError> {
        let reply = self.exchange(message).await?;
        if reply.is_success() || expected.contains(&reply.status) {
            return Ok(reply);
        }
        let token = self.tokens.token().await.ok();
        Err(refusal::explain(&reply, self.scope(), token.as_ref()))
    }

    /// Sends a message. It is sent again after a failure that may pass, as often as configured, and once more
    /// with a fresh token after a 401.
    async fn exchange(&self, message: &Message) -> Result<Reply, ManageError> {
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
                    let host = self.scope.host_str().unwrap_or_default();
                    let why = format!("the management plane at {host} fails: {}", reply.words());
                    (why, reply.wait())
                }
                Err(ManageError::Unreachable(why)) => (why, None),
                answer => return answer,
            };
            failures += 1;
            if failures > retries {
                return Err(ManageError::Unreachable(why));
            }
            let pause = wait.unwrap_or_else(|| backoff.pause(failures, rand::random()));
            tracing::debug!(
                why,
                wait_ms = ms(pause),
                "The management plane failed, and is asked again"
            );
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a message once.
    async fn attempt(&self, message: &Message) -> Result<Reply, ManageError> {
        let token = self.tokens.token().await?;
        pass(&self.pacer).await;
        let mut request = self
            .http
            .request(message.method.clone(), message.url.clone())
            .bearer_auth(token.expose())
            .timeout(self.rules.request_timeout);
        if let Some(body) = &message.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let answer = exchange(request, MAX_ANSWER).await;
        let reply = answer.map_err(|error| {
            let proxy = self.proxy.as_deref();
            ManageError::Unreachable(silence("the management plane", &self.scope, proxy, &error))
        })?;
        if reply.is_cut {
            return Err(ManageError::Unreadable(format!(
                "an answer of more than {} MiB: set a smaller azure.management.page",
                MAX_ANSWER >> 20
            )));
        }
        Ok(reply)
    }
}

fn foreign(address: &str) -> ManageError {
    ManageError::Unreadable(format!("it leads to {address}, where no token is sent"))
}
