//! Builds every part, starts every task and owns the one shutdown.

use metrics_exporter_prometheus::PrometheusHandle;

use crate::cli::{
    ConvertOptions, DemoOptions, RetryOptions, RunOptions, SandboxOptions, StatusOptions,
};
use crate::config::{Config, Rules};

/// Relays until SIGTERM or SIGINT.
///
/// # Errors
/// The ledger cannot be opened, a listener cannot be bound, or a task ended by itself.
#[expect(clippy::unused_async, reason = "not built in this step")]
pub async fn run(_: Config, _: RunOptions, _: PrometheusHandle) -> anyhow::Result<()> {
    not_built()
}

/// Runs the relay between recorded events and the sandbox.
///
/// # Errors
/// With `once`: not all has arrived as expected.
#[expect(clippy::unused_async, reason = "not built in this step")]
pub async fn demo(_: DemoOptions) -> anyhow::Result<()> {
    not_built()
}

/// Prints the STIX bundle for a MISP event.
///
/// # Errors
/// The file cannot be read, or holds no event.
pub fn convert(_: &Rules, _: &ConvertOptions) -> anyhow::Result<()> {
    not_built()
}

/// Prints what the ledger holds, as the running relay or the ledger itself tells it.
///
/// # Errors
/// The ledger cannot be read.
#[expect(clippy::unused_async, reason = "not built in this step")]
pub async fn status(_: &Config, _: StatusOptions) -> anyhow::Result<()> {
    not_built()
}

/// Makes rejected objects pending again.
///
/// # Errors
/// There is no such target, or the ledger cannot be written.
#[expect(clippy::unused_async, reason = "not built in this step")]
pub async fn retry_rejected(_: &Config, _: &RetryOptions) -> anyhow::Result<()> {
    not_built()
}

/// Serves the stand-in for Entra and Sentinel until a signal comes.
///
/// # Errors
/// The address cannot be bound, or the certificate cannot be written.
#[expect(clippy::unused_async, reason = "not built in this step")]
pub async fn sandbox(_: SandboxOptions) -> anyhow::Result<()> {
    not_built()
}

fn not_built() -> anyhow::Result<()> {
    anyhow::bail!("not built in this step")
}
