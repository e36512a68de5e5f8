//! Merges claims into indicators, in memory: the policy of a view judges each claim, and the admitted claims merge. The
//! result also says which live objects have no claim left.

use std::collections::HashSet;

use uuid::Uuid;

use super::View;
use super::full_claims::{FullClaim, KnownEvents};
use super::generations::{Generations, IndicatorIds};
use crate::pure::convert::Reason;
use crate::pure::stix::{Admitted, ContextId, ContextObject, Indicator, Memo};

/// An indicator, merged of claims.
#[derive(Debug)]
pub(super) struct Merged {
    /// See [`View::key`].
    pub key: Uuid,
    /// The key of the claims.
    pub observable: Uuid,
    pub ids: IndicatorIds,
    pub indicator: Indicator,
    pub needs: Vec<Need>,
}

/// A context object that an indicator needs.
#[derive(Debug)]
pub(super) struct Need {
    pub key: Uuid,
    pub object: ContextObject,
    /// Of a relationship.
    pub target: Option<ContextId>,
}

/// The result of merging the claims on some observables in a view.
#[derive(Debug, Default)]
pub(super) struct MergeOutcome {
    pub merged: Vec<Merged>,
    /// Keys whose claims cannot be judged yet. Their objects stay as they are.
    pub waiting: HashSet<Uuid>,
    /// For each claim, in their order, the reason why it does not count.
    pub reasons: Vec<Option<Reason>>,
}

/// Judges and merges claims, which are in [order](super::full_claims::sort).
pub(super) fn merge(
    view: &View,
    known: &Generations,
    claims: &[FullClaim],
    events: &KnownEvents,
) -> MergeOutcome {
    let (mut outcome, mut memo) = (MergeOutcome::default(), Memo::default());
    for claims in claims.chunk_by(|a, b| view.merges(&a.row, &b.row)) {
        let Some(FullClaim { row: first, .. }) = claims.first() else { continue };
        let key = view.key(first);
        let ids = known.ids(view, key, first);
        let told = claims.iter().map(|claim| claim.known(events)).collect();
        let verdict = view.merger.merge_observable(&mut memo, ids.stix_id, &first.observable, told);
        if verdict.is_pending() {
            outcome.waiting.insert(key);
        }
        outcome.merged.extend(verdict.indicator.map(|indicator| {
            let needs = needs(view, ids.stix_id, &verdict.admitted);
            Merged { key, observable: first.object, ids, indicator, needs }
        }));
        outcome.reasons.extend(verdict.reasons);
    }
    outcome
}

/// The context objects that an indicator of these claims needs.
fn needs(view: &View, indicator: Uuid, admitted: &[Admitted<'_>]) -> Vec<Need> {
    let needed = view.merger.needed(indicator, admitted);
    let need = needed.iter().filter_map(|needed| {
        let key = view.merger.context_key(needed.kind, needed.id);
        Some(Need { key, object: needed.render()?, target: needed.target() })
    });
    need.collect()
}

impl MergeOutcome {
    /// The indicators that differ from those wanted so far.
    pub(super) fn altered(self, known: &Generations) -> Vec<Merged> {
        let is_new = |one: &Merged| {
            known.newest(one.key).is_none_or(|known| {
                known.object != one.ids.object || known.version != one.indicator.fingerprint
            })
        };
        self.merged.into_iter().filter(is_new).collect()
    }

    /// The live objects that have no admitted claim any more.
    pub(super) fn withdrawn(&self, known: &Generations) -> Vec<Uuid> {
        let claimed: HashSet<Uuid> = self.merged.iter().map(|one| one.key).collect();
        let over = known.iter().filter(|one| one.is_live() && !claimed.contains(&one.key));
        let mut withdrawn: Vec<Uuid> = over.map(|known| known.object).collect();
        // Out of a hash map they come in another order each time; the same claims are to give the same writes.
        withdrawn.sort_unstable();
        withdrawn
    }
}
