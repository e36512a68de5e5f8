//! The command `retry-rejected` makes objects pending again that Sentinel rejected, so that they are sent
//! once more.

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::door::{self, By};
use super::output::print;
use crate::admin::{Needs, Request, Services};
use crate::config::ConfigSource;
use crate::ledger::Ledger;
use crate::log_event::LogEvent;
use crate::pure::count::Count;

// Makes what Sentinel rejected pending again. The answer is how many objects that are.
#[derive(Debug, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryRejected {
    /// Retry only at this target
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
}

pub(super) const RETRY_REJECTED: Request<RetryRejected, u64> =
    Request::change("/retry-rejected", Needs::Targets, |services, asked| {
        Box::pin(retry(services, asked.target))
    });

async fn retry(services: &Services, target: Option<String>) -> anyhow::Result<u64> {
    let target = target.as_deref();
    // Only an enabled target has a sender that would send it again.
    let enabled = services.targets.iter().filter(|one| one.enabled);
    let names: Vec<&str> = enabled.map(|one| one.name.as_str()).collect();
    if let Some(target) = target.filter(|target| !names.contains(target)) {
        bail!("there is no enabled target {target:?}; there is: {}", names.join(", "))
    }
    let retried = services.ledger.retry_rejected(target, Ledger::now()).await;
    let objects = retried.context("the ledger cannot be written")?;
    tracing::info!(
        event = LogEvent::OperatorRetry.word(),
        target,
        objects,
        "Rejected objects are pending again, as an operator asked"
    );
    Ok(objects)
}

/// Makes what Sentinel rejected pending again, at one target or at all.
///
/// # Errors
/// There is no such target, neither a relay nor the ledger can do it, or standard output is closed.
pub async fn retry_rejected(settings: &ConfigSource, asked: RetryRejected) -> anyhow::Result<()> {
    let (objects, by) = door::ask(settings, &RETRY_REJECTED, asked).await?;
    let verb = if objects == 1 { "is" } else { "are" };
    let later = match by {
        By::Relay => "",
        By::Command => " No relay is running: its next start sends what is.",
    };
    print(&format!("{} {verb} pending again.{later}\n", Count(objects, "rejected object")))
}
