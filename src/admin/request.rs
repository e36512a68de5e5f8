//! The traits of the requests that commands make. The running relay calls `execute` for a request on its
//! control socket. Where no relay runs, the command calls the same `execute` itself.

use std::time::Duration;

use axum::http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::Services;

/// How much of the configuration an answer takes where no relay runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing that lies in a vault.
    Settings,
    /// All targets, also those that a list in a vault names.
    Targets,
    /// All targets and all secrets: MISP or Azure is asked.
    Secrets,
}

/// A question that is answered at once, in one JSON document.
pub trait Request: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The path on the control socket.
    const PATH: &'static str;
    /// `GET` where nothing is changed.
    const METHOD: Method = Method::POST;
    /// How long a command waits for the relay. Counting a large ledger takes seconds.
    const PATIENCE: Duration = Duration::from_secs(30);
    const NEEDS: Needs;

    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// # Errors
    /// It cannot be done: says why, and what to do.
    fn execute(
        self,
        services: &Services,
    ) -> impl Future<Output = anyhow::Result<Self::Answer>> + Send;
}

/// A question that is answered line by line, as the lines are made.
pub trait Streamed: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The path on the control socket.
    const PATH: &'static str;
    const NEEDS: Needs;

    type Line: Serialize + DeserializeOwned + Send + 'static;

    /// Ends early when nobody takes the lines any more.
    ///
    /// # Errors
    /// It cannot be done: says why, and what to do.
    fn execute(
        self,
        services: &Services,
        lines: mpsc::Sender<Self::Line>,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}
