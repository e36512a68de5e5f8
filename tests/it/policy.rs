//! Tests with the built program what a policy withholds. Expectations follow from MISP's rule of who sees an
//! attribute (event, object and attribute must all allow it), from MISP's taxonomies, and from the meaning of
//! each setting.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::convert::{Setting, convert};

const OWN: &str = "55f6ea5e-2c60-40e5-964f-47a8950d210f";

/// One event, with what each test is about put over it.
fn document(event: &Value, attributes: &[Value]) -> Vec<u8> {
    let base = json!({
        "uuid": "5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d001",
        "id": "1",
        "info": "Operation Example",
        "published": true,
        "timestamp": "1793000000",
        "publish_timestamp": "1793000000",
        "threat_level_id": "2",
        "analysis": "2",
        "distribution": "3",
        "Orgc": {"id": "1", "name": "CERT Example", "uuid": OWN},
        "Attribute": attributes.iter().zip(1..).map(|(one, n)| attribute(n, one)).collect::<Vec<_>>(),
    });
    json!({"Event": over(base, event)}).to_string().into_bytes()
}

fn attribute(number: u32, more: &Value) -> Value {
    let base = json!({
        "id": number.to_string(),
        "uuid": format!("00000000-0000-4000-8000-{number:012}"),
        "type": "domain",
        "category": "Network activity",
        "value": format!("a{number}.evil.example.com"),
        "to_ids": true,
        "timestamp": "1793000000",
        "distribution": "5",
    });
    over(base, more)
}

fn over(mut base: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

/// What is sent, by its value, and the reason of all else.
fn verdicts(document: &[u8], settings: &[Setting]) -> (BTreeSet<String>, BTreeMap<String, String>) {
    let converted = convert(document, &["--no-expiry"], settings);
    assert_eq!(converted.code, Some(0), "{}", converted.skipped);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let value =
        |object: &Value| object["pattern"].as_str().unwrap().split('\'').nth(1).unwrap().to_owned();
    let sent = converted.objects().iter().map(value).collect();
    let withheld = converted
        .lines()
        .iter()
        .map(|line| (text(&line["value"]), text(&line["reason"])))
        .collect();
    (sent, withheld)
}

/// The verdict on the only attribute of a document: `sent`, or a reason.
fn verdict(document: &[u8], settings: &[Setting]) -> String {
    let (sent, mut withheld) = verdicts(document, settings);
    match sent.len() {
        0 => withheld.pop_first().unwrap().1,
        _ => "sent".to_owned(),
    }
}

#[test]
fn what_any_of_event_object_and_attribute_forbids_stays() {
    const WIDE: Setting = ("MSR_POLICY__DISTRIBUTIONS", "1,2,3");
    let of = |event: &str, attribute: &str| {
        let attribute = json!({"distribution": attribute, "sharing_group_id": "7"});
        document(&json!({"distribution": event, "sharing_group_id": "7"}), &[attribute])
    };
    assert_eq!(verdict(&of("3", "5"), &[WIDE]), "sent");
    assert_eq!(verdict(&of("1", "3"), &[WIDE]), "sent");
    assert_eq!(verdict(&of("0", "3"), &[WIDE]), "distribution", "the event is the organisation's");
    assert_eq!(verdict(&of("4", "3"), &[WIDE]), "distribution", "the event is a sharing group's");
    assert_eq!(verdict(&of("3", "0"), &[WIDE]), "distribution");
    let object = |distribution: &str| {
        let inside = attribute(1, &json!({"distribution": "3"}));
        let object = json!({"name": "file", "distribution": distribution, "Attribute": [inside]});
        document(&json!({"Object": [object]}), &[])
    };
    assert_eq!(verdict(&object("3"), &[WIDE]), "sent");
    assert_eq!(verdict(&object("0"), &[WIDE]), "distribution", "the object is the organisation's");
    let group: [Setting; 2] =
        [("MSR_POLICY__DISTRIBUTIONS", "3,4"), ("MSR_POLICY__SHARING_GROUPS", "7")];
    assert_eq!(verdict(&of("4", "3"), &group), "sent");
    let other = [group[0], ("MSR_POLICY__SHARING_GROUPS", "8")];
    assert_eq!(verdict(&of("4", "3"), &other), "sharing_group");
}

/// What an event says that may not leave must not ride on what another event may say of the same.
#[test]
fn nothing_of_a_forbidden_event_rides_on_the_indicator_of_another() {
    let cluster = json!([{"type": "threat-actor", "GalaxyCluster": [{
        "uuid": "a62a8db3-f23a-4d8f-afd6-9dbc77e7813b",
        "type": "threat-actor",
        "tag_name": "misp-galaxy:threat-actor=\"Secret Bear\"",
        "value": "Secret Bear",
        "description": "d",
        "distribution": "3",
        "default": true,
    }]}]);
    let event = |number: u32, distribution: &str, info: &str, more: &Value| {
        let same = attribute(
            1,
            &json!({
                "uuid": format!("00000000-0000-4000-8000-{number:012}"),
                "value": "both.example.com",
                "distribution": "3",
                "comment": format!("comment of {info}"),
            }),
        );
        let event = json!({
            "uuid": format!("5d2f1c3a-7c0e-4f0b-9a55-{number:012}"),
            "info": info,
            "distribution": distribution,
            "Orgc": {"id": "1", "name": format!("maker of {info}"), "uuid": format!("{number:08}-2c60-40e5-964f-47a8950d210f")},
            "Attribute": [same],
        });
        let whole = document(&over(event, more), &[]);
        serde_json::from_slice::<Value>(&whole).unwrap()
    };
    let tagged =
        json!({"Tag": [{"name": "misp-galaxy:threat-actor=\"Secret Bear\""}], "Galaxy": cluster});
    let answer = json!({"response": [
        event(1, "3", "open", &json!({})),
        event(2, "0", "closed", &tagged),
    ]});
    let settings: [Setting; 2] = [
        ("MSR_POLICY__DISTRIBUTIONS", "1,2,3"),
        ("MSR_INDICATOR__CONTEXT", "identity,attack-pattern,threat-actor"),
    ];
    let sent = convert(answer.to_string().as_bytes(), &["--no-expiry"], &settings);
    assert_eq!(sent.objects().len(), 1, "{}", sent.skipped);
    assert!(sent.bundle.contains("maker of open") && sent.bundle.contains("comment of open"));
    for told in ["closed", "Secret", "a62a8db3"] {
        assert!(!sent.bundle.contains(told), "{told}: {}", sent.bundle);
    }
    let without = convert(answer.to_string().as_bytes(), &["--no-expiry"], &settings[1..]);
    assert!(without.bundle.contains("a62a8db3"), "the test would see it");
}

#[test]
fn without_a_key_only_what_is_open_at_every_level_is_converted() {
    let document = document(
        &json!({}),
        &[
            json!({"distribution": "5"}),
            json!({"distribution": "0"}),
            json!({"distribution": "4", "sharing_group_id": "7"}),
        ],
    );
    let feed: Setting = ("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://misp-core:50000");
    let reasons = |settings: &[Setting]| {
        let (_, withheld) = verdicts(&document, settings);
        withheld.into_values().collect::<Vec<_>>()
    };
    assert_eq!(reasons(&[feed]), ["view_unknown", "view_unknown"]);
    assert_eq!(
        reasons(&[feed, ("MSR_POLICY__ORG_WITHOUT_KEY", OWN)]),
        ["view_unknown"],
        "the group's"
    );
    let key: Setting = ("MSR_MISP__KEY", "0123456789012345678901234567890123456789");
    assert_eq!(reasons(&[feed, key]), [""; 0], "MISP showed the document to the key");
}

#[test]
fn tags_that_read_as_tlp_red_stay_and_the_line_names_them() {
    let document = include_bytes!("../cases/tlp-lookalikes.json");
    let converted = convert(document, &["--no-expiry"], &[]);
    assert_eq!(converted.objects().len(), 0, "{}", converted.bundle);
    let lines = converted.lines();
    assert_eq!(lines.len(), 10);
    for line in &lines {
        assert_eq!(line["reason"], "tlp_too_strict", "{line}");
        // The last two are tags of the taxonomy itself.
        let is_plain =
            ["tag8", "tag9"].iter().any(|one| line["value"].as_str().unwrap().starts_with(one));
        let problem = line["problem"].as_str().unwrap_or_default();
        assert_eq!(problem.contains("[policy.tlp_tags]"), !is_plain, "{line}");
    }
    let story = convert(document, &["--explain", "--no-expiry"], &[]);
    assert!(story.bundle.contains("the tag \"TLP-RED\" is taken for tlp:red"), "{}", story.bundle);
}

#[test]
fn an_operator_says_what_tags_mean() {
    const TABLE: Setting = (
        "MSR_POLICY__TLP_TAGS",
        r#"{"tool:TLP *": "none", "internal:*": "red", "internal:shared": "amber"}"#,
    );
    let tagged = |name: &str| json!({"Tag": [{"name": name}]});
    let document = document(
        &json!({}),
        &[
            tagged("tool:TLP Stealer"),
            tagged("internal:soc"),
            tagged("internal:shared"),
            tagged("ais-marking:TLPMarking=\"AMBER\""),
        ],
    );
    let labels = |settings: &[Setting]| {
        let converted = convert(&document, &["--no-expiry"], settings);
        let of = |object: &Value| {
            let labels = object["labels"].as_array().unwrap().iter();
            let labels = labels.map(|label| label.as_str().unwrap().to_owned());
            labels.filter(|label| !label.starts_with("misp:")).collect::<Vec<_>>()
        };
        converted.objects().iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(
        labels(&[TABLE]),
        [vec!["tlp:clear", "tool:TLP Stealer"], vec!["tlp:amber"], vec!["tlp:amber"],]
    );
    // Without the table the first is taken for red, and the others say nothing of sharing.
    assert_eq!(
        labels(&[]),
        [
            vec!["internal:soc", "tlp:clear"],
            vec!["internal:shared", "tlp:clear"],
            vec!["tlp:amber"],
        ]
    );
}

#[test]
fn the_chatham_house_rule_lets_the_value_leave_and_hides_who_said_it() {
    let whole = document(
        &json!({"Tag": [{"name": "tlp:ex:chr"}, {"name": "tlp:green"}]}),
        &[json!({"comment": "seen at noon"})],
    );
    let sent = convert(&whole, &["--no-expiry"], &[]);
    let objects = sent.objects();
    assert_eq!(objects.len(), 1, "{}", sent.skipped);
    for told in ["CERT Example", "Operation Example", OWN] {
        assert!(!sent.bundle.contains(told), "{told}: {}", sent.bundle);
    }
    assert!(sent.kind("identity").is_empty());
    let object = &objects[0];
    assert!(object.get("created_by_ref").is_none());
    assert!(object["description"].as_str().unwrap().contains("seen at noon"));
    let labels = object["labels"].as_array().unwrap();
    assert!(labels.contains(&json!("tlp:green")) && labels.contains(&json!("tlp:ex:chr")));
    let url = object["external_references"][0]["url"].as_str().unwrap();
    assert!(url.ends_with("5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d001"), "an analyst still finds it");
    // Another event that may be named names the indicator of both.
    let open = json!({"uuid": "5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d002", "info": "Open report",
        "Orgc": {"name": "Open CERT", "uuid": "66f6ea5e-2c60-40e5-964f-47a8950d210f"}});
    let open = document(
        &open,
        &[json!({"uuid": "00000000-0000-4000-8000-000000000009", "timestamp": "1"})],
    );
    let both: Vec<Value> =
        [whole, open].iter().map(|one| serde_json::from_slice(one).unwrap()).collect();
    let sent = convert(json!({"response": both}).to_string().as_bytes(), &["--no-expiry"], &[]);
    let object = &sent.objects()[0];
    assert_eq!(object["name"], "Open report");
    assert_eq!(object["created_by_ref"], "identity--66f6ea5e-2c60-40e5-964f-47a8950d210f");
    assert_eq!(sent.kind("identity")[0]["name"], "Open CERT");
    assert!(!sent.bundle.contains("CERT Example") && !sent.bundle.contains("Operation Example"));
}

#[test]
fn what_has_no_marking_can_be_sent_without_one() {
    let tagged = json!({"Tag": [{"name": "tlp:green"}]});
    let document = document(&json!({}), &[json!({}), tagged]);
    let marked = |settings: &[Setting]| {
        let objects = convert(&document, &["--no-expiry"], settings).objects();
        let of = |object: &Value| {
            let tlp = object["labels"].as_array().unwrap().iter();
            let tlp = tlp.filter(|label| label.as_str().unwrap().starts_with("tlp:")).count();
            (object.get("object_marking_refs").is_some(), tlp)
        };
        objects.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(marked(&[("MSR_POLICY__TLP_UNTAGGED", "unmarked")]), [(false, 0), (true, 1)]);
    assert_eq!(marked(&[]), [(true, 1), (true, 1)]);
    let clear: [Setting; 2] =
        [("MSR_POLICY__TLP_UNTAGGED", "unmarked"), ("MSR_POLICY__TLP_MAX", "clear")];
    assert_eq!(marked(&clear), [(false, 0)], "judged as clear");
}

/// A key of `[policy]` as a variable, a document that it lets through and one that it does not.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of all keys")]
fn every_key_of_the_policy_decides_what_convert_sends() {
    let plain = |event: Value| document(&event, &[json!({})]);
    let of = |attribute: Value| document(&json!({}), &[attribute]);
    let tagged = |name: &str| of(json!({"Tag": [{"name": name}]}));
    let default = || plain(json!({}));
    let cases: [(Setting, Vec<u8>, Vec<u8>, &str); 21] = [
        (
            ("MSR_POLICY__TLP_MAX", "green"),
            tagged("tlp:green"),
            tagged("tlp:amber"),
            "tlp_too_strict",
        ),
        (("MSR_POLICY__TLP_UNTAGGED", "red"), tagged("tlp:green"), default(), "tlp_too_strict"),
        (("MSR_POLICY__TLP_TAGS", r#"{"x": "red"}"#), tagged("y"), tagged("x"), "tlp_too_strict"),
        (("MSR_POLICY__TO_IDS", "true"), default(), of(json!({"to_ids": false})), "to_ids_off"),
        (("MSR_POLICY__TAGS_INCLUDE", "share"), tagged("share"), tagged("x"), "tag_missing"),
        (("MSR_POLICY__TAGS_EXCLUDE", "draft"), default(), tagged("draft"), "tag_excluded"),
        (
            ("MSR_POLICY__ORGS_INCLUDE", "CERT Example"),
            default(),
            plain(json!({"Orgc": {"name": "X"}})),
            "org_excluded",
        ),
        (
            ("MSR_POLICY__ORGS_EXCLUDE", OWN),
            plain(json!({"Orgc": {"name": "X"}})),
            default(),
            "org_excluded",
        ),
        (
            ("MSR_POLICY__TYPES_INCLUDE", "domain"),
            default(),
            of(json!({"type": "hostname"})),
            "type_excluded",
        ),
        (
            ("MSR_POLICY__TYPES_EXCLUDE", "domain"),
            of(json!({"type": "hostname"})),
            default(),
            "type_excluded",
        ),
        (
            ("MSR_POLICY__CATEGORIES_INCLUDE", "Network activity"),
            default(),
            of(json!({"category": "Payload delivery"})),
            "category_excluded",
        ),
        (
            ("MSR_POLICY__CATEGORIES_EXCLUDE", "Network activity"),
            of(json!({"category": "Payload delivery"})),
            default(),
            "category_excluded",
        ),
        (
            ("MSR_POLICY__THREAT_LEVELS", "1,2"),
            default(),
            plain(json!({"threat_level_id": "3"})),
            "threat_level",
        ),
        (("MSR_POLICY__ANALYSIS", "2"), default(), plain(json!({"analysis": "0"})), "analysis"),
        (
            ("MSR_POLICY__DISTRIBUTIONS", "2,3"),
            default(),
            plain(json!({"distribution": "1"})),
            "distribution",
        ),
        (
            ("MSR_POLICY__SHARING_GROUPS", "7"),
            of(json!({"distribution": "4", "sharing_group_id": "7"})),
            of(json!({"distribution": "4", "sharing_group_id": "8"})),
            "sharing_group",
        ),
        (("MSR_POLICY__FALSE_POSITIVE_TAGS", "fp"), default(), tagged("fp"), "false_positive"),
        (
            ("MSR_POLICY__ALLOW_NON_ROUTABLE", "false"),
            default(),
            of(json!({"value": "a.local"})),
            "non_routable",
        ),
        (
            ("MSR_POLICY__NEVER", "a1.evil.example.com"),
            of(json!({"value": "b.example.com"})),
            default(),
            "never",
        ),
        (
            ("MSR_CONVERT__TYPES__DOMAIN", "false"),
            of(json!({"type": "hostname"})),
            default(),
            "type_off",
        ),
        (
            ("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://misp-core:50000"),
            default(),
            plain(json!({"distribution": "0"})),
            "view_unknown",
        ),
    ];
    for (setting, admitted, forbidden, reason) in cases {
        assert_eq!(verdict(&admitted, &[setting]), "sent", "{setting:?}");
        assert_eq!(verdict(&forbidden, &[setting]), reason, "{setting:?}");
    }
}

/// Its clock is that of the attribute, so what is older than `max_age` has expired at any time.
#[test]
fn an_attribute_counts_no_longer_than_its_age() {
    let day = 86_400;
    let now = chrono::Utc::now().timestamp();
    let of =
        |days: i64| document(&json!({}), &[json!({"timestamp": (now - days * day).to_string()})]);
    let sent =
        |document: &[u8]| convert(document, &[], &[("MSR_POLICY__MAX_AGE", "10d")]).objects().len();
    assert_eq!((sent(&of(9)), sent(&of(11))), (1, 0));
}

#[test]
fn explain_names_the_line_that_decides_what_a_tag_says() {
    let tagged = |name: &str| json!({"Tag": [{"name": name}]});
    let document = document(&json!({}), &[tagged("tlp:red"), tagged("internal:soc")]);
    let table = r#"{"tlp:r*": "clear", "internal:soc": "green", "none:*": "none"}"#;
    let settings = [("MSR_POLICY__TLP_TAGS", table)];
    let story = convert(&document, &["--explain", "--no-expiry"], &settings).bundle;
    assert_eq!(story.matches("admits it").count(), 2, "{story}");
    for words in [
        "the tag \"tlp:red\" counts as tlp:clear, by \"tlp:r*\" in [policy.tlp_tags]; the tag itself says tlp:red",
        "the tag \"internal:soc\" counts as tlp:green, by \"internal:soc\" in [policy.tlp_tags]\n",
    ] {
        assert!(story.contains(words), "no {words:?} in\n{story}");
    }
    let withheld = [("MSR_POLICY__TLP_TAGS", r#"{"internal:soc": "red"}"#)];
    let line = convert(&document, &["--no-expiry"], &withheld).lines().pop().unwrap();
    let problem = line["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("by \"internal:soc\" in [policy.tlp_tags]"), "{line}");
}
