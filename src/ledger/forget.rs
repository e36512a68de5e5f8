//! Forgets a target that the configuration no longer names. It does so only on command: what the target was sent
//! stays in Sentinel, and the ledger alone knows what that is.

use serde::{Deserialize, Serialize};

use super::Ledger;
use super::sql::{Result, Transaction};
use super::tables::claims::STEP_ROWS;
use super::tables::{alert_cursors, delivered, queue, targets, wanted};

/// What became of forgetting a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Forgotten {
    /// The configuration names it.
    Configured,
    /// The ledger does not know it; these are the ones that could be forgotten.
    Unknown { absent: Vec<String> },
    /// Done; so many objects it was sent.
    Done { objects: u64 },
}

impl Ledger {
    /// Forgets a target that is none of those `configured`, and what it was sent. Its last step is its
    /// name, so what a crash leaves is forgotten by the next call.
    pub async fn forget(&self, target: &str, configured: &[String]) -> Result<Forgotten> {
        if configured.iter().any(|name| name == target) {
            return Ok(Forgotten::Configured);
        }
        let name = target.to_owned();
        let Some(known) = self.read(move |tx| targets::one(tx, &name)).await? else {
            let mut absent = self.targets().await?;
            absent.retain(|name| !configured.contains(name));
            return Ok(Forgotten::Unknown { absent });
        };
        // The target itself goes last, so that after a crash the same command finds it again.
        let objects = self.delete_in_steps(target, delivered::delete).await?;
        let name = target.to_owned();
        self.write(move |unit| {
            queue::delete(unit, &name)?;
            alert_cursors::forget(unit, &name)?;
            targets::delete(unit, &name)
        })
        .await?;
        // A view that nobody sees any more; a start forgets it too.
        self.delete_in_steps(&known.view, wanted::forget_unseen_view).await?;
        Ok(Forgotten::Done { objects })
    }

    /// Each step is a transaction of its own; returns how many rows.
    async fn delete_in_steps(
        &self,
        name: &str,
        delete: fn(&Transaction<'_>, &str, i64) -> Result<usize>,
    ) -> Result<u64> {
        let mut deleted = 0;
        loop {
            let name = name.to_owned();
            match self.write_step(move |unit| delete(unit, &name, STEP_ROWS)).await? {
                0 => return Ok(deleted),
                rows => deleted += rows as u64,
            }
        }
    }
}
