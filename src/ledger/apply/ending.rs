//! What ends with a snapshot: the claims that it no longer shows.

use std::collections::HashSet;

use uuid::Uuid;

use super::Application;
use crate::config::Guard;
use crate::ledger::change::Change;
use crate::ledger::guard;
use crate::ledger::judgement::Origin;
use crate::ledger::refresh::refresh;
use crate::ledger::sql::{Result, Transaction};
use crate::ledger::tables::claims::{self, KnownDigest, PlacedObject, STEP};
use crate::ledger::tables::events::{self, SnapshotEnd};
use crate::ledger::tables::held;
use crate::ledger::tables::keys::ClaimPlace;

impl Application {
    /// Decides on the claims that the snapshot does not mention: a publication ends them, a read
    /// within the guard's measure.
    pub(in crate::ledger) fn judge_absent(
        &mut self,
        tx: &Transaction<'_>,
        measure: Option<&Guard>,
        change: &mut Change<'_>,
    ) -> Result<()> {
        let stored = std::mem::take(&mut self.stored).into_iter();
        let unseen = stored.filter(|(place, _)| !self.mentioned.contains(place));
        let unseen =
            unseen.map(|(place, KnownDigest { object, .. })| PlacedObject { place, object });
        let (told, absent): (Vec<PlacedObject>, Vec<PlacedObject>) =
            unseen.partition(|claim| self.shown.contains(&claim.place.attribute));
        self.ended.extend(told);
        let kept: HashSet<ClaimPlace> = match (&self.origin, measure) {
            // A publication shows all that there is: what it leaves out was deleted.
            (Origin::Push { .. }, _) | (_, None) => HashSet::new(),
            // Another key may just not see them.
            (Origin::Read(shown), Some(_)) if !shown.of_our_view => {
                absent.iter().map(|claim| claim.place).collect()
            }
            (Origin::Read(_), Some(measure)) => {
                guard::hold(tx, self.key(), &absent, measure, change)?
            }
        };
        self.counts.held = kept.len();
        if self.event_changed {
            // Judged by the event as it is now: a tag may forbid what stands.
            let still = absent.iter().filter(|claim| kept.contains(&claim.place));
            refresh(tx, &objects_of(still), change)?;
        }
        self.ended.extend(absent.iter().filter(|claim| !kept.contains(&claim.place)));
        Ok(())
    }

    /// Ends claims, at most [`STEP`]; `false`: call again.
    pub(in crate::ledger) fn end_some(
        &mut self,
        tx: &Transaction<'_>,
        change: &mut Change<'_>,
    ) -> Result<bool> {
        if !self.is_current(tx)? {
            // The newer snapshot decides on the rest.
            return Ok(true);
        }
        let rest = self.ended.len().saturating_sub(STEP);
        let going = self.ended.split_off(rest);
        if !going.is_empty() {
            let places: Vec<ClaimPlace> = going.iter().map(|claim| claim.place).collect();
            claims::delete(tx, self.key(), &places)?;
            held::forget_gone(tx, self.key())?;
        }
        self.counts.gone += going.len();
        refresh(tx, &objects_of(&going), change)?;
        Ok(self.ended.is_empty())
    }

    /// Marks the snapshot as wholly applied. While claims are held, the same snapshot is compared anew.
    pub(in crate::ledger) fn finish(
        &self,
        tx: &Transaction<'_>,
        content: i64,
        skipped: &str,
    ) -> Result<()> {
        let content = (self.counts.held == 0).then_some(content);
        let end = SnapshotEnd { generation: self.generation, content, skipped };
        events::finish_snapshot(tx, self.key(), &end)
    }
}

/// The observables of these claims, each once and in order.
pub(super) fn objects_of<'c>(claims: impl IntoIterator<Item = &'c PlacedObject>) -> Vec<Uuid> {
    let mut objects: Vec<Uuid> = claims.into_iter().map(|claim| claim.object).collect();
    objects.sort_unstable();
    objects.dedup();
    objects
}
