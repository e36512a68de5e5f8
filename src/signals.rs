//! Stops the program at the first SIGTERM or SIGINT in good order, and at the second at once.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Returns a future that completes at the first SIGTERM or SIGINT from now on.
///
/// # Errors
/// The process cannot listen for signals.
pub fn stop_asked() -> anyhow::Result<impl Future<Output = ()> + Send> {
    // The handlers are installed here and not in the future: a signal before its first poll counts as well.
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Cancels `stop` at the first SIGTERM or SIGINT and ends the process at the second.
///
/// # Errors
/// The process cannot listen for signals.
pub fn cancel(stop: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.is_cancelled() {
                tracing::warn!("second signal: ending at once; what was committed is safe");
                end_now();
            }
            tracing::info!("stopping: finishing what is in hand");
            stop.cancel();
        }
    })
}

#[expect(clippy::exit, reason = "the operator asked twice")]
fn end_now() -> ! {
    std::process::exit(1)
}
