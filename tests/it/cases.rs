//! Runs cases that users of MISP reported. A case has an event (`input.json`), a configuration (`relay.toml`)
//! and the expected result (`expected.json`): the patterns that are sent, and a line for each one that is
//! not, with the members that matter. A list stands where any of several reasons is right.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::convert::text;
use crate::recordings::elements;
use crate::support::program::program;

#[test]
fn every_case_ends_as_it_must() {
    let all = folder().read_dir().unwrap().map(|one| one.unwrap().path());
    let mut cases: Vec<PathBuf> = all.filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(cases.len() >= 11, "{cases:?}");
    let faults: Vec<String> = cases.iter().flat_map(|case| faults(case)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn an_attribute_that_cannot_be_read_is_explained_by_what_can() {
    let case = folder().join("anonymous-malformed");
    let output = program()
        .args(["convert", "--explain", "--config"])
        .args([case.join("relay.toml"), case.join("input.json")])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    for line in [
        "attribute 00000000-0000-4000-8000-000000000001  domain  evil.example\n",
        "attribute 00000000-0000-4000-8000-000000000002  ip-dst  [\"198.51.100.7\"]\n",
    ] {
        assert!(told.contains(line), "no {line:?} in\n{told}");
    }
    // Nothing is told of them that nobody read.
    assert!(!told.contains("1970") && told.matches("to_ids").count() == 1, "{told}");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// What differs from what is expected.
fn faults(case: &Path) -> Vec<String> {
    let name = case.file_name().unwrap().to_str().unwrap();
    let expected: Value =
        serde_json::from_slice(&std::fs::read(case.join("expected.json")).unwrap()).unwrap();
    // Whatever the day.
    let output = program()
        .args(["convert", "--no-expiry", "--config"])
        .args([case.join("relay.toml"), case.join("input.json")])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    if output.status.code() != Some(0) {
        return vec![format!("{name}: {}: {stderr}", output.status)];
    }
    let bundle: Value = serde_json::from_slice(&output.stdout).unwrap();
    let indicators = elements(&bundle["objects"]).filter(|one| one["type"] == "indicator");
    let sent: BTreeSet<String> = indicators.map(|object| text(&object["pattern"])).collect();
    let wanted: BTreeSet<String> = elements(&expected["sent"]).map(text).collect();
    let mut faults: Vec<String> = sent
        .symmetric_difference(&wanted)
        .map(|one| {
            format!("{name}: {} {one}", if sent.contains(one) { "sent" } else { "not sent" })
        })
        .collect();
    // No case has anything to note in words.
    let mut lines: Vec<Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{name}: {line}")))
        .collect();
    for wanted in elements(&expected["skipped"]) {
        match lines.iter().position(|line| says(line, wanted)) {
            Some(place) => drop(lines.swap_remove(place)),
            None => faults.push(format!("{name}: no line says {wanted}")),
        }
    }
    faults.extend(lines.iter().map(|line| format!("{name}: not expected: {line}")));
    faults
}

/// Whether a line has all the wanted members.
fn says(line: &Value, wanted: &Value) -> bool {
    wanted.as_object().unwrap().iter().all(|(key, value)| {
        let found = &line[key];
        value.as_array().map_or(found == value, |any| any.contains(found))
    })
}
