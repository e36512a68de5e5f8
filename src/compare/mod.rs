//! Reads back over the management plane what the workspaces hold, and compares it with the ledger. It serves
//! `verify`, `cleanup`, the recovery of used-up ids, and the deletion of withdrawn indicators.

mod cleanup;
mod delete;
mod look;
mod place;
mod recover;
mod stray;

use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

pub use cleanup::Cleanup;
pub use delete::delete_withdrawn;
pub use look::LookError;
pub use place::{ReadableTarget, is_asked, tells_used_up_ids};

use crate::ledger::Ledger;
use crate::pure::verify::VerifyLine;

/// All targets that can be read back. Only one comparison runs at a time.
#[derive(Debug)]
pub struct Readback {
    pub places: Vec<ReadableTarget>,
    /// How long Sentinel may take to show what it accepted.
    pub ingestion: Duration,
    turn: Semaphore,
}

/// Why no comparison begins.
#[derive(Debug, thiserror::Error)]
pub enum NothingToAsk {
    #[error(
        "no target can be read back\n  hint: set subscription_id, resource_group and workspace_name of a target; `verify --kql` needs none of them"
    )]
    Nowhere,
    #[error("target {0:?} cannot be read back; those that can: {1}")]
    Unknown(String, String),
    #[error(
        "{0:?} is a target's own sourcesystem\n  hint: `verify --repair` withdraws what is left over of it"
    )]
    Own(String),
    #[error("another comparison is running: try again when it has ended")]
    Busy,
}

impl Readback {
    pub fn new(places: Vec<ReadableTarget>, ingestion: Duration) -> Self {
        Self { places, ingestion, turn: Semaphore::new(1) }
    }

    /// Returns the targets to ask: the named one, or all.
    ///
    /// # Errors
    /// [`NothingToAsk`] if there is no such target.
    pub fn which(&self, target: Option<&str>) -> Result<Vec<&ReadableTarget>, NothingToAsk> {
        if self.places.is_empty() {
            return Err(NothingToAsk::Nowhere);
        }
        let Some(target) = target else { return Ok(self.places.iter().collect()) };
        match self.places.iter().find(|place| place.target == target) {
            Some(place) => Ok(vec![place]),
            None => {
                let names: Vec<&str> = self.places.iter().map(|one| one.target.as_str()).collect();
                Err(NothingToAsk::Unknown(target.to_owned(), names.join(", ")))
            }
        }
    }

    /// Compares one target, or each, and sends a report for each. With `repair`, the differences are sent
    /// again or withdrawn. Ends early when nobody listens any more.
    ///
    /// # Errors
    /// [`NothingToAsk`] if nothing is compared. An error at one target is in its report.
    pub async fn verify(
        &self,
        ledger: &Ledger,
        target: Option<&str>,
        repair: bool,
        lines: mpsc::Sender<VerifyLine>,
    ) -> Result<(), NothingToAsk> {
        let places = self.which(target)?;
        let Ok(_turn) = self.turn.try_acquire() else { return Err(NothingToAsk::Busy) };
        for place in places {
            let report = look::compare(ledger, place, self.ingestion, repair, &lines).await;
            if lines.send(VerifyLine::Report(Box::new(report))).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
