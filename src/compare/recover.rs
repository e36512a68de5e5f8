//! Finds out from a workspace which ids are used up by revocation, for an empty ledger. An indicator that is revoked
//! there has used up its id. An indicator of a later generation shows that the id of the generation before is used up.

use super::look::uuid_of;
use super::stray::stray;
use super::{INDICATOR, LookError, ReadableTarget};
use crate::azure::manage::WorkspaceObject;
use crate::ledger::{Ledger, Stray};
use crate::pure::verify::Ours;

impl ReadableTarget {
    /// Notes in the ledger which ids of a target are used up, before the ledger knows the target. Returns how
    /// many. May be repeated.
    ///
    /// # Errors
    /// [`LookError`] if not all ids could be read.
    pub async fn recover(&self, ledger: &Ledger, view: &str) -> Result<u64, LookError> {
        self.confirm().await?;
        let mut walk = self.client.walk(&self.own(INDICATOR, &[]));
        let mut noted = 0;
        while let Some(page) = walk.page().await? {
            let used_up: Vec<Stray> = page.iter().filter_map(|one| self.used_up(one)).collect();
            noted += ledger.note_used_up(view, &self.target, &used_up).await?;
        }
        Ok(noted)
    }

    fn used_up(&self, found: &WorkspaceObject) -> Option<Stray> {
        let namespace = self.namespace.as_ref()?;
        let id = uuid_of(INDICATOR, found.id())?;
        let ours = Ours::of(&found.data, id, namespace)?;
        if found.data.get("revoked").is_some_and(|revoked| *revoked == true) {
            return Some(stray(found, id, id, Some(&ours)));
        }
        // A later generation exists only because the id before it was revoked.
        let generation = ours.generation.checked_sub(1).filter(|before| *before >= 0)?;
        let before = match generation {
            0 => ours.key,
            generation => ours.observable.successor(namespace, generation),
        };
        let mut found = found.clone();
        if let Some(id) = found.data.get_mut("id") {
            // The row gets the id of the generation before, which is the one that is used up.
            *id = format!("{INDICATOR}--{before}").into();
        }
        Some(stray(&found, before, before, Some(&Ours { generation, ..ours })))
    }
}
