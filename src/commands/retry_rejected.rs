//! The command `retry-rejected`: what Sentinel rejected is sent once more.

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::door::{self, By};
use super::output::print;
use super::settings::Settings;
use crate::admin::{Needs, Request, Services};
use crate::ledger::Ledger;
use crate::pure::count::Count;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RetryOptions {
    /// Only this target
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
}

/// Makes what Sentinel rejected pending again. Answers how many objects.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryRejected {
    /// Only what this target rejected.
    #[serde(default)]
    pub target: Option<String>,
}

impl Request for RetryRejected {
    const PATH: &'static str = "/retry-rejected";
    const NEEDS: Needs = Needs::Targets;

    type Answer = u64;

    async fn execute(self, services: &Services) -> anyhow::Result<u64> {
        let target = self.target.as_deref();
        known(target, services)?;
        let retried = services.ledger.retry_rejected(target, Ledger::now()).await;
        let objects = retried.context("the ledger cannot be written")?;
        tracing::info!(
            of = target,
            objects,
            "rejected objects are pending again, as an operator asked"
        );
        Ok(objects)
    }
}

/// Refuses a target that is not enabled, and names those that are.
fn known(target: Option<&str>, services: &Services) -> anyhow::Result<()> {
    let enabled = services.targets.iter().filter(|one| one.is_enabled);
    let names: Vec<&str> = enabled.map(|one| one.name.as_str()).collect();
    match target {
        Some(target) if !names.contains(&target) => {
            bail!("there is no enabled target {target:?}; there is: {}", names.join(", "))
        }
        _ => Ok(()),
    }
}

/// Makes what Sentinel rejected pending again, of one target or of all.
///
/// # Errors
/// There is no such target, neither a relay nor the ledger can do it, or standard output is closed.
pub async fn retry_rejected(settings: &Settings, options: RetryOptions) -> anyhow::Result<()> {
    let (objects, by) = door::ask(settings, RetryRejected { target: options.target }).await?;
    let verb = if objects == 1 { "is" } else { "are" };
    let later = match by {
        By::Relay => "",
        By::Command => " No relay is running: its next start sends what is.",
    };
    print(&format!("{} {verb} pending again.{later}\n", Count(objects, "rejected object")))
}
