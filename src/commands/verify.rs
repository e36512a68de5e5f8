//! The command `verify` compares what Sentinel holds with what the ledger says it accepted. On request it
//! repairs the differences. It prints progress and reports as they come, as `cleanup` does.

use anyhow::{bail, ensure};
use clap::Args;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, Sender};

use super::door::{self, By};
use super::output::{self, print, print_as, print_to_copy};
use crate::admin::{LongRequest, Needs, Services};
use crate::config::ConfigSource;
use crate::log_event::LogEvent;
use crate::pure::count::Count;
use crate::pure::verify::{Cleaning, VerifyLine, VerifyReport, kql, text};

#[derive(Debug, Args)]
pub struct VerifyOptions {
    #[command(flatten)]
    pub asked: Verify,

    /// Print one JSON object for each target instead of text
    #[arg(long)]
    pub json: bool,

    /// Only print queries for Log Analytics that show the same
    #[arg(long, conflicts_with_all = ["repair", "json"])]
    pub kql: bool,
}

// Compares what one target or each holds with what it accepted. Sends a line for each step and target.
#[derive(Debug, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// Compare only this target
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,

    /// Send again what is missing or different, and withdraw what is left over
    #[arg(long)]
    #[serde(default)]
    pub repair: bool,
}

pub(super) const VERIFY: LongRequest<Verify, VerifyLine> = LongRequest {
    path: "/verify",
    needs: Needs::Secrets,
    execute: |services, asked, lines| Box::pin(compare(services, asked, lines)),
};

async fn compare(
    services: &Services,
    asked: Verify,
    lines: Sender<VerifyLine>,
) -> anyhow::Result<()> {
    let Verify { target, repair } = asked;
    if repair {
        ensure!(
            !services.ledger.is_judging(),
            "the relay is judging its ledger anew after a change of policy, and only then knows what to repair: try again when its log says that the ledger is judged anew"
        );
        tracing::info!(
            event = LogEvent::OperatorRepair.word(),
            target,
            "Sentinel is compared and repaired, as an operator asked"
        );
    }
    let Services { readback, ledger, .. } = services;
    readback.verify(ledger, target.as_deref(), repair, lines).await
}

/// Compares what Sentinel holds with what it accepted, and prints the differences.
///
/// # Errors
/// Something differs and was not repaired, or the comparison failed.
pub async fn verify(settings: &ConfigSource, options: VerifyOptions) -> anyhow::Result<()> {
    let VerifyOptions { asked, json, kql } = options;
    if kql {
        return print_queries(settings, asked.target.as_deref()).await;
    }
    let (lines, told) = mpsc::channel(8);
    let asking = door::ask_for_lines(settings, &VERIFY, asked, lines);
    let (by, told) = tokio::join!(asking, tell(told, json));
    // Reports that came before an error are printed by now.
    let ((reports, _), by) = (told?, by?);
    let repaired = reports.iter().any(|report| report.repaired.is_some_and(|count| count > 0));
    if repaired && !json {
        print(match by {
            By::Relay => {
                "The relay sends it now; look again once Sentinel shows it (azure.management.ingestion).\n"
            }
            By::Command => "No relay is running: its next start sends it.\n",
        })?;
    }
    match reports.iter().filter(|report| !report.is_mended()).count() {
        0 => Ok(()),
        1 => bail!("a target is not as it should be"),
        count => bail!("{count} targets are not as they should be"),
    }
}

async fn print_queries(settings: &ConfigSource, target: Option<&str>) -> anyhow::Result<()> {
    let config = settings.load(Needs::Targets).await?;
    // Nothing is uploaded for the other targets, so there is nothing to query.
    let live = config.targets.iter().filter(|target| target.is_live());
    let asked: Vec<_> = live.filter(|one| target.is_none_or(|name| one.name == name)).collect();
    ensure!(!asked.is_empty(), "there is no such target");
    let queries = asked.iter().map(|target| kql::queries(&target.name, &target.sourcesystem));
    print_to_copy(&queries.collect::<Vec<_>>().join("\n"))
}

/// Prints each line as it comes. Returns the reports on the targets.
pub(super) async fn tell(
    mut lines: mpsc::Receiver<VerifyLine>,
    json: bool,
) -> anyhow::Result<(Vec<VerifyReport>, Vec<Cleaning>)> {
    let (mut reports, mut cleanings) = (Vec::new(), Vec::new());
    // A script reads JSON, so it gets no progress.
    let template = "{msg} {bar:30} {pos} of {len} looked at";
    let bar = if json { ProgressBar::hidden() } else { output::bar(template) };
    while let Some(line) = lines.recv().await {
        match line {
            VerifyLine::Progress { target, looked_at, of } => {
                // Uploads go on during the walk, so there may be more objects than were counted.
                bar.set_length(of.max(looked_at));
                bar.set_position(looked_at);
                bar.set_message(target);
            }
            // A script expects one report for each target and nothing else.
            VerifyLine::Counted { .. } if json => {}
            VerifyLine::Counted { target, sentinel, ledger } => bar.suspend(|| {
                let (counted, live, ended) =
                    (Count(sentinel, "indicator"), ledger.live, ledger.ended);
                print(&format!("{target}: Sentinel counts {counted}; by the ledger it accepted {live} that are valid and {ended} that have ended.\n"))
            })?,
            VerifyLine::Report(report) => {
                bar.finish_and_clear();
                print_as(json, &*report, text)?;
                reports.push(*report);
            }
            VerifyLine::Cleaned(cleaning) => {
                bar.finish_and_clear();
                print_as(json, &*cleaning, Cleaning::text)?;
                cleanings.push(*cleaning);
            }
        }
    }
    Ok((reports, cleanings))
}
