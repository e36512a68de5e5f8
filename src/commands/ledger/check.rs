//! The command `ledger check` tests whether the invariants of the ledger hold.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, Sender};

use super::super::door::{self, By};
use super::super::output::print;
use super::super::settings::ConfigSource;
use super::export::long_read;
use crate::admin::{Needs, Request, Services, Streamed};
use crate::ledger::{Finding, Ledger};
use crate::pure::safe;

/// The request to check each invariant.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckLedger {}

impl Streamed for CheckLedger {
    const PATH: &'static str = "/ledger/check";
    const NEEDS: Needs = Needs::Targets;

    type Line = Finding;

    async fn execute(self, services: &Services, findings: Sender<Finding>) -> anyhow::Result<()> {
        let _turn = long_read(&services.long_read)?;
        let checked = services.ledger.check(&services.views, Ledger::now(), findings).await;
        checked.context("the ledger cannot be read")
    }
}

/// The request that the next start judges all claims anew.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Repair {}

impl Request for Repair {
    const PATH: &'static str = "/ledger/repair";
    const NEEDS: Needs = Needs::Targets;

    type Answer = ();

    async fn execute(self, services: &Services) -> anyhow::Result<()> {
        let Services { ledger, views, .. } = services;
        let noted = ledger.judge_anew(views, Ledger::now()).await;
        noted.context("the ledger cannot be written")
    }
}

/// Prints for each invariant whether it holds, and what to do if not. With `repair`, the next start judges
/// all claims anew.
///
/// # Errors
/// An invariant does not hold, or neither a relay nor the ledger can answer.
pub(super) async fn check(settings: &ConfigSource, repair: bool) -> anyhow::Result<()> {
    let (findings, mut told) = mpsc::channel::<Finding>(2);
    let telling = async move {
        let mut broken = 0;
        while let Some(finding) = told.recv().await {
            broken += usize::from(!finding.holds());
            print(&words(&finding))?;
        }
        anyhow::Ok(broken)
    };
    let asking = door::ask_for_lines(settings, CheckLedger {}, findings);
    let (asked, broken) = tokio::join!(asking, telling);
    // An error of printing comes first, because it is why the asking ended.
    let broken = broken?;
    asked?;
    // Only after the check, whose findings show the ledger as it was.
    if repair {
        self::repair(settings).await?;
    }
    match broken {
        0 => Ok(()),
        1 => bail!("an invariant does not hold"),
        broken => bail!("{broken} invariants do not hold"),
    }
}

async fn repair(settings: &ConfigSource) -> anyhow::Result<()> {
    let ((), by) = door::ask(settings, Repair {}).await?;
    print(match by {
        By::Relay => "Restart the relay: it judges all claims anew before it sends anything.\n",
        By::Command => "The next start judges all claims anew before it sends anything.\n",
    })
}

fn words(finding: &Finding) -> String {
    let Finding { invariant, broken, examples, remedy, left_out } = finding;
    if let Some(reason) = left_out {
        return format!("unknown  {invariant}: {reason}\n");
    }
    if finding.holds() {
        return format!("holds    {invariant}\n");
    }
    let mut text = format!("BROKEN   {invariant}: {broken}\n");
    for example in examples {
        text.push_str(&format!("           {}\n", safe::line(example)));
    }
    text.push_str(&format!("         remedy: {remedy}\n"));
    text
}
