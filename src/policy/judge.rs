//! The verdict on one claim. It fails closed: what forbids counts in whichever state a tag is
//! (published, put on since, taken off since), what permits only while it is published and still on.

use std::collections::HashSet;

use super::lists::Lists;
use super::prefix::is_too_wide;
use super::registry::is_common_key;
use super::routable::is_routable;
use super::spelling::spellings;
use super::switches::Switched;
use super::{Beside, OnHit, Policy, Tlp, Warned};
use crate::convert::{self, ClaimFacts, EventFacts, Reason, SharingGroup, Sibling, Since};
use crate::stix::Observable;

/// MISP `distribution` 5: as the object or event.
const INHERIT: i64 = 5;

/// MISP `distribution` 4.
const SHARING_GROUP: i64 = 4;

/// A policy made ready to judge many claims.
#[derive(Debug, Clone)]
pub struct Judge {
    policy: Policy,
    /// As written and as claims spell them, in lower case.
    never: HashSet<String>,
    tags: Lists,
    orgs: Lists,
    types: Lists,
    categories: Lists,
    sharing_groups: Lists,
    false_positives: Lists,
    switched: Switched,
}

impl Judge {
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        Self {
            never: policy.never.iter().flat_map(|value| spellings(value)).collect(),
            tags: Lists::new(&policy.tags_include, &policy.tags_exclude),
            orgs: Lists::new(&policy.orgs_include, &policy.orgs_exclude),
            types: Lists::new(&policy.types_include, &policy.types_exclude),
            categories: Lists::new(&policy.categories_include, &policy.categories_exclude),
            sharing_groups: Lists::new(&policy.sharing_groups, &[]),
            false_positives: Lists::new(&policy.false_positive_tags, &[]),
            switched: Switched::new(&policy.switches),
            policy: policy.clone(),
        }
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
        beside: &Beside,
    ) -> Result<(), Reason> {
        let policy = &self.policy;
        let tags = || event.tags.iter().chain(&claim.tags);
        require(!beside.suppressed, Reason::Suppressed)?;
        let disputed = tags().any(|tag| self.false_positives.includes(&tag.name));
        let sighted = policy.withdraw_at > 0 && beside.false_positives >= policy.withdraw_at;
        require(!(disputed || beside.disputed || sighted), Reason::FalsePositive)?;
        require(claim.to_ids || !policy.to_ids, Reason::ToIdsOff)?;
        self.switched.objection(claim, observable).map_or(Ok(()), Err)?;
        require(
            Tlp::strictest(tags(), policy.tlp_untagged) <= policy.tlp_max,
            Reason::TlpTooStrict,
        )?;
        require(!tags().any(|tag| self.tags.excludes(&tag.name)), Reason::TagExcluded)?;
        let mut standing = tags().filter(|tag| tag.since == Since::Published);
        require(
            self.tags.include.is_empty() || standing.any(|tag| self.tags.includes(&tag.name)),
            Reason::TagMissing,
        )?;
        require(self.admits_org(event), Reason::OrgExcluded)?;
        require(self.types.allow(&claim.kind), Reason::TypeExcluded)?;
        require(self.categories.allow(&claim.category), Reason::CategoryExcluded)?;
        require(allows(&policy.threat_levels, event.threat_level), Reason::ThreatLevel)?;
        require(allows(&policy.analysis, event.analysis), Reason::Analysis)?;
        require(allows(&policy.distributions, distribution(event, claim)), Reason::Distribution)?;
        require(self.admits_sharing_group(event, claim), Reason::SharingGroup)?;
        require(!is_common_key(observable), Reason::CommonKey)?;
        require(!is_too_wide(observable, policy), Reason::NetworkTooWide)?;
        require(policy.allow_non_routable || is_routable(observable), Reason::NonRoutable)?;
        require(!self.is_never(observable), Reason::Never)?;
        let decayed = beside.decay.is_some_and(|decay| decay.decayed);
        require(!(policy.decay && decayed), Reason::Decayed)?;
        match (policy.warninglists, &beside.warned) {
            (OnHit::Off, _) => Ok(()),
            (_, Warned::Pending) => Err(Reason::WarninglistsPending),
            (OnHit::Label, Warned::On(_)) => Ok(()),
            (OnHit::Enforce, Warned::On(lists)) => require(lists.is_empty(), Reason::Warninglist),
        }
    }

    /// The warninglists that an admitted claim is labelled with.
    #[must_use]
    pub fn labels<'b>(&self, beside: &'b Beside) -> &'b [String] {
        match (self.policy.warninglists, &beside.warned) {
            (OnHit::Label, Warned::On(lists)) => lists,
            (OnHit::Label, Warned::Pending) | (OnHit::Enforce | OnHit::Off, _) => &[],
        }
    }

    /// The score of decaying models, where it counts.
    #[must_use]
    pub fn score(&self, beside: &Beside) -> Option<u8> {
        beside.decay.filter(|_| self.policy.decay).map(|decay| decay.score)
    }

    /// Whether warninglists decide anything.
    #[must_use]
    pub fn uses_warninglists(&self) -> bool {
        self.policy.warninglists != OnHit::Off
    }

    /// Whether another attribute of a claim's object may be told beside it: it has no tags of its own,
    /// so its event's speak for it.
    #[must_use]
    pub fn tells(&self, event: &EventFacts, sibling: &Sibling) -> bool {
        let policy = &self.policy;
        let mut standing = event.tags.iter().filter(|tag| tag.since == Since::Published);
        Tlp::strictest(event.tags.iter(), policy.tlp_untagged) <= policy.tlp_max
            && (self.tags.include.is_empty() || standing.any(|tag| self.tags.includes(&tag.name)))
            && self.types.allow(&sibling.kind)
            && self.categories.allow(&sibling.category)
            && !self.never.contains(&sibling.value.to_ascii_lowercase())
    }

    /// Whether a claim's own tags mark its observable as a false positive, whatever else claims it.
    #[must_use]
    pub fn disputes(&self, claim: &ClaimFacts) -> bool {
        claim.tags.iter().any(|tag| self.false_positives.includes(&tag.name))
    }

    /// When a claim becomes too old to count, Unix milliseconds.
    #[must_use]
    pub fn counts_until(&self, claim: &ClaimFacts) -> Option<i64> {
        let age = i64::try_from(self.policy.max_age?.as_millis()).unwrap_or(i64::MAX);
        Some(claim.timestamp.saturating_mul(1_000).saturating_add(age))
    }

    /// What event, object or attribute is for a sharing group: each of them must be one that may, by
    /// whatever the document names it. MISP shows an attribute only to who may see all three.
    fn admits_sharing_group(&self, event: &EventFacts, claim: &ClaimFacts) -> bool {
        self.sharing_groups.include.is_empty()
            || sharing_groups(event, claim).all(|(number, group)| {
                // MISP names a group in full once; elsewhere there may be its number only.
                let of_event = event.sharing_group.as_ref();
                let known = of_event.filter(|_| event.sharing_group_id == number);
                let named = group.or(known).map(|one| [one.name.clone(), one.uuid.to_string()]);
                let mut names = named.into_iter().flatten().chain([number.to_string()]);
                names.any(|name| self.sharing_groups.includes(&name))
            })
    }

    /// A URL that never leaves stays in both its forms.
    fn is_never(&self, observable: &Observable) -> bool {
        let holds = |value: &str| self.never.contains(&value.to_ascii_lowercase());
        let on_the_wire = || convert::on_the_wire(observable);
        !self.never.is_empty()
            && (holds(&observable.value) || on_the_wire().is_some_and(|wire| holds(&wire.value)))
    }

    fn admits_org(&self, event: &EventFacts) -> bool {
        let uuid = event.org_uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
        let excluded = self.orgs.excludes(&event.org_name) || self.orgs.excludes(&uuid);
        let included = self.orgs.include.is_empty()
            || self.orgs.includes(&event.org_name)
            || self.orgs.includes(&uuid);
        included && !excluded
    }
}

/// The sharing groups that event, object and attribute are for: their numbers, and what else is known.
fn sharing_groups<'f>(
    event: &'f EventFacts,
    claim: &'f ClaimFacts,
) -> impl Iterator<Item = (i64, Option<&'f SharingGroup>)> {
    let object = claim.object.as_ref();
    let levels = [
        Some((event.distribution, event.sharing_group_id, event.sharing_group.as_ref())),
        object.map(|one| (one.distribution, one.sharing_group_id, one.sharing_group.as_ref())),
        Some((claim.distribution, claim.sharing_group_id, claim.sharing_group.as_ref())),
    ];
    let restricted = levels.into_iter().flatten().filter(|(level, ..)| *level == SHARING_GROUP);
    restricted.map(|(_, number, group)| (number, group))
}

/// The attribute's distribution after inheritance from its object and event.
fn distribution(event: &EventFacts, claim: &ClaimFacts) -> i64 {
    let of_object = claim.object.as_ref().map_or(INHERIT, |object| object.distribution);
    [claim.distribution, of_object]
        .into_iter()
        .find(|level| *level != INHERIT)
        .unwrap_or(event.distribution)
}

fn require(holds: bool, otherwise: Reason) -> Result<(), Reason> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn allows(list: &[i64], value: i64) -> bool {
    list.is_empty() || list.contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::Tag;
    use crate::policy::Switches;

    fn open_policy() -> Policy {
        Policy {
            tlp_max: Tlp::AmberStrict,
            tlp_untagged: Tlp::Clear,
            to_ids: true,
            allow_non_routable: true,
            min_prefix_ipv4: 16,
            min_prefix_ipv6: 32,
            switches: Switches::default(),
            tags_include: vec![],
            tags_exclude: vec![],
            orgs_include: vec![],
            orgs_exclude: vec![],
            types_include: vec![],
            types_exclude: vec![],
            categories_include: vec![],
            categories_exclude: vec![],
            threat_levels: vec![],
            analysis: vec![],
            distributions: vec![],
            sharing_groups: vec![],
            false_positive_tags: vec![],
            max_age: None,
            withdraw_at: 3,
            decay: false,
            never: vec![],
            warninglists: OnHit::Enforce,
        }
    }

    fn tag(name: &str, since: Since) -> Tag {
        Tag { name: name.into(), since, ..Tag::default() }
    }

    fn verdict(policy: &Policy, event_tags: Vec<Tag>, claim_tags: Vec<Tag>) -> Result<(), Reason> {
        let event = EventFacts { tags: event_tags, ..EventFacts::default() };
        let claim = ClaimFacts { to_ids: true, tags: claim_tags, ..ClaimFacts::default() };
        let observable = Observable::new("ipv4-addr:value", "198.51.100.7");
        Judge::new(policy).admit(&event, &claim, &observable, &Beside::default())
    }

    #[test]
    fn the_strictest_tlp_of_event_and_attribute_decides() {
        let policy = open_policy();
        let amber = || vec![tag("tlp:amber", Since::Published)];
        let red = || vec![tag("tlp:red", Since::Published)];
        assert_eq!(verdict(&policy, amber(), vec![]), Ok(()));
        assert_eq!(verdict(&policy, amber(), red()), Err(Reason::TlpTooStrict));
        assert_eq!(verdict(&policy, red(), amber()), Err(Reason::TlpTooStrict));
    }

    #[test]
    fn untagged_is_judged_as_configured() {
        let strict = Policy { tlp_untagged: Tlp::Red, ..open_policy() };
        assert_eq!(verdict(&strict, vec![], vec![]), Err(Reason::TlpTooStrict));
    }

    #[test]
    fn a_forbidding_tag_counts_from_the_moment_it_is_attached_until_a_publication_without_it() {
        let policy = Policy { tags_exclude: vec!["workflow:*".into()], ..open_policy() };
        for since in [Since::Published, Since::Attached, Since::Detached] {
            let tags = vec![tag("workflow:state=\"draft\"", since)];
            assert_eq!(verdict(&policy, tags, vec![]), Err(Reason::TagExcluded), "{since:?}");
        }
    }

    #[test]
    fn a_required_tag_counts_only_while_published_and_still_on() {
        let policy = Policy { tags_include: vec!["share:soc".into()], ..open_policy() };
        let with = |since| verdict(&policy, vec![tag("share:soc", since)], vec![]);
        assert_eq!(with(Since::Published), Ok(()));
        assert_eq!(with(Since::Attached), Err(Reason::TagMissing));
        assert_eq!(with(Since::Detached), Err(Reason::TagMissing));
    }

    #[test]
    fn a_value_that_must_never_leave_is_recognised_in_any_spelling() {
        let event = EventFacts::default();
        let claim = ClaimFacts { to_ids: true, ..ClaimFacts::default() };
        for (written, observable) in [
            ("2001:DB8:0::1", Observable::new("ipv6-addr:value", "2001:db8::1")),
            ("10.0.0.5/32", Observable::new("ipv4-addr:value", "10.0.0.5")),
            ("Host.Example.", Observable::new("domain-name:value", "host.example")),
            ("evil[.]example", Observable::new("domain-name:value", "evil.example")),
            // A URL in both its forms, whichever is written down.
            ("http://evil.example", Observable::new("url:value", "http://evil.example")),
            ("http://evil.example", Observable::new("url:value", "http://evil.example/")),
            ("http://evil.example/", Observable::new("url:value", "http://evil.example")),
            ("http://evil.example/a", Observable::new("url:value", "http://evil.example/a#b")),
        ] {
            let policy = Policy { never: vec![written.into()], ..open_policy() };
            let verdict =
                Judge::new(&policy).admit(&event, &claim, &observable, &Beside::default());
            assert_eq!(verdict, Err(Reason::Never), "{written}");
        }
    }

    #[test]
    fn what_is_known_beside_a_publication_outranks_policy() {
        let judge = Judge::new(&open_policy());
        let claim = ClaimFacts { to_ids: true, ..ClaimFacts::default() };
        let observable = Observable::new("domain-name:value", "a.example");
        let verdict =
            |beside| judge.admit(&EventFacts::default(), &claim, &observable, &beside).unwrap_err();
        let suppressed = Beside { suppressed: true, ..Beside::default() };
        assert_eq!(verdict(suppressed), Reason::Suppressed);
        let disputed = Beside { disputed: true, ..Beside::default() };
        assert_eq!(verdict(disputed), Reason::FalsePositive);
        let sighted = |count| Beside { false_positives: count, ..Beside::default() };
        assert_eq!(verdict(sighted(3)), Reason::FalsePositive);
        let judge = |withdraw_at| Judge::new(&Policy { withdraw_at, ..open_policy() });
        let admits = |withdraw_at, count| {
            let event = EventFacts::default();
            judge(withdraw_at).admit(&event, &claim, &observable, &sighted(count)).is_ok()
        };
        assert!(admits(3, 2) && admits(0, 9) && !admits(1, 1));
    }

    #[test]
    fn a_false_positive_tag_forbids_in_whichever_state_and_place_it_is() {
        let marks = vec!["false-positive:confirmed=\"true\"".to_owned(), "fp*".to_owned()];
        let policy = Policy { false_positive_tags: marks, ..open_policy() };
        for since in [Since::Published, Since::Attached, Since::Detached] {
            let tags = || vec![tag("False-Positive:confirmed=\"true\"", since)];
            assert_eq!(verdict(&policy, tags(), vec![]), Err(Reason::FalsePositive));
            assert_eq!(verdict(&policy, vec![], tags()), Err(Reason::FalsePositive));
        }
        let other = vec![tag("false-positive:risk=\"low\"", Since::Published)];
        assert_eq!(verdict(&policy, other, vec![]), Ok(()));
    }

    #[test]
    fn a_sharing_group_is_known_by_uuid_name_or_number_and_else_kept_back() {
        let group = |name: &str, number| SharingGroup {
            uuid: uuid::Uuid::from_u128(number),
            name: name.into(),
        };
        let partners = group("Partners EU", 0x53d0);
        let number = "00000000-0000-0000-0000-0000000053d0";
        let observable = Observable::new("domain-name:value", "a.example");
        let verdict = |list: &str, event: &EventFacts, claim: &ClaimFacts| {
            let policy = Policy { sharing_groups: vec![list.into()], ..open_policy() };
            Judge::new(&policy).admit(event, claim, &observable, &Beside::default())
        };
        let event = EventFacts {
            distribution: 4,
            sharing_group_id: 7,
            sharing_group: Some(partners),
            ..EventFacts::default()
        };
        let inherits = ClaimFacts { to_ids: true, distribution: 5, ..ClaimFacts::default() };
        for named in [number, "partners *", "7"] {
            assert_eq!(verdict(named, &event, &inherits), Ok(()), "{named}");
        }
        assert_eq!(verdict("8", &event, &inherits), Err(Reason::SharingGroup));
        // Told by its number only, and by that of the event.
        let same = ClaimFacts { distribution: 4, sharing_group_id: 7, ..inherits.clone() };
        assert_eq!(verdict(number, &event, &same), Ok(()));
        let other = ClaimFacts { distribution: 4, sharing_group_id: 8, ..inherits.clone() };
        assert_eq!(verdict(number, &event, &other), Err(Reason::SharingGroup));
        let named = ClaimFacts { sharing_group: Some(group("Other", 9)), ..other };
        let for_all = EventFacts { distribution: 3, ..EventFacts::default() };
        assert_eq!(verdict("other", &for_all, &named), Ok(()));
        assert_eq!(verdict("other", &event, &named), Err(Reason::SharingGroup), "the event's too");
        assert_eq!(verdict("other", &for_all, &inherits), Ok(()), "for no sharing group");
    }

    #[test]
    fn an_attribute_counts_for_its_age_after_its_timestamp() {
        let claim = ClaimFacts { timestamp: 100, ..ClaimFacts::default() };
        let aged = Policy { max_age: Some(std::time::Duration::from_secs(5)), ..open_policy() };
        assert_eq!(Judge::new(&aged).counts_until(&claim), Some(105_000));
        assert_eq!(Judge::new(&open_policy()).counts_until(&claim), None);
    }

    #[test]
    fn distribution_is_inherited_from_object_then_event() {
        let policy = Policy { distributions: vec![3], ..open_policy() };
        let event = EventFacts { distribution: 3, ..EventFacts::default() };
        let mut claim = ClaimFacts { to_ids: true, distribution: 5, ..ClaimFacts::default() };
        let observable = Observable::new("ipv4-addr:value", "198.51.100.7");
        let judge = Judge::new(&policy);
        assert_eq!(judge.admit(&event, &claim, &observable, &Beside::default()), Ok(()));
        let object = convert::ObjectFacts { distribution: 0, ..Default::default() };
        claim.object = Some(object.into());
        assert_eq!(
            judge.admit(&event, &claim, &observable, &Beside::default()),
            Err(Reason::Distribution)
        );
    }

    /// The verdict on a claim of `kind`, of a file's name or of what else `path` says.
    fn of_type(
        switches: &[(&str, bool)],
        kind: &'static str,
        path: &'static str,
    ) -> Result<(), Reason> {
        let types = switches.iter().map(|(types, on)| ((*types).to_owned(), *on)).collect();
        let switches = Switches { types, ..Switches::default() };
        let policy = Policy { switches, ..open_policy() };
        let claim = ClaimFacts { to_ids: true, kind: kind.into(), ..ClaimFacts::default() };
        Judge::new(&policy).admit(
            &EventFacts::default(),
            &claim,
            &Observable::new(path, "x"),
            &Beside::default(),
        )
    }

    #[test]
    fn types_are_on_or_off_as_their_rows_say_until_switched() {
        const OFF: Result<(), Reason> = Err(Reason::TypeOff);
        const MD5: &str = "file:hashes.MD5";
        const NAME: &str = "file:name";
        assert_eq!(of_type(&[], "md5", MD5), Ok(()));
        assert_eq!(of_type(&[], "filename", NAME), OFF);
        assert_eq!(of_type(&[("filename", true)], "filename", NAME), Ok(()));
        assert_eq!(of_type(&[("*", false)], "md5", MD5), OFF);
        assert_eq!(of_type(&[("*", false), ("md5", true)], "md5", MD5), Ok(()));
        assert_eq!(of_type(&[("*md5", true), ("*", false)], "md5", MD5), Ok(()));
        assert_eq!(of_type(&[("MD5", false)], "md5", MD5), OFF);
        assert_eq!(of_type(&[("hassh*", true)], "hasshserver-md5", "hassh:value"), Ok(()));
    }

    #[test]
    fn the_file_name_of_a_composite_is_under_both_switches() {
        const OFF: Result<(), Reason> = Err(Reason::TypeOff);
        for kind in ["filename|md5", "malware-sample"] {
            assert_eq!(of_type(&[], kind, "file:hashes.MD5"), Ok(()));
            assert_eq!(of_type(&[], kind, "file:name"), OFF);
            assert_eq!(of_type(&[("filename", true)], kind, "file:name"), Ok(()));
            let both = [("filename", true), (kind, false)];
            assert_eq!(of_type(&both, kind, "file:name"), OFF);
            assert_eq!(of_type(&both, kind, "file:hashes.MD5"), OFF);
        }
        assert_eq!(of_type(&[("named pipe", true)], "named pipe", "file:name"), Ok(()));
    }

    #[test]
    fn a_claim_on_a_warninglist_stays_or_is_labelled_and_waits_while_they_are_unknown() {
        let claim = ClaimFacts { to_ids: true, ..ClaimFacts::default() };
        let observable = Observable::new("ipv4-addr:value", "8.8.8.8");
        let none = Warned::default();
        let listed = Warned::On(vec!["Resolvers".into()]);
        for (warninglists, warned, verdict, labels) in [
            (OnHit::Enforce, &none, Ok(()), 0),
            (OnHit::Enforce, &listed, Err(Reason::Warninglist), 0),
            (OnHit::Enforce, &Warned::Pending, Err(Reason::WarninglistsPending), 0),
            (OnHit::Label, &none, Ok(()), 0),
            (OnHit::Label, &listed, Ok(()), 1),
            (OnHit::Label, &Warned::Pending, Err(Reason::WarninglistsPending), 0),
            (OnHit::Off, &listed, Ok(()), 0),
            (OnHit::Off, &Warned::Pending, Ok(()), 0),
        ] {
            let judge = Judge::new(&Policy { warninglists, ..open_policy() });
            let beside = Beside { warned: warned.clone(), ..Beside::default() };
            let found = judge.admit(&EventFacts::default(), &claim, &observable, &beside);
            assert_eq!(found, verdict, "{warninglists:?} {warned:?}");
            assert_eq!(judge.labels(&beside).len(), labels, "{warninglists:?} {warned:?}");
        }
        // What else forbids it comes first: it need not wait for lists.
        let judge = Judge::new(&Policy { never: vec!["8.8.8.8".into()], ..open_policy() });
        let beside = Beside { warned: Warned::Pending, ..Beside::default() };
        let verdict = judge.admit(&EventFacts::default(), &claim, &observable, &beside);
        assert_eq!(verdict, Err(Reason::Never));
    }

    #[test]
    fn what_leads_nowhere_stays_unless_allowed() {
        let claim = ClaimFacts { to_ids: true, kind: "ip-dst".into(), ..ClaimFacts::default() };
        let observable = Observable::new("ipv4-addr:value", "10.0.0.1");
        let judge = |allow_non_routable| {
            let policy = Policy { allow_non_routable, ..open_policy() };
            Judge::new(&policy).admit(
                &EventFacts::default(),
                &claim,
                &observable,
                &Beside::default(),
            )
        };
        assert_eq!(judge(true), Ok(()));
        assert_eq!(judge(false), Err(Reason::NonRoutable));
    }

    #[test]
    fn a_group_of_event_or_object_holds_whatever_the_attribute_says() {
        let policy = Policy { sharing_groups: vec!["7".into()], ..open_policy() };
        let judge = Judge::new(&policy);
        let observable = Observable::new("ipv4-addr:value", "198.51.100.7");
        let of = |event: (i64, i64), object: (i64, i64), claim: (i64, i64)| {
            let event = EventFacts {
                distribution: event.0,
                sharing_group_id: event.1,
                ..EventFacts::default()
            };
            let object = convert::ObjectFacts {
                distribution: object.0,
                sharing_group_id: object.1,
                ..Default::default()
            };
            let claim = ClaimFacts {
                to_ids: true,
                distribution: claim.0,
                sharing_group_id: claim.1,
                object: Some(object.into()),
                ..ClaimFacts::default()
            };
            judge.admit(&event, &claim, &observable, &Beside::default())
        };
        assert_eq!(of((3, 0), (5, 0), (5, 0)), Ok(()));
        assert_eq!(of((4, 7), (5, 0), (3, 0)), Ok(()));
        for levels in [((4, 8), (5, 0), (3, 0)), ((3, 0), (4, 8), (3, 0)), ((4, 7), (5, 0), (4, 8))]
        {
            assert_eq!(of(levels.0, levels.1, levels.2), Err(Reason::SharingGroup), "{levels:?}");
        }
    }

    #[test]
    fn what_stands_beside_an_attribute_is_judged_by_the_events_tags() {
        let sibling =
            Sibling { kind: "filename".into(), value: "a.exe".into(), ..Sibling::default() };
        let tells = |change: fn(&mut Policy), tags: Vec<Tag>| {
            let mut policy = open_policy();
            change(&mut policy);
            let event = EventFacts { tags, ..EventFacts::default() };
            Judge::new(&policy).tells(&event, &sibling)
        };
        let tagged = |name: &str| vec![tag(name, Since::Published)];
        assert!(tells(|_| {}, vec![]));
        assert!(!tells(|policy| policy.tlp_untagged = Tlp::Red, vec![]));
        assert!(tells(|policy| policy.tlp_untagged = Tlp::Red, tagged("tlp:green")));
        let include = |policy: &mut Policy| policy.tags_include = vec!["share:*".into()];
        assert!(!tells(include, vec![]));
        assert!(tells(include, tagged("share:soc")));
        assert!(!tells(|policy| policy.never = vec!["A.EXE".into()], vec![]));
    }
}
