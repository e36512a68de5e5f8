//! Ends the claims that a snapshot no longer shows. If a claim is only absent from the answer of a read, the guard
//! decides.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::{Added, Application, BegunHead, Counts};
use crate::config::Guard;
use crate::ledger::change::Change;
use crate::ledger::guard;
use crate::ledger::judgement::Origin;
use crate::ledger::owner::Unit;
use crate::ledger::refresh::refresh_with_copies;
use crate::ledger::sql::{Result, Transaction};
use crate::ledger::tables::claims::{self, PlacedObject, STEP};
use crate::ledger::tables::events::{self, SnapshotEnd};
use crate::ledger::tables::held;
use crate::ledger::tables::keys::{ClaimPlace, EventKey};

/// A snapshot whose claims are all added. The claims that it no longer shows are now being ended. A clone is cheap.
#[derive(Debug, Clone)]
pub(in crate::ledger) struct EndingSnapshot {
    source: String,
    head: Arc<BegunHead>,
    /// The claims that end.
    ending: Arc<[PlacedObject]>,
    /// How many of them, from the first on, have not ended yet.
    left: usize,
    pub counts: Counts,
}

impl Application {
    /// Decides on the claims that the snapshot does not mention. A publication ends them. A read ends them within the
    /// guard's measure. `last` is the last chunk: the application was advanced by all others.
    pub(in crate::ledger) fn judge_absent(
        &self,
        unit: &Unit<'_>,
        last: &Added,
        measure: Option<&Guard>,
        change: &mut Change<'_>,
    ) -> Result<EndingSnapshot> {
        let is_mentioned =
            |place: &ClaimPlace| self.mentioned.contains(place) || last.mentioned.contains(place);
        let shown: HashSet<Uuid> = last.shown.iter().copied().collect();
        // An attribute that is shown without this claim has ended it by MISP's word. Only one that is not shown
        // is absent.
        let is_shown = |claim: &PlacedObject| {
            let attribute = &claim.place.attribute;
            self.shown.contains(attribute) || shown.contains(attribute)
        };
        let unseen = self.stored.iter().filter(|(place, _)| !is_mentioned(place));
        let unseen =
            unseen.map(|(place, known)| PlacedObject { place: *place, object: known.object });
        let (told, absent): (Vec<PlacedObject>, Vec<PlacedObject>) = unseen.partition(is_shown);
        let kept: HashSet<ClaimPlace> = match (&self.origin, measure) {
            // A publication shows all that there is: what it leaves out was deleted.
            (Origin::Push { .. }, _) | (_, None) => HashSet::new(),
            // Another key may just not see them.
            (Origin::Read(shown), Some(_)) if !shown.of_our_view => {
                absent.iter().map(|claim| claim.place).collect()
            }
            (Origin::Read(_), Some(measure)) => {
                guard::hold(unit, self.key(), &absent, measure, change)?
            }
        };
        if self.head.changed {
            // Judged by the event as it is now: a tag may forbid what stands.
            let still: Vec<PlacedObject> =
                absent.iter().filter(|claim| kept.contains(&claim.place)).copied().collect();
            refresh_claims_of(unit, &self.source, &still, change)?;
        }
        self.let_go(unit, last, change)?;
        let going = absent.iter().filter(|claim| !kept.contains(&claim.place));
        let all = self.ended.iter().chain(&last.ended).chain(&told).chain(going);
        let ending: Arc<[PlacedObject]> = all.copied().collect();
        let mut counts = self.counts.clone();
        counts.add(&last.counts);
        counts.held = kept.len();
        let (source, head, left) = (self.source.clone(), Arc::clone(&self.head), ending.len());
        Ok(EndingSnapshot { source, head, ending, left, counts })
    }
}

impl EndingSnapshot {
    fn key(&self) -> EventKey<'_> {
        EventKey::new(&self.source, self.head.facts.uuid)
    }

    /// Ends claims, at most [`STEP`]; `false`: call again.
    pub(in crate::ledger) fn end_some(
        &mut self,
        tx: &Transaction<'_>,
        change: &mut Change<'_>,
    ) -> Result<bool> {
        let stage = events::stage(tx, self.key())?;
        if stage.is_none_or(|stage| stage.generation != self.head.stage.generation) {
            // The newer snapshot decides on the rest.
            return Ok(true);
        }
        // From the end on, so that a number tells what is left.
        let from = self.left.saturating_sub(STEP);
        let going = self.ending.get(from..self.left).unwrap_or_default();
        if !going.is_empty() {
            let places: Vec<ClaimPlace> = going.iter().map(|claim| claim.place).collect();
            claims::delete(tx, self.key(), &places)?;
            held::forget_gone(tx, self.key())?;
        }
        refresh_claims_of(tx, &self.source, going, change)?;
        self.counts.gone += going.len();
        self.left = from;
        Ok(self.left == 0)
    }

    /// Marks the snapshot as wholly applied. While claims are held, the same snapshot is compared anew.
    pub(in crate::ledger) fn finish(
        &self,
        tx: &Transaction<'_>,
        content: i64,
        skipped: &str,
    ) -> Result<()> {
        let content = (self.counts.held == 0).then_some(content);
        let end = SnapshotEnd { generation: self.head.stage.generation, content, skipped };
        events::finish_snapshot(tx, self.key(), &end)
    }
}

/// Merges again what these claims are, or were, about.
fn refresh_claims_of(
    tx: &Transaction<'_>,
    source: &str,
    claims: &[PlacedObject],
    change: &mut Change<'_>,
) -> Result<()> {
    if claims.is_empty() {
        return Ok(());
    }
    let objects = claims.iter().map(|claim| claim.object).collect();
    let attributes = claims.iter().map(|claim| claim.place.attribute);
    refresh_with_copies(tx, source, objects, attributes, change)
}
