//! The command `cleanup`: by the running relay and its quota, or without one.

use std::sync::Arc;

use anyhow::{bail, ensure};
use tokio::sync::mpsc;

use super::control::Request;
use super::verify::{ask_relay, readback, tell};
use crate::commands::CleanupOptions;
use crate::config::Config;
use crate::pure::verify::Line;
use crate::readback::{Cleanup, NothingToAsk};

/// Lists what another product left under a source system, and ends it on demand.
///
/// # Errors
/// The source system is a target's own, or not all of it could be asked or ended.
pub async fn cleanup(config: &Config, options: &CleanupOptions) -> anyhow::Result<()> {
    let source = &options.sourcesystem;
    ensure!(!source.trim().is_empty(), "no source system is named");
    if config.targets.iter().any(|target| target.sourcesystem == *source) {
        return Err(NothingToAsk::Own(source.clone()).into());
    }
    let (lines, told) = mpsc::channel(8);
    let (asked, told) = tokio::join!(ask(config, options, lines), tell(told, options.json));
    let (_, cleanings) = told?;
    asked?;
    match cleanings.iter().all(|one| one.is_done()) {
        true => Ok(()),
        false => bail!("not all of it was done"),
    }
}

async fn ask(
    config: &Config,
    options: &CleanupOptions,
    lines: mpsc::Sender<Line>,
) -> anyhow::Result<()> {
    let CleanupOptions { sourcesystem, target, apply, revoke, .. } = options.clone();
    let cleanup = Cleanup { sourcesystem, target, apply, revoke };
    let request = Request::Cleanup { cleanup: cleanup.clone() };
    if ask_relay(config, &request, lines.clone()).await? {
        return Ok(());
    }
    Ok(Arc::new(readback(config)?).cleanup(cleanup, lines).await?)
}
