//! Sends recorded MISP input through the whole relay, and tests what is live in the sandbox after each step
//! of an event's life.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use misp_sentinel_relay::sandbox::Fault;
use serde_json::Value;
use uuid::Uuid;

use super::support::misp::Misp;
use super::support::publisher::{Recorded, recorded_frames};
use super::support::scene::{Scene, is_live, references};

/// Attributes of the large test event (frame 332).
const TAGGABLE: &str = "[ipv4-addr:value = '203.0.113.120']";
const SHARED: &str = "[ipv4-addr:value = '203.0.113.45']";
const RED: &str = "[ipv4-addr:value = '203.0.113.99']";

const LARGE_EVENT: &str = "62724408-1cb5-4198-8ceb-3e542ad28bcd";
const SHARING_EVENT: &str = "670640a8-cd21-4789-82ba-a5c312b07195";

/// Frames that make or break indicators, or nearly do: the state is compared after each.
const TOPICS: [&str; 6] = [
    "misp_json",
    "misp_json_attribute",
    "misp_json_object",
    "misp_json_event",
    "misp_json_tag",
    "misp_json_sighting",
];

fn frame(number: &str) -> Recorded {
    find(recorded_frames("zmq"), number)
}

fn frame_of_more(number: &str) -> Recorded {
    find(recorded_frames("zmq-more"), number)
}

fn find(frames: Vec<Recorded>, number: &str) -> Recorded {
    frames.into_iter().find(|frame| frame.name.starts_with(number)).unwrap()
}

/// A recorded frame with words replaced.
fn altered(number: &str, replace: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::from_utf8(frame(number).frame).unwrap();
    for (from, to) in replace {
        assert!(text.contains(from), "{number} does not say {from}");
        text = text.replace(from, to);
    }
    text.into_bytes()
}

fn count_changes(received: &[Value]) -> BTreeMap<String, usize> {
    let mut last: BTreeMap<String, Value> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for object in received {
        let id = object["id"].as_str().unwrap().to_owned();
        let mut bare = object.clone();
        bare.as_object_mut().unwrap().remove("modified");
        let before = last.insert(id.clone(), bare.clone());
        assert_ne!(before.as_ref(), Some(&bare), "sent twice without a change");
        *counts.entry(id).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn each_recorded_step_leaves_what_its_content_says() {
    let mut scene = Scene::set(&[]).await;
    let mut misp = Misp::default();
    let mut publications = BTreeSet::new();
    // Events of 5,000 and 50,000 attributes are a case of their own.
    let frames = recorded_frames("zmq").into_iter().filter(|frame| frame.frame.len() < 1_000_000);
    for frame in frames.chain(recorded_frames("zmq-more")) {
        let before = (scene.received().len(), misp.live());
        scene.publisher.send(&frame.frame).await;
        misp.hear(&frame);
        let adds = frame.name.ends_with("_add.bin");
        if !TOPICS.contains(&frame.topic()) || adds {
            continue;
        }
        scene.settle().await;
        assert_eq!(scene.live(), misp.live(), "after {}", frame.name);
        let sent = scene.received().split_off(before.0);
        for object in sent.iter().filter(|object| is_live(object)) {
            let pattern = object["pattern"].as_str().unwrap();
            assert!(misp.live().contains_key(pattern), "{} sent {pattern}", frame.name);
        }
        // An event that is published again as it was, but for the time of its publication.
        if frame.topic() == "misp_json" && !publications.insert(unpublished(&frame)) {
            assert_eq!(sent.len(), 0, "{} is a repeat", frame.name);
            assert_eq!(before.1, misp.live());
        }
    }
    let received = scene.received();
    count_changes(&received);
    let ids: BTreeSet<_> = received.iter().map(|one| one["id"].to_string()).collect();
    let patterns: BTreeSet<_> = received.iter().map(|one| one["pattern"].to_string()).collect();
    assert_eq!(ids.len(), patterns.len(), "an id for each observable");
    let all = serde_json::to_string(&received).unwrap();
    assert!(!all.contains("203.0.113.99"), "TLP red left");
    assert!(!all.contains("local-event-tag"), "a local tag left");
    assert!(!all.contains("cfo@victim.example"), "to_ids off left");
    assert_eq!(scene.relay.stop().0, Some(0));
}

/// The document without what changes with every publication.
fn unpublished(frame: &Recorded) -> String {
    let mut json: Value = serde_json::from_slice(frame.json()).unwrap();
    let event = json["Event"].as_object_mut().unwrap();
    for member in ["published", "publish_timestamp", "RelatedEvent"] {
        event.remove(member);
    }
    json.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_arrives_within_a_second() {
    let scene = Scene::set(&[]).await;
    let mut misp = Misp::default();
    for number in ["000332", "000337", "000419", "000500"] {
        let frame = frame(number);
        scene.publisher.send(&frame.frame).await;
        misp.hear(&frame);
    }
    scene.settle().await;
    assert_eq!(scene.live(), misp.live());
    // Of attribute 13, whose old value 15 says too: here of 12.
    let of_12 = [(&*attribute_uuid("000332", "13"), &*attribute_uuid("000332", "12"))];
    let edited = Recorded { name: "value edited".into(), frame: altered("000344", &of_12) };
    // to_ids off, soft delete, object delete, hard delete, event delete.
    let others = ["000339", "000347", "000359", "000501", "000507"].map(frame);
    for frame in [edited].into_iter().chain(others) {
        let number = &frame.name;
        let before = misp.live();
        misp.hear(&frame);
        let after = misp.live();
        assert!(after.len() < before.len(), "{number} takes something back");
        let started = Instant::now();
        scene.publisher.send(&frame.frame).await;
        while scene.live().len() > after.len() && started.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = started.elapsed();
        println!("{number}: withdrawn after {took:?}");
        assert!(took < Duration::from_secs(1), "{number} took {took:?}");
        scene.settle().await;
        assert_eq!(scene.live(), after, "{number} takes back exactly what it names");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_out_of_order_brings_nothing_back() {
    let scene = Scene::set(&[]).await;
    let late: Vec<_> =
        recorded_frames("zmq-more").into_iter().filter(|frame| *frame.name >= *"000173").collect();
    assert_eq!(late.len(), 6);
    for frame in &late {
        scene.publisher.send(&frame.frame).await;
    }
    scene.settle().await;
    assert_eq!(scene.live(), BTreeMap::new());
    for frame in &late {
        scene.publisher.send(&frame.frame).await;
        scene.settle().await;
        assert_eq!(scene.live(), BTreeMap::new(), "after {} came again", frame.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_forbids_withdraws_at_once_and_taken_off_again_is_as_if_it_had_never_been() {
    let scene = Scene::set(&[]).await;
    let publication = frame("000332").frame;
    let to_attribute = altered("000242", &[(r#""attribute_id":"74""#, r#""attribute_id":"76""#)]);
    let off_attribute = altered(
        "000242",
        &[
            (r#""attribute_id":"74""#, r#""attribute_id":"76""#),
            ("attached to attribute", "detached from attribute"),
        ],
    );
    scene.publisher.send(&publication).await;
    scene.settle().await;
    let all = scene.live();
    assert!(all.contains_key(TAGGABLE));

    scene.publisher.send(&to_attribute).await;
    scene.settle().await;
    let mut without = all.clone();
    without.remove(TAGGABLE);
    assert_eq!(scene.live(), without, "that one only");

    scene.publisher.send(&off_attribute).await;
    scene.settle().await;
    assert_eq!(scene.live(), all, "it was no part of the publication");

    // To the event, as a local tag: it counts, and is never sent.
    let to_event = altered("000328", &[("relay:local-event-tag", "tlp:red")]);
    let off_event = altered("000378", &[(r#"workflow:state=\"complete\""#, "tlp:red")]);
    scene.publisher.send(&to_event).await;
    scene.settle().await;
    assert_eq!(scene.live(), BTreeMap::new());
    scene.publisher.send(&off_event).await;
    scene.settle().await;
    assert_eq!(scene.live(), all);
    let received = serde_json::to_string(&scene.received()).unwrap();
    assert!(!received.contains("tlp:red") && !received.contains("local-event-tag"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiration_sighting_ends_a_claim_and_outlives_publications() {
    let scene = Scene::set(&[]).await;
    scene.publisher.send(&frame("000332").frame).await;
    scene.settle().await;
    let uuid = attribute_uuid("000332", "76");
    let sighting = altered(
        "000383",
        &[
            ("002a1a24-d008-4c35-ae4b-cad8cf94787a", &uuid),
            ("203.0.113.99", "203.0.113.120"),
            (r#""date_sighting":"1795585967""#, r#""date_sighting":"4102444800""#),
        ],
    );
    scene.publisher.send(&sighting).await;
    for number in ["000337", "000342", "000349"] {
        scene.settle().await;
        let received = scene.received();
        let last = received.iter().rfind(|one| one["pattern"] == TAGGABLE).unwrap();
        assert_eq!(last["valid_until"], "2100-01-01T00:00:00.000Z", "before {number}");
        scene.publisher.send(&frame(number).frame).await;
    }
    scene.settle().await;
    let id = scene.received().iter().find(|one| one["pattern"] == TAGGABLE).unwrap()["id"].clone();
    assert_eq!(scene.versions(id.as_str().unwrap()).len(), 2, "published, sighted");
}

fn attribute_uuid(publication: &str, id: &str) -> String {
    let json: Value = serde_json::from_slice(frame(publication).json()).unwrap();
    let attributes = json["Event"]["Attribute"].as_array().unwrap();
    let attribute = attributes.iter().find(|one| one["id"] == id).unwrap();
    attribute["uuid"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observable_of_two_events_outlives_one_of_its_claims() {
    let scene = Scene::set(&[]).await;
    scene.publisher.send(&frame("000332").frame).await;
    // Without a key what is for a sharing group stays: here it is for all.
    let for_all = [(r#""distribution":"4""#, r#""distribution":"3""#)];
    scene.publisher.send(&altered("000429", &for_all)).await;
    scene.settle().await;
    let both = BTreeSet::from([LARGE_EVENT.to_owned(), SHARING_EVENT.to_owned()]);
    assert_eq!(scene.live()[SHARED], both);
    scene.publisher.send(&frame("000339").frame).await;
    scene.settle().await;
    assert_eq!(scene.live()[SHARED], BTreeSet::from([SHARING_EVENT.to_owned()]));
    let deleted = altered("000507", &[("24481e33-5fc9-4178-bff2-428abbc4f664", SHARING_EVENT)]);
    scene.publisher.send(&deleted).await;
    scene.settle().await;
    assert!(!scene.live().contains_key(SHARED));
    let received = scene.received();
    let last = received.iter().rfind(|one| one["pattern"] == SHARED).unwrap();
    assert_eq!(references(last), BTreeSet::from([SHARING_EVENT.to_owned()]), "byte for byte");
}

/// The steps of the large event's life, and of others.
const LIFE: [&str; 20] = [
    "000332", "000337", "000339", "000342", "000344", "000347", "000349", "000352", "000354",
    "000359", "000366", "000368", "000374", "000378", "000383", "000385", "000387", "000393",
    "000429", "000500",
];
const END: [&str; 2] = ["000501", "000507"];

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_any_two_steps_changes_nothing() {
    let mut scene = Scene::set(&[]).await;
    let mut misp = Misp::default();
    for (step, number) in LIFE.iter().chain(&END).enumerate() {
        let frame = frame(number);
        scene.publisher.send(&frame.frame).await;
        misp.hear(&frame);
        // Committed; after every second step nothing of it is delivered before the kill.
        let dark = step % 2 == 0;
        if dark {
            scene.sandbox.always(Some(Fault::ServerError));
            scene.commit().await;
        } else {
            scene.settle().await;
            assert_eq!(scene.live(), misp.live(), "after {number}");
        }
        scene.relay.kill();
        scene.sandbox.always(None);
        scene.relay.restart(&scene.publisher).await;
    }
    scene.settle().await;
    assert_eq!(scene.live(), misp.live());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_of_the_same_second_wins_and_a_later_edit_brings_the_attribute_back() {
    let scene = Scene::set(&[]).await;
    scene.publisher.send(&frame_of_more("000159").frame).await;
    scene.settle().await;
    let pattern = "[ipv4-addr:value = '198.18.1.1']";
    assert!(scene.is_live(pattern));
    scene.publisher.send(&frame_of_more("000161").frame).await;
    scene.settle().await;
    assert!(!scene.is_live(pattern));
    // Deleted at ...743: the attribute as of ...743, then as of ...744.
    for (timestamp, comes_back) in [("1795501743", false), ("1795501744", true)] {
        let text = String::from_utf8(frame_of_more("000159").frame).unwrap();
        let again = text.replace("1795501742", timestamp);
        scene.publisher.send(again.as_bytes()).await;
        scene.settle().await;
        assert_eq!(scene.is_live(pattern), comes_back, "{timestamp}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_attributes_withdraw_the_old_pattern_before_the_new_one_comes() {
    let scene = Scene::set(&[("MSR_INDICATOR__IDENTITY", "attribute")]).await;
    scene.publisher.send(&frame("000332").frame).await;
    scene.settle().await;
    let json: Value = serde_json::from_slice(frame("000332").json()).unwrap();
    let ids: BTreeMap<String, String> =
        scene.received().iter().map(|one| (text(&one["id"]), text(&one["pattern"]))).collect();
    assert_eq!(ids.len(), 63, "one for each claim: two values are said twice");
    let composite: Uuid = attribute_uuid("000332", "14").parse().unwrap();
    let second = Uuid::new_v5(&composite, b"ipv4-addr:value = 203.0.113.50");
    let mut expected = BTreeSet::from([format!("indicator--{second}")]);
    let event = &json["Event"];
    let held = event["Object"].as_array().unwrap().iter().flat_map(|one| list(&one["Attribute"]));
    expected.extend(
        list(&event["Attribute"])
            .chain(held)
            .map(|one| format!("indicator--{}", text(&one["uuid"]))),
    );
    // A URL with a fragment is two observables: as it was written, and as it is requested.
    let with_fragment = list(&event["Attribute"]).filter(|one| text(&one["value"]).contains('#'));
    expected.extend(with_fragment.map(|one| {
        let name = format!("url:value = {}", text(&one["value"]).split('#').next().unwrap());
        let attribute: Uuid = text(&one["uuid"]).parse().unwrap();
        format!("indicator--{}", Uuid::new_v5(&attribute, name.as_bytes()))
    }));
    assert!(ids.keys().all(|id| expected.contains(id)), "{ids:#?}");
    assert_eq!(
        ids[&format!("indicator--{composite}")],
        "[domain-name:value = 'drop.evil.example']"
    );
    assert_eq!(ids[&format!("indicator--{second}")], "[ipv4-addr:value = '203.0.113.50']");

    let edited = format!("indicator--{}", attribute_uuid("000332", "13"));
    let told = |versions: &[Value]| -> Vec<_> {
        versions.iter().map(|one| (text(&one["pattern"]), is_live(one))).collect()
    };
    let pattern = |host: &str| format!("[domain-name:value = '{host}.evil.example']");
    // The edit and the publication after it, as fast as they come.
    scene.publisher.send(&frame("000344").frame).await;
    scene.publisher.send(&frame("000349").frame).await;
    scene.settle().await;
    let moved = [(pattern("c2"), true), (pattern("c2"), false), (pattern("c3"), true)];
    assert_eq!(told(&scene.versions(&edited)), moved);
    // A publication whose edit was lost.
    let back = String::from_utf8(frame("000349").frame).unwrap();
    let back = back.replace("1795499551", "1795499552").replace("1795499549", "1795499550");
    scene.publisher.send(back.replace("c3.evil", "c4.evil").as_bytes()).await;
    scene.settle().await;
    let moved_again = [(pattern("c3"), false), (pattern("c4"), true)];
    assert_eq!(told(&scene.versions(&edited))[3..], moved_again);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_policy_forbids_never_leaves() {
    let settings = [
        ("MSR_POLICY__TLP_MAX", "green"),
        ("MSR_POLICY__TYPES_EXCLUDE", "domain"),
        ("MSR_POLICY__NEVER", "203.0.113.61"),
    ];
    let scene = Scene::set(&settings).await;
    for number in ["000332", "000457", "000473", "000486", "000500"] {
        scene.publisher.send(&frame(number).frame).await;
    }
    scene.settle().await;
    // Event 1 is amber; 203.0.113.61 is never; holes.evil.example and del-obj.example are domains.
    let live: Vec<_> = scene.live().into_keys().collect();
    let addresses =
        ["203.0.113.62", "203.0.113.64", "203.0.113.65", "203.0.113.66", "203.0.113.67"];
    let mut expected: Vec<_> =
        addresses.iter().map(|one| format!("[ipv4-addr:value = '{one}']")).collect();
    expected.push("[ipv4-addr:value = '8.8.4.4']".into());
    assert_eq!(live, expected);
    assert_eq!(scene.received().len(), expected.len(), "nothing else was ever sent");
    assert!(!scene.is_live(RED));
}

fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().into_iter().flatten()
}

fn text(json: &Value) -> String {
    json.as_str().unwrap().to_owned()
}
