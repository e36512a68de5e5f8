//! Tests frames without REST, against a real writer and ledger: frames about events that the ledger does not
//! hold yet, numbers that MISP used twice, and tags that are added and removed.

use std::time::{Duration, SystemTime};

use misp_sentinel_relay::ledger::Ledger;
use misp_sentinel_relay::notice::{EventAnswer, Gap, GapReason, Read, Receipt, What};
use serde_json::{Value, json};
use uuid::Uuid;

use super::reads::{EVENT, Shown, Stage, event, shown};
use super::support::database;
use super::support::ledger::Relay;
use super::support::sentinel::Sentinel;

/// The relay without a key for MISP's REST API: nothing corrects what it hears.
struct Feed {
    relay: Relay,
    sentinel: Sentinel,
}

impl Feed {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let mut all = vec![
            ("MSR_EXPIRY__DEFAULT_DAYS", "36500"),
            ("MSR_EXPIRY__DAYS__DOMAIN_NAME", "36500"),
            ("MSR_EXPIRY__DAYS__IPV4_ADDR", "36500"),
        ];
        all.extend(settings);
        Self { relay: Relay::start_with(&all).await, sentinel: Sentinel::default() }
    }

    async fn hear(&mut self, topic: &str, frame: &Value) {
        let text = if topic.is_empty() {
            format!("misp_json {frame}")
        } else {
            format!("misp_json_{topic} {frame}")
        };
        self.relay.hear(text.as_bytes()).await;
    }

    async fn live(&mut self) -> Vec<String> {
        self.sentinel.accept_all(&self.relay).await;
        self.sentinel.live().into_keys().collect()
    }
}

fn event_uuid(number: u32) -> Uuid {
    Uuid::from_u128(0xe_4000_8000_0000_0000_0000_u128 + u128::from(number))
}

fn uuid(number: u32) -> Uuid {
    Uuid::from_u128(0xa_4000_8000_0000_0000_0000_u128 + u128::from(number))
}

const OBJECT: &str = "0000000b-0000-4000-8000-000000000001";

/// An attribute of the event with MISP's number 7.
fn attribute(number: u32, value: &str, timestamp: i64) -> Value {
    json!({
        "id": number.to_string(), "event_id": "7", "uuid": uuid(number), "type": "domain",
        "category": "Network activity", "value": value, "to_ids": true, "deleted": false,
        "timestamp": timestamp.to_string(), "distribution": "5", "sharing_group_id": "0",
        "Tag": []
    })
}

fn with(mut value: Value, changes: &Value) -> Value {
    for (key, change) in changes.as_object().unwrap() {
        value[key] = change.clone();
    }
    value
}

/// The publication of an event: its uuid by a number of ours, MISP's number, its time.
fn publication((ours, misps): (u32, u32), timestamp: i64, attributes: &[Value]) -> Value {
    json!({"Event": {
        "id": misps.to_string(), "uuid": event_uuid(ours), "info": "x", "published": false,
        "timestamp": timestamp.to_string(), "publish_timestamp": "0", "distribution": "3",
        "sharing_group_id": "0", "threat_level_id": "2", "analysis": "2", "Tag": [],
        "Attribute": attributes, "Object": []
    }})
}

/// One attribute in a MISP object.
fn object_publication(timestamp: i64, attribute: &Value) -> Value {
    let mut document = publication((1, 7), timestamp, &[]);
    document["Event"]["Object"] = json!([{
        "id": "1", "uuid": OBJECT, "name": "file", "distribution": "5", "sharing_group_id": "0",
        "timestamp": timestamp.to_string(), "deleted": false, "Attribute": [attribute]
    }]);
    document
}

/// In the spelling of a recorded frame (zmq 000078, 000242, 000378).
fn tag(name: &str, attribute: Option<u32>, on: bool) -> Value {
    let mut tag = json!({
        "id": "43", "name": name, "colour": "#b1eacd", "exportable": true, "org_id": "0",
        "user_id": "0", "hide_tag": false, "numerical_value": null, "is_galaxy": false,
        "is_custom_galaxy": false, "local_only": false, "event_id": "7", "local": false
    });
    if let Some(number) = attribute {
        tag["attribute_id"] = json!(number.to_string());
    }
    let to = if attribute.is_some() { "attribute" } else { "event" };
    let action = if on { format!("attached to {to}") } else { format!("detached from {to}") };
    json!({"Tag": tag, "action": action})
}

fn attribute_frame(attribute: &Value, action: &str) -> Value {
    json!({
        "Attribute": attribute,
        "Event": {"id": "7", "uuid": event_uuid(1), "distribution": "3"},
        "action": action
    })
}

const T: i64 = 1_000_000;

/// Each of these says of the attribute 1 what an older publication of its event does not know.
fn news() -> Vec<(&'static str, &'static str, Value)> {
    let one = || attribute(1, "a.example", T + 10);
    let off = with(one(), &json!({"to_ids": false}));
    let gone = with(one(), &json!({"deleted": true}));
    let other = with(one(), &json!({"value": "b.example"}));
    let object = json!({
        "Object": {"id": "1", "uuid": OBJECT, "event_id": "7", "timestamp": (T + 10).to_string(), "deleted": true},
        "action": "soft-delete"
    });
    // A deletion for good names the event by its number alone (zmq 000366).
    let for_good =
        json!({"Attribute": with(one(), &json!({"deleted": false})), "action": "delete"});
    vec![
        ("a tag of the event", "tag", tag("tlp:red", None, true)),
        ("a tag of the attribute", "tag", tag("tlp:red", Some(1), true)),
        ("to_ids off", "attribute", attribute_frame(&off, "edit")),
        ("deleted", "attribute", attribute_frame(&gone, "soft-delete")),
        ("deleted for good", "attribute", for_good),
        ("another value", "attribute", attribute_frame(&other, "edit")),
        ("the object deleted", "object", object),
    ]
}

#[tokio::test]
async fn what_is_heard_before_an_older_first_publication_counts_against_it() {
    let old = object_publication(T, &attribute(1, "a.example", T));
    let mut clean = Feed::start(&[]).await;
    clean.hear("", &old).await;
    assert_eq!(clean.live().await, ["a.example"]);
    for (what, topic, frame) in news() {
        let mut feed = Feed::start(&[]).await;
        feed.hear(topic, &frame).await;
        feed.hear("", &old).await;
        assert!(feed.live().await.is_empty(), "{what}");
    }
}

#[tokio::test]
async fn what_is_heard_of_a_new_attribute_counts_against_an_older_publication_of_its_event() {
    let before = publication((1, 7), T - 10, &[attribute(2, "c.example", T - 10)]);
    let mut old = object_publication(T, &attribute(1, "a.example", T));
    old["Event"]["Attribute"] = json!([attribute(2, "c.example", T - 10)]);
    for (what, topic, frame) in news() {
        let mut feed = Feed::start(&[]).await;
        feed.hear("", &before).await;
        assert_eq!(feed.live().await, ["c.example"]);
        feed.hear(topic, &frame).await;
        feed.hear("", &old).await;
        let left: &[&str] = if what == "a tag of the event" { &[] } else { &["c.example"] };
        assert_eq!(feed.live().await, left, "{what}");
    }
}

#[tokio::test]
async fn a_newer_publication_knows_better_than_what_was_heard_before() {
    let now = Ledger::now() / 1_000;
    let newer = object_publication(now, &attribute(1, "a.example", T + 20));
    for (what, topic, frame) in news() {
        let mut feed = Feed::start(&[]).await;
        // Five minutes ago; MISP's clock and ours may differ by two.
        let text = format!("misp_json_{topic} {frame}");
        feed.relay.heard_ago(text.as_bytes(), Duration::from_secs(300)).await;
        feed.hear("", &newer).await;
        assert_eq!(feed.live().await, ["a.example"], "{what}");
    }
}

#[tokio::test]
async fn misps_clock_may_be_ahead_of_ours() {
    let ahead = Ledger::now() / 1_000 + 3_600;
    let mut feed = Feed::start(&[]).await;
    feed.hear("tag", &tag("tlp:red", None, true)).await;
    feed.hear("", &publication((1, 7), ahead, &[attribute(1, "a.example", T)])).await;
    assert!(feed.live().await.is_empty(), "no publication is taken after it arrives");
}

#[tokio::test]
async fn a_tag_that_was_taken_off_permits_nothing_in_a_late_publication() {
    let mut feed = Feed::start(&[("MSR_POLICY__TAGS_INCLUDE", "share:soc")]).await;
    let mut old = publication((1, 7), T, &[attribute(1, "a.example", T)]);
    old["Event"]["Tag"] = json!([{"id": "43", "name": "share:soc"}]);
    feed.hear("tag", &tag("share:soc", None, true)).await;
    feed.hear("tag", &tag("share:soc", None, false)).await;
    feed.hear("", &old).await;
    assert!(feed.live().await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_placed_is_kept_within_a_bound() {
    let feed = Feed::start(&[]).await;
    let database = database::open(&feed.relay.config.ledger.data_dir);
    let now = Ledger::now();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200500)
        INSERT INTO tag_changes (source, event, attribute, tag, local, attached, heard_at)
        SELECT 'misp', i, 0, 'tlp:red', FALSE, TRUE, $1 + i FROM n";
    database::execute_with(&database, many, now);
    let mut upkeep = feed.relay.upkeep();
    while upkeep.step(&feed.relay.ledger, &feed.relay.views, now).await.unwrap() {}
    let oldest: i64 = database::value(&database, "SELECT MIN(event) FROM tag_changes");
    assert_eq!((database::count(&database, "tag_changes"), oldest), (200_000, 501));
}

// ---- Tags that come and go.

const RED: [(&str, &[(&str, &str)]); 3] = [
    ("tlp:red", &[]),
    ("workflow:state=\"draft\"", &[("MSR_POLICY__TAGS_EXCLUDE", "workflow:*")]),
    ("false-positive:risk=\"high\"", &[("MSR_POLICY__FALSE_POSITIVE_TAGS", "false-positive:*")]),
];

fn tag_frame(name: &str, attribute: Option<u32>, on: bool) -> Vec<u8> {
    let mut frame = tag(name, attribute, on);
    frame["Tag"]["event_id"] = json!("1");
    frame["Tag"]["local"] = json!(true);
    format!("misp_json_tag {frame}").into_bytes()
}

/// What of the life of one event each of four relays takes part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hears {
    Nothing,
    All,
    TheFirst,
    StartsNow,
}

#[tokio::test]
async fn four_relays_agree_on_a_tag_that_was_put_on_and_taken_off_again() {
    let attributes = [shown(1, "1.1.1.1", 10), shown(2, "2.2.2.2", 10)];
    for (name, settings) in RED {
        for on_attribute in [None, Some(1)] {
            for read_between in [false, true] {
                for hears in [Hears::Nothing, Hears::All, Hears::TheFirst, Hears::StartsNow] {
                    let mut stage = Stage::set(settings).await;
                    if hears != Hears::StartsNow {
                        stage.push(10, &attributes).await;
                        stage.read((10, true, 11), &attributes).await;
                    }
                    if matches!(hears, Hears::All | Hears::TheFirst) {
                        stage.relay.hear(&tag_frame(name, on_attribute, true)).await;
                        assert!(stage.live().await.len() < 2, "it forbids at once");
                    }
                    if read_between && hears != Hears::StartsNow {
                        let tagged = [
                            Shown { tag: Some(name), ..shown(1, "1.1.1.1", 10) },
                            shown(2, "2.2.2.2", 10),
                        ];
                        if on_attribute.is_some() {
                            stage.read((20, false, 11), &tagged).await;
                        }
                    }
                    if hears == Hears::All {
                        stage.relay.hear(&tag_frame(name, on_attribute, false)).await;
                        assert_eq!(stage.live().await.len(), 2, "as if it had never been: {name}");
                    }
                    let live = stage.read((20, false, 11), &attributes).await;
                    assert_eq!(
                        live,
                        ["1.1.1.1", "2.2.2.2"],
                        "{name} {on_attribute:?} {read_between} {hears:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_published_tag_that_was_taken_off_and_put_on_again_stands_as_published() {
    let mut feed = Feed::start(&[("MSR_POLICY__TAGS_INCLUDE", "share:soc")]).await;
    let mut document = publication((1, 7), T, &[attribute(1, "a.example", T)]);
    document["Event"]["Tag"] = json!([{"id": "43", "name": "share:soc"}]);
    feed.hear("", &document).await;
    assert_eq!(feed.live().await, ["a.example"]);
    for on in [false, true, false] {
        feed.hear("tag", &tag("share:soc", None, on)).await;
        let left: &[&str] = if on { &["a.example"] } else { &[] };
        assert_eq!(feed.live().await, left, "{on}");
    }
}

// ---- Numbers that MISP gives twice.

fn gone(ours: u32) -> Value {
    json!({"Event": {"id": "7", "uuid": event_uuid(ours), "timestamp": (T + 1).to_string()}, "action": "delete"})
}

#[tokio::test]
async fn a_number_that_misp_gave_again_means_the_event_that_lives() {
    for deleted in [1, 3] {
        let mut feed = Feed::start(&[]).await;
        feed.hear("", &publication((deleted, 7), T, &[attribute(9, "old.example", T)])).await;
        feed.hear("event", &gone(deleted)).await;
        feed.hear("", &publication((2, 7), T + 10, &[attribute(1, "a.example", T + 10)])).await;
        assert_eq!(feed.live().await, ["a.example"]);
        feed.hear("tag", &tag("tlp:red", None, true)).await;
        assert!(feed.live().await.is_empty(), "not the dead event of {deleted}");
    }
}

#[tokio::test]
async fn a_number_of_two_living_events_forbids_in_both_and_permits_in_none() {
    let mut feed = Feed::start(&[]).await;
    feed.hear("", &publication((1, 7), T, &[attribute(1, "a.example", T)])).await;
    feed.hear("", &publication((2, 7), T, &[attribute(2, "b.example", T)])).await;
    feed.hear("tag", &tag("tlp:red", None, true)).await;
    assert!(feed.live().await.is_empty());
    feed.hear("tag", &tag("tlp:red", None, false)).await;
    assert!(feed.live().await.is_empty(), "whose it is, only a read tells");
}

#[tokio::test]
async fn a_deletion_finds_its_attribute_whatever_number_its_event_has_now() {
    let mut feed = Feed::start(&[]).await;
    feed.hear("", &publication((1, 7), T, &[attribute(9, "old.example", T)])).await;
    feed.hear("", &publication((2, 205), T, &[attribute(1, "a.example", T)])).await;
    // MISP was restored: the event that was 205 is 7 now.
    let frame = json!({"Attribute": with(attribute(1, "a.example", T + 5), &json!({"deleted": false})), "action": "delete"});
    feed.hear("attribute", &frame).await;
    assert_eq!(feed.live().await, ["old.example"]);
}

#[tokio::test]
async fn a_number_of_dead_events_alone_has_them_read_and_is_kept_for_whoever_it_is_now() {
    let mut stage = Stage::set(&[]).await;
    stage.push(10, &[shown(1, "1.1.1.1", 10)]).await;
    let read = stage.asked().await;
    assert_eq!(stage.answer(read, EventAnswer::Gone).await, Receipt::Committed);
    assert_eq!(stage.left().await, 0);
    stage.relay.hear(&tag_frame("tlp:red", None, true)).await;
    let due = stage.relay.ledger.due_reads("misp", i64::MAX, 10).await.unwrap();
    assert_eq!(due.iter().map(|due| due.event).collect::<Vec<_>>(), [EVENT]);
    let text = String::from_utf8(event((10, false, 0), &[shown(2, "2.2.2.2", 10)])).unwrap();
    let other = text.replace(&EVENT.to_string(), &event_uuid(5).to_string());
    stage.relay.publish(other.into_bytes()).await;
    assert!(stage.live().await.is_empty(), "event 1 is another now, and tlp:red is on it");
}

// ---- What an answer lacks, and what it states.

fn without(document: &[u8], key: &str) -> Vec<u8> {
    let mut document: Value = serde_json::from_slice(document).unwrap();
    assert!(document["Event"].as_object_mut().unwrap().remove(key).is_some(), "{key}");
    document.to_string().into_bytes()
}

#[tokio::test]
async fn an_answer_without_the_fields_that_tell_of_publication_withdraws_nothing() {
    let attributes = [shown(1, "1.1.1.1", 10), shown(2, "2.2.2.2", 10)];
    for keys in [
        &["published", "publish_timestamp"][..],
        &["published"],
        &["publish_timestamp"],
        &["distribution"],
    ] {
        let mut stage = Stage::set(&[("MSR_POLICY__DISTRIBUTIONS", "1,2,3")]).await;
        stage.push(10, &attributes).await;
        let bare =
            keys.iter().fold(event((10, true, 11), &attributes), |bare, key| without(&bare, key));
        let read = Read { confirm: false, ..stage.asked().await };
        stage.answer(read, EventAnswer::Event { document: bare.into(), selected: true }).await;
        assert_eq!(stage.live().await.len(), 2, "{keys:?}");
    }
}

#[tokio::test]
async fn an_attribute_that_an_answer_shows_in_parts_is_held_and_not_taken_for_switched_off() {
    for key in ["to_ids", "timestamp"] {
        let mut stage = Stage::set(&[("MSR_GUARD__MAX", "1"), ("MSR_GUARD__PERCENT", "0")]).await;
        let attributes = [shown(1, "1.1.1.1", 10), shown(2, "2.2.2.2", 10)];
        stage.push(10, &attributes).await;
        let mut document: Value =
            serde_json::from_slice(&event((10, true, 11), &attributes)).unwrap();
        for one in document["Event"]["Attribute"].as_array_mut().unwrap() {
            one.as_object_mut().unwrap().remove(key).unwrap();
        }
        let read = stage.asked().await;
        let document = document.to_string().into_bytes().into();
        stage.answer(read, EventAnswer::Event { document, selected: true }).await;
        assert_eq!(stage.live().await.len(), 2, "{key}");
        assert_eq!(stage.relay.ledger.held().await.unwrap()[0].claims, 2, "{key}");
    }
}

#[tokio::test]
async fn what_an_answer_states_is_never_held_however_much_it_is() {
    let all: Vec<u32> = (1..=8).collect();
    let document = |kind: &str, value: &dyn Fn(u32) -> String, change: &Value| {
        let attributes: Vec<Value> = all
            .iter()
            .map(|number| with(attribute(*number, &value(*number), T), &json!({"type": kind})))
            .map(|one| with(one, change))
            .collect();
        let mut document = publication((1, 7), T, &attributes);
        document["Event"]["published"] = json!(true);
        document["Event"]["publish_timestamp"] = json!((T + 1).to_string());
        document
    };
    let pair = |number: u32| format!("d{number}.example|9.9.9.{number}");
    let name = |number: u32| format!("d{number}.example");
    let red = json!({"Tag": [{"id": "43", "name": "tlp:red"}]});
    let cases = [
        ("deleted", document("domain|ip", &pair, &json!({"deleted": true})), 0),
        ("to_ids off", document("domain|ip", &pair, &json!({"to_ids": false})), 0),
        ("another type", document("domain", &name, &json!({})), 8),
        ("a type of no indicator", document("comment", &name, &json!({})), 0),
        (
            "another value",
            document("domain|ip", &|n| format!("e{n}.example|8.8.8.{n}"), &json!({})),
            16,
        ),
        ("a tag", document("domain|ip", &pair, &red), 0),
        ("a distribution", document("domain|ip", &pair, &json!({"distribution": "0"})), 0),
        (
            "a sharing group",
            document("domain|ip", &pair, &json!({"distribution": "4", "sharing_group_id": "3"})),
            0,
        ),
    ];
    for (what, now, left) in cases {
        let settings = [
            ("MSR_GUARD__MAX", "1"),
            ("MSR_GUARD__PERCENT", "0"),
            ("MSR_EXPIRY__DAYS__DOMAIN_NAME", "36500"),
            ("MSR_POLICY__DISTRIBUTIONS", "1,2,3"),
        ];
        let mut stage = Stage::set(&settings).await;
        let before = document("domain|ip", &pair, &json!({}));
        stage.relay.publish(before.to_string().into_bytes()).await;
        assert_eq!(stage.live().await.len(), 16, "{what}");
        let due = stage.relay.ledger.due_reads("misp", i64::MAX, 1).await.unwrap();
        let read = Read {
            event: event_uuid(1),
            sequence: due[0].sequence,
            asked: due[0].asked,
            ..stage.asked().await
        };
        let document = now.to_string().into_bytes().into();
        stage.answer(read, EventAnswer::Event { document, selected: true }).await;
        assert_eq!(stage.live().await.len(), left, "{what}");
        assert!(stage.relay.ledger.held().await.unwrap().is_empty(), "{what}");
    }
}

// ---- Narrowing.

#[tokio::test]
async fn a_narrower_distribution_is_acted_on_as_soon_as_a_frame_shows_it() {
    let narrow = json!({"distribution": "0"});
    let group = json!({"distribution": "4", "sharing_group_id": "3"});
    for change in [narrow, group] {
        let edited = with(attribute(1, "a.example", T + 5), &change);
        let object = with(
            json!({"id": "1", "uuid": OBJECT, "event_id": "7", "name": "file", "timestamp": (T + 5).to_string(), "deleted": false}),
            &change,
        );
        let event = with(
            json!({"id": "7", "uuid": event_uuid(1), "info": "x", "timestamp": (T + 5).to_string(), "published": false, "publish_timestamp": "0"}),
            &change,
        );
        for (topic, frame) in [
            ("attribute", attribute_frame(&edited, "edit")),
            ("object", json!({"Object": object, "action": "edit"})),
            ("event", json!({"Event": event, "action": "edit"})),
        ] {
            let mut feed = Feed::start(&[("MSR_POLICY__DISTRIBUTIONS", "1,2,3")]).await;
            feed.hear("", &object_publication(T, &attribute(1, "a.example", T))).await;
            assert_eq!(feed.live().await, ["a.example"]);
            feed.hear(topic, &frame).await;
            assert!(feed.live().await.is_empty(), "{topic} {change}");
        }
    }
}

/// The frames of an edit that changes who sees the attribute, its object or its event.
fn narrowings(change: &Value) -> [(&'static str, Value); 3] {
    let time = (T + 5).to_string();
    let object = json!({"id": "1", "uuid": OBJECT, "event_id": "7", "name": "file",
        "timestamp": time, "deleted": false});
    let event = json!({"id": "7", "uuid": event_uuid(1), "info": "x", "timestamp": time,
        "published": false, "publish_timestamp": "0"});
    let edited = with(attribute(1, "a.example", T + 5), change);
    [
        ("attribute", attribute_frame(&edited, "edit")),
        ("object", json!({"Object": with(object, change), "action": "edit"})),
        ("event", json!({"Event": with(event, change), "action": "edit"})),
    ]
}

#[tokio::test]
async fn an_older_publication_undoes_no_narrowing() {
    let narrow = json!({"distribution": "0"});
    let group = json!({"distribution": "4", "sharing_group_id": "3"});
    for change in [narrow, group] {
        for (topic, frame) in narrowings(&change) {
            let mut feed = Feed::start(&[("MSR_POLICY__DISTRIBUTIONS", "1,2,3")]).await;
            let old = object_publication(T, &attribute(1, "a.example", T));
            feed.hear("", &old).await;
            assert_eq!(feed.live().await, ["a.example"]);
            feed.hear(topic, &frame).await;
            assert!(feed.live().await.is_empty(), "{topic} {change}");
            // Twice: the first of them must not wash away what the frame said.
            for time in [T, T + 4] {
                feed.hear("", &object_publication(time, &attribute(1, "a.example", T))).await;
                assert!(feed.live().await.is_empty(), "{topic} {change}: MISP read it before");
            }
            let time = if topic == "attribute" { T + 5 } else { T };
            feed.hear("", &object_publication(T + 5, &attribute(1, "a.example", time))).await;
            assert_eq!(feed.live().await, ["a.example"], "{topic} {change}: published anew");
        }
    }
}

#[tokio::test]
async fn an_older_publication_does_not_widen_what_was_edited_and_narrowed_since() {
    let mut feed = Feed::start(&[("MSR_POLICY__DISTRIBUTIONS", "1,2,3")]).await;
    feed.hear("", &publication((1, 7), T, &[attribute(1, "a.example", T)])).await;
    let narrow = with(attribute(1, "b.example", T + 5), &json!({"distribution": "0"}));
    feed.hear("attribute", &attribute_frame(&narrow, "edit")).await;
    feed.hear("", &publication((1, 7), T + 2, &[attribute(1, "b.example", T + 2)])).await;
    assert!(feed.live().await.is_empty());
}

/// A document names a sharing group by its uuid, the frame of an edit by its number alone.
#[tokio::test]
async fn a_sharing_group_that_is_admitted_stays_known_when_its_event_is_shared_otherwise() {
    const GROUP: &str = "53d0f46b-4dfc-409d-bafd-a720b7643cb7";
    let settings =
        [("MSR_POLICY__DISTRIBUTIONS", "1,2,3,4"), ("MSR_POLICY__SHARING_GROUPS", GROUP)];
    let group = json!({"distribution": "4", "sharing_group_id": "3",
        "SharingGroup": {"id": "3", "name": "Banks", "uuid": GROUP}});
    let for_all = json!({"distribution": "3"});
    let document = |head: (i64, bool, i64), audience: &Value| {
        let shown = event(head, &[shown(1, "1.1.1.1", 10)]);
        let mut document: Value = serde_json::from_slice(&shown).unwrap();
        document["Event"] = with(document["Event"].clone(), audience);
        EventAnswer::Event { document: document.to_string().into_bytes().into(), selected: true }
    };
    let mut stage = Stage::set(&settings).await;
    let read = Read { confirm: false, ..stage.asked().await };
    stage.answer(read, document((20, true, 21), &group)).await;
    assert_eq!(stage.live().await, ["1.1.1.1"]);
    let edited = json!({"id": "1", "uuid": EVENT, "info": "x", "timestamp": "22",
        "published": false, "publish_timestamp": "21"});
    let frame = json!({"Event": with(edited, &for_all), "action": "edit"});
    stage.relay.hear(format!("misp_json_event {frame}").as_bytes()).await;
    assert_eq!(stage.live().await, ["1.1.1.1"], "both audiences are admitted");
    for time in [22, 23] {
        let read = stage.asked().await;
        stage.answer(read, document((time, false, 21), &for_all)).await;
        assert_eq!(stage.live().await, ["1.1.1.1"], "a read of {time}");
    }
}

#[tokio::test]
async fn a_narrowing_of_an_event_counts_against_an_older_first_publication() {
    let change = json!({"distribution": "0"});
    for (topic, frame) in narrowings(&change).into_iter().filter(|(topic, _)| *topic != "object") {
        let mut feed = Feed::start(&[("MSR_POLICY__DISTRIBUTIONS", "1,2,3")]).await;
        feed.hear(topic, &frame).await;
        feed.hear("", &object_publication(T, &attribute(1, "a.example", T))).await;
        assert!(feed.live().await.is_empty(), "{topic}");
        feed.hear("", &object_publication(T + 5, &attribute(1, "a.example", T + 5))).await;
        assert_eq!(feed.live().await, ["a.example"], "{topic}: published anew");
    }
}

#[tokio::test]
async fn a_frame_that_shows_another_distribution_has_its_event_read_at_once() {
    for (change, asked) in [
        (json!({"distribution": "0"}), 1),
        (json!({"distribution": "4", "sharing_group_id": "3"}), 1),
        (json!({"distribution": "5"}), 0),
        (json!({"distribution": "5", "comment": "only that"}), 0),
    ] {
        let mut stage = Stage::set(&[]).await;
        let attributes = [shown(1, "1.1.1.1", 10)];
        stage.push(10, &attributes).await;
        stage.read((10, true, 11), &attributes).await;
        assert_eq!(stage.left().await, 0);
        let document: Value = serde_json::from_slice(&event((10, true, 11), &attributes)).unwrap();
        let one = with(document["Event"]["Attribute"][0].clone(), &change);
        let edited = with(one, &json!({"timestamp": "20"}));
        let frame =
            json!({"Attribute": edited, "Event": {"id": "1", "uuid": EVENT}, "action": "edit"});
        stage.relay.hear(format!("misp_json_attribute {frame}").as_bytes()).await;
        let now = Ledger::now() + 50;
        let due = stage.relay.ledger.due_reads("misp", now, 10).await.unwrap();
        assert_eq!(due.len(), asked, "{change}");
    }
}

#[tokio::test]
async fn what_an_unpublished_event_shows_narrower_is_narrower_at_once_and_wider_never() {
    let settings = [("MSR_POLICY__DISTRIBUTIONS", "1,2,3")];
    let attributes = [shown(1, "1.1.1.1", 10)];
    let document = |head: (i64, bool, i64), distribution: &str, at: &str| {
        let mut document: Value = serde_json::from_slice(&event(head, &attributes)).unwrap();
        let target = if at == "event" {
            &mut document["Event"]
        } else {
            &mut document["Event"]["Attribute"][0]
        };
        target["distribution"] = json!(distribution);
        if at == "attribute" {
            target["timestamp"] = json!(head.0.to_string());
        }
        EventAnswer::Event { document: document.to_string().into_bytes().into(), selected: true }
    };
    for at in ["event", "attribute"] {
        let mut stage = Stage::set(&settings).await;
        stage.push(10, &attributes).await;
        stage.read((10, true, 11), &attributes).await;
        let read = stage.asked().await;
        stage.answer(read, document((20, false, 11), "0", at)).await;
        assert!(stage.live().await.is_empty(), "{at}: what MISP shows as forbidden is withdrawn");
        let read = stage.asked().await;
        stage.answer(read, document((21, false, 11), "3", at)).await;
        assert_eq!(stage.live().await, ["1.1.1.1"], "{at}: it stands as it was published");
        // Published for its own organisation, and edited to be for all.
        let mut stage = Stage::set(&settings).await;
        let read = Read { confirm: false, ..stage.asked().await };
        stage.answer(read, document((20, true, 21), "0", at)).await;
        assert!(stage.live().await.is_empty(), "{at}");
        let read = stage.asked().await;
        stage.answer(read, document((22, false, 21), "3", at)).await;
        assert!(stage.live().await.is_empty(), "{at}: what is wider waits for the publication");
        let read = stage.asked().await;
        stage.answer(read, document((22, true, 23), "3", at)).await;
        assert_eq!(stage.live().await, ["1.1.1.1"], "{at}");
    }
}

// ---- Tags that are renamed or deleted.

#[tokio::test]
async fn a_tag_that_is_renamed_or_deleted_has_the_events_read_that_carry_it() {
    for action in ["edit", "delete"] {
        for on in ["event", "attribute"] {
            let stage = Stage::set(&[]).await;
            let mut document: Value =
                serde_json::from_slice(&event((10, true, 11), &[shown(1, "1.1.1.1", 10)])).unwrap();
            let tags = json!([{"id": "43", "name": "tlp:amber"}]);
            if on == "event" {
                document["Event"]["Tag"] = tags;
            } else {
                document["Event"]["Attribute"][0]["Tag"] = tags;
            }
            stage.relay.publish(document.to_string().into_bytes()).await;
            let read = Read { confirm: false, ..stage.asked().await };
            let document = document.to_string().into_bytes().into();
            stage.answer(read, EventAnswer::Event { document, selected: true }).await;
            assert_eq!(stage.left().await, 0);
            let mut other = tag("tlp:red", None, true);
            let fields = other["Tag"].as_object_mut().unwrap();
            fields.remove("event_id");
            fields.remove("local");
            other["action"] = json!(action);
            other["Tag"]["id"] = json!("44");
            stage.relay.hear(format!("misp_json_tag {other}").as_bytes()).await;
            assert_eq!(stage.left().await, 0, "no event carries that tag");
            other["Tag"]["id"] = json!("43");
            stage.relay.hear(format!("misp_json_tag {other}").as_bytes()).await;
            assert_eq!(stage.left().await, 1, "{action} {on}");
        }
    }
}

// ---- Gaps.

fn outage(since: SystemTime) -> What {
    What::Gap(Gap {
        reason: GapReason::Disconnected,
        intake: "tcp://misp:50000".into(),
        since,
        event: None,
        publication: false,
    })
}

#[tokio::test]
async fn only_the_first_connection_beside_an_empty_ledger_is_no_gap() {
    let (start, later) = (SystemTime::now(), SystemTime::now() + Duration::from_secs(60));
    let feed = Feed::start(&[]).await;
    // When the first attempt fails, and again when both sockets are connected.
    for _ in 0..2 {
        feed.relay.commit(outage(start)).await;
        assert_eq!(feed.relay.ledger.open_gaps("misp").await.unwrap(), []);
    }
    feed.relay.commit(outage(later)).await;
    assert_eq!(feed.relay.ledger.open_gaps("misp").await.unwrap().len(), 1);
    let mut known = Feed::start(&[]).await;
    known.hear("", &publication((1, 7), T, &[attribute(1, "a.example", T)])).await;
    for _ in 0..2 {
        known.relay.commit(outage(start)).await;
        let gaps = known.relay.ledger.open_gaps("misp").await.unwrap();
        assert_eq!(gaps.len(), 1, "told again once it is over");
        known.relay.ledger.heal("misp", &gaps).await.unwrap();
    }
}
