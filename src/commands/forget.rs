//! The command `forget` deletes from the ledger a target that is no longer configured, with the record of
//! what it was sent.

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::output::print;
use super::{ConfigSource, door};
use crate::admin::{Needs, Request, Services};
use crate::ledger::Forgotten;
use crate::log_event::LogEvent;
use crate::pure::count::Count;

// Forgets a target that is not configured.
#[derive(Debug, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// The target's name, as `status` shows it
    #[arg(value_name = "NAME")]
    pub target: String,
}

pub(super) const FORGET: Request<Forget, Forgotten> =
    Request::change("/forget", Needs::Targets, |services, asked| {
        Box::pin(delete(services, asked.target))
    });

async fn delete(services: &Services, target: String) -> anyhow::Result<Forgotten> {
    // A target that is configured but not enabled counts as well: it may be enabled again.
    let configured: Vec<String> = services.targets.iter().map(|one| one.name.clone()).collect();
    let forgotten = services.ledger.forget(&target, &configured).await;
    let done = forgotten.context("the ledger cannot be written")?;
    match &done {
        Forgotten::Done { objects } => {
            tracing::warn!(
                event = LogEvent::OperatorForget.word(),
                target,
                objects,
                "A target is forgotten, as an operator asked"
            );
        }
        Forgotten::Configured | Forgotten::Unknown { .. } => tracing::info!(
            event = LogEvent::OperatorForget.word(),
            target,
            ?done,
            "An operator asked to forget a target that is configured or not known. Nothing was changed"
        ),
    }
    Ok(done)
}

/// Forgets a target that is no longer configured.
///
/// # Errors
/// The target is configured or unknown, neither a relay nor the ledger can do it, or standard output is
/// closed.
pub async fn forget(settings: &ConfigSource, asked: Forget) -> anyhow::Result<()> {
    let target = asked.target.clone();
    let (done, _) = door::ask(settings, &FORGET, asked).await?;
    match done {
        Forgotten::Done { objects } => {
            let objects = Count(objects, "object");
            print(&format!(
                "{target} is forgotten, and the {objects} that it was sent; in Sentinel each stays until its valid_until.\n"
            ))
        }
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
