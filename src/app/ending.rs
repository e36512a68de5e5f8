//! Tells how a run ended, and tells a fault once: in the log if that is for machines, and otherwise where the process
//! ends, as the error of the command.

use std::time::Duration;

use tracing::Level;

use crate::config::LogFormat;
use crate::log_event::{LogEvent, ms};
use crate::signals::StopCause;

/// How a run ended whose end was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Somebody asked for the stop.
    InOrder,
    /// A fault ended it, and the log says which.
    WithFault,
}

/// What separates a fault from the advice on it.
const HINT: &str = "\n  hint: ";

/// Tells the end of a run.
///
/// # Errors
/// The fault that ended it, if it is still to be told.
pub(super) fn tell(
    ended: anyhow::Result<()>,
    cause: &StopCause,
    format: LogFormat,
    ran: Duration,
) -> anyhow::Result<Ended> {
    let ran_ms = ms(ran);
    let Err(error) = ended else {
        let why = cause.get().copied().unwrap_or("asked");
        tracing::info!(event = LogEvent::RelayStopped.word(), %why, ran_ms, "The relay stopped");
        return Ok(Ended::InOrder);
    };
    // Who filters out errors still gets this one, as a line that is not JSON.
    if format == LogFormat::Pretty || !tracing::enabled!(Level::ERROR) {
        tracing::error!(
            event = LogEvent::RelayStopped.word(),
            ran_ms,
            "The relay stopped because of a fault"
        );
        return Err(error);
    }
    let fault = format!("{error:#}");
    let (why, hint) = match fault.split_once(HINT) {
        Some((why, hint)) => (why, Some(hint)),
        None => (fault.as_str(), None),
    };
    tracing::error!(
        event = LogEvent::RelayStopped.word(),
        why,
        hint,
        ran_ms,
        "The relay stopped because of a fault"
    );
    Ok(Ended::WithFault)
}
