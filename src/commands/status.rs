//! The command `status` prints the state of the relay, or of the ledger alone if no relay runs.

use anyhow::Context;
use chrono::Utc;
use clap::Args;

use super::door::{self, NoLedger};
use super::output::{note, print_as, width};
use super::status_text;
use crate::admin::{Needs, Nothing, Request, Status};
use crate::config::ConfigSource;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct StatusOptions {
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// The exit code if no relay runs, the same as that of `systemctl status`.
const NO_RELAY: u8 = 3;

/// The request for the status of everything.
pub(super) const STATUS: Request<Nothing, Status> =
    Request::read("/status", Needs::Settings, |services, _| {
        Box::pin(async { services.status().await.context("the ledger cannot be read") })
    });

/// Prints the status of everything, as text or as one JSON object. Returns the exit code: 0, or 3 if no relay
/// runs. The ledger alone answers then, if there is one.
///
/// # Errors
/// Neither a relay nor the ledger can answer, or standard output is closed.
pub async fn status(settings: &ConfigSource, options: StatusOptions) -> anyhow::Result<u8> {
    let status = match door::ask(settings, &STATUS, Nothing {}).await {
        Ok((status, _)) => status,
        // Before the first start there is nothing to show. That is exit code 3, and no failure.
        Err(error) if error.is::<NoLedger>() => {
            error.to_string().lines().for_each(note);
            return Ok(NO_RELAY);
        }
        Err(error) => return Err(error),
    };
    let width = width().unwrap_or(usize::MAX);
    print_as(options.json, &status, |status| status_text::text(status, Utc::now(), width))?;
    Ok(if status.relay.is_some() { 0 } else { NO_RELAY })
}
