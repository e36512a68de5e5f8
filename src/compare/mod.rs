//! Reads over the management plane what the workspaces hold, and compares it with the ledger. It serves `verify`,
//! `cleanup`, the recovery of used-up ids, and the deletion of withdrawn indicators.

mod cleanup;
mod delete;
mod look;
mod place;
mod recover;
mod stray;

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

pub use cleanup::Cleanup;
pub use delete::delete_withdrawn;
pub use look::LookError;
pub use place::{ReadableTarget, is_asked, tells_used_up_ids};

use crate::ledger::Ledger;
use crate::pure::verify::VerifyLine;

/// The STIX type of an indicator.
const INDICATOR: &str = "indicator";

/// All targets that can be read back. Only one comparison runs at a time.
#[derive(Debug)]
pub struct Readback {
    pub places: Vec<ReadableTarget>,
    /// How long Sentinel may take to show what it accepted.
    pub ingestion: Duration,
    turn: Semaphore,
}

impl Readback {
    pub fn new(places: Vec<ReadableTarget>, ingestion: Duration) -> Self {
        Self { places, ingestion, turn: Semaphore::new(1) }
    }

    /// Returns the targets to ask: the named one, or all.
    fn which(&self, target: Option<&str>) -> anyhow::Result<Vec<&ReadableTarget>> {
        ensure!(
            !self.places.is_empty(),
            "no target can be read back\n  hint: set subscription_id, resource_group and workspace_name of a target; `verify --kql` needs none of them"
        );
        let Some(target) = target else { return Ok(self.places.iter().collect()) };
        let place = self.places.iter().find(|place| place.target == target);
        Ok(vec![place.with_context(|| {
            let names: Vec<&str> = self.places.iter().map(|one| one.target.as_str()).collect();
            format!("target {target:?} cannot be read back; those that can: {}", names.join(", "))
        })?])
    }

    /// Takes the turn. A second comparison is refused and does not wait: the operator can ask again.
    fn turn(&self) -> anyhow::Result<SemaphorePermit<'_>> {
        let turn = self.turn.try_acquire().ok();
        turn.context("another comparison is running: try again when it has ended")
    }

    /// Compares one target, or each, and sends a report for each. With `repair`, the differences are sent
    /// again or withdrawn. Ends early when nobody listens any more.
    ///
    /// # Errors
    /// There is nothing to compare, or another comparison is running. An error at one target is in its report.
    pub async fn verify(
        &self,
        ledger: &Ledger,
        target: Option<&str>,
        repair: bool,
        lines: mpsc::Sender<VerifyLine>,
    ) -> anyhow::Result<()> {
        let places = self.which(target)?;
        let _turn = self.turn()?;
        for place in places {
            let report = look::compare(ledger, place, self.ingestion, repair, &lines).await;
            if lines.send(VerifyLine::Report(Box::new(report))).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
