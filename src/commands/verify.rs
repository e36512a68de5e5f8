//! The command `verify` compares what Sentinel holds with what the ledger says it accepted. On request it
//! repairs the differences.

use anyhow::{bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, Sender};

use super::comparison::tell;
use super::door::{self, By};
use super::output::print;
use super::settings::ConfigSource;
use crate::admin::{Needs, Services, Streamed};
use crate::config::Mode;
use crate::pure::verify::{VerifyLine, kql};

#[derive(Debug, Args)]
pub struct VerifyOptions {
    #[command(flatten)]
    pub asked: Verify,

    /// Print one JSON object for each target instead of text
    #[arg(long)]
    pub json: bool,

    /// Ask nobody, but print queries for Log Analytics that show the same
    #[arg(long, conflicts_with_all = ["repair", "json"])]
    pub kql: bool,
}

// Compares what one target or each holds with what it accepted. Sends a line for each step and target.
#[derive(Debug, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// Compare only this target
    #[arg(long, value_name = "NAME")]
    #[serde(default)]
    pub target: Option<String>,

    /// Send again what is missing or different, and withdraw what is left over
    #[arg(long)]
    #[serde(default)]
    pub repair: bool,
}

impl Streamed for Verify {
    const PATH: &'static str = "/verify";
    const NEEDS: Needs = Needs::Secrets;

    type Line = VerifyLine;

    async fn execute(self, services: &Services, lines: Sender<VerifyLine>) -> anyhow::Result<()> {
        let Self { target, repair } = self;
        if repair {
            tracing::info!(of = target, "Sentinel is compared and repaired, as an operator asked");
        }
        let Services { readback, ledger, .. } = services;
        Ok(readback.verify(ledger, target.as_deref(), repair, lines).await?)
    }
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
    let asking = door::ask_for_lines(settings, asked, lines);
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
    let live = config.targets.iter().filter(|one| one.enabled && one.mode == Mode::Live);
    let asked: Vec<_> = live.filter(|one| target.is_none_or(|name| one.name == name)).collect();
    ensure!(!asked.is_empty(), "there is no such target");
    let queries = asked.iter().map(|target| kql::queries(&target.name, &target.sourcesystem));
    print(&queries.collect::<Vec<_>>().join("\n"))
}
