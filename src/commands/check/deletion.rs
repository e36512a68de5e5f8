//! Tests whether a deletion over the management plane has an effect, for targets with `withdraw = "delete"`.
//! There are reports that it has none on objects that the upload API made. Only the upload probe is deleted:
//! it is withdrawn by then, and nobody uses its indicator.

use std::time::{Duration, Instant};

use chrono::Utc;

use super::diagnosis::{Diagnosis, Subject};
use crate::azure::manage::{Condition, ManageClient, ManageError, WorkspaceObject};
use crate::config::Target;
use crate::pure::verify::lives;

const STEP: &str = "deletion";

/// The separator before the remedy in errors of the management plane.
pub(super) const REMEDY: &str = " -- ";

/// The pause between two looks at the probe.
const LOOK: Duration = Duration::from_millis(500);

const SET_EXPIRE: &str = "set withdraw = \"expire\": the end of an indicator is accepted before any deletion, so nothing stays active";

/// The upload probe of a target, whose deletion is tried.
pub(super) struct Probe<'p> {
    pub target: &'p Target,
    pub client: &'p ManageClient,
    pub id: String,
    /// How long Sentinel may take to show a change.
    pub patience: Duration,
}

impl Probe<'_> {
    fn subject(&self) -> Subject<'_> {
        Subject(STEP, &self.target.name)
    }

    /// Says that nothing was tried. Only the probe can be deleted without harm, and none was uploaded.
    pub(super) fn untried(&self) -> Diagnosis {
        let words = "withdraw = \"delete\" is experimental; --upload-probe tries whether a deletion has an effect";
        self.subject().note(words)
    }

    /// Deletes the probe, and checks that it is gone.
    pub(super) async fn delete(&self) -> Diagnosis {
        self.try_it().await.unwrap_or_else(|error| self.subject().failed(error, REMEDY))
    }

    async fn try_it(&self) -> Result<Diagnosis, ManageError> {
        let is_over = |held: &[WorkspaceObject]| {
            let now = Utc::now().timestamp_millis();
            !held.is_empty() && held.iter().all(|found| !lives(&found.data, now))
        };
        // The relay deletes only what is over, so the probe must be over first too.
        let held = self.look_until(is_over).await?;
        if !is_over(&held) {
            let words = "not tried: Sentinel does not show the probe's withdrawal yet; run `check --upload-probe` again in some minutes";
            return Ok(self.subject().note(words));
        }
        // Sentinel may hold the probe more than once.
        for found in &held {
            self.client.delete(&found.resource).await?;
        }
        let left = self.look_until(<[WorkspaceObject]>::is_empty).await?;
        if left.is_empty() {
            return Ok(self.subject().ok("the upload probe was deleted, and it is gone"));
        }
        let waited = humantime::format_duration(self.patience);
        let words = format!(
            "the upload probe was deleted with success, and Sentinel still shows it after {waited}"
        );
        Ok(self.subject().warning(words, SET_EXPIRE))
    }

    /// Waits until `reached` is true of what Sentinel shows of the probe, or until patience ends. Returns the
    /// last answer.
    async fn look_until(
        &self,
        reached: impl Fn(&[WorkspaceObject]) -> bool,
    ) -> Result<Vec<WorkspaceObject>, ManageError> {
        let begun = Instant::now();
        loop {
            let held = self.held().await?;
            if reached(&held) || begun.elapsed() >= self.patience {
                return Ok(held);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn held(&self) -> Result<Vec<WorkspaceObject>, ManageError> {
        let ids = [self.id.clone()];
        let source = Some(self.target.sourcesystem.as_str());
        let found =
            self.client.walk(&Condition { kind: "indicator", source, ids: &ids }).all().await?;
        Ok(found.into_iter().filter(|one| one.id() == self.id).collect())
    }
}
