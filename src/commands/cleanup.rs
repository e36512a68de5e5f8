//! The command `cleanup` lists the indicators that another product left in Sentinel. It ends them only when
//! the operator asks for that.

use anyhow::ensure;
use clap::Args;
use tokio::sync::mpsc::{self, Sender};

use super::comparison::tell;
use super::door::{RelayClient, load_without_relay};
use super::settings::ConfigSource;
use crate::admin::{Needs, Services, Streamed};
use crate::app;
use crate::compare::{Cleanup, NothingToAsk};
use crate::pure::verify::VerifyLine;

#[derive(Debug, Args)]
pub struct CleanupOptions {
    #[command(flatten)]
    pub asked: Cleanup,

    /// Print one JSON object for each target instead of text
    #[arg(long)]
    pub json: bool,
}

/// Lists what another product left, or ends it. Sends a line for each step and target.
impl Streamed for Cleanup {
    const PATH: &'static str = "/cleanup";
    const NEEDS: Needs = Needs::Secrets;

    type Line = VerifyLine;

    async fn execute(self, services: &Services, lines: Sender<VerifyLine>) -> anyhow::Result<()> {
        // The socket takes requests of any program, so the command's own checks do not suffice.
        let own = services.targets.iter().map(|target| target.sourcesystem.as_str());
        expect_another(&self, own)?;
        let Self { sourcesystem, target: of, apply, revoke } = &self;
        if *apply {
            let words = "another product's indicators are ended, as an operator asked";
            tracing::warn!(sourcesystem, of, revoke, "{words}");
        }
        Ok(services.readback.cleanup(self, lines).await?)
    }
}

fn expect_another<'a>(
    cleanup: &Cleanup,
    mut own: impl Iterator<Item = &'a str>,
) -> anyhow::Result<()> {
    let Cleanup { sourcesystem, apply, revoke, .. } = cleanup;
    ensure!(!sourcesystem.trim().is_empty(), "no source system is named");
    ensure!(*apply || !revoke, "revoke takes apply: what is only listed is not revoked");
    if own.any(|own| own == sourcesystem) {
        return Err(NothingToAsk::Own(sourcesystem.clone()).into());
    }
    Ok(())
}

/// Asks the running relay, or does the work here if none runs. It needs no ledger: what another product left
/// is usually ended before the relay's first start.
async fn ask(
    settings: &ConfigSource,
    cleanup: Cleanup,
    lines: Sender<VerifyLine>,
) -> anyhow::Result<()> {
    // Only the ledger's section is loaded here: with a relay, this command needs no other setting.
    let relay = RelayClient::at(&settings.ledger()?.data_dir)?;
    if relay.ask_for_lines(&cleanup, &lines).await? {
        return Ok(());
    }
    let config = load_without_relay(settings, Needs::Secrets).await?;
    expect_another(&cleanup, config.targets.iter().map(|target| target.sourcesystem.as_str()))?;
    Ok(app::readback_of(&config)?.cleanup(cleanup, lines).await?)
}

/// Lists what another product left under a source system. Ends it with `--apply`.
///
/// # Errors
/// The source system is a target's own, or not all of it could be listed or ended.
pub async fn cleanup(settings: &ConfigSource, options: CleanupOptions) -> anyhow::Result<()> {
    let CleanupOptions { asked, json } = options;
    let (lines, told) = mpsc::channel(8);
    // The channel is bounded, so the asking and the printing run at the same time.
    let (asked, told) = tokio::join!(ask(settings, asked, lines), tell(told, json));
    let (_, cleanings) = told?;
    // Reports that came before an error are printed by now.
    asked?;
    ensure!(cleanings.iter().all(|one| one.is_done()), "not all of it was done");
    Ok(())
}
