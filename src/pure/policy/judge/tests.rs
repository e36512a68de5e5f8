//! Tests every key of the policy, alone and together with other keys.

use std::collections::BTreeMap;

use super::*;
use crate::pure::convert::{ClusterKind, SharingGroupFacts, Since, TagFacts};
use crate::pure::policy::{Switches, Untagged};

fn open_policy() -> Policy {
    Policy {
        sources: vec![],
        warninglists_from: vec![],
        tlp_max: Tlp::AmberStrict,
        tlp_untagged: Untagged::Counts(Tlp::Clear),
        tlp_tags: BTreeMap::new(),
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
        is_feed_only: false,
        without_decay: vec![],
        feed_only: vec![],
        org_without_key: vec![],
        false_positive_tags: vec![],
        max_age: None,
        withdraw_at: 3,
        decay: false,
        never: vec![],
        warninglists: OnHit::Enforce,
        shared_host_lists: vec![],
    }
}

fn tag(name: &str, since: Since) -> TagFacts {
    TagFacts { name: name.into(), since, ..TagFacts::default() }
}

fn verdict(
    policy: &Policy,
    event_tags: Vec<TagFacts>,
    claim_tags: Vec<TagFacts>,
) -> Result<(), Reason> {
    let event = EventFacts { tags: event_tags, ..EventFacts::default() };
    let claim = ClaimFacts { to_ids: true, tags: claim_tags, ..ClaimFacts::default() };
    let observable = Observable::new("ipv4-addr:value", "198.51.100.7");
    Judge::new(policy).admit(&event, &claim, &observable, &SideFacts::default())
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
    let strict = Policy { tlp_untagged: Untagged::Counts(Tlp::Red), ..open_policy() };
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
        let verdict = Judge::new(&policy).admit(&event, &claim, &observable, &SideFacts::default());
        assert_eq!(verdict, Err(Reason::Never), "{written}");
    }
}

#[test]
fn what_is_known_beside_a_publication_outranks_policy() {
    let judge = Judge::new(&open_policy());
    let claim = ClaimFacts { to_ids: true, ..ClaimFacts::default() };
    let observable = Observable::new("domain-name:value", "a.example");
    let verdict = |side_facts| {
        judge.admit(&EventFacts::default(), &claim, &observable, &side_facts).unwrap_err()
    };
    let suppressed = SideFacts { suppressed: true, ..SideFacts::default() };
    assert_eq!(verdict(suppressed), Reason::Suppressed);
    let disputed = SideFacts { disputed: true, ..SideFacts::default() };
    assert_eq!(verdict(disputed), Reason::FalsePositive);
    let sighted = |count| SideFacts { false_positives: count, ..SideFacts::default() };
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
fn a_claim_disputes_its_observable_by_its_own_tags_alone() {
    let policy = Policy { false_positive_tags: vec!["fp*".into()], ..open_policy() };
    let judge = Judge::new(&policy);
    let claim = |tags| ClaimFacts { tags, ..ClaimFacts::default() };
    assert!(judge.disputes(&claim(vec![tag("FP:1", Since::Attached)])));
    assert!(!judge.disputes(&claim(vec![tag("tlp:green", Since::Published)])));
}

#[test]
fn a_score_of_decaying_models_counts_where_they_do() {
    let decay = crate::pure::misp::Decay { decayed: false, score: 40 };
    let side_facts = SideFacts { decay: Some(decay), ..SideFacts::default() };
    let score =
        |decay, side_facts| Judge::new(&Policy { decay, ..open_policy() }).score(side_facts);
    assert_eq!(score(true, &side_facts), Some(40));
    assert_eq!(score(false, &side_facts), None);
    assert_eq!(score(true, &SideFacts::default()), None);
}

#[test]
fn a_sharing_group_is_known_by_uuid_name_or_number_and_else_kept_back() {
    let group = |name: &str, number| SharingGroupFacts {
        uuid: uuid::Uuid::from_u128(number),
        name: name.into(),
    };
    let partners = group("Partners EU", 0x53d0);
    let number = "00000000-0000-0000-0000-0000000053d0";
    let observable = Observable::new("domain-name:value", "a.example");
    let verdict = |list: &str, event: &EventFacts, claim: &ClaimFacts| {
        let policy = Policy { sharing_groups: vec![list.into()], ..open_policy() };
        Judge::new(&policy).admit(event, claim, &observable, &SideFacts::default())
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

/// Distributions of event, object (5 where there is none) and attribute.
fn levels(event: i64, object: i64, attribute: i64) -> (EventFacts, ClaimFacts) {
    let event = EventFacts { distribution: event, ..EventFacts::default() };
    let object = convert::ObjectFacts { distribution: object, ..Default::default() };
    let claim = ClaimFacts {
        to_ids: true,
        distribution: attribute,
        object: Some(object.into()),
        ..ClaimFacts::default()
    };
    (event, claim)
}

fn of_levels(policy: &Policy, (event, claim): &(EventFacts, ClaimFacts)) -> Result<(), Reason> {
    let observable = Observable::new("ipv4-addr:value", "198.51.100.7");
    Judge::new(policy).admit(event, claim, &observable, &SideFacts::default())
}

#[test]
fn each_of_event_object_and_attribute_must_have_an_allowed_distribution() {
    let policy = Policy { distributions: vec![1, 2, 3], ..open_policy() };
    for (event, object, attribute) in
        [(3, 5, 5), (1, 5, 5), (1, 3, 2), (3, 5, 1), (2, 1, 5), (3, 3, 3)]
    {
        let all = levels(event, object, attribute);
        assert_eq!(of_levels(&policy, &all), Ok(()), "{event} {object} {attribute}");
    }
    for (event, object, attribute) in
        [(0, 5, 3), (4, 5, 3), (3, 0, 3), (3, 4, 5), (3, 5, 0), (3, 3, 4), (5, 5, 5), (3, 6, 5)]
    {
        let all = levels(event, object, attribute);
        let verdict = of_levels(&policy, &all);
        assert_eq!(verdict, Err(Reason::Distribution), "{event} {object} {attribute}");
    }
    // A sharing group is neither wider nor narrower than the others.
    let groups = Policy { distributions: vec![4], ..open_policy() };
    assert_eq!(of_levels(&groups, &levels(4, 5, 4)), Ok(()));
    assert_eq!(of_levels(&groups, &levels(3, 5, 4)), Err(Reason::Distribution));
    assert_eq!(of_levels(&groups, &levels(4, 5, 0)), Err(Reason::Distribution));
}

#[test]
fn from_the_feed_alone_only_what_is_open_at_every_level_may_leave() {
    let own = uuid::Uuid::from_u128(0x55f6);
    let policy = Policy { is_feed_only: true, org_without_key: vec![own], ..open_policy() };
    let with_key = Policy { is_feed_only: false, ..policy.clone() };
    let made_by = |org: Option<uuid::Uuid>, (event, claim): (EventFacts, ClaimFacts)| {
        (EventFacts { org_uuid: org, ..event }, claim)
    };
    let other = Some(uuid::Uuid::from_u128(0x55f7));
    for (org, all, verdict) in [
        (other, levels(1, 5, 5), Ok(())),
        (other, levels(3, 2, 1), Ok(())),
        (other, levels(0, 5, 5), Err(Reason::ViewUnknown)),
        (other, levels(0, 5, 3), Err(Reason::ViewUnknown)),
        (other, levels(3, 0, 5), Err(Reason::ViewUnknown)),
        (other, levels(3, 5, 0), Err(Reason::ViewUnknown)),
        (other, levels(3, 5, 4), Err(Reason::ViewUnknown)),
        (None, levels(0, 5, 5), Err(Reason::ViewUnknown)),
        (Some(own), levels(0, 5, 5), Ok(())),
        (Some(own), levels(3, 0, 0), Ok(())),
        (Some(own), levels(4, 5, 5), Err(Reason::ViewUnknown)),
        (Some(own), levels(0, 5, 4), Err(Reason::ViewUnknown)),
    ] {
        let all = made_by(org, all);
        assert_eq!(of_levels(&policy, &all), verdict, "{all:?}");
        assert_eq!(of_levels(&with_key, &all), Ok(()), "MISP showed it to the key: {all:?}");
    }
    // It is no leave to send what policy forbids.
    let narrow = Policy { distributions: vec![3], ..policy };
    assert_eq!(of_levels(&narrow, &made_by(Some(own), levels(0, 5, 5))), Err(Reason::Distribution));
}

#[test]
fn of_several_sources_those_without_a_key_send_only_what_is_open() {
    let policy = Policy {
        feed_only: vec!["sector".to_owned()],
        sources: vec!["own".to_owned(), "sector".to_owned()],
        ..open_policy()
    };
    let of = |source: &str, all: &(EventFacts, ClaimFacts)| {
        Judge::new(&policy).admits_of(source, &all.0, &all.1)
    };
    assert_eq!(of("own", &levels(0, 5, 5)), Ok(()), "its MISP showed it to the key");
    assert_eq!(of("sector", &levels(0, 5, 5)), Err(Reason::ViewUnknown));
    assert_eq!(of("sector", &levels(3, 5, 5)), Ok(()));
    assert_eq!(of("national", &levels(3, 5, 5)), Err(Reason::SourceExcluded));
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
        &SideFacts::default(),
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
    let listed = on(&["Resolvers"], &[]);
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
        let side_facts = SideFacts { warned: warned.clone(), ..SideFacts::default() };
        let found = judge.admit(&EventFacts::default(), &claim, &observable, &side_facts);
        assert_eq!(found, verdict, "{warninglists:?} {warned:?}");
        assert_eq!(judge.labels(&side_facts).count(), labels, "{warninglists:?} {warned:?}");
    }
    // What else forbids it comes first: it need not wait for lists.
    let judge = Judge::new(&Policy { never: vec!["8.8.8.8".into()], ..open_policy() });
    let side_facts = SideFacts { warned: Warned::Pending, ..SideFacts::default() };
    let verdict = judge.admit(&EventFacts::default(), &claim, &observable, &side_facts);
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
            &SideFacts::default(),
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
        judge.admit(&event, &claim, &observable, &SideFacts::default())
    };
    assert_eq!(of((3, 0), (5, 0), (5, 0)), Ok(()));
    assert_eq!(of((4, 7), (5, 0), (3, 0)), Ok(()));
    for levels in [((4, 8), (5, 0), (3, 0)), ((3, 0), (4, 8), (3, 0)), ((4, 7), (5, 0), (4, 8))] {
        assert_eq!(of(levels.0, levels.1, levels.2), Err(Reason::SharingGroup), "{levels:?}");
    }
}

#[test]
fn what_stands_beside_an_attribute_is_judged_by_the_events_tags() {
    let sibling = Sibling { kind: "filename".into(), value: "a.exe".into(), ..Sibling::default() };
    let tells = |change: fn(&mut Policy), tags: Vec<TagFacts>| {
        let mut policy = open_policy();
        change(&mut policy);
        let event = EventFacts { tags, ..EventFacts::default() };
        let judge = Judge::new(&policy);
        judge.tells(judge.read_tags(&event, &ClaimFacts::default()), &sibling)
    };
    let tagged = |name: &str| vec![tag(name, Since::Published)];
    assert!(tells(|_| {}, vec![]));
    assert!(!tells(|policy| policy.tlp_untagged = Untagged::Counts(Tlp::Red), vec![]));
    assert!(tells(|policy| policy.tlp_untagged = Untagged::Counts(Tlp::Red), tagged("tlp:green")));
    let include = |policy: &mut Policy| policy.tags_include = vec!["share:*".into()];
    assert!(!tells(include, vec![]));
    assert!(tells(include, tagged("share:soc")));
    assert!(!tells(|policy| policy.never = vec!["A.EXE".into()], vec![]));
}

#[test]
fn what_never_leaves_is_not_told_beside_another_attribute_however_it_is_spelled() {
    let tells = |never: &str, value: &str| {
        let policy = Policy { never: vec![never.to_owned()], ..open_policy() };
        let sibling = Sibling { kind: "text".into(), value: value.into(), ..Sibling::default() };
        let judge = Judge::new(&policy);
        let tags = judge.read_tags(&EventFacts::default(), &ClaimFacts::default());
        judge.tells(tags, &sibling)
    };
    for (never, value) in [
        ("mail.corp.example", "mail[.]corp[.]example"),
        ("https://corp.example/a", "hxxps://corp[.]example/a"),
        ("https://corp.example/", "https://corp.example#x"),
        ("198.51.100.7", "198.51.100.7|443"),
    ] {
        assert!(!tells(never, value), "{value}");
        assert!(tells(never, "evil.example"));
    }
    // As it is told: cut after 119 characters.
    let long = format!("https://corp.example/{}", "a".repeat(200));
    let cut: String = long.chars().take(119).chain(['…']).collect();
    assert!(!tells(&long, &cut));
    assert!(tells(&long, "https://corp.example/a…"), "not cut by us");
    assert!(tells("corp.example", &cut));
}

fn on(attribute: &[&str], host: &[&str]) -> Warned {
    let own = |name: &&str| ListOfSource { source: "own".to_owned(), name: (*name).to_owned() };
    let of = |names: &[&str]| names.iter().map(own).collect();
    Warned::On(OnLists { attribute: of(attribute), host: of(host), are_of_several: false })
}

#[test]
fn only_the_lists_of_the_named_sources_count() {
    let claim = ClaimFacts { to_ids: true, ..ClaimFacts::default() };
    let observable = Observable::new("url:value", "https://files.example/bad");
    let verdict = |from: &[&str], warninglists, warned| {
        let policy = Policy {
            warninglists,
            warninglists_from: from.iter().map(|name| (*name).to_owned()).collect(),
            shared_host_lists: vec!["top hosts".to_owned()],
            ..open_policy()
        };
        let side_facts = SideFacts { warned, ..SideFacts::default() };
        let judge = Judge::new(&policy);
        let verdict = judge.admit(&EventFacts::default(), &claim, &observable, &side_facts);
        (verdict, judge.labels(&side_facts).count())
    };
    let listed = || on(&["Resolvers"], &[]);
    let shared = || on(&[], &["top hosts"]);
    for from in [&[][..], &["own"], &["sector", "own"]] {
        let enforced = verdict(from, OnHit::Enforce, listed());
        assert_eq!(enforced, (Err(Reason::Warninglist), 0));
        assert_eq!(verdict(from, OnHit::Label, listed()), (Ok(()), 1));
        assert_eq!(verdict(from, OnHit::Label, shared()), (Err(Reason::SharedHost), 0));
    }
    for warninglists in [OnHit::Enforce, OnHit::Label] {
        assert_eq!(verdict(&["sector"], warninglists, listed()), (Ok(()), 0));
        assert_eq!(verdict(&["sector"], warninglists, shared()), (Ok(()), 0));
    }
}

#[test]
fn a_url_whose_host_is_on_a_named_list_stays_and_nothing_else_does() {
    const SHARED: Result<(), Reason> = Err(Reason::SharedHost);
    const PENDING: Result<(), Reason> = Err(Reason::WarninglistsPending);
    let url = || Observable::new("url:value", "https://files.example/bad");
    let domain = || Observable::new("domain-name:value", "files.example");
    let none: &[&str] = &[];
    let verdict = |lists: &[&str], warninglists, observable: Observable, warned: Warned| {
        let shared_host_lists = lists.iter().map(|list| (*list).to_owned()).collect();
        let policy = Policy { shared_host_lists, warninglists, ..open_policy() };
        let claim = ClaimFacts { to_ids: true, ..ClaimFacts::default() };
        let side_facts = SideFacts { warned, ..SideFacts::default() };
        Judge::new(&policy).admit(&EventFacts::default(), &claim, &observable, &side_facts)
    };
    let on_top = || on(&[], &["Top hosts"]);
    assert_eq!(verdict(none, OnHit::Enforce, url(), on_top()), Ok(()), "no list is named");
    assert_eq!(verdict(&["other"], OnHit::Enforce, url(), on_top()), Ok(()));
    assert_eq!(verdict(&["Top*"], OnHit::Enforce, url(), on_top()), SHARED);
    assert_eq!(verdict(&["top hosts"], OnHit::Label, url(), on_top()), SHARED);
    assert_eq!(verdict(&["top hosts"], OnHit::Off, url(), on_top()), SHARED);
    // What MISP's own matching says comes first.
    let both = on(&["Top hosts"], &["Top hosts"]);
    let enforced = verdict(&["top hosts"], OnHit::Enforce, url(), both);
    assert_eq!(enforced, Err(Reason::Warninglist));
    // It waits for the lists, where it has a host that they may have.
    let pending = || Warned::Pending;
    assert_eq!(verdict(&["top hosts"], OnHit::Off, url(), pending()), PENDING);
    assert_eq!(verdict(&["top hosts"], OnHit::Off, domain(), pending()), Ok(()));
    assert_eq!(verdict(none, OnHit::Off, url(), pending()), Ok(()));
    let uses = |lists: &[&str]| {
        let shared_host_lists = lists.iter().map(|list| (*list).to_owned()).collect();
        let policy = Policy { shared_host_lists, warninglists: OnHit::Off, ..open_policy() };
        Judge::new(&policy).uses_warninglists()
    };
    assert!(uses(&["top hosts"]) && !uses(none));
}

#[test]
fn a_tag_that_forbids_naming_the_source_is_no_level() {
    let chatham = || vec![tag("tlp:ex:chr", Since::Published)];
    let event = |tags| EventFacts { tags, ..EventFacts::default() };
    let claim = |tags| ClaimFacts { to_ids: true, tags, ..ClaimFacts::default() };
    let judge = Judge::new(&open_policy());
    assert_eq!(verdict(&open_policy(), chatham(), vec![]), Ok(()));
    let red = vec![tag("tlp:red", Since::Published)];
    assert_eq!(verdict(&open_policy(), chatham(), red), Err(Reason::TlpTooStrict));
    let read = |of_event, of_claim| judge.read_tags(&event(of_event), &claim(of_claim));
    assert!(read(chatham(), vec![]).hides_source);
    assert!(read(vec![], chatham()).hides_source);
    let detached = vec![tag("TLP:EX:CHR", Since::Detached)];
    assert!(read(detached, vec![]).hides_source, "until it is published without");
    assert!(!read(vec![], vec![]).hides_source);
    assert_eq!(judge.marking(read(chatham(), vec![])), Some(Tlp::Clear));
    assert!(judge.is_level("tlp:green") && !judge.is_level("tlp:ex:chr"));
    assert_eq!(judge.guess("TLP-RED"), Some(Mark::Level(Tlp::Red)));
    assert_eq!(judge.guess("tlp:red"), None, "it is spelled out");
}

#[test]
fn what_is_unmarked_is_judged_as_clear_and_has_no_marking() {
    let policy = Policy { tlp_untagged: Untagged::Unmarked, tlp_max: Tlp::Clear, ..open_policy() };
    let judge = Judge::new(&policy);
    let (event, claim) = (EventFacts::default(), ClaimFacts::default());
    assert_eq!(verdict(&policy, vec![], vec![]), Ok(()));
    assert_eq!(judge.marking(judge.read_tags(&event, &claim)), None);
    let green = EventFacts { tags: vec![tag("tlp:green", Since::Published)], ..event };
    assert_eq!(judge.marking(judge.read_tags(&green, &claim)), Some(Tlp::Green));
}

#[test]
fn a_cluster_of_an_organisation_has_an_audience_of_its_own() {
    let cluster = |number: u128, is_default, distribution| ClusterFacts {
        tag: format!("misp-galaxy:threat-actor=\"{number}\""),
        uuid: uuid::Uuid::from_u128(number),
        kind: ClusterKind::ThreatActor,
        is_default,
        distribution,
        name: "A".into(),
        description: String::new(),
        external_id: None,
        url: None,
        kill_chain: vec![],
        synonyms: vec![],
    };
    let clusters = vec![cluster(1, false, 1), cluster(2, false, 3), cluster(3, true, 0)];
    let event = EventFacts { clusters, ..EventFacts::default() };
    let told = |distributions| {
        let judge = Judge::new(&Policy { distributions, ..open_policy() });
        judge.clusters(&event).map(|one| one.uuid.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(told(vec![]), [1, 2, 3]);
    assert_eq!(told(vec![3]), [2, 3]);
}

/// One key of `[policy]`: what it forbids, and how little has to change for it to be admitted.
struct Key {
    key: &'static str,
    policy: fn(&mut Policy),
    reason: Reason,
    forbidden: Case,
    admitted: Case,
}

/// All that a verdict depends on besides the policy.
#[derive(Clone)]
struct Case {
    event: EventFacts,
    claim: ClaimFacts,
    observable: Observable,
    side_facts: SideFacts,
}

fn case(change: impl FnOnce(&mut Case)) -> Case {
    let mut case = Case {
        event: EventFacts {
            org_name: "CERT".into(),
            org_uuid: Some(uuid::Uuid::from_u128(7)),
            threat_level: 2,
            analysis: 2,
            distribution: 3,
            ..EventFacts::default()
        },
        claim: ClaimFacts {
            kind: "ip-dst".into(),
            category: "Network activity".into(),
            to_ids: true,
            distribution: 5,
            ..ClaimFacts::default()
        },
        observable: Observable::new("ipv4-addr:value", "8.8.8.8"),
        side_facts: SideFacts::default(),
    };
    change(&mut case);
    case
}

fn event_tag(name: &'static str) -> impl FnOnce(&mut Case) {
    move |case| case.event.tags = vec![tag(name, Since::Published)]
}

fn one(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

fn key(
    key: &'static str,
    reason: Reason,
    policy: fn(&mut Policy),
    forbidden: Case,
    admitted: Case,
) -> Key {
    Key { key, policy, reason, forbidden, admitted }
}

/// Every key of `[policy]` that decides by itself, with the tables that go into it.
#[expect(clippy::too_many_lines, reason = "a table of all keys")]
fn keys() -> Vec<Key> {
    let plain = || case(|_| {});
    vec![
        key(
            "tlp_max",
            Reason::TlpTooStrict,
            |p| p.tlp_max = Tlp::Green,
            case(event_tag("tlp:amber")),
            case(event_tag("tlp:green")),
        ),
        key(
            "tlp_untagged",
            Reason::TlpTooStrict,
            |p| p.tlp_untagged = Untagged::Counts(Tlp::Red),
            plain(),
            case(event_tag("tlp:green")),
        ),
        key(
            "tlp_tags",
            Reason::TlpTooStrict,
            |p| p.tlp_tags = [("x:secret".to_owned(), Some(Mark::Level(Tlp::Red)))].into(),
            case(event_tag("x:secret")),
            case(event_tag("x:open")),
        ),
        key(
            "to_ids",
            Reason::ToIdsOff,
            |p| p.to_ids = true,
            case(|c| c.claim.to_ids = false),
            plain(),
        ),
        key(
            "tags_include",
            Reason::TagMissing,
            |p| p.tags_include = one("share"),
            case(event_tag("other")),
            case(event_tag("share")),
        ),
        key(
            "tags_exclude",
            Reason::TagExcluded,
            |p| p.tags_exclude = one("draft"),
            case(event_tag("draft")),
            case(event_tag("final")),
        ),
        key(
            "orgs_include",
            Reason::OrgExcluded,
            |p| p.orgs_include = one("cert"),
            case(|c| c.event.org_name = "Other".into()),
            plain(),
        ),
        key(
            "orgs_include by uuid",
            Reason::OrgExcluded,
            |p| p.orgs_include = one("00000000-0000-0000-0000-000000000007"),
            case(|c| c.event.org_uuid = None),
            plain(),
        ),
        key(
            "orgs_exclude",
            Reason::OrgExcluded,
            |p| p.orgs_exclude = one("cert"),
            plain(),
            case(|c| c.event.org_name = "Other".into()),
        ),
        key(
            "orgs_exclude by uuid",
            Reason::OrgExcluded,
            |p| p.orgs_exclude = one("00000000-0000-0000-0000-000000000007"),
            plain(),
            case(|c| c.event.org_uuid = None),
        ),
        key(
            "types_include",
            Reason::TypeExcluded,
            |p| p.types_include = one("domain"),
            plain(),
            case(|c| c.claim.kind = "domain".into()),
        ),
        key(
            "types_exclude",
            Reason::TypeExcluded,
            |p| p.types_exclude = one("ip-*"),
            plain(),
            case(|c| c.claim.kind = "domain".into()),
        ),
        key(
            "categories_include",
            Reason::CategoryExcluded,
            |p| p.categories_include = one("Payload delivery"),
            plain(),
            case(|c| c.claim.category = "Payload delivery".into()),
        ),
        key(
            "categories_exclude",
            Reason::CategoryExcluded,
            |p| p.categories_exclude = one("network *"),
            plain(),
            case(|c| c.claim.category = "Payload delivery".into()),
        ),
        key(
            "threat_levels",
            Reason::ThreatLevel,
            |p| p.threat_levels = vec![1, 2],
            case(|c| c.event.threat_level = 3),
            plain(),
        ),
        key(
            "analysis",
            Reason::Analysis,
            |p| p.analysis = vec![2],
            case(|c| c.event.analysis = 1),
            plain(),
        ),
        key(
            "distributions",
            Reason::Distribution,
            |p| p.distributions = vec![2, 3],
            case(|c| c.event.distribution = 1),
            plain(),
        ),
        key(
            "sharing_groups",
            Reason::SharingGroup,
            |p| p.sharing_groups = one("7"),
            case(|c| {
                c.claim.distribution = 4;
                c.claim.sharing_group_id = 8;
            }),
            case(|c| {
                c.claim.distribution = 4;
                c.claim.sharing_group_id = 7;
            }),
        ),
        key(
            "misp.key",
            Reason::ViewUnknown,
            |p| p.is_feed_only = true,
            case(|c| c.event.distribution = 0),
            plain(),
        ),
        key(
            "org_without_key",
            Reason::ViewUnknown,
            |p| {
                p.is_feed_only = true;
                p.org_without_key = vec![uuid::Uuid::from_u128(7)];
            },
            case(|c| {
                c.event.distribution = 0;
                c.event.org_uuid = None;
            }),
            case(|c| c.event.distribution = 0),
        ),
        key(
            "false_positive_tags",
            Reason::FalsePositive,
            |p| p.false_positive_tags = one("fp"),
            case(event_tag("fp")),
            case(event_tag("tp")),
        ),
        key(
            "allow_non_routable",
            Reason::NonRoutable,
            |p| p.allow_non_routable = false,
            case(|c| c.observable.value = "10.0.0.1".into()),
            plain(),
        ),
        key(
            "min_prefix_ipv4",
            Reason::NetworkTooWide,
            |p| p.min_prefix_ipv4 = 17,
            case(|c| c.observable.value = "8.8.0.0/16".into()),
            case(|c| c.observable.value = "8.8.0.0/17".into()),
        ),
        key(
            "min_prefix_ipv6",
            Reason::NetworkTooWide,
            |p| p.min_prefix_ipv6 = 33,
            case(|c| c.observable = Observable::new("ipv6-addr:value", "2600::/32")),
            case(|c| c.observable = Observable::new("ipv6-addr:value", "2600::/33")),
        ),
        key(
            "never",
            Reason::Never,
            |p| p.never = one("8.8.8.8"),
            plain(),
            case(|c| c.observable.value = "8.8.4.4".into()),
        ),
        key(
            "warninglists",
            Reason::Warninglist,
            |p| p.warninglists = OnHit::Enforce,
            case(|c| c.side_facts.warned = on(&["Resolvers"], &[])),
            plain(),
        ),
        key(
            "shared_host_lists",
            Reason::SharedHost,
            |p| p.shared_host_lists = one("top"),
            case(|c| {
                c.observable = Observable::new("url:value", "http://a.example/");
                c.side_facts.warned = on(&[], &["Top"]);
            }),
            case(|c| {
                c.observable = Observable::new("url:value", "http://b.example/");
                c.side_facts.warned = on(&[], &["Other"]);
            }),
        ),
        key(
            "sightings.withdraw_at",
            Reason::FalsePositive,
            |p| p.withdraw_at = 2,
            case(|c| c.side_facts.false_positives = 2),
            case(|c| c.side_facts.false_positives = 1),
        ),
        key(
            "misp.decay",
            Reason::Decayed,
            |p| p.decay = true,
            case(|c| {
                c.side_facts.decay = Some(crate::pure::misp::Decay { decayed: true, score: 10 })
            }),
            case(|c| {
                c.side_facts.decay = Some(crate::pure::misp::Decay { decayed: false, score: 10 })
            }),
        ),
        key(
            "convert.types",
            Reason::TypeOff,
            |p| p.switches.types = [("ip-dst".to_owned(), false)].into(),
            plain(),
            case(|c| c.claim.kind = "ip-src".into()),
        ),
    ]
}

#[test]
fn every_key_of_the_policy_forbids_by_itself() {
    let verdict = |policy: &Policy, case: &Case| {
        let Case { event, claim, observable, side_facts } = case;
        Judge::new(policy).admit(event, claim, observable, side_facts)
    };
    let indifferent =
        Policy { to_ids: false, withdraw_at: 0, warninglists: OnHit::Off, ..open_policy() };
    for Key { key, policy: set, reason, forbidden, admitted } in keys() {
        let mut policy = indifferent.clone();
        assert_eq!(verdict(&policy, &forbidden), Ok(()), "{key}: without it");
        set(&mut policy);
        assert_eq!(verdict(&policy, &forbidden), Err(reason), "{key}: with it");
        assert_eq!(verdict(&policy, &admitted), Ok(()), "{key}: what it admits");
    }
}
