//! The command `run` starts the relay, which works until SIGTERM or SIGINT.

use axum::Router;

use crate::admin::control::Control;
use crate::app::{self, RunOptions};
use crate::config::{self, Config};
use crate::{logging, metrics};

/// Relays until SIGTERM or SIGINT.
///
/// # Errors
/// The log or the metrics cannot be set up, or those of [`app::run`].
pub(super) async fn run(
    config: Config,
    options: RunOptions,
    commands: Router<Control>,
) -> anyhow::Result<()> {
    // The log comes first, because the warnings below go into it.
    logging::install(&config.log)?;
    let recorded = metrics::install()?;
    for warning in config::warnings(&config) {
        tracing::warn!("{warning}");
    }
    app::run(config, options, recorded, commands).await
}
