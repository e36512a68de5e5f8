//! The command `cleanup` lists the indicators that another product left in Sentinel. It ends them only when
//! the operator asks for that.

use anyhow::ensure;
use clap::Args;
use tokio::sync::mpsc::{self, Sender};

use super::door::{RelayClient, load_without_relay};
use super::verify::tell;
use crate::admin::{LongRequest, Needs, Services};
use crate::app;
use crate::compare::Cleanup;
use crate::config::{ConfigSource, Target};
use crate::log_event::LogEvent;
use crate::pure::verify::VerifyLine;

#[derive(Debug, Args)]
pub struct CleanupOptions {
    #[command(flatten)]
    pub asked: Cleanup,

    /// Print one JSON object for each target instead of text
    #[arg(long)]
    pub json: bool,
}

/// The request to list what another product left, or to end it. Its lines are the steps and the targets.
pub(super) const CLEANUP: LongRequest<Cleanup, VerifyLine> = LongRequest {
    path: "/cleanup",
    needs: Needs::Secrets,
    execute: |services, asked, lines| Box::pin(end(services, asked, lines)),
};

async fn end(services: &Services, asked: Cleanup, lines: Sender<VerifyLine>) -> anyhow::Result<()> {
    // The socket takes requests of any program, so the command's own checks do not suffice.
    expect_another(&asked, &services.targets)?;
    let Cleanup { sourcesystem, target: of, apply, revoke } = &asked;
    if *apply {
        tracing::warn!(
            event = LogEvent::OperatorCleanup.word(),
            target = of,
            sourcesystem,
            revoke,
            "Another product's indicators are ended, as an operator asked"
        );
    }
    services.readback.cleanup(asked, lines).await
}

fn expect_another(asked: &Cleanup, targets: &[Target]) -> anyhow::Result<()> {
    let Cleanup { sourcesystem, apply, revoke, .. } = asked;
    ensure!(!sourcesystem.trim().is_empty(), "no source system is named");
    ensure!(
        *apply || !revoke,
        "revoke needs apply: indicators that are only listed are not revoked"
    );
    ensure!(
        targets.iter().all(|target| target.sourcesystem != *sourcesystem),
        "{sourcesystem:?} is a target's own sourcesystem\n  hint: `verify --repair` withdraws what is left over of it"
    );
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
    if relay.ask_for_lines(&CLEANUP, &cleanup, &lines).await? {
        return Ok(());
    }
    let config = load_without_relay(settings, Needs::Secrets).await?;
    expect_another(&cleanup, &config.targets)?;
    app::readback_of(&config)?.cleanup(cleanup, lines).await
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
