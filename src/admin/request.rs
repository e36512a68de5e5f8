//! The types of the requests that commands make. The running relay executes a request that comes over its
//! control socket. Where no relay runs, the command executes the same request itself.

use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
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

/// The parameters of a request that has none.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Asks what became of an event, an attribute or a value, and why. Commands ask it, and the page for people.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    pub what: String,
    /// Whether the answer holds the indicators as STIX.
    #[serde(default)]
    pub stix: bool,
}

/// Carries a request with the parameters `Q` out. The error says why it cannot be carried out, and what to do.
pub(super) type Execute<Q, A> = for<'s> fn(&'s Services, Q) -> BoxFuture<'s, anyhow::Result<A>>;

/// A request with the parameters `Q` that is answered at once, with the JSON document `A`.
#[derive(Debug)]
pub struct Request<Q, A> {
    /// The path on the control socket.
    pub path: &'static str,
    /// Whether it may change something.
    pub changes: bool,
    /// What a command has to load to answer by itself.
    pub needs: Needs,
    /// How long a command waits for the relay's answer.
    pub patience: Duration,
    pub execute: Execute<Q, A>,
}

impl<Q, A> Request<Q, A> {
    /// Makes a request that changes nothing.
    pub const fn read(path: &'static str, needs: Needs, execute: Execute<Q, A>) -> Self {
        // Counting a large ledger takes seconds.
        Self { path, changes: false, needs, patience: Duration::from_secs(30), execute }
    }

    /// Makes a request that changes something.
    pub const fn change(path: &'static str, needs: Needs, execute: Execute<Q, A>) -> Self {
        Self { changes: true, ..Self::read(path, needs, execute) }
    }

    /// Allows ten minutes for the answer: MISP is asked, or a large ledger is rewritten.
    pub const fn slow(self) -> Self {
        Self { patience: Duration::from_secs(600), ..self }
    }
}

/// Carries a request out whose answer is long, and sends its lines as they are made. It ends early when
/// nobody takes the lines any more. The error is the same as that of [`Execute`].
pub(super) type ExecuteByLines<Q, L> =
    for<'s> fn(&'s Services, Q, mpsc::Sender<L>) -> BoxFuture<'s, anyhow::Result<()>>;

/// A request with the parameters `Q` that is answered by lines of JSON, each an `L`.
#[derive(Debug)]
pub struct LongRequest<Q, L> {
    /// The path on the control socket.
    pub path: &'static str,
    /// What a command has to load to answer by itself.
    pub needs: Needs,
    pub execute: ExecuteByLines<Q, L>,
}
