//! Stops the program in good order at the first SIGTERM or SIGINT, and at once at the second. It can also make SIGHUP
//! call a function, so that SIGHUP does not end the program.

use std::sync::{Arc, OnceLock};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::log_event::LogEvent;

/// Returns a future that completes at the first SIGTERM or SIGINT from now on.
///
/// # Errors
/// The process cannot listen for signals.
pub fn stop_asked() -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut signals = StopSignals::listen()?;
    Ok(async move {
        signals.next().await;
    })
}

/// The signals that ask for a stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Installs the handlers: a signal counts also before anybody waits for it.
    fn listen() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for the next one, and returns its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// From now on SIGHUP does not end the process, even before [`at_hangup`] is called.
pub fn survive_hangup() -> anyhow::Result<()> {
    signal(SignalKind::hangup()).context("listen for SIGHUP").map(drop)
}

/// Calls `act` at each SIGHUP from now on. SIGHUP then does not end the process.
///
/// # Errors
/// The process cannot listen for signals.
pub fn at_hangup(act: impl Fn()) -> anyhow::Result<impl Future<Output = ()>> {
    let mut hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            act();
        }
    })
}

/// The name of the signal that asked for the stop; empty before.
pub type StopCause = Arc<OnceLock<&'static str>>;

/// Cancels `stop` at the first SIGTERM or SIGINT and ends the process at the second.
///
/// # Errors
/// The process cannot listen for signals.
pub fn cancel(
    stop: CancellationToken,
    cause: StopCause,
) -> anyhow::Result<impl Future<Output = ()>> {
    let mut signals = StopSignals::listen()?;
    Ok(async move {
        loop {
            let name = signals.next().await;
            if stop.is_cancelled() {
                tracing::warn!(
                    event = LogEvent::RelayKilled.word(),
                    signal = name,
                    "A second signal came, and the relay ends at once. What was committed is safe"
                );
                end_now();
            }
            tracing::info!(
                event = LogEvent::RelayStopping.word(),
                signal = name,
                "The relay is stopping, and finishes what is in hand"
            );
            // The first signal alone comes here, so there is no other cause yet.
            cause.set(name).ok();
            stop.cancel();
        }
    })
}

#[expect(clippy::exit, reason = "the operator asked twice")]
fn end_now() -> ! {
    std::process::exit(1)
}
