//! The traits of the requests that commands make. The running relay calls `execute` for a request on its
//! control socket. Where no relay runs, the command calls the same `execute` itself.

use std::time::Duration;

use axum::http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::Services;

/// How much of the configuration a command has to load to answer by itself, where no relay runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The settings alone. No vault is asked.
    Settings,
    /// All targets, including those that a list in a vault names.
    Targets,
    /// All targets and all secrets, because MISP or Azure is asked.
    Secrets,
}

/// A request that is answered at once, with one JSON document.
pub trait Request: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The request's path on the control socket.
    const PATH: &'static str;
    /// The HTTP method: `GET` for a request that changes nothing.
    const METHOD: Method = Method::POST;
    /// How long a command waits for the relay's answer. Counting a large ledger takes seconds.
    const PATIENCE: Duration = Duration::from_secs(30);
    /// What a command has to load to answer by itself.
    const NEEDS: Needs;

    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Carries the request out.
    ///
    /// # Errors
    /// The request cannot be carried out; the error says why, and what to do.
    fn execute(
        self,
        services: &Services,
    ) -> impl Future<Output = anyhow::Result<Self::Answer>> + Send;
}

/// A question that is answered line by line, as the lines are made.
pub trait Streamed: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The path on the control socket.
    const PATH: &'static str;
    /// What a command has to load to answer by itself.
    const NEEDS: Needs;

    type Line: Serialize + DeserializeOwned + Send + 'static;

    /// Carries the request out, and sends its answer to `lines`. Ends early when nobody takes the lines any
    /// more.
    ///
    /// # Errors
    /// The request cannot be carried out; the error says why, and what to do.
    fn execute(
        self,
        services: &Services,
        lines: mpsc::Sender<Self::Line>,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}
