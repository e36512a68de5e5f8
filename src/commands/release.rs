//! The command `release` ends the claims that the guard keeps. It can also tell the relay that MISP is right
//! to show no events, or that its new warninglists are right.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::output::print;
use super::{ConfigSource, door};
use crate::admin::{Needs, Request, Services};
use crate::ledger::{Adopted, Ledger, may_empty};
use crate::pure::count::Count;

#[derive(Debug, Args)]
pub struct ReleaseOptions {
    #[command(flatten)]
    pub release: Release,

    /// Put the warninglists into force that the guard keeps waiting: MISP is right about them
    #[arg(long, conflicts_with_all = ["event", "empty"])]
    pub warninglists: bool,
}

/// How long the relay's answer may take: a large ledger is merged anew.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a look at MISP may find it empty after the operator allowed it, milliseconds.
const LEAVE: i64 = 600_000;

// Ends the claims that the guard keeps. The answer is how many ended. With `empty`, it ends none itself: it
// only allows the next look at MISP to withdraw everything.
#[derive(Debug, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Release only what is held of this event
    #[arg(long, value_name = "UUID", conflicts_with = "empty")]
    #[serde(default)]
    pub event: Option<Uuid>,

    /// Accept that MISP shows none of the events that the ledger holds
    #[arg(long)]
    #[serde(default)]
    pub empty: bool,
}

impl Request for Release {
    const PATH: &'static str = "/release";
    const NEEDS: Needs = Needs::Targets;
    const PATIENCE: Duration = PATIENCE;

    type Answer = usize;

    async fn execute(self, services: &Services) -> anyhow::Result<usize> {
        // The command line excludes this, but another program on the socket may ask for both.
        ensure!(
            !self.empty || self.event.is_none(),
            "release one event, or say that MISP is empty"
        );
        if self.empty {
            return may_be_empty(services).await;
        }
        let Services { ledger, views, .. } = services;
        let released = ledger.release(views, self.event, Ledger::now()).await;
        let claims = released.context("the ledger cannot be written")?;
        tracing::warn!(claims, "held claims end, as an operator asked");
        Ok(claims)
    }
}

/// Allows the next look at MISP to withdraw what it no longer shows, even if that is everything.
async fn may_be_empty(services: &Services) -> anyhow::Result<usize> {
    let Services { ledger, source, .. } = services;
    // Without a relay nobody has looked at MISP yet, so the leave is given in advance.
    if let Some(relay) = &services.relay {
        let shows_empty = relay.rest.as_ref().is_some_and(|rest| rest.now().empty);
        ensure!(
            shows_empty,
            "MISP shows events that the ledger holds: nothing is kept back for its being empty"
        );
    }
    // The leave ends by itself: it must not cover a fault of MISP that comes much later.
    let until = Value::from(Ledger::now() + LEAVE);
    ledger.remember(&may_empty(source), &until).await.context("the ledger cannot be written")?;
    // The next look is asked for now, because the leave does not last long.
    ledger.look_again(source, Ledger::now()).await.context("the ledger cannot be written")?;
    tracing::warn!("MISP may be empty, as an operator says");
    Ok(0)
}

/// Puts the warninglists into force that the guard keeps waiting. The answer is how many indicators they
/// withdraw; `None` if no lists wait.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseWarninglists {}

impl Request for ReleaseWarninglists {
    const PATH: &'static str = "/release-warninglists";
    const NEEDS: Needs = Needs::Targets;
    const PATIENCE: Duration = PATIENCE;

    type Answer = Option<usize>;

    async fn execute(self, services: &Services) -> anyhow::Result<Option<usize>> {
        let Services { ledger, views, source, .. } = services;
        let Some(adopted) = ledger.release_warninglists(views, source).await? else {
            return Ok(None);
        };
        let withdrawn = match adopted {
            Adopted::InForce { withdrawn, .. } => withdrawn,
            Adopted::Same | Adopted::First | Adopted::Waiting { .. } => 0,
        };
        tracing::warn!(withdrawn, "MISP's warninglists are in force, as an operator asked");
        Ok(Some(withdrawn))
    }
}

/// Ends what the guard keeps, or accepts that MISP is as empty as it looks.
///
/// # Errors
/// Neither a relay nor the ledger can do it, or standard output is closed.
pub async fn release(settings: &ConfigSource, options: ReleaseOptions) -> anyhow::Result<()> {
    if options.warninglists {
        return release_warninglists(settings).await;
    }
    let empty = options.release.empty;
    let (released, _) = door::ask(settings, options.release).await?;
    if empty {
        return print("The next look at MISP withdraws what it no longer has.\n");
    }
    print(&format!(
        "Ended: {}; what nothing else claims is withdrawn.\n",
        Count(released, "held claim")
    ))
}

async fn release_warninglists(settings: &ConfigSource) -> anyhow::Result<()> {
    let (withdrawn, _) = door::ask(settings, ReleaseWarninglists {}).await?;
    let Some(count) = withdrawn else { return print("No warninglists wait.\n") };
    let verb = if count == 1 { "is" } else { "are" };
    let count = Count(count, "indicator");
    print(&format!("The warninglists are in force; {count} {verb} withdrawn.\n"))
}
