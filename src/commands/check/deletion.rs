//! Whether a deletion over the management plane has an effect, for targets with `withdraw = "delete"`: it
//! was reported that it has none on what the upload API made. Tried on the upload probe alone, which is
//! withdrawn by then and is nobody's indicator.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::finding::Finding;
use crate::azure::manage::{Condition, ManageClient, ManageError, WorkspaceObject};
use crate::pure::verify::lives;

const STEP: &str = "deletion";

/// Between two looks at the probe.
const LOOK: Duration = Duration::from_millis(500);

const SET_EXPIRE: &str = "set withdraw = \"expire\": the end of an indicator is accepted before any \
                          deletion, so nothing stays active";

/// The upload probe of a target.
pub(super) struct Probe<'p> {
    pub target: &'p str,
    pub sourcesystem: &'p str,
    pub id: String,
    /// How long a change may take until Sentinel shows it.
    pub patience: Duration,
}

/// Without the probe nothing is tried, since only the probe can be deleted without harm.
pub(super) fn untried(target: &str) -> Finding {
    let words = "withdraw = \"delete\" is experimental; --upload-probe tries whether a deletion has an \
                 effect";
    Finding::note(STEP, target, words)
}

impl Probe<'_> {
    /// Deletes the probe, and looks whether it went.
    pub(super) async fn delete(&self, client: &ManageClient) -> Finding {
        match self.try_it(client).await {
            Ok(finding) => finding,
            Err(error) => {
                let words = error.to_string();
                let (seen, remedy) = words.split_once(" -- ").unwrap_or((&words, ""));
                Finding::error(STEP, self.target, seen, remedy)
            }
        }
    }

    async fn try_it(&self, client: &ManageClient) -> Result<Finding, ManageError> {
        let is_over = |held: &[WorkspaceObject]| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
            !held.is_empty() && held.iter().all(|found| !lives(&found.data, now))
        };
        let held = self.look_until(client, is_over).await?;
        if !is_over(&held) {
            let words = "not tried: Sentinel does not show the probe's withdrawal yet; run \
                         `check --upload-probe` again in some minutes";
            return Ok(Finding::note(STEP, self.target, words));
        }
        for found in &held {
            client.delete(&found.resource).await?;
        }
        let left = self.look_until(client, <[WorkspaceObject]>::is_empty).await?;
        Ok(match left.is_empty() {
            true => Finding::ok(STEP, self.target, "the upload probe was deleted, and it is gone"),
            false => {
                let waited = humantime::format_duration(self.patience);
                let words = format!(
                    "the upload probe was deleted with success, and Sentinel still shows it after {waited}"
                );
                Finding::warning(STEP, self.target, words, SET_EXPIRE)
            }
        })
    }

    /// What Sentinel shows of the probe once it is as `reached` says, or in the end.
    async fn look_until(
        &self,
        client: &ManageClient,
        reached: impl Fn(&[WorkspaceObject]) -> bool,
    ) -> Result<Vec<WorkspaceObject>, ManageError> {
        let begun = Instant::now();
        loop {
            let held = self.held(client).await?;
            if reached(&held) || begun.elapsed() >= self.patience {
                return Ok(held);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn held(&self, client: &ManageClient) -> Result<Vec<WorkspaceObject>, ManageError> {
        let ids = [self.id.clone()];
        let source = Some(self.sourcesystem);
        let mut walk = client.walk(&Condition { kind: "indicator", source, ids: &ids });
        let mut held = Vec::new();
        while let Some(page) = walk.page().await? {
            let own = page.into_iter().filter(|found| found.source == self.sourcesystem);
            held.extend(own.filter(|found| found.id() == self.id));
        }
        Ok(held)
    }
}
