//! Forgetting a target that the configuration names no longer: only on command, since what it was sent
//! stays in Sentinel, and the ledger alone knows what that is.

use serde::{Deserialize, Serialize};

use super::Ledger;
use super::apply::STEP;
use super::sql::{Result, Statement, statements, values};

statements! {
    VIEW(Text) = "SELECT view FROM targets WHERE target = $1";
    DELETE_DELIVERED(Text, Integer) =
        "DELETE FROM delivered WHERE target = $1 AND object IN
             (SELECT object FROM delivered WHERE target = $1 LIMIT $2)";
    DELETE_QUEUE(Text) = "DELETE FROM queue WHERE target = $1";
    DELETE_TARGET(Text) = "DELETE FROM targets WHERE target = $1";
    /// Of a view that nobody sees.
    DELETE_WANTED(Text, Integer) =
        "DELETE FROM wanted WHERE view = $1 AND object IN
             (SELECT object FROM wanted WHERE view = $1 LIMIT $2)
         AND NOT EXISTS (SELECT 1 FROM targets WHERE view = $1)";
}

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
        let view: Option<String> = self.read(move |tx| tx.row(&VIEW, &values![&name])).await?;
        let Some(view) = view else {
            let mut absent = self.targets().await?;
            absent.retain(|name| !configured.contains(name));
            return Ok(Forgotten::Unknown { absent });
        };
        let objects = self.delete_in_steps(&DELETE_DELIVERED, target).await?;
        let name = target.to_owned();
        self.write(move |unit| {
            for statement in [&DELETE_QUEUE, &DELETE_TARGET] {
                unit.execute(statement, &values![&name])?;
            }
            Ok(())
        })
        .await?;
        // A view that nobody sees any more; a start forgets it too.
        self.delete_in_steps(&DELETE_WANTED, &view).await?;
        Ok(Forgotten::Done { objects })
    }

    /// Each step is a transaction of its own; returns how many rows.
    async fn delete_in_steps(&self, statement: &'static Statement, name: &str) -> Result<u64> {
        let (mut deleted, step) = (0, i64::try_from(STEP).unwrap_or(i64::MAX));
        loop {
            let name = name.to_owned();
            match self.write(move |unit| unit.execute(statement, &values![&name, step])).await? {
                0 => return Ok(deleted),
                rows => deleted += rows as u64,
            }
        }
    }
}
