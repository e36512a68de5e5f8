//! Tests how context objects reach Sentinel: they are sent once and after the indicators, and a relationship
//! is withdrawn together with the indicator that needs it.

use std::collections::{BTreeMap, BTreeSet};

use misp_sentinel_relay::ledger::Ledger;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::relay::held;
use super::support::sandbox::{PATIENCE, eventually};
use super::support::scene::Scene;

pub(crate) const ALL: (&str, &str) =
    ("MSR_INDICATOR__CONTEXT", "identity,attack-pattern,threat-actor");
const IDENTITY: (&str, &str) = ("MSR_INDICATOR__CONTEXT", "identity");
const ORG: &str = "11111111-1111-4111-8111-111111111111";
const TECHNIQUE: &str = "a62a8db3-f23a-4d8f-afd6-9dbc77e7813b";
const TAG: &str = "misp-galaxy:mitre-attack-pattern=\"Phishing - T1566\"";
const NAMESPACE: &str = "8c500619-d1c3-41e9-8c16-d5239cb5451c";

/// Some days ago, so that nothing has expired.
pub(crate) fn then() -> i64 {
    Ledger::now() / 1_000 - 100_000
}

fn event_uuid(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-000000000003")
}

/// An event of the organisation, which calls itself `name`: each domain with or without the
/// technique's tag.
pub(crate) fn event(number: u32, timestamp: i64, name: &str, domains: &[(&str, bool)]) -> Vec<u8> {
    let galaxies = json!([{"type": "mitre-attack-pattern", "GalaxyCluster": [{
        "uuid": TECHNIQUE, "type": "mitre-attack-pattern", "tag_name": TAG, "default": true,
        "value": "Phishing - T1566", "description": "d", "meta": {"external_id": ["T1566"]},
    }]}]);
    let attributes: Vec<Value> = domains
        .iter()
        .map(|(domain, tagged)| {
            // One attribute for a domain, whichever publication names it.
            let hash =
                domain.bytes().fold(u128::from(number), |sum, byte| sum * 31 + u128::from(byte));
            let mut attribute = json!({
                "id": 0, "uuid": Uuid::from_u128((hash << 80) | 0x4000_8000_0000_0000_0009),
                "type": "domain", "category": "Network activity", "value": domain,
                "to_ids": true, "timestamp": timestamp,
            });
            if *tagged {
                attribute["Tag"] = json!([{"name": TAG}]);
                attribute["Galaxy"] = galaxies.clone();
            }
            attribute
        })
        .collect();
    let event = json!({"Event": {
        "id": number, "uuid": event_uuid(number), "info": "x", "distribution": 3, "timestamp": timestamp,
        "Orgc": {"uuid": ORG, "name": name}, "Attribute": attributes, "Object": [],
    }});
    format!("misp_json {event}").into_bytes()
}

/// As docs/explanation/identity-and-generations.md says it.
fn indicator(domain: &str) -> String {
    let namespace: Uuid = NAMESPACE.parse().unwrap();
    let name = format!("domain-name:value = {domain}");
    format!("indicator--{}", Uuid::new_v5(&namespace, name.as_bytes()))
}

fn relationship(domain: &str, generation: usize) -> String {
    let name = format!("indicates {} attack-pattern--{TECHNIQUE}", indicator(domain));
    let name = match generation {
        0 => name,
        generation => format!("generation {generation} of {name}"),
    };
    let namespace: Uuid = NAMESPACE.parse().unwrap();
    format!("relationship--{}", Uuid::new_v5(&namespace, name.as_bytes()))
}

fn identity() -> String {
    format!("identity--{ORG}")
}

fn technique() -> String {
    format!("attack-pattern--{TECHNIQUE}")
}

/// What the sandbox holds that is not revoked, by id.
fn live(scene: &Scene) -> BTreeMap<String, Value> {
    let all = held(&scene.sandbox).into_iter().map(|held| held.json);
    let standing = all.filter(|one| one["revoked"] != true);
    standing.map(|one| (one["id"].as_str().unwrap().to_owned(), one)).collect()
}

async fn until(scene: &Scene, reached: impl Fn(&BTreeMap<String, Value>) -> bool) {
    let began = std::time::Instant::now();
    while !reached(&live(scene)) {
        assert!(began.elapsed() < PATIENCE, "never reached: {:#?}", live(scene));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn until_there(scene: &Scene, ids: &[String]) {
    until(scene, |live| ids.iter().all(|id| live.contains_key(id))).await;
}

fn times_sent(scene: &Scene) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for object in scene.received() {
        *times.entry(object["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    times
}

fn assert_sound(scene: &Scene) {
    let checked = scene.relay.command(&["ledger", "check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_creator_is_sent_once_and_as_the_newest_event_names_it() {
    let scene = Scene::set(&[IDENTITY]).await;
    let t = then();
    scene.publisher.send(&event(1, t + 5, "CERT", &[("a.example", true)])).await;
    until_there(&scene, &[indicator("a.example"), identity()]).await;
    // An older event with another name, and a newer one with the same.
    scene.publisher.send(&event(2, t, "OLD", &[("b.example", true)])).await;
    scene.publisher.send(&event(3, t + 7, "CERT", &[("c.example", true)])).await;
    until_there(&scene, &[indicator("b.example"), indicator("c.example")]).await;
    scene.settle().await;
    assert_eq!(times_sent(&scene).values().copied().max(), Some(1), "{:?}", times_sent(&scene));
    let said = live(&scene)[&identity()].clone();
    assert_eq!(
        (said["name"].as_str(), said["identity_class"].as_str()),
        (Some("CERT"), Some("organization"))
    );
    assert!(said.get("valid_until").is_none(), "an identity has no validity: {said}");
    // Older than the newest: it says nothing. The newest renames it.
    scene.publisher.send(&event(4, t + 6, "OTHER", &[("d.example", true)])).await;
    scene.publisher.send(&event(5, t + 8, "CSIRT", &[("e.example", true)])).await;
    until(&scene, |live| live[&identity()]["name"] == "CSIRT").await;
    until_there(&scene, &[indicator("d.example"), indicator("e.example")]).await;
    assert_eq!(times_sent(&scene)[&identity()], 2);
    // With its last event gone it stays.
    for number in 1..=5 {
        let deletion = format!(
            r#"misp_json_event {{"Event":{{"id":"{number}","uuid":"{}","timestamp":"{}"}},"action":"delete"}}"#,
            event_uuid(number),
            t + 9
        );
        scene.publisher.send(deletion.as_bytes()).await;
    }
    eventually(&scene.sandbox, |_| scene.live().is_empty()).await;
    assert_eq!(times_sent(&scene)[&identity()], 2);
    assert_sound(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relationship_ends_with_what_needs_it_and_returns_under_another_id() {
    let mut scene = Scene::set(&[ALL]).await;
    let t = then();
    let both = [("a.example", true), ("b.example", false)];
    scene.publisher.send(&event(1, t, "CERT", &both)).await;
    let first = relationship("a.example", 0);
    until_there(&scene, &[indicator("b.example"), identity(), technique(), first.clone()]).await;
    let sent = scene.received();
    let place = |id: &str| sent.iter().position(|one| one["id"] == *id).unwrap();
    for id in [identity(), technique(), first.clone()] {
        assert!(place(&id) > place(&indicator("a.example")), "context is backlog: {id}");
    }
    let relation = &live(&scene)[&first];
    assert_eq!(relation["relationship_type"], "indicates");
    assert_eq!(relation["source_ref"], indicator("a.example"));
    assert_eq!(relation["target_ref"], technique());

    // The attribute goes; its relationship is revoked, the technique stays.
    scene.publisher.send(&event(1, t + 1, "CERT", &[("b.example", false)])).await;
    until(&scene, |live| !live.contains_key(&first)).await;
    let ended = scene.versions(&first).pop().unwrap();
    assert_eq!(ended["revoked"], true);
    assert!(live(&scene).contains_key(&technique()));

    // It returns, also across a restart, and goes again by its tag alone.
    scene.relay.kill();
    scene.relay.restart(&scene.publisher).await;
    scene.publisher.send(&event(1, t + 2, "CERT", &both)).await;
    let second = relationship("a.example", 1);
    until_there(&scene, std::slice::from_ref(&second)).await;
    // The kill may have made a repeat of it, byte for byte.
    let mut versions = scene.versions(&first);
    versions.dedup();
    assert_eq!(versions.len(), 2, "what was revoked stays so");
    scene
        .publisher
        .send(&event(1, t + 3, "CERT", &[("a.example", false), ("b.example", false)]))
        .await;
    until(&scene, |live| !live.contains_key(&second)).await;
    scene.settle().await;
    assert!(scene.is_live("[domain-name:value = 'a.example']"));
    assert_eq!(times_sent(&scene)[&technique()], 1);
    assert_sound(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_choice_of_context_is_made_up_for_at_the_start() {
    let mut scene = Scene::set(&[]).await;
    scene.publisher.send(&event(1, then(), "CERT", &[("a.example", true)])).await;
    until_there(&scene, &[indicator("a.example")]).await;
    scene.settle().await;
    let only = BTreeSet::from([indicator("a.example")]);
    assert_eq!(times_sent(&scene).into_keys().collect::<BTreeSet<_>>(), only);

    let choose = async |scene: &mut Scene, context: &str| {
        assert_eq!(scene.relay.stop().0, Some(0));
        scene.relay.set(ALL.0, context);
        scene.relay.restart(&scene.publisher).await;
    };
    choose(&mut scene, ALL.1).await;
    let first = relationship("a.example", 0);
    until_there(&scene, &[identity(), technique(), first.clone()]).await;
    choose(&mut scene, "").await;
    until(&scene, |live| !live.contains_key(&first)).await;
    assert!(live(&scene).contains_key(&technique()) && live(&scene).contains_key(&identity()));
    choose(&mut scene, "threat-actor,attack-pattern").await;
    until_there(&scene, &[relationship("a.example", 1)]).await;
    let times = times_sent(&scene);
    assert_eq!(
        (times[&indicator("a.example")], times[&technique()], times[&identity()]),
        (1, 1, 1)
    );
    assert_sound(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_policy_becomes_its_own_loses_only_relationships() {
    let mut scene = Scene::set(&[ALL]).await;
    scene
        .publisher
        .send(&event(1, then(), "CERT", &[("a.example", true), ("b.example", true)]))
        .await;
    let [first, other] = ["a.example", "b.example"].map(|domain| relationship(domain, 0));
    until_there(&scene, &[identity(), technique(), first.clone(), other.clone()]).await;
    assert_eq!(scene.relay.stop().0, Some(0));
    scene.relay.set("MSR_TARGET__SANDBOX__POLICY__NEVER", "a.example");
    scene.relay.restart(&scene.publisher).await;
    until(&scene, |live| !live.contains_key(&first)).await;
    eventually(&scene.sandbox, |_| !scene.is_live("[domain-name:value = 'a.example']")).await;
    let standing = live(&scene);
    assert!([identity(), technique(), other.clone()].iter().all(|id| standing.contains_key(id)));
    assert_sound(&scene);
    assert_eq!(scene.relay.stop().0, Some(0));
    scene.relay.unset("MSR_TARGET__SANDBOX__POLICY");
    scene.relay.restart(&scene.publisher).await;
    until_there(&scene, &[relationship("a.example", 1)]).await;
    eventually(&scene.sandbox, |_| scene.is_live("[domain-name:value = 'a.example']")).await;
    let times = times_sent(&scene);
    assert_eq!((times[&technique()], times[&identity()], times[&other]), (1, 1, 1));
    assert_sound(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ledger_gives_the_same_ids_and_bytes() {
    let domains = [("a.example", true), ("b.example", true), ("c.example", false)];
    let t = then();
    let mut said = Vec::new();
    for _ in 0..2 {
        let scene = Scene::set(&[ALL]).await;
        scene.publisher.send(&event(1, t, "CERT", &domains)).await;
        until(&scene, |live| live.len() == 7).await;
        let mut objects = live(&scene);
        for object in objects.values_mut() {
            let object = object.as_object_mut().unwrap();
            assert!(object.remove("created").is_some() && object.remove("modified").is_some());
        }
        said.push(objects);
    }
    assert_eq!(said[0], said[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_attributes_identity_a_relationship_outlives_another_value() {
    let scene = Scene::set(&[ALL, ("MSR_INDICATOR__IDENTITY", "attribute")]).await;
    let t = then();
    // The same attribute with another value: both have the attribute's id.
    let named = |timestamp, from: &str, to: &str| {
        let frame = String::from_utf8(event(1, timestamp, "CERT", &[("a.example", true)])).unwrap();
        frame.replace(from, to).into_bytes()
    };
    let relationships = |live: &BTreeMap<String, Value>| {
        live.keys().filter(|id| id.starts_with("relationship--")).cloned().collect::<Vec<_>>()
    };
    let pattern = |live: &BTreeMap<String, Value>, domain: &str| {
        let pattern = format!("[domain-name:value = '{domain}']");
        live.values().any(|one| one["pattern"] == *pattern && one.get("valid_until").is_some())
    };
    scene.publisher.send(&named(t, "a.example", "a.example")).await;
    until(&scene, |live| relationships(live).len() == 1 && pattern(live, "a.example")).await;
    let first = relationships(&live(&scene));
    scene.publisher.send(&named(t + 1, "a.example", "z.example")).await;
    until(&scene, |live| pattern(live, "z.example")).await;
    scene.settle().await;
    assert_eq!(relationships(&live(&scene)), first, "its ends are what they were");
    assert_eq!(times_sent(&scene)[&first[0]], 1);
    assert_sound(&scene);
    scene.publisher.send(&event(1, t + 2, "CERT", &[("other.example", false)])).await;
    until(&scene, |live| relationships(live).is_empty()).await;
    assert_sound(&scene);
    // It returns under another id.
    scene.publisher.send(&named(t + 3, "a.example", "a.example")).await;
    until(&scene, |live| relationships(live).len() == 1).await;
    assert_ne!(relationships(&live(&scene)), first);
    assert_sound(&scene);
}
