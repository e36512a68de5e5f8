//! Groups targets into views. The targets of a view have equal policy, identity and withdrawal, and share one set of
//! wanted objects. All views have the same namespace, so the claims of an observable have the same key in each view.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::hash;
use super::tables::claims::ClaimRow;
use super::warninglists::{AllLists, Warninglists};
use crate::pure::convert::{ClaimFacts, EventFacts, Reason};
use crate::pure::policy::{Judge, Policy, SideFacts, Tlp};
use crate::pure::stix::{Expiry, Identity, Merger, Observable, Rendering, Withdraw};

/// The targets that see one merged set of indicators, and how it is made.
#[derive(Debug, Clone)]
pub struct View {
    pub name: String,
    /// Nothing goes beside the indicators.
    pub(super) only_indicators: bool,
    /// Those that changes are queued for: the enabled ones.
    pub targets: Vec<String>,
    /// The others.
    disabled: Vec<String>,
    pub(super) judge: Judge,
    pub(super) merger: Merger,
    /// Of everything that shapes the wanted objects: policy, rendering, mapping.
    pub(super) fingerprint: i64,
}

/// Raised when the conversion of the same input changes.
const MAPPING_VERSION: u32 = 5;

/// The view of the targets without settings of their own.
const DEFAULT: &str = "default";

/// Ends the names of views with `identity = "attribute"`: no view ever has the ids of another one of
/// its name.
pub(super) const BY_ATTRIBUTE: &str = "/attribute";

/// Ends the names of views of targets that take nothing but indicators.
const ONLY_INDICATORS: &str = "/indicators";

/// A configured target.
#[derive(Debug, Clone)]
pub struct Member<'p> {
    /// As the ledger names it.
    pub target: String,
    /// As the configuration names it.
    pub name: &'p str,
    pub enabled: bool,
    pub policy: &'p Policy,
    pub identity: Identity,
    pub withdraw: Withdraw,
    /// Nothing goes beside the indicators: its API takes nothing else.
    pub only_indicators: bool,
}

impl Member<'_> {
    fn shares(&self, other: &Self) -> bool {
        let settings = |one: &Self| (one.identity, one.withdraw, one.only_indicators);
        self.policy == other.policy && settings(self) == settings(other)
    }

    fn rendering(&self, common: &Rendering) -> Rendering {
        let Self { identity, withdraw, .. } = *self;
        // An upload API that takes indicators alone refuses everything else.
        let context = match self.only_indicators {
            true => BTreeSet::new(),
            false => common.context.clone(),
        };
        Rendering { identity, withdraw, context, ..common.clone() }
    }
}

impl View {
    #[must_use]
    pub fn new(name: &str, targets: Vec<String>, policy: &Policy, rendering: &Rendering) -> Self {
        // Plain data with string keys: serialising cannot fail.
        let shape = serde_json::to_vec(&(policy, rendering, MAPPING_VERSION)).unwrap_or_default();
        let judge = Judge::new(policy);
        Self {
            name: name.to_owned(),
            // The name says so, since the objects of a view never change their kinds: with others it is another
            // view.
            only_indicators: name.ends_with(ONLY_INDICATORS),
            targets,
            disabled: Vec::new(),
            merger: Merger::new(rendering, &judge),
            judge,
            fingerprint: hash([shape.as_slice()]),
        }
    }

    /// All its targets, enabled or not.
    pub(super) fn members(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().chain(&self.disabled).map(String::as_str)
    }

    /// The strictest level that tags of these names say under its policy.
    #[must_use]
    pub fn strictest<'t>(&self, names: impl Iterator<Item = &'t str>) -> Tlp {
        self.judge.strictest(names)
    }

    /// The level that a tag of this name says under its policy; `None` if it is no marking.
    pub(super) fn marking(&self, tag: &str) -> Option<Tlp> {
        self.judge.is_level(tag).then(|| self.judge.strictest([tag].into_iter()))
    }

    fn has(&self, target: &str) -> bool {
        self.members().any(|known| known == target)
    }

    /// Whether each attribute has an indicator of its own.
    pub(super) fn is_by_attribute(&self) -> bool {
        self.merger.identity() == Identity::Attribute
    }

    /// Whether two claims count for one indicator.
    pub(super) fn merges(&self, one: &ClaimRow, other: &ClaimRow) -> bool {
        one.object == other.object && (!self.is_by_attribute() || one.attribute == other.attribute)
    }

    /// The key of the indicator that a claim counts for.
    pub(super) fn key(&self, claim: &ClaimRow) -> Uuid {
        if self.is_by_attribute() {
            return self.merger.object_key(&claim.observable, claim.attribute);
        }
        claim.object
    }
}

/// All views: the closed list of them.
#[derive(Debug, Clone)]
pub struct Views {
    views: Vec<Arc<View>>,
    /// What all have in common: namespace, expiry, and what a target without a word of its own has.
    base: Arc<Rendering>,
    lists: Warninglists,
}

impl Views {
    /// The views of these targets: that of `base` with the identity and withdrawal of `rendering`, and
    /// one for all others that share these three, named after the first of its targets.
    #[must_use]
    pub fn new(members: &[Member<'_>], base: &Policy, rendering: &Rendering) -> Self {
        let mut found: Vec<(&Member<'_>, View)> = Vec::new();
        for member in members {
            let known = found.iter().position(|(first, _)| first.shares(member));
            let place = known.unwrap_or_else(|| {
                let name = name(member, base, rendering);
                let rendering = member.rendering(rendering);
                found.push((member, View::new(&name, vec![], member.policy, &rendering)));
                found.len() - 1
            });
            if let Some((_, view)) = found.get_mut(place) {
                let list = if member.enabled { &mut view.targets } else { &mut view.disabled };
                list.push(member.target.clone());
            }
        }
        let views = found.into_iter().map(|(_, view)| Arc::new(view)).collect();
        Self { views, base: Arc::new(rendering.clone()), lists: Warninglists::default() }
    }

    /// One view of all targets.
    #[must_use]
    pub fn single(view: View) -> Self {
        let base = Arc::new(view.merger.rendering().clone());
        Self { views: vec![Arc::new(view)], base, lists: Warninglists::default() }
    }

    /// The same views, judging by these warninglists.
    #[must_use]
    pub fn under(&self, lists: AllLists) -> Self {
        Self { lists: Warninglists::new(lists), ..self.clone() }
    }

    /// The warninglists by which all of them judge.
    #[must_use]
    pub fn warninglists(&self) -> &Warninglists {
        &self.lists
    }

    /// Whether any view asks for them.
    #[must_use]
    pub fn use_warninglists(&self) -> bool {
        self.iter().any(|view| view.judge.uses_warninglists())
    }

    /// By what a view judges now, as the ledger remembers it.
    pub(super) fn judged_as(&self, view: &View) -> String {
        let lists = self.lists.now().mark();
        match view.judge.uses_warninglists() && !lists.is_empty() {
            true => format!("{} {lists}", view.fingerprint),
            false => view.fingerprint.to_string(),
        }
    }

    /// Some of these views.
    pub(super) fn only(&self, which: impl Fn(&View) -> bool) -> Self {
        let views = self.views.iter().filter(|view| which(view)).cloned().collect();
        Self { views, ..self.clone() }
    }

    pub fn iter(&self) -> impl Iterator<Item = &View> {
        self.views.iter().map(AsRef::as_ref)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// The name of the view that a target sees; one that was not named sees the first.
    #[must_use]
    pub fn name_of(&self, target: &str) -> &str {
        self.of(target).map_or(DEFAULT, |view| &view.name)
    }

    fn of(&self, target: &str) -> Option<&View> {
        self.iter().find(|view| view.has(target)).or_else(|| self.iter().next())
    }

    /// Whether withdrawals use up the ids that a target holds.
    pub(super) fn revokes(&self, target: &str) -> bool {
        self.of(target).is_some_and(|view| view.merger.withdraw() == Withdraw::Revoke)
    }

    /// Of everything that shapes what is wanted, in any view.
    pub(super) fn fingerprint(&self) -> i64 {
        let all: Vec<[u8; 8]> = self.iter().map(|view| view.fingerprint.to_le_bytes()).collect();
        hash(all.iter().map(<[u8; 8]>::as_slice))
    }

    /// The key under which the ledger keeps claims of an observable.
    pub(super) fn object_key(&self, observable: &Observable) -> Uuid {
        observable.id(&self.base.namespace)
    }

    pub(super) fn namespace(&self) -> Uuid {
        self.base.namespace
    }

    pub(super) fn expiry(&self) -> &Expiry {
        &self.base.expiry
    }

    /// The level of an event by its own tags, as the strictest view reads them; `None` without a view.
    pub(super) fn event_level(&self, event: &EventFacts) -> Option<Tlp> {
        self.iter().map(|view| view.judge.event_level(event)).max()
    }

    /// Why no view admits a claim, in the first one's words; `None` if any does.
    pub(super) fn objection(
        &self,
        source: &str,
        event: &EventFacts,
        claim: &ClaimFacts,
        observable: &Observable,
    ) -> Option<Reason> {
        let warned = self.lists.now().warned(source, claim, observable);
        // This is for counting what is skipped. Sightings, scores and suppressions change without a snapshot,
        // so they are left to the merging.
        let side_facts = &SideFacts { warned, ..SideFacts::default() };
        let mut first = None;
        for view in self.iter() {
            let admit = || view.judge.admit(event, claim, observable, side_facts);
            match view.judge.admits_of(source, event, claim).and_then(|()| admit()) {
                Ok(()) => return None,
                Err(reason) => first = first.or(Some(reason)),
            }
        }
        first
    }
}

/// A target may be called `default` and have settings of its own.
fn name(member: &Member<'_>, policy: &Policy, rendering: &Rendering) -> String {
    let common = (policy, rendering.identity, rendering.withdraw);
    let mut name = match ((member.policy, member.identity, member.withdraw) == common, member.name)
    {
        (true, _) => DEFAULT.to_owned(),
        (false, DEFAULT) => format!("{DEFAULT}/own"),
        (false, name) => name.to_owned(),
    };
    if member.identity == Identity::Attribute {
        name.push_str(BY_ATTRIBUTE);
    }
    if member.only_indicators {
        name.push_str(ONLY_INDICATORS);
    }
    name
}
