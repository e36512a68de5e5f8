//! Lists the properties in which an object that Sentinel shows differs from the one that was sent. Only
//! members that were sent count, since Sentinel adds members, leaves out defaults, and writes times in its
//! own way.

use chrono::TimeDelta;
use serde_json::Value;

use super::instant;

/// Members that are no content: the time of the statement, and the version of STIX.
const IGNORED: [&str; 3] = ["created", "modified", "spec_version"];

const TIMES: [&str; 4] = ["valid_from", "valid_until", "first_seen", "last_seen"];

/// Returns the names of the properties that differ, in alphabetical order.
pub fn differences(sent: &Value, held: &Value) -> Vec<String> {
    let (Some(sent), Some(held)) = (sent.as_object(), held.as_object()) else {
        return vec!["type".to_owned()];
    };
    let mut different: Vec<String> = sent
        .iter()
        .filter(|(name, _)| !IGNORED.contains(&name.as_str()))
        .filter(|(name, value)| !same_member(name, value, held.get(*name)))
        .map(|(name, _)| name.clone())
        .collect();
    // An object that was sent without `revoked` is not revoked.
    if held.get("revoked") == Some(&Value::Bool(true)) && !sent.contains_key("revoked") {
        different.push("revoked".to_owned());
    }
    different.sort_unstable();
    different
}

/// The members of an uploaded object that ingestion rules and users of Sentinel may change.
const CHANGED_THERE: [&str; 4] = ["confidence", "labels", "revoked", "valid_until"];

/// Whether an ingestion rule or a user of Sentinel made these differences. A rule leaves `modified` as it was
/// sent, and a user may renew it. If Sentinel missed the newest version, its `modified` is older.
pub(super) fn is_changed_there(sent: &Value, held: &Value, differences: &[String]) -> bool {
    if !differences.iter().all(|name| CHANGED_THERE.contains(&name.as_str())) {
        return false;
    }
    let text = |object: &Value| object.get("modified")?.as_str().map(str::to_owned);
    let (Some(sent), Some(held)) = (text(sent), text(held)) else { return false };
    same_time(&sent, &held) || instant(&held) > instant(&sent)
}

fn same_member(name: &str, sent: &Value, held: Option<&Value>) -> bool {
    let held = held.unwrap_or(&Value::Null);
    if held.is_null() {
        return is_default(name, sent);
    }
    match (sent, held) {
        (Value::String(sent), Value::String(held)) if TIMES.contains(&name) => {
            same_time(sent, held)
        }
        _ => same(sent, held),
    }
}

fn is_default(name: &str, sent: &Value) -> bool {
    match sent {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty() || name == "pattern_version",
        Value::Bool(true) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// Whether two times are the same instant, as precisely as the coarser of them tells it.
fn same_time(sent: &str, held: &str) -> bool {
    let (Some(one), Some(other)) = (instant(sent), instant(held)) else { return sent == held };
    let is_whole = |text: &str| !text.contains('.');
    let within = if is_whole(sent) || is_whole(held) {
        TimeDelta::seconds(1)
    } else {
        TimeDelta::milliseconds(1)
    };
    (one - other).abs() < within
}

fn same(sent: &Value, held: &Value) -> bool {
    match (sent, held) {
        (Value::Number(sent), Value::Number(held)) => {
            sent == held || sent.as_f64().is_some_and(|sent| held.as_f64() == Some(sent))
        }
        (Value::Array(sent), Value::Array(held)) => same_list(sent, held),
        (Value::Object(sent), Value::Object(held)) => {
            sent.iter().all(|(name, value)| same_member(name, value, held.get(name)))
        }
        _ => sent == held,
    }
}

/// Whether two lists hold the same elements, in any order.
fn same_list(sent: &[Value], held: &[Value]) -> bool {
    let mut left: Vec<&Value> = held.iter().collect();
    let found = sent.iter().all(|one| {
        let place = left.iter().position(|other| same(one, other));
        place.map(|place| left.swap_remove(place)).is_some()
    });
    found && left.is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sent() -> Value {
        json!({
            "type": "indicator",
            "spec_version": "2.1",
            "id": "indicator--1",
            "created": "2026-11-01T00:00:00.123Z",
            "modified": "2026-11-01T00:00:00.123Z",
            "labels": ["a", "b"],
            "confidence": 50,
            "pattern": "[ipv4-addr:value = '198.51.100.7']",
            "pattern_version": "2.1",
            "external_references": [{"source_name": "misp", "url": "https://m/1"}],
            "valid_from": "2026-11-01T00:00:00.120Z",
            "valid_until": "2027-11-01T00:00:00.120Z",
        })
    }

    #[test]
    fn what_sentinel_makes_of_it_is_the_same() {
        let mut held = sent();
        held["labels"] = json!(["b", "a"]);
        held["confidence"] = json!(50.0);
        held["valid_from"] = json!("2026-11-01T00:00:00.1200000Z");
        held["valid_until"] = json!("2027-11-01T00:00:00");
        held["modified"] = json!("2026-11-02T00:00:00Z");
        held["external_references"][0]["hashes"] = Value::Null;
        held["extensions"] = json!({"sentinel-ext": {"severity": null}});
        held["revoked"] = json!(false);
        held.as_object_mut().unwrap().remove("pattern_version");
        held.as_object_mut().unwrap().remove("spec_version");
        assert_eq!(differences(&sent(), &held), [""; 0]);
    }

    #[test]
    fn what_rules_and_users_of_sentinel_change_is_told_from_faults() {
        let is_theirs = |change: &dyn Fn(&mut Value)| {
            let mut held = sent();
            change(&mut held);
            let differences = differences(&sent(), &held);
            assert_ne!(differences, [""; 0]);
            is_changed_there(&sent(), &held, &differences)
        };
        // A rule: `modified` stays, whatever way it is written.
        assert!(is_theirs(&|held| held["confidence"] = json!(80)));
        assert!(is_theirs(&|held| {
            held["labels"] = json!(["a", "b", "by-rule"]);
            held["valid_until"] = json!("2028-01-01T00:00:00Z");
            held["modified"] = json!("2026-11-01T00:00:00.1230000");
        }));
        // A user, in the portal.
        assert!(is_theirs(&|held| {
            held["revoked"] = json!(true);
            held["modified"] = json!("2026-11-20T00:00:00Z");
        }));
        // The version before ours.
        assert!(!is_theirs(&|held| {
            held["confidence"] = json!(80);
            held["modified"] = json!("2026-10-31T00:00:00Z");
        }));
        assert!(!is_theirs(&|held| {
            held["confidence"] = json!(80);
            held.as_object_mut().unwrap().remove("modified");
        }));
        // Nobody there changes what an indicator is about.
        assert!(!is_theirs(&|held| {
            held["confidence"] = json!(80);
            held["pattern"] = json!("[ipv4-addr:value = '203.0.113.1']");
        }));
    }

    #[test]
    fn what_was_altered_is_named() {
        let mut held = sent();
        held["labels"] = json!(["a", "b", "c"]);
        held["confidence"] = json!(51);
        held["valid_until"] = json!("2027-11-01T00:00:01.120Z");
        held["external_references"][0]["url"] = json!("https://m/2");
        held["revoked"] = json!(true);
        held.as_object_mut().unwrap().remove("pattern");
        let named =
            ["confidence", "external_references", "labels", "pattern", "revoked", "valid_until"];
        assert_eq!(differences(&sent(), &held), named);
        assert_eq!(differences(&sent(), &json!([])), ["type"]);
        held = sent();
        held["labels"] = json!(["a", "a"]);
        assert_eq!(differences(&sent(), &held), ["labels"]);
    }
}
