//! The operator's wish to stop.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// Completes at the first SIGTERM or SIGINT from now on.
///
/// # Errors
/// The process cannot listen for signals.
pub fn stop_asked() -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
