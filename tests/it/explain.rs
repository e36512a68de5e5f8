//! Tests that `explain` and `convert --explain` tell a story for every attribute. The tests count what a
//! document holds in a `serde_json::Value`. The expected stories follow from MISP's values and the default
//! policy.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;

use serde_json::Value;

use super::recordings::{elements, files, read, recording};
use super::support::program::program;

/// Larger ones cost seconds in a debug build.
const LARGEST: usize = 1_000_000;

fn relay(arguments: &[&str]) -> Output {
    let mut command = program();
    command.args(arguments).env("MSR_POLICY__ALLOW_NON_ROUTABLE", "true");
    command.output().unwrap()
}

fn stories(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn convert(path: &str, arguments: &[&str]) -> Output {
    relay(&[&["convert", path], arguments].concat())
}

/// Attributes of an event that have a uuid, those of objects included.
fn attributes(event: &Value) -> Vec<String> {
    let objects = elements(&event["Object"]).flat_map(|object| elements(&object["Attribute"]));
    let all = elements(&event["Attribute"]).chain(objects);
    all.filter_map(|attribute| attribute["uuid"].as_str().map(str::to_owned)).collect()
}

#[test]
fn every_attribute_of_a_recorded_event_has_its_story_and_both_ways_agree() {
    let mut told = 0;
    let frames = ["zmq", "zmq-more", "zmq-variants"].map(|folder| files(folder, "_misp_json.bin"));
    for path in frames.concat() {
        let bytes = read(&path);
        if bytes.len() > LARGEST || path.extension().is_some_and(|end| end == "gz") {
            continue;
        }
        let document: Value = serde_json::from_slice(&bytes["misp_json ".len()..]).unwrap();
        let name = path.to_str().unwrap();
        let stories = stories(&convert(name, &["--explain", "--json"]));
        let mut known: Vec<&str> =
            stories.iter().map(|story| story["attribute"].as_str().unwrap()).collect();
        let mut expected = attributes(&document["Event"]);
        known.sort_unstable();
        expected.sort_unstable();
        assert_eq!(known, expected, "{name}");
        let bundle = convert(name, &[]);
        assert_eq!(live(&stories), ids(&bundle.stdout), "{name}");
        assert_eq!(reasons(&stories), skipped(&bundle.stderr), "{name}");
        told += 1;
    }
    assert!(told >= 60, "{told}");
}

/// Ids of the indicators that would be sent.
fn live(stories: &[Value]) -> BTreeSet<String> {
    let views = views(stories).filter(|seen| seen["withheld"].is_null());
    let indicators = views.map(|seen| &seen["indicator"]);
    let live = indicators.filter(|indicator| indicator["expired"].as_bool() != Some(true));
    live.map(|indicator| indicator["id"].as_str().unwrap().to_owned()).collect()
}

fn views(stories: &[Value]) -> impl Iterator<Item = &Value> {
    let claims = stories.iter().flat_map(|story| elements(&story["claims"]));
    claims.flat_map(|claimed| elements(&claimed["views"]))
}

fn ids(bundle: &[u8]) -> BTreeSet<String> {
    let bundle: Value = serde_json::from_slice(bundle).unwrap();
    let objects = elements(&bundle["objects"]).filter(|object| object["type"] == "indicator");
    objects.map(|object| object["id"].as_str().unwrap().to_owned()).collect()
}

/// Attributes and observables that are left out, by reason.
fn reasons(stories: &[Value]) -> BTreeMap<String, usize> {
    let skipped = stories.iter().map(|story| &story["skipped"]["reason"]);
    let withheld = views(stories).map(|seen| &seen["withheld"]["reason"]);
    let expired = views(stories).filter(|seen| seen["withheld"].is_null());
    let expired = expired.filter(|seen| seen["indicator"]["expired"] == true).count();
    let mut counts = BTreeMap::new();
    for reason in skipped.chain(withheld).filter_map(Value::as_str) {
        *counts.entry(reason.to_owned()).or_default() += 1;
    }
    if expired > 0 {
        counts.insert("expired".to_owned(), expired);
    }
    counts
}

/// The same from the lines of `convert`.
fn skipped(lines: &[u8]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in
        std::str::from_utf8(lines).unwrap().lines().filter(|line| !line.starts_with("note: "))
    {
        let line: Value = serde_json::from_str(line).unwrap();
        *counts.entry(line["reason"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn a_story_tells_what_policy_says_and_who_else_claims_the_same() {
    let holes = recording("zmq/000480_misp_json.bin");
    let path = holes.to_str().unwrap();
    let text = String::from_utf8(convert(path, &["--explain"]).stdout).unwrap();
    // The event's head once, then a block for each of the three attributes.
    assert_eq!(text.matches("Tag holes").count(), 1, "{text}");
    assert_eq!(text.matches("\nattribute ").count(), 3, "{text}");
    assert!(text.contains("claims      [domain-name:value = 'holes.evil.example']"), "{text}");
    assert!(text.contains("policy      admits it"), "{text}");
    let with_stix = stories(&convert(path, &["--explain", "--json", "--stix"]));
    let sent = views(&with_stix).map(|seen| &seen["indicator"]["stix"]["pattern"]);
    let sent: BTreeSet<&str> = sent.filter_map(Value::as_str).collect();
    assert!(sent.contains("[domain-name:value = 'holes.evil.example']"), "{sent:?}");
    let strict = program()
        .args(["convert", path, "--explain"])
        .env("MSR_POLICY__TAGS_EXCLUDE", "relay:*")
        .output()
        .unwrap();
    let strict = String::from_utf8(strict.stdout).unwrap();
    assert_eq!(strict.matches("withholds it: tag_excluded (").count(), 3, "{strict}");
}

#[test]
fn of_a_document_with_several_events_each_names_the_others() {
    let frame = read(&recording("zmq/000480_misp_json.bin"));
    let text = std::str::from_utf8(&frame["misp_json ".len()..]).unwrap();
    let first: Value = serde_json::from_str(text).unwrap();
    // The same attributes in another event, under other uuids.
    let renamed = attributes(&first["Event"])
        .into_iter()
        .fold(text.to_owned(), |text, uuid| text.replace(&uuid, &uuid::Uuid::new_v4().to_string()));
    let event = first["Event"]["uuid"].as_str().unwrap();
    let renamed = renamed.replace(event, "9b1d2f4e-0000-4000-8000-000000000001");
    let second: Value = serde_json::from_str(&renamed).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let both = serde_json::json!({"response": [first, second]});
    std::fs::write(file.path(), both.to_string()).unwrap();
    let stories = stories(&convert(file.path().to_str().unwrap(), &["--explain", "--json"]));
    assert_eq!(stories.len(), 6);
    for (story, twin) in stories.iter().zip(stories.iter().skip(3).chain(&stories)) {
        let others: Vec<&Value> = views(std::slice::from_ref(story))
            .flat_map(|seen| elements(&seen["others"]))
            .map(|other| &other["attribute"])
            .collect();
        assert_eq!(others, [&twin["attribute"]], "{story}");
    }
}

#[test]
fn what_a_value_would_command_a_terminal_is_not_passed_on() {
    let event = serde_json::json!({"Event": {
        "uuid": "9b1d2f4e-0000-4000-8000-000000000001", "info": "red \u{1b}[31m",
        "Attribute": [{
            "uuid": "9b1d2f4e-0000-4000-8000-000000000002", "type": "url", "to_ids": true,
            "value": "http://evil.example/\u{1b}]0;x\u{7}", "timestamp": "1790000000"
        }]
    }});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), event.to_string()).unwrap();
    let told = convert(file.path().to_str().unwrap(), &["--explain"]).stdout;
    assert!(told.starts_with(b"event 9b1d2f4e"));
    assert!(!told.contains(&0x1b) && !told.contains(&0x07), "{told:?}");
}
