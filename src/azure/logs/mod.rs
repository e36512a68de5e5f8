//! The client for Log Analytics' query API, which answers KQL about one workspace:
//! <https://learn.microsoft.com/en-us/azure/azure-monitor/logs/api/overview>.

mod answer;
mod refusal;

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::header::HeaderName;
use reqwest::{Method, Url};
use serde_json::json;
use uuid::Uuid;

pub use answer::LogsTable;

use super::service::{Message, NoAnswer, Service};
use super::token::{SignInError, TokenSource};
use crate::config::{Azure, Hits, Management};

/// The longest body of an answer, in bytes. The API cuts its own answers at about this size.
const MAX_ANSWER: usize = 64 << 20;

/// How long the API may work on a query. Its default is 3 minutes, longer than a request may
/// last here by default.
const PATIENCE: (HeaderName, &str) = (HeaderName::from_static("prefer"), "wait=45");

/// The reason why Log Analytics gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogsError {
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// The request was refused, and an operator must change something. The text holds the remedy.
    #[error("Log Analytics refuses: {0}")]
    Refused(String),
    /// There was no answer, or a failure that may pass, in all attempts.
    #[error("{0}")]
    Unreachable(String),
    /// Log Analytics answered with a part of the rows, which is as good as none.
    #[error("Log Analytics answered only in part: {0}")]
    Incomplete(String),
    /// The answer is not one of this API.
    #[error("the answer of Log Analytics cannot be read: {0}")]
    Unreadable(String),
}

impl LogsError {
    /// A word for the kind, by which a change of trouble is noticed.
    pub fn word(&self) -> &'static str {
        match self {
            Self::SignIn(_) => "sign_in",
            Self::Refused(_) => "refused",
            Self::Unreachable(_) => "unreachable",
            Self::Incomplete(_) => "incomplete",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

impl From<NoAnswer> for LogsError {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::SignIn(error) => Self::SignIn(error),
            NoAnswer::Unreachable(why) => Self::Unreachable(why),
            NoAnswer::TooLong(most) => {
                Self::Incomplete(format!("the answer has more than {} MiB", most >> 20))
            }
        }
    }
}

/// The error if the setting `logs` of a target is no https URL.
#[derive(Debug, thiserror::Error)]
#[error("logs = {address} is no https address")]
pub struct BadAddress {
    address: String,
}

/// The time that a query looks at: after `after`, up to and including `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub after: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

/// Writes a time as KQL and ISO 8601 have it.
pub fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The client for one workspace.
#[derive(Debug)]
pub struct LogsClient {
    service: Service,
    url: Url,
    workspace: Uuid,
}

impl LogsClient {
    /// Makes a client for a workspace. It sends nothing yet. `tokens` must be for the scope of `hits`.
    ///
    /// # Errors
    /// [`BadAddress`].
    pub fn new(
        http: reqwest::Client,
        azure: &Azure,
        hits: &Hits,
        workspace: Uuid,
        tokens: Arc<TokenSource>,
        rules: &Management,
    ) -> Result<Self, BadAddress> {
        let bad = || BadAddress { address: hits.logs.clone() };
        let mut url = Url::parse(&hits.logs).map_err(|_| bad())?;
        // The token is sent there.
        if url.scheme() != "https" {
            return Err(bad());
        }
        let path = ["v1", "workspaces", &workspace.to_string(), "query"];
        url.path_segments_mut().map_err(|()| bad())?.pop_if_empty().extend(path);
        let service = Service {
            name: "Log Analytics",
            http,
            proxy: super::http::way(azure).proxy_to(&url),
            tokens,
            rules: rules.clone(),
            pacer: Service::pacer(rules),
            max_answer: MAX_ANSWER,
        };
        Ok(Self { service, url, workspace })
    }

    /// Asks for the rows of a query, which looks at no other time than `span`.
    ///
    /// # Errors
    /// [`LogsError`]. An answer in part is an error too.
    pub async fn query(&self, kql: &str, span: Span) -> Result<LogsTable, LogsError> {
        let timespan = format!("{}/{}", written(span.after), written(span.until));
        let body = json!({"query": kql, "timespan": timespan}).to_string();
        let message = Message {
            header: Some(PATIENCE),
            ..Message::new(Method::POST, self.url.clone(), Some(body))
        };
        let reply = self.service.exchange(&message).await?;
        match reply.status {
            200 => answer::read(&reply.body),
            204 => Ok(LogsTable::default()),
            _ => Err(refusal::explain(&reply, self.workspace)),
        }
    }
}
