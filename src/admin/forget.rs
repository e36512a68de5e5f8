//! The command `forget`: by the running relay, or on the ledger without one.

use anyhow::bail;

use super::commands::{open, print};
use super::control::{self, Request, Response};
use crate::app;
use crate::config::Config;
use crate::ledger::Forgotten;
use crate::pure::count::Count;

/// Forgets a target that is no longer configured.
///
/// # Errors
/// It is configured, or unknown; neither a relay nor the ledger can do it; or standard output is closed.
pub async fn forget(config: &Config, target: &str) -> anyhow::Result<()> {
    let request = Request::Forget { target: target.to_owned() };
    let done = match control::ask(&config.ledger.data_dir, &request).await? {
        Some(Response::Forgotten { done }) => done,
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(other) => bail!("the relay answers {other:?}"),
        None => {
            let ledger = open(&config.ledger).await?;
            let done = ledger.forget(target, &app::names(config)).await;
            ledger.close().await;
            done?
        }
    };
    match done {
        Forgotten::Done { objects } => print(&format!(
            "{target} is forgotten, and the {} that it was sent; in Sentinel each stays until its valid_until.\n",
            Count(objects, "object")
        )),
        Forgotten::Configured => bail!(
            "{target} is configured: the relay sends to it, or keeps what it was sent for its return\n  hint: remove [target.{target}] from the configuration and restart the relay first"
        ),
        Forgotten::Unknown { absent } if absent.is_empty() => {
            bail!("the ledger knows no target {target:?}, and none that is not configured")
        }
        Forgotten::Unknown { absent } => bail!(
            "the ledger knows no target {target:?}; of those that it knows, these are not configured: {}",
            absent.join(", ")
        ),
    }
}
