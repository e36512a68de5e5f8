//! Tests the context objects that `convert` makes: identities, techniques, actors and relationships. The
//! expected values were read from the recordings by hand.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::convert::{ANYWHERE, Converted, Setting, assert_valid, convert, text};
use crate::recordings::{http, read, recording};

const ALL: Setting = ("MSR_INDICATOR__CONTEXT", "identity,attack-pattern,threat-actor");
const PHISHING: &str = "attack-pattern--a62a8db3-f23a-4d8f-afd6-9dbc77e7813b";
const SPEARPHISHING: &str = "attack-pattern--2e34237d-8574-43f6-aace-ae2915de8597";
const APT29: &str = "threat-actor--b2056ff0-00b9-482e-b11c-c771daa5f28a";
const OWN_ACTOR: &str = "threat-actor--f75fd719-1bec-4475-b196-52044b4ba783";
const TESTORG: &str = "identity--4028eff6-8b64-45f8-ac36-ff18b327dc76";

fn kitchen_sink() -> Vec<u8> {
    read(&recording("zmq/000332_misp_json.bin"))
}

fn own_actor() -> Vec<u8> {
    read(&recording("zmq-more/000120_misp_json.bin"))
}

pub(crate) fn recorded() -> [Vec<u8>; 3] {
    [kitchen_sink(), own_actor(), http(&recording("rest/at_rs_galaxy_attr.response.http")).1]
}

/// With all kinds of context.
pub(crate) fn everything(document: &[u8]) -> Converted {
    let converted = convert(document, &["--no-expiry"], &[ANYWHERE, ALL]);
    assert_valid(&converted.bundle);
    converted
}

fn ids(objects: &[Value]) -> BTreeSet<String> {
    objects.iter().map(|object| text(&object["id"])).collect()
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// What the indicator with this pattern indicates.
fn indicated(converted: &Converted, pattern: &str) -> BTreeSet<String> {
    let indicator = converted.objects().into_iter().find(|one| one["pattern"] == pattern);
    let id = indicator.unwrap_or_else(|| panic!("no {pattern}"))["id"].clone();
    let relationships = converted.kind("relationship").into_iter();
    relationships
        .filter(|one| one["source_ref"] == id)
        .map(|one| text(&one["target_ref"]))
        .collect()
}

#[test]
fn techniques_and_actors_of_the_kitchen_sink_are_mitres_and_misps_own() {
    let converted = everything(&kitchen_sink());
    assert_eq!(ids(&converted.kind("identity")), set(&[TESTORG]));
    assert_eq!(ids(&converted.kind("attack-pattern")), set(&[PHISHING, SPEARPHISHING]));
    assert_eq!(ids(&converted.kind("threat-actor")), set(&[APT29]));
    let by_id: BTreeMap<String, Value> =
        converted.all().into_iter().map(|object| (text(&object["id"]), object)).collect();
    for (id, name, number, page) in [
        (PHISHING, "Phishing", "T1566", "T1566"),
        (SPEARPHISHING, "Spearphishing Attachment", "T1566.001", "T1566/001"),
    ] {
        let technique = &by_id[id];
        assert_eq!(technique["name"], name);
        let reference = json!([{
            "source_name": "mitre-attack",
            "url": format!("https://attack.mitre.org/techniques/{page}"),
            "external_id": number,
        }]);
        assert_eq!(technique["external_references"], reference);
        // MISP names six platforms.
        let phases = json!([{"kill_chain_name": "mitre-attack", "phase_name": "initial-access"}]);
        assert_eq!(technique["kill_chain_phases"], phases);
    }
    assert_eq!(by_id[APT29]["name"], "APT29");
    assert!(by_id[APT29]["aliases"].as_array().unwrap().contains(&json!("COZY BEAR")));
    assert_eq!(by_id[TESTORG]["name"], "TESTORG");
    assert_eq!(by_id[TESTORG]["identity_class"], "organization");
    assert!(converted.objects().iter().all(|one| one["created_by_ref"] == TESTORG));
}

#[test]
fn every_indicator_indicates_what_its_tags_say() {
    let converted = everything(&kitchen_sink());
    let all = set(&[PHISHING, APT29]);
    assert_eq!(indicated(&converted, "[domain-name:value = 'evil.example']"), all);
    let more = set(&[PHISHING, SPEARPHISHING, APT29]);
    assert_eq!(indicated(&converted, "[domain-name:value = 'galaxy-attr.example']"), more);
    let relationships = converted.kind("relationship").len();
    assert_eq!(relationships, 2 * converted.objects().len() + 1);
}

#[test]
fn an_actor_of_the_instances_own_has_the_name_that_misp_tells() {
    let converted = everything(&own_actor());
    let actors = converted.kind("threat-actor");
    assert_eq!(ids(&actors), set(&[OWN_ACTOR]));
    assert_eq!(actors[0]["name"], "Relay Custom Actor");
    let labels = converted.objects()[0]["labels"].clone();
    assert!(
        labels.as_array().unwrap().contains(&json!("ActivityGroup:Relay-Custom-Actor")),
        "{labels}"
    );
}

#[test]
fn by_default_the_creator_goes_along_and_labels_name_the_actor() {
    let converted = convert(&kitchen_sink(), &["--no-expiry"], &[ANYWHERE]);
    let others = converted.all().len() - converted.objects().len();
    assert_eq!((others, ids(&converted.kind("identity"))), (1, set(&[TESTORG])));
    for indicator in converted.objects() {
        assert!(indicator["labels"].as_array().unwrap().contains(&json!("ActivityGroup:APT29")));
    }
    let quiet = [ANYWHERE, ("MSR_INDICATOR__LABELS_IGNORE", "activitygroup:*,misp:*")];
    let converted = convert(&kitchen_sink(), &["--no-expiry"], &quiet);
    assert!(!converted.bundle.contains("ActivityGroup"));
    let none = [ANYWHERE, ("MSR_INDICATOR__CONTEXT", "")];
    let converted = convert(&kitchen_sink(), &["--no-expiry"], &none);
    assert_eq!(converted.all().len(), converted.objects().len());
}

#[test]
fn what_is_no_kind_of_context_is_a_mistake() {
    let wrong = [("MSR_INDICATOR__CONTEXT", "identity,relationship")];
    let converted = convert(b"{}", &[], &wrong);
    assert_eq!(converted.code, Some(2));
    assert!(converted.skipped.contains("indicator.context"), "{}", converted.skipped);
}
