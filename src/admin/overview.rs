//! The running relay's parts, as far as operators may look at them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::{EndpointStatus, Means, RelayStatus, Status, TargetHealth};
use crate::intake::rest::RestStatus;
use crate::ledger::{Ledger, Views};
use crate::readback::Readback;

/// A cheap handle on what `status` is made of. The closures are asked each time.
#[derive(Clone)]
pub struct Overview {
    pub ledger: Ledger,
    /// How claims are judged and merged.
    pub views: Arc<Views>,
    pub started: SystemTime,
    /// The targets of the configuration, enabled or not.
    pub configured: Arc<[String]>,
    /// Where the webhook listens.
    pub webhook: Option<SocketAddr>,
    /// Name of the source in the ledger.
    pub source: String,
    /// `None` without a key.
    pub rest: Option<RestStatus>,
    pub endpoints: Arc<dyn Fn() -> Vec<EndpointStatus> + Send + Sync>,
    /// The targets whose workspaces can be asked what they hold.
    pub readback: Arc<Readback>,
    /// Of every enabled target.
    pub targets: Arc<dyn Fn() -> Vec<TargetHealth> + Send + Sync>,
}

impl fmt::Debug for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overview").field("started", &self.started).finish_non_exhaustive()
    }
}

impl Overview {
    /// Everything now; a scan of the ledger's tables.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn status(&self) -> sqlx::Result<Status> {
        let ledger = self.ledger.status().await?;
        let means = Means { webhook: self.webhook.is_some(), rest: self.rest.is_some() };
        Ok(Status::new(Some(self.relay()), ledger, means))
    }

    /// Why the relay is not ready, if it is not.
    #[must_use]
    pub fn unready(&self) -> Option<&'static str> {
        (!self.ledger.is_writable()).then_some(
            "the ledger cannot be written: free disk space or mend ledger.db; the log has SQLite's words",
        )
    }

    fn relay(&self) -> RelayStatus {
        RelayStatus {
            process_id: std::process::id(),
            started_at: self.started.into(),
            uptime_seconds: self.started.elapsed().unwrap_or_default().as_secs(),
            ledger_writable: self.ledger.is_writable(),
            endpoints: (self.endpoints)(),
            webhook: self.webhook,
            rest: self.rest.as_ref().map(RestStatus::now),
            warninglists: self.views.warninglists().state(),
            targets: (self.targets)(),
        }
    }
}
