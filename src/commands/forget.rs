//! The command `forget` deletes from the ledger a target that is no longer configured, with the record of
//! what it was sent.

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::output::print;
use super::{ConfigSource, door};
use crate::admin::{Needs, Request, Services};
use crate::ledger::Forgotten;
use crate::pure::count::Count;

// Forgets a target that is not configured.
#[derive(Debug, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// The target's name, as `status` shows it
    #[arg(value_name = "NAME")]
    pub target: String,
}

impl Request for Forget {
    const PATH: &'static str = "/forget";
    const NEEDS: Needs = Needs::Targets;

    type Answer = Forgotten;

    async fn execute(self, services: &Services) -> anyhow::Result<Forgotten> {
        let target = self.target;
        // A target that is configured but not enabled counts as well: it may be enabled again.
        let configured: Vec<String> =
            services.targets.iter().map(|target| target.name.clone()).collect();
        let forgotten = services.ledger.forget(&target, &configured).await;
        let done = forgotten.context("the ledger cannot be written")?;
        match &done {
            Forgotten::Done { objects } => {
                tracing::warn!(of = target, objects, "forgotten, as an operator asked");
            }
            Forgotten::Configured | Forgotten::Unknown { .. } => tracing::info!(
                of = target,
                ?done,
                "an operator asked to forget a target that is configured or not known: nothing was changed"
            ),
        }
        Ok(done)
    }
}

/// Forgets a target that is no longer configured.
///
/// # Errors
/// The target is configured or unknown, neither a relay nor the ledger can do it, or standard output is
/// closed.
pub async fn forget(settings: &ConfigSource, asked: Forget) -> anyhow::Result<()> {
    let target = asked.target.clone();
    let (done, _) = door::ask(settings, asked).await?;
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
