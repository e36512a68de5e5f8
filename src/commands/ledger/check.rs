//! The command `ledger check` tests whether the invariants of the ledger hold.

use anyhow::{Context, bail};
use tokio::sync::mpsc::{self, Sender};

use super::super::door::{self, By};
use super::super::output::print;
use super::export::long_read;
use crate::admin::{LongRequest, Needs, Nothing, Request, Services};
use crate::config::ConfigSource;
use crate::ledger::{Finding, Ledger};
use crate::pure::safe;

/// The request to check each invariant.
pub(super) const CHECK: LongRequest<Nothing, Finding> = LongRequest {
    path: "/ledger/check",
    needs: Needs::Targets,
    execute: |services, _, findings| Box::pin(check_all(services, findings)),
};

async fn check_all(services: &Services, findings: Sender<Finding>) -> anyhow::Result<()> {
    let _turn = long_read(&services.long_read)?;
    let checked = services.ledger.check(&services.views, Ledger::now(), findings).await;
    checked.context("the ledger cannot be read")
}

/// The request that the next start judges all claims anew.
pub(super) const REPAIR: Request<Nothing, ()> =
    Request::change("/ledger/repair", Needs::Targets, |Services { ledger, views, .. }, _| {
        Box::pin(async {
            let noted = ledger.judge_anew(views, Ledger::now()).await;
            noted.context("the ledger cannot be written")
        })
    });

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
    let asking = door::ask_for_lines(settings, &CHECK, Nothing {}, findings);
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
    let ((), by) = door::ask(settings, &REPAIR, Nothing {}).await?;
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
