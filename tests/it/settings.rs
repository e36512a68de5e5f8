//! Tests each key of the sections that shape indicators: two values of the key must give different results
//! for the same document. A key without an effect fails, and so does a key that no test names.

use std::collections::BTreeSet;
use std::io::Write as _;

use misp_sentinel_relay::config::EXAMPLE;
use serde_json::{Value, json};
use toml::Table;
use uuid::Uuid;

use crate::convert::{ANYWHERE, convert};

const SECTIONS: [&str; 5] = ["indicator", "expiry", "sightings", "guard", "convert"];

/// What `convert` cannot show, and the test that does: file and function.
const ELSEWHERE: [(&str, &str, &str); 5] = [
    (
        "indicator.withdraw",
        "revoke",
        "an_observable_that_returns_gets_another_id_each_time_also_across_kills",
    ),
    ("expiry.renew", "upkeep", "what_is_still_claimed_is_renewed_at_half_life"),
    ("guard.max", "reads", "more_absent_claims_than_the_guard_allows_stand_until_released"),
    ("guard.percent", "reads", "the_larger_of_max_and_percent_counts"),
    ("guard.window", "reads", "what_the_window_has_passed_counts_no_more"),
];

/// A setting as TOML, and what it makes of the document.
type Case = (&'static str, Value);

struct Row {
    key: &'static str,
    /// What is looked at in what `convert` prints.
    seen: fn(&[Value]) -> Value,
    cases: [Case; 2],
}

const EVENT: Uuid = Uuid::from_u128(0x6272_4408_1cb5_4198_8ceb_3e54_2ad2_8bcd);
const ORGANISATION: Uuid = Uuid::from_u128(0x55f6_ea5e_2c60_40e5_964f_47a8_950d_210f);
const DOMAIN: Uuid = Uuid::from_u128(0x5000_8000_0000_0000_0001);

/// MISP's taxonomies misp, admiralty-scale and kill-chain, and one of nobody.
const TAGS: [&str; 4] = [
    "misp:confidence-level=\"usually-confident\"",
    "admiralty-scale:information-credibility=\"4\"",
    "kill-chain:Delivery",
    "ours:note",
];

/// A domain that was reported twice as a false positive, a hash, a URL without a path, a file name, whose
/// type is off, and the victim of an attack, whose role is off.
fn document() -> String {
    let sighting = |number: u128| {
        json!({"uuid": Uuid::from_u128(0x7000_8000_0000_0000_0000 + number), "type": "1",
               "date_sighting": "1700000000"})
    };
    let attribute = |number: u128, kind: &str, value: &str| {
        json!({"uuid": Uuid::from_u128(DOMAIN.as_u128() - 1 + number), "type": kind, "value": value,
               "category": "Network activity", "to_ids": true, "timestamp": "1700000000"})
    };
    let mut domain = attribute(1, "domain", "evil.example");
    domain["last_seen"] = json!("2023-12-01T00:00:00+00:00");
    domain["Sighting"] = json!([sighting(1), sighting(2)]);
    let mut victim = attribute(5, "ip-dst", "198.51.100.7");
    victim["object_relation"] = json!("ip-dst");
    let attack = json!({"uuid": Uuid::from_u128(0x6000_8000_0000_0000_0001), "name": "ddos",
        "meta-category": "network", "Attribute": [victim]});
    let tags = TAGS.map(|name| json!({"name": name}));
    json!({"Event": {
        "uuid": EVENT, "info": "hand-written", "threat_level_id": "1", "Tag": tags,
        "Orgc": {"uuid": ORGANISATION, "name": "ours"}, "Object": [attack],
        "Attribute": [
            domain,
            attribute(2, "md5", "d41d8cd98f00b204e9800998ecf8427e"),
            attribute(3, "filename", "evil.exe"),
            attribute(4, "url", "http://url.example"),
        ],
    }})
    .to_string()
}

fn indicator<'a>(objects: &'a [Value], pattern: &str) -> &'a Value {
    let found =
        objects.iter().find(|one| one["pattern"].as_str().is_some_and(|p| p.contains(pattern)));
    found.unwrap_or(&Value::Null)
}

fn pattern(objects: &[Value], part: &str) -> Value {
    indicator(objects, part)["pattern"].clone()
}

fn domain(objects: &[Value]) -> &Value {
    indicator(objects, "evil.example")
}

/// The confidence of what nobody doubts.
fn confidence(objects: &[Value]) -> Value {
    indicator(objects, "MD5")["confidence"].clone()
}

fn until(objects: &[Value]) -> Value {
    domain(objects)["valid_until"].clone()
}

fn id(objects: &[Value]) -> Value {
    domain(objects)["id"].clone()
}

fn threat(objects: &[Value]) -> Value {
    domain(objects)["indicator_types"].clone()
}

fn labels(objects: &[Value]) -> BTreeSet<&str> {
    domain(objects)["labels"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether these are labels: the taxonomy's tag, ours, and the threat level.
fn labelled(objects: &[Value]) -> Value {
    let labels = labels(objects);
    let names = ["kill-chain:Delivery", "ours:note", "misp:threat-level=\"high-risk\""];
    names.into_iter().filter(|name| labels.contains(name)).collect()
}

/// `chain/phase` of each.
fn phases(objects: &[Value]) -> Value {
    let phases = domain(objects)["kill_chain_phases"].as_array().into_iter().flatten();
    let word = |phase: &Value, member: &str| phase[member].as_str().unwrap().to_owned();
    let names = phases.map(|one| word(one, "kill_chain_name") + "/" + &word(one, "phase_name"));
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The patterns' object types, or those of what goes beside indicators.
fn kinds(objects: &[Value]) -> Value {
    objects.iter().map(|one| one["type"].clone()).filter(|kind| kind != "indicator").collect()
}

/// A STIX id of the observable in a namespace (docs: UUIDv5).
fn of_namespace(namespace: &str) -> Value {
    let namespace: Uuid = namespace.parse().unwrap();
    let id = Uuid::new_v5(&namespace, b"domain-name:value = evil.example");
    json!(format!("indicator--{id}"))
}

const OURS: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
const LOCKHEED: &str = "lockheed-martin-cyber-kill-chain/delivery";
const CATEGORY: &str = "misp-category/network-activity";

fn row(key: &'static str, seen: fn(&[Value]) -> Value, cases: [Case; 2]) -> Row {
    Row { key, seen, cases }
}

fn rows() -> impl Iterator<Item = Row> {
    let tables = [
        identity_rows(),
        confidence_rows(),
        threat_rows(),
        label_rows(),
        expiry_rows(),
        choice_rows(),
    ];
    tables.into_iter().flatten()
}

fn identity_rows() -> Vec<Row> {
    vec![
        row(
            "indicator.identity",
            id,
            [
                ("identity = 'attribute'", json!(format!("indicator--{DOMAIN}"))),
                ("identity = 'observable'", of_namespace("8c500619-d1c3-41e9-8c16-d5239cb5451c")),
            ],
        ),
        row(
            "indicator.namespace",
            id,
            [
                ("namespace = '6ba7b810-9dad-11d1-80b4-00c04fd430c8'", of_namespace(OURS)),
                (
                    "namespace = '6ba7b811-9dad-11d1-80b4-00c04fd430c8'",
                    of_namespace("6ba7b811-9dad-11d1-80b4-00c04fd430c8"),
                ),
            ],
        ),
        row(
            "indicator.context",
            kinds,
            [("context = []", json!([])), ("context = ['identity']", json!(["identity"]))],
        ),
    ]
}

fn confidence_rows() -> Vec<Row> {
    vec![
        // Without a scale, no tag says a confidence.
        row(
            "indicator.default_confidence",
            confidence,
            [
                ("default_confidence = 12\nconfidence_from = ['none:']", json!(12)),
                ("default_confidence = 99\nconfidence_from = ['none:']", json!(99)),
            ],
        ),
        // The numbers of MISP's taxonomy, and of STIX 2.1, appendix A.
        row(
            "indicator.confidence_from",
            confidence,
            [
                ("confidence_from = ['misp:confidence-level']", json!(75)),
                ("confidence_from = ['admiralty-scale:information-credibility']", json!(30)),
            ],
        ),
        row(
            "indicator.confidence",
            confidence,
            [
                ("confidence.'misp:confidence-level=\"usually-confident\"' = 80", json!(80)),
                ("confidence.'misp:confidence-level=\"usually-confident\"' = 70", json!(70)),
            ],
        ),
        // Two reports; usually confident is 75.
        row(
            "sightings.false_positive_points",
            |all| domain(all)["confidence"].clone(),
            [("false_positive_points = 5", json!(65)), ("false_positive_points = 30", json!(15))],
        ),
    ]
}

fn threat_rows() -> Vec<Row> {
    vec![
        row(
            "indicator.default_threat_type",
            threat,
            [
                ("default_threat_type = 'WatchList'", json!(["WatchList"])),
                ("default_threat_type = 'Botnet'", json!(["Botnet"])),
            ],
        ),
        row(
            "indicator.threat_types",
            threat,
            [
                ("threat_types.'ours:note' = 'Malware'", json!(["Malware"])),
                ("threat_types.'ours:note' = 'Phishing'", json!(["Phishing"])),
            ],
        ),
        row(
            "indicator.category_phases",
            phases,
            [
                ("category_phases = true", json!([LOCKHEED, CATEGORY])),
                ("category_phases = false", json!([LOCKHEED])),
            ],
        ),
        row(
            "indicator.kill_chain",
            phases,
            [
                (
                    "kill_chain.'ours:note' = 'mitre-attack/impact'",
                    json!([LOCKHEED, CATEGORY, "mitre-attack/impact"]),
                ),
                ("kill_chain.'kill-chain:Delivery' = ''", json!([CATEGORY])),
            ],
        ),
    ]
}

fn label_rows() -> Vec<Row> {
    vec![
        row(
            "indicator.threat_level_labels",
            labelled,
            [
                (
                    "threat_level_labels = true",
                    json!(["kill-chain:Delivery", "ours:note", "misp:threat-level=\"high-risk\""]),
                ),
                ("threat_level_labels = false", json!(["kill-chain:Delivery", "ours:note"])),
            ],
        ),
        row(
            "indicator.labels_ignore",
            labelled,
            [
                (
                    "labels_ignore = ['ours:*']",
                    json!(["kill-chain:Delivery", "misp:threat-level=\"high-risk\""]),
                ),
                ("labels_ignore = ['misp:*', 'kill-chain:*']", json!(["ours:note"])),
            ],
        ),
        row(
            "indicator.labels_taxonomies",
            labelled,
            [
                ("labels_taxonomies = ['ours']", json!(["ours:note"])),
                (
                    "labels_taxonomies = ['kill-chain', 'misp']",
                    json!(["kill-chain:Delivery", "misp:threat-level=\"high-risk\""]),
                ),
            ],
        ),
    ]
}

fn expiry_rows() -> Vec<Row> {
    vec![
        // `date -u -d "2023-11-14 22:13:20 +10 days"`: the timestamp is 1700000000.
        row(
            "expiry.default_days",
            |all| indicator(all, "MD5")["valid_until"].clone(),
            [
                ("default_days = 10", json!("2023-11-24T22:13:20.000Z")),
                ("default_days = 20", json!("2023-12-04T22:13:20.000Z")),
            ],
        ),
        row(
            "expiry.days",
            until,
            [
                ("days.domain-name = 10", json!("2023-11-24T22:13:20.000Z")),
                ("days.'domain-name:value' = 20", json!("2023-12-04T22:13:20.000Z")),
            ],
        ),
        row(
            "expiry.from",
            until,
            [
                ("from = 'timestamp'\ndays.domain-name = 10", json!("2023-11-24T22:13:20.000Z")),
                ("from = 'last_seen'\ndays.domain-name = 10", json!("2023-12-11T00:00:00.000Z")),
            ],
        ),
        row(
            "expiry.last_seen_is_expiry",
            until,
            [
                (
                    "last_seen_is_expiry = false\ndays.domain-name = 10",
                    json!("2023-11-24T22:13:20.000Z"),
                ),
                (
                    "last_seen_is_expiry = true\ndays.domain-name = 10",
                    json!("2023-12-01T00:00:00.000Z"),
                ),
            ],
        ),
    ]
}

fn choice_rows() -> Vec<Row> {
    vec![
        row(
            "sightings.withdraw_at",
            |all| json!(!domain(all).is_null()),
            [("withdraw_at = 2", json!(false)), ("withdraw_at = 3", json!(true))],
        ),
        row(
            "convert.types",
            |all| pattern(all, "evil.exe'"),
            [
                ("types.filename = true", json!("[file:name = 'evil.exe']")),
                ("types.filename = false", Value::Null),
            ],
        ),
        row(
            "convert.url_root",
            |all| pattern(all, "url.example"),
            [
                ("url_root = 'as-written'", json!("[url:value = 'http://url.example']")),
                ("url_root = 'wire'", json!("[url:value = 'http://url.example/']")),
            ],
        ),
        row(
            "convert.roles",
            |all| pattern(all, "198.51.100.7"),
            [
                ("roles.'ddos.ip-dst' = true", json!("[ipv4-addr:value = '198.51.100.7']")),
                ("roles.'ddos.ip-dst' = false", Value::Null),
            ],
        ),
    ]
}

fn converted(key: &str, setting: &str) -> Vec<Value> {
    let (section, _) = key.split_once('.').unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "[{section}]\n{setting}").unwrap();
    let path = file.path().to_str().unwrap();
    let converted = convert(document().as_bytes(), &["--no-expiry", "--config", path], &[ANYWHERE]);
    assert_eq!(converted.code, Some(0), "{setting}: {}", converted.skipped);
    converted.all()
}

#[test]
fn each_key_shapes_what_is_sent() {
    for Row { key, seen, cases } in rows() {
        for (setting, expected) in cases {
            assert_eq!(seen(&converted(key, setting)), expected, "{key}: {setting}");
        }
    }
}

/// The keys of the sections; a table of tags or types is one key.
fn keys() -> BTreeSet<String> {
    let example: Table = EXAMPLE.parse().unwrap();
    let of = |section: &'static str| {
        let table = example[section].as_table().unwrap().keys();
        table.map(move |key| format!("{section}.{key}"))
    };
    SECTIONS.into_iter().flat_map(of).collect()
}

#[test]
fn each_key_has_its_test() {
    let mut tested: BTreeSet<String> = rows().map(|row| row.key.to_owned()).collect();
    for (key, file, test) in ELSEWHERE {
        let path = format!("{}/tests/it/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(path).unwrap();
        assert!(source.contains(&format!("fn {test}(")), "{key}: no {test} in {file}.rs");
        tested.insert(key.to_owned());
    }
    assert_eq!(keys(), tested);
}
