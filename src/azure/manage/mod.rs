//! The client for the management plane (Azure Resource Manager). It queries, counts and deletes the
//! indicators of a workspace. The shapes are those of `ThreatIntelligenceQuery.json` and
//! `ThreatIntelligenceCount.json` in the swagger of `Microsoft.SecurityInsights` 2025-07-01-preview.

mod refusal;
mod shape;
mod walk;

use std::sync::Arc;

use reqwest::{Method, Url};
use uuid::Uuid;

pub use shape::{Condition, WorkspaceObject};
pub use walk::Walk;

use super::reply::Reply;
use super::service::{Message, NoAnswer, Service};
use super::token::{SignInError, TokenSource};
use crate::config::{Azure, ManagedWorkspace, Management};

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
    service: Service,
    /// The URL of the workspace. All its threat intelligence lies below it.
    scope: Url,
    api_version: String,
}

impl From<NoAnswer> for ManageError {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::SignIn(error) => Self::SignIn(error),
            NoAnswer::Unreachable(why) => Self::Unreachable(why),
            NoAnswer::TooLong(most) => Self::Unreadable(format!(
                "an answer of more than {} MiB: set a smaller azure.management.page",
                most >> 20
            )),
        }
    }
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
        let service = Service {
            name: "the management plane",
            http,
            proxy: super::http::way(azure).proxy_to(&scope),
            tokens,
            rules: rules.clone(),
            pacer: Service::pacer(rules),
            max_answer: MAX_ANSWER,
        };
        Ok(Self { service, scope, api_version })
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
        let message = Message::new(Method::GET, url, None);
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
        let body = shape::query_body(condition, self.service.rules.page);
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
        let message = Message::new(Method::DELETE, url, None);
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
        Message::new(Method::POST, url, Some(body))
    }

    /// Checks that a URL has the host of the workspace's URL. The token is sent to no other host.
    fn check_host(&self, url: &Url) -> Result<(), ManageError> {
        let is_ours = url.origin() == self.scope.origin();
        if is_ours { Ok(()) } else { Err(foreign(url.as_str())) }
    }

    /// Sends a message, with retries. An answer whose status is neither 2xx nor one of `expected` is an error.
    async fn send(&self, message: &Message, expected: &[u16]) -> Result<Reply, ManageError> {
        let reply = self.service.exchange(message).await?;
        if reply.is_success() || expected.contains(&reply.status) {
            return Ok(reply);
        }
        let token = self.service.tokens.token().await.ok();
        Err(refusal::explain(&reply, self.scope(), token.as_ref()))
    }
}

fn foreign(address: &str) -> ManageError {
    ManageError::Unreadable(format!("it leads to {address}, where no token is sent"))
}
