//! Decides whether the policy admits a claim. It fails closed. A tag that forbids also counts if it was put on or taken
//! off after the publication. A tag that permits counts only if it was published and is still on.

mod tags;

use std::collections::HashSet;

use super::lists::IncludeExclude;
use super::marks::Marks;
use super::prefix::is_too_wide;
use super::registry::is_common_key;
use super::routable::is_routable;
use super::spelling::spellings;
use super::switches::Switched;
use super::{Decided, ListOfSource, Mark, OnHit, OnLists, Policy, SideFacts, Tlp, Warned};
use crate::pure::convert::{self, ClaimFacts, ClusterFacts, EventFacts, Reason, Sibling};
use crate::pure::misp::{Audience, SHARING_GROUP};
use crate::pure::stix::Observable;

pub use tags::TagVerdict;

/// MISP `distribution` for the creator's own organisation only.
const OWN: i64 = 0;

/// A policy made ready to judge many claims.
#[derive(Debug, Clone)]
pub struct Judge {
    policy: Policy,
    /// The values of `policy.never`, as written and as claims spell them, in lower case.
    never: HashSet<String>,
    marks: Marks,
    tags: IncludeExclude,
    orgs: IncludeExclude,
    types: IncludeExclude,
    categories: IncludeExclude,
    sharing_groups: IncludeExclude,
    false_positives: IncludeExclude,
    shared_hosts: IncludeExclude,
    switched: Switched,
}

impl Judge {
    pub fn new(policy: &Policy) -> Self {
        Self {
            never: policy.never.iter().flat_map(|value| spellings(value)).collect(),
            marks: Marks::new(&policy.tlp_tags),
            tags: IncludeExclude::new(&policy.tags_include, &policy.tags_exclude),
            orgs: IncludeExclude::new(&policy.orgs_include, &policy.orgs_exclude),
            types: IncludeExclude::new(&policy.types_include, &policy.types_exclude),
            categories: IncludeExclude::new(&policy.categories_include, &policy.categories_exclude),
            sharing_groups: IncludeExclude::new(&policy.sharing_groups, &[]),
            false_positives: IncludeExclude::new(&policy.false_positive_tags, &[]),
            shared_hosts: IncludeExclude::new(&policy.shared_host_lists, &[]),
            switched: Switched::new(&policy.switches),
            policy: policy.clone(),
        }
    }

    /// Whether claims of this source may count in this view.
    ///
    /// # Errors
    /// [`Reason::SourceExcluded`].
    pub fn hears(&self, source: &str) -> Result<(), Reason> {
        let sources = &self.policy.sources;
        // A document comes from no source in particular.
        let is_heard = sources.is_empty() || source.is_empty();
        require(is_heard || sources.iter().any(|one| one == source), Reason::SourceExcluded)
    }

    /// Whether this claim of the source may count in this view, as far as the source decides it.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn admits_of(
        &self,
        source: &str,
        event: &EventFacts,
        claim: &ClaimFacts,
    ) -> Result<(), Reason> {
        self.hears(source)?;
        let is_feed_only = self.policy.feed_only.iter().any(|one| one == source);
        require(!is_feed_only || self.knows_audiences(event, claim), Reason::ViewUnknown)
    }

    /// Whether a claim may count in this view.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn admit(
        &self,
        event: &EventFacts,
        claim: &ClaimFacts,
        observable: &Observable,
        side_facts: &SideFacts,
    ) -> Result<(), Reason> {
        self.admit_tagged(self.read_tags(event, claim), event, claim, observable, side_facts)
    }

    /// Does the same as [`Judge::admit`] for a claim whose tags, with those of its event, are already read.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn admit_tagged(
        &self,
        tags: TagVerdict,
        event: &EventFacts,
        claim: &ClaimFacts,
        observable: &Observable,
        side_facts: &SideFacts,
    ) -> Result<(), Reason> {
        let policy = &self.policy;
        require(!side_facts.suppressed, Reason::Suppressed)?;
        let sighted = policy.withdraw_at > 0 && side_facts.false_positives >= policy.withdraw_at;
        let disputed = tags.is_false_positive || side_facts.disputed || sighted;
        require(!disputed, Reason::FalsePositive)?;
        require(claim.to_ids || !policy.to_ids, Reason::ToIdsOff)?;
        self.switched.objection(claim, observable).map_or(Ok(()), Err)?;
        require(self.level(tags) <= policy.tlp_max, Reason::TlpTooStrict)?;
        require(!tags.is_excluded, Reason::TagExcluded)?;
        require(tags.is_included, Reason::TagMissing)?;
        require(self.admits_org(event), Reason::OrgExcluded)?;
        require(self.types.allow(&claim.kind), Reason::TypeExcluded)?;
        require(self.categories.allow(&claim.category), Reason::CategoryExcluded)?;
        require(allows(&policy.threat_levels, event.threat_level), Reason::ThreatLevel)?;
        require(allows(&policy.analysis, event.analysis), Reason::Analysis)?;
        self.admits_audiences(event, claim)?;
        require(!is_common_key(observable), Reason::CommonKey)?;
        require(!is_too_wide(observable, policy), Reason::NetworkTooWide)?;
        require(policy.allow_non_routable || is_routable(observable), Reason::NonRoutable)?;
        require(!self.is_never(observable), Reason::Never)?;
        let decayed = side_facts.decay.is_some_and(|decay| decay.decayed);
        require(!(policy.decay && decayed), Reason::Decayed)?;
        self.admits_listed(observable, &side_facts.warned)
    }

    /// Whether policy allows the audiences of event, object and attribute. MISP shows an attribute only to those who
    /// may see all three.
    fn admits_audiences(&self, event: &EventFacts, claim: &ClaimFacts) -> Result<(), Reason> {
        let policy = &self.policy;
        let all = || claim.audiences(event);
        require(!policy.is_feed_only || self.knows_audiences(event, claim), Reason::ViewUnknown)?;
        let is_allowed = |one: Audience| allows(&policy.distributions, one.distribution);
        require(all().all(is_allowed), Reason::Distribution)?;
        let mut groups = all().filter(|one| one.distribution == SHARING_GROUP);
        let named = |one: Audience| self.names_group(event, claim, one.sharing_group_id);
        require(self.sharing_groups.include.is_empty() || groups.all(named), Reason::SharingGroup)
    }

    /// Whether anybody says that the relay's targets may see it. The feed shows what a site administrator sees, and
    /// without a key nobody says who else may.
    fn knows_audiences(&self, event: &EventFacts, claim: &ClaimFacts) -> bool {
        let own = &self.policy.org_without_key;
        let is_own = event.org_uuid.is_some_and(|org| own.contains(&org));
        let is_known = |one: Audience| one.is_open() || is_own && one.distribution == OWN;
        claim.audiences(event).all(is_known)
    }

    /// Whether the policy lists this sharing group, by its name, uuid or number.
    fn names_group(&self, event: &EventFacts, claim: &ClaimFacts, number: i64) -> bool {
        let told = claim.sharing_groups(event).filter(|(of, _)| *of == number);
        let mut names = told.flat_map(|(_, one)| [one.name.clone(), one.uuid.to_string()]);
        names.any(|name| self.sharing_groups.includes(&name))
            || self.sharing_groups.includes(&number.to_string())
    }

    fn admits_listed(&self, observable: &Observable, warned: &Warned) -> Result<(), Reason> {
        let looks_at_host = self.looks_at_hosts() && observable.url_host().is_some();
        if self.policy.warninglists == OnHit::Off && !looks_at_host {
            return Ok(());
        }
        // It fails closed: before the lists are known, nothing says that the value is on none.
        let Warned::On(OnLists { attribute, host, .. }) = warned else {
            return Err(Reason::WarninglistsPending);
        };
        let is_enforced = self.policy.warninglists == OnHit::Enforce;
        let is_listed = attribute.iter().any(|list| self.counts_list(list));
        require(!is_enforced || !is_listed, Reason::Warninglist)?;
        let is_shared = |list: &&ListOfSource| self.shared_hosts.includes(&list.name);
        let mut shared = host.iter().filter(is_shared);
        require(!shared.any(|list| self.counts_list(list)), Reason::SharedHost)
    }

    /// Whether the lists of this one's source count in this view.
    pub fn counts_list(&self, list: &ListOfSource) -> bool {
        let from = &self.policy.warninglists_from;
        from.is_empty() || from.contains(&list.source)
    }

    fn looks_at_hosts(&self) -> bool {
        !self.shared_hosts.include.is_empty()
    }

    /// The level of the marking with which an admitted claim with these tags is sent. `None`: it is sent without a
    /// marking.
    pub fn marking(&self, tags: TagVerdict) -> Option<Tlp> {
        tags.strictest.or(self.policy.tlp_untagged.marked())
    }

    /// Whether a tag is a marking with a level.
    pub fn is_level(&self, tag: &str) -> bool {
        matches!(self.marks.read(tag), Some(Mark::Level(_)))
    }

    /// The marking that a tag counts as only because of its words. The operator may know better.
    pub fn guess(&self, tag: &str) -> Option<Mark> {
        self.marks.guess(tag)
    }

    /// What the operator's table of markings decides about a tag. `None`: the table does not name it.
    pub fn decided(&self, tag: &str) -> Option<Decided> {
        self.marks.decided(tag)
    }

    /// The clusters of an event that policy allows to send. An organisation's own cluster has an audience of its own.
    pub fn clusters<'e>(&self, event: &'e EventFacts) -> impl Iterator<Item = &'e ClusterFacts> {
        let distributions = &self.policy.distributions;
        event
            .clusters
            .iter()
            .filter(|one| one.is_default || allows(distributions, one.distribution))
    }

    /// The names of the warninglists that an admitted claim is labelled with.
    pub fn labels<'b>(&self, side_facts: &'b SideFacts) -> impl Iterator<Item = &'b str> {
        let lists = match (self.policy.warninglists, &side_facts.warned) {
            (OnHit::Label, Warned::On(lists)) => &lists.attribute[..],
            (OnHit::Label, Warned::Pending) | (OnHit::Enforce | OnHit::Off, _) => &[],
        };
        lists.iter().filter(|list| self.counts_list(list)).map(|list| list.name.as_str())
    }

    /// Whether the scores of decaying models count that this source shows.
    pub fn counts_scores_of(&self, source: &str) -> bool {
        self.policy.decay && !self.policy.without_decay.iter().any(|name| name == source)
    }

    /// The score of decaying models, where it counts.
    pub fn score(&self, side_facts: &SideFacts) -> Option<u8> {
        side_facts.decay.filter(|_| self.policy.decay).map(|decay| decay.score)
    }

    /// Whether warninglists decide anything.
    pub fn uses_warninglists(&self) -> bool {
        self.policy.warninglists != OnHit::Off || self.looks_at_hosts()
    }

    /// Whether the description of an admitted claim may mention another attribute of the claim's MISP object. That
    /// attribute has the same audiences as the claim and no tags of its own, so the event's tags decide.
    pub fn tells(&self, tags: TagVerdict, sibling: &Sibling) -> bool {
        tags.event_lets_tell
            && self.types.allow(&sibling.kind)
            && self.categories.allow(&sibling.category)
            && !self.is_never_told(&sibling.value)
    }

    /// Checks the text as claims of any type spell it, and also if it was cut to fit into a description.
    fn is_never_told(&self, text: &str) -> bool {
        if self.never.is_empty() {
            return false;
        }
        let begins = |start: &str| self.never.iter().any(|value| value.starts_with(start));
        // A text that was cut may be the beginning of a value that must never be told.
        let start = convert::uncut(text).map(str::to_ascii_lowercase);
        spellings(text).iter().any(|spelling| self.never.contains(spelling))
            || start.is_some_and(|start| begins(&start))
    }

    /// Whether a claim's own tags mark its observable as a false positive, no matter which other attributes claim it.
    pub fn disputes(&self, claim: &ClaimFacts) -> bool {
        claim.tags.iter().any(|tag| self.false_positives.includes(&tag.name))
    }

    /// When a claim becomes too old to count, Unix milliseconds.
    pub fn counts_until(&self, claim: &ClaimFacts) -> Option<i64> {
        let age = i64::try_from(self.policy.max_age?.as_millis()).unwrap_or(i64::MAX);
        Some(claim.timestamp.saturating_mul(1_000).saturating_add(age))
    }

    /// If `policy.never` names a URL, it withholds both its forms.
    fn is_never(&self, observable: &Observable) -> bool {
        let holds = |value: &str| self.never.contains(&value.to_ascii_lowercase());
        let on_the_wire = || convert::on_the_wire(observable);
        !self.never.is_empty()
            && (holds(&observable.value) || on_the_wire().is_some_and(|wire| holds(&wire.value)))
    }

    fn admits_org(&self, event: &EventFacts) -> bool {
        if self.orgs.is_empty() {
            return true;
        }
        let uuid = event.org_uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
        let excluded = self.orgs.excludes(&event.org_name) || self.orgs.excludes(&uuid);
        let included = self.orgs.include.is_empty()
            || self.orgs.includes(&event.org_name)
            || self.orgs.includes(&uuid);
        included && !excluded
    }
}

fn require(holds: bool, otherwise: Reason) -> Result<(), Reason> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn allows(list: &[i64], value: i64) -> bool {
    list.is_empty() || list.contains(&value)
}

#[cfg(test)]
mod tests;
