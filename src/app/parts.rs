//! The parts of a running relay, as tasks with names.

use tokio::task::JoinSet;

/// A group of running parts. Each returns its name when it ends.
pub(super) type Parts = JoinSet<anyhow::Result<&'static str>>;

/// Runs a part, and returns its name when it ends without an error.
pub(super) async fn named(
    name: &'static str,
    part: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<&'static str> {
    part.await.map(|()| name)
}
