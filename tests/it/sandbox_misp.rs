//! Compares the stand-in for MISP with recordings of a real MISP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use misp_stand_in::{
    Chance, Edit, Frame, Key, Misp, MispServer, MispSettings, NewAttribute, NewEvent, NewObject,
    RestFault,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::publisher::recorded_frame;

/// When the recorded event was added.
const ADDED: i64 = 1_795_499_521;

fn body(frame: &Frame) -> Value {
    let text = std::str::from_utf8(&frame.bytes).unwrap();
    let (topic, json) = text.split_once(' ').unwrap();
    assert_eq!(topic, frame.topic);
    serde_json::from_str(json).unwrap()
}

fn recorded(name: &str) -> Value {
    serde_json::from_slice(recorded_frame("zmq", name).json()).unwrap()
}

/// Names, order of lists, booleans, nulls, actions and zeros stay; all other words lose their
/// content.
fn shape(value: &Value) -> Value {
    match value {
        Value::String(text) if text.parse::<u64>().is_ok_and(|number| number > 0) => json!("N"),
        Value::String(text) if text == "0" || text.is_empty() => value.clone(),
        Value::String(_) => json!("text"),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(members) => {
            let of = |(key, value): (&String, &Value)| match key.as_str() {
                "action" => (key.clone(), value.clone()),
                _ => (key.clone(), shape(value)),
            };
            Value::Object(members.iter().map(of).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn assert_shape(frame: &Frame, name: &str) {
    assert_eq!(shape(&body(frame)), shape(&recorded(name)), "{name}");
}

fn topics(frames: &[Frame]) -> Vec<String> {
    let of = |frame: &Frame| {
        let action = body(frame)["action"].as_str().unwrap_or_default().to_owned();
        format!("{} {action}", frame.topic).trim_end().to_owned()
    };
    frames.iter().map(of).collect()
}

fn new(kind: &str, value: &str) -> NewAttribute {
    NewAttribute::new(kind, value)
}

/// The recorded event "To be deleted": added, published, one attribute deleted for good, published,
/// deleted.
#[test]
fn small_event_lives_in_recorded_shapes() {
    let misp = Misp::new(1_795_499_670);
    let attributes: Vec<_> = (65..68).map(|n| new("ip-dst", &format!("203.0.113.{n}"))).collect();
    let first = attributes[0].uuid;
    let inside = NewAttribute { to_ids: true, ..new("domain", "del-obj.example") };
    let object = NewObject { attributes: vec![inside], ..NewObject::default() };
    let event = NewEvent { attributes, objects: vec![object], ..NewEvent::default() };
    let uuid = event.uuid;

    let frames = misp.add_event(event);
    assert_eq!(
        topics(&frames),
        [
            "misp_json_event add",
            "misp_json_attribute add",
            "misp_json_attribute add",
            "misp_json_attribute add",
            "misp_json_attribute add",
            "misp_json_object add",
        ]
    );
    assert_shape(&frames[0], "000488_misp_json_event_add.bin");
    assert_shape(&frames[5], "000496_misp_json_object_add.bin");
    misp.set_clock(1_795_499_671);
    assert_shape(&misp.publish(uuid)[0], "000500_misp_json.bin");
    misp.set_clock(1_795_499_672);
    let removed = &misp.remove_attribute(uuid, first)[0];
    assert_shape(removed, "000501_misp_json_attribute_delete.bin");
    assert_eq!(body(removed)["Attribute"]["timestamp"], "1795499670", "the old one");
    misp.set_clock(1_795_499_673);
    let again = &misp.publish(uuid)[0];
    assert_shape(again, "000505_misp_json.bin");
    let said = |json: &Value| {
        let event = &json["Event"];
        ["timestamp", "publish_timestamp", "attribute_count"].map(|member| event[member].clone())
    };
    assert_eq!(said(&body(again)), said(&recorded("000505_misp_json.bin")));
    let deleted = &misp.delete_event(uuid)[0];
    assert_shape(deleted, "000507_misp_json_event_delete.bin");
    assert_eq!(said(&body(deleted)), said(&recorded("000507_misp_json_event_delete.bin")));
    assert_eq!(misp.event(uuid), None);
    assert_eq!(misp.publish(uuid), []);
}

#[test]
fn sharing_groups_stand_where_they_were_recorded() {
    let misp = Misp::new(1_795_499_655);
    let restricted =
        NewAttribute { distribution: 4, sharing_group: 1, ..new("ip-dst", "203.0.113.45") };
    let event = NewEvent {
        distribution: 4,
        sharing_group: 1,
        attributes: vec![restricted, new("domain", "sg.evil.example")],
        ..NewEvent::default()
    };
    let uuid = event.uuid;
    misp.add_event(event);
    let frame = &misp.publish(uuid)[0];
    let alone = |mut json: Value| {
        // The recorded event shares a value with another one.
        json["Event"]["RelatedEvent"] = json!([]);
        shape(&json)
    };
    assert_eq!(alone(body(frame)), alone(recorded("000429_misp_json.bin")));
    let group = |json: &Value| json["Event"]["Attribute"][0]["SharingGroup"].clone();
    assert_eq!(group(&body(frame)), group(&recorded("000429_misp_json.bin")));
}

#[test]
fn a_restored_database_gives_numbers_again() {
    let misp = Misp::new(ADDED);
    let add = || {
        let new = NewEvent { attributes: vec![new("domain", "a.example")], ..NewEvent::default() };
        let uuid = new.uuid;
        misp.add_event(new);
        misp.event(uuid).unwrap()
    };
    let (first, gone) = (add(), add());
    misp.delete_event(gone.uuid);
    misp.reset_counters();
    let next = add();
    let numbers = |event: &misp_stand_in::Event| (event.id, event.attributes[0].id);
    assert_eq!(numbers(&next), numbers(&gone));
    assert_ne!(numbers(&next), numbers(&first));
}

struct Life {
    misp: Misp,
    event: Uuid,
    attributes: Vec<Uuid>,
    object: Uuid,
}

/// An event with what the recorded steps need.
fn life() -> Life {
    let misp = Misp::new(ADDED);
    let attributes: Vec<_> = (0..4).map(|n| new("ip-dst", &format!("198.51.100.{n}"))).collect();
    let inside = (0..4).map(|n| new("md5", &format!("{n:032x}"))).collect();
    let object = NewObject { distribution: 0, attributes: inside, ..NewObject::default() };
    let life = Life {
        misp: misp.clone(),
        event: Uuid::new_v4(),
        attributes: attributes.iter().map(|one| one.uuid).collect(),
        object: object.uuid,
    };
    misp.add_event(NewEvent {
        uuid: life.event,
        tags: vec![("workflow:state=\"complete\"".to_owned(), false)],
        attributes,
        objects: vec![object],
        ..NewEvent::default()
    });
    life
}

impl Life {
    fn at(&self, seconds: i64) {
        self.misp.set_clock(1_795_499_000 + seconds);
    }

    /// Publishes at this second; the frame says of the event's state what the recorded one said.
    fn publish(&self, seconds: i64, name: &str) {
        self.at(seconds);
        is_recorded_publication(&self.misp.publish(self.event), name);
    }
}

fn is_recorded_publication(frames: &[Frame], name: &str) {
    assert_eq!(topics(frames), ["misp_json"], "{name}");
    let state = |json: &Value| {
        ["published", "publish_timestamp", "timestamp"].map(|one| json["Event"][one].clone())
    };
    assert_eq!(state(&body(&frames[0])), state(&recorded(name)), "{name}");
}

/// Flags and times of frames as in the recorded ones.
fn are_recorded_changes(frames: &[Frame], names: &[&str]) {
    assert_eq!(frames.len(), names.len(), "{names:?}");
    for (frame, name) in frames.iter().zip(names) {
        let (json, recorded) = (body(frame), recorded(name));
        for path in [
            "/action",
            "/Attribute/timestamp",
            "/Attribute/to_ids",
            "/Attribute/deleted",
            "/Event/published",
            "/Event/publish_timestamp",
            "/Event/timestamp",
            "/Object/deleted",
            "/Object/timestamp",
            "/Tag/name",
        ] {
            assert_eq!(json.pointer(path), recorded.pointer(path), "{name} {path}");
        }
    }
}

/// The recorded life of the large event, step by step at the recorded times.
#[test]
fn flags_and_times_of_a_whole_life_are_as_recorded() {
    let life = life();
    let Life { misp, event, attributes, object } = &life;
    let (event, object) = (*event, *object);
    life.publish(541, "000332_misp_json.bin");
    life.at(543);
    misp.add_attribute(event, new("ip-dst", "203.0.113.200"));
    life.publish(544, "000337_misp_json.bin");
    life.at(546);
    let off = misp.edit_attribute(event, attributes[0], Edit::ToIds(false));
    are_recorded_changes(&off, &["000339_misp_json_attribute_edit.bin"]);
    life.publish(548, "000342_misp_json.bin");
    life.at(549);
    let value = Edit::Value("192.0.2.9".to_owned());
    let edited = misp.edit_attribute(event, attributes[1], value);
    are_recorded_changes(&edited, &["000344_misp_json_attribute_edit.bin"]);
    life.at(551);
    let deleted = misp.delete_attribute(event, attributes[2]);
    are_recorded_changes(&deleted, &["000347_misp_json_attribute_soft-delete.bin"]);
    life.publish(552, "000349_misp_json.bin");
    life.at(554);
    let told: Vec<_> = misp.delete_object(event, object).iter().map(|one| one.topic).collect();
    let (each, itself) = (["misp_json_attribute"; 4], ["misp_json_object"]);
    assert_eq!(told, [&each[..], &itself, &each].concat(), "each attribute twice");
    life.at(556);
    misp.edit_attribute(event, attributes[1], Edit::Comment("in place of a deletion".into()));
    life.publish(557, "000368_misp_json.bin");
    life.publish(559, "000370_misp_json.bin");
    second_half(&life);
}

fn second_half(life: &Life) {
    let Life { misp, event, attributes, .. } = life;
    let event = *event;
    life.at(560);
    let tagged = misp.tag_attribute(event, attributes[0], "tlp:green", false);
    are_recorded_changes(
        &tagged,
        &[
            "000372_misp_json_tag_add.bin",
            "000374_misp_json_tag_attached-to-attribute.bin",
            "000375_misp_json_attribute_edit.bin",
        ],
    );
    life.at(562);
    let untagged = misp.untag_event(event, "workflow:state=\"complete\"");
    are_recorded_changes(&untagged, &["000378_misp_json_tag_detached-from-event.bin"]);
    life.publish(568, "000385_misp_json.bin");
    life.at(570);
    let restored = misp.restore_attribute(event, attributes[2]);
    are_recorded_changes(
        &restored,
        &["000387_misp_json_attribute_edit.bin", "000389_misp_json_event_edit.bin"],
    );
    life.at(571);
    let renamed = misp.rename_event(event, "Kitchen sink edited");
    are_recorded_changes(&renamed, &["000391_misp_json_event_edit.bin"]);
    life.publish(573, "000393_misp_json.bin");
    life.at(575);
    are_recorded_changes(&misp.unpublish(event), &["000395_misp_json_event_edit.bin"]);
    life.publish(576, "000397_misp_json.bin");
    life.at(578);
    is_recorded_publication(&misp.push(event), "000398_misp_json.bin");
}

#[test]
fn frames_have_the_members_of_the_recorded_ones() {
    let Life { misp, event, attributes, object } = life();
    let deleted = misp.delete_attribute(event, attributes[0]);
    // The recorded event was not published at that moment either.
    assert_shape(&deleted[0], "000347_misp_json_attribute_soft-delete.bin");
    let tagged = misp.tag_attribute(event, attributes[1], "tlp:red", false);
    assert_shape(&tagged[0], "000372_misp_json_tag_add.bin");
    assert_shape(&tagged[1], "000374_misp_json_tag_attached-to-attribute.bin");
    assert_eq!(topics(&tagged)[2], "misp_json_attribute edit");
    let local = misp.tag_event(event, "relay:local", true);
    assert_shape(&local[1], "000328_misp_json_tag_attached-to-event.bin");
    let off = misp.untag_event(event, "workflow:state=\"complete\"");
    assert_shape(&off[0], "000378_misp_json_tag_detached-from-event.bin");
    misp.publish(event);
    let object = misp.delete_object(event, object);
    assert_shape(&object[4], "000359_misp_json_object_soft-delete.bin");
    let attribute = body(&object[1]);
    let recorded = recorded("000354_misp_json_attribute_soft-delete.bin");
    assert_eq!(shape(&attribute["Object"]), shape(&recorded["Object"]));
    assert_eq!(attribute["Event"]["published"], recorded["Event"]["published"]);
    assert_shape(&Frame::heartbeat(11), "000001_misp_json_self.bin");
}

#[test]
fn local_tags_and_objects_deleted_for_good_leave_no_trace_in_timestamps() {
    let Life { misp, event, attributes, object } = life();
    misp.publish(event);
    let before = misp.event(event).unwrap();
    misp.advance(10);
    assert_eq!(
        topics(&misp.tag_attribute(event, attributes[0], "tlp:red", true)),
        ["misp_json_tag add", "misp_json_tag attached to attribute"]
    );
    assert_eq!(
        topics(&misp.tag_event(event, "tlp:red", true)),
        ["misp_json_tag attached to event"]
    );
    let frames = misp.remove_object(event, object);
    assert_eq!(topics(&frames), ["misp_json_attribute delete"; 4]);
    assert!(frames.iter().all(|frame| body(frame).get("Event").is_none()));
    let after = misp.event(event).unwrap();
    assert_eq!((after.timestamp, after.published), (before.timestamp, true));
    assert!(after.all().all(|(_, one)| one.timestamp == ADDED));
    assert_eq!(after.attribute_count(), 4);
    misp.untag_event(event, "tlp:red");
    assert!(misp.event(event).unwrap().published);
}

/// A stand-in over HTTP and a client.
struct Rest {
    misp: Misp,
    server: MispServer,
    http: reqwest::Client,
}

const ADMIN: &str = "a-site-administrators-key-for-the-tests";
const READER: &str = "a-read-only-key-for-the-tests-00000000";

impl Rest {
    async fn start() -> Self {
        let misp = Misp::new(ADDED);
        let keys = vec![Key::site_admin(ADMIN), Key::read_only(READER)];
        let settings = MispSettings { keys, ..MispSettings::default() };
        let server = MispServer::start(misp.clone(), settings).await.unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self { misp, server, http }
    }

    fn request(&self, key: &str, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.server.base_url());
        let request = self.http.request(method.parse().unwrap(), url);
        request.header("Authorization", key).header("Accept", "application/json")
    }

    async fn search_as(&self, key: &str, asked: Value) -> (usize, Vec<Value>) {
        let request = self.request(key, "POST", "/events/restSearch").json(&asked);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let total = answer.headers()["x-result-count"].to_str().unwrap().parse().unwrap();
        let mut answer: Value = answer.json().await.unwrap();
        let Value::Array(events) = answer["response"].take() else { panic!("no list") };
        (total, events.into_iter().map(|mut event| event["Event"].take()).collect())
    }

    /// The events' infos.
    async fn found(&self, asked: Value) -> Vec<String> {
        let (_, events) = self.search_as(ADMIN, asked).await;
        events.iter().map(|event| event["info"].as_str().unwrap().to_owned()).collect()
    }
}

fn recorded_answer(name: &str) -> (String, String) {
    let recordings = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings");
    let folder = if name.starts_with("ev_rs") { "rest" } else { "rest-other" };
    let file = format!("{recordings}/{folder}/{name}.response.http");
    let text = std::fs::read_to_string(file).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn events_are_answered_in_the_recorded_shape() {
    let rest = Rest::start().await;
    let deleted = new("ip-dst", "203.0.113.64");
    let (event, attribute) = (Uuid::new_v4(), deleted.uuid);
    rest.misp.add_event(NewEvent { uuid: event, attributes: vec![deleted], ..NewEvent::default() });
    rest.misp.delete_attribute(event, attribute);
    rest.misp.publish(event);
    let asked = json!({"returnFormat": "json", "eventid": "1", "deleted": [0, 1]});
    let (total, events) = rest.search_as(ADMIN, asked).await;
    let (_, body) = recorded_answer("ev_rs_all_deleted_01");
    let mut recorded: Value = serde_json::from_str(&body).unwrap();
    // That event extends another.
    recorded["response"][0]["Event"]["extends_uuid"] = json!("");
    assert_eq!(total, 1);
    assert_eq!(shape(&events[0]), shape(&recorded["response"][0]["Event"]));

    let tagged = NewEvent {
        tags: vec![("tlp:clear".into(), false), ("relay:third".into(), false)],
        ..NewEvent::default()
    };
    let uuid = tagged.uuid;
    rest.misp.add_event(tagged);
    rest.misp.publish(uuid);
    let asked = json!({"returnFormat": "json", "uuid": [uuid], "metadata": 1});
    let (_, events) = rest.search_as(ADMIN, asked).await;
    let (_, body) = recorded_answer("ev_rs_eventid_list");
    let recorded: Value = serde_json::from_str(&body).unwrap();
    let mut recorded = recorded["response"][1]["Event"].clone();
    recorded["proposal_email_lock"] = json!(false);
    recorded["attribute_count"] = json!("0");
    assert_eq!(shape(&events[0]), shape(&recorded));
}

#[tokio::test]
async fn refusals_are_the_recorded_ones() {
    let rest = Rest::start().await;
    let post = |body: &'static str| {
        let request = rest.request(ADMIN, "POST", "/events/restSearch");
        request.header("Content-Type", "application/json").body(body)
    };
    for (name, request) in [
        ("ev_rs_wrongkey", rest.request("wrong", "POST", "/events/restSearch")),
        ("users_view_me_wrongkey", rest.request("wrong", "GET", "/users/view/me")),
        ("ev_rs_bad_json", post(r#"{"returnFormat":"json","#)),
        ("ev_rs_bad_format", post(r#"{"returnFormat": "nope"}"#)),
        ("ev_rs_get_nobody", rest.request(ADMIN, "GET", "/events/restSearch")),
        ("events_view_missing", rest.request(ADMIN, "GET", "/events/view/999999")),
        (
            "events_view_deleted_uuid",
            rest.request(ADMIN, "GET", "/events/view/24481e33-5fc9-4178-bff2-428abbc4f664"),
        ),
        ("ev_rs_page_past_end", post(r#"{"returnFormat": "json", "limit": 2, "page": 99}"#)),
    ] {
        let (head, body) = recorded_answer(name);
        let answer = request.send().await.unwrap();
        let status = format!("HTTP/1.1 {}", answer.status().as_u16());
        assert!(head.starts_with(&status), "{name}: {status}");
        assert_eq!(answer.headers()["date"], "Tue, 24 Nov 2026 05:52:01 GMT");
        assert_eq!(answer.text().await.unwrap(), body, "{name}");
    }
}

#[tokio::test]
async fn who_asks_is_told_who_he_is() {
    let rest = Rest::start().await;
    for (key, name) in [(ADMIN, "users_view_me_siteadmin"), (READER, "users_view_me_readonly")] {
        let answer = rest.request(key, "GET", "/users/view/me").send().await.unwrap();
        let me: Value = answer.json().await.unwrap();
        let recorded: Value = serde_json::from_str(&recorded_answer(name).1).unwrap();
        for path in [
            "/User/id",
            "/User/org_id",
            "/User/role_id",
            "/Role/id",
            "/Role/name",
            "/Role/perm_site_admin",
            "/Role/perm_auth",
            "/Role/enforce_rate_limit",
            "/Organisation/id",
            "/Organisation/name",
        ] {
            assert_eq!(me.pointer(path), recorded.pointer(path), "{name} {path}");
        }
    }
    let answer = rest.request(ADMIN, "GET", "/servers/getVersion").send().await.unwrap();
    let version: Value = answer.json().await.unwrap();
    let recorded: Value = serde_json::from_str(&recorded_answer("servers_getVersion").1).unwrap();
    assert_eq!(version, recorded);
}

#[tokio::test]
async fn searches_find_what_they_ask_for() {
    let rest = Rest::start().await;
    let misp = &rest.misp;
    let mut uuids = Vec::new();
    for n in 0..5_i64 {
        let uuid = Uuid::new_v4();
        misp.set_clock(ADDED + 100 * n);
        misp.add_event(NewEvent { uuid, info: format!("{n}"), ..NewEvent::default() });
        misp.advance(10);
        if n != 2 {
            misp.publish(uuid);
        }
        uuids.push(uuid);
    }
    misp.tag_event(uuids[4], "tlp:red", true);
    misp.set_clock(ADDED + 1_000);
    let asked = |mut asked: Value| {
        asked["returnFormat"] = json!("json");
        asked["metadata"] = json!(1);
        rest.found(asked)
    };
    assert_eq!(asked(json!({"unknown": 1})).await, ["0", "1", "2", "3", "4"]);
    assert_eq!(asked(json!({"published": 1})).await, ["0", "1", "3", "4"]);
    assert_eq!(asked(json!({"published": 0})).await, ["2"]);
    assert_eq!(asked(json!({"published": [0, 1], "timestamp": ADDED + 300})).await, ["3", "4"]);
    assert_eq!(asked(json!({"publish_timestamp": ADDED + 110})).await, ["1", "3", "4"]);
    let range = [(ADDED + 10).to_string(), (ADDED + 310).to_string()];
    assert_eq!(asked(json!({"publish_timestamp": range})).await, ["0", "1", "3"]);
    assert_eq!(asked(json!({"timestamp": "601s"})).await, ["4"]);
    assert_eq!(asked(json!({"timestamp": "1d"})).await.len(), 5);
    assert_eq!(asked(json!({"timestamp": "nonsense"})).await, [""; 0]);
    assert_eq!(asked(json!({"uuid": [uuids[3], uuids[1]]})).await, ["1", "3"]);
    assert_eq!(asked(json!({"eventid": ["5", "2"]})).await, ["1", "4"]);
    assert_eq!(asked(json!({"tags": ["tlp:%"]})).await, ["4"]);
    assert_eq!(asked(json!({"tags": "!tlp:red"})).await, ["0", "1", "2", "3"]);
    assert_eq!(asked(json!({"limit": "2", "page": "2"})).await, ["2", "3"]);
    assert_eq!(asked(json!({"limit": 2, "page": 0})).await, ["0", "1"]);
    assert_eq!(asked(json!({"limit": 2, "order": "Event.id desc"})).await, ["4", "3"]);
    let (total, page) = rest.search_as(ADMIN, json!({"limit": 2, "page": 3})).await;
    assert_eq!((total, page.len()), (5, 1));
    let untyped = rest.http.post(format!("{}/events/restSearch", rest.server.base_url()));
    let untyped = untyped.header("Authorization", ADMIN).body(r#"{"eventid": "1"}"#);
    let all: Value =
        serde_json::from_str(&untyped.send().await.unwrap().text().await.unwrap()).unwrap();
    // reqwest says Accept: */* by itself, which is no word of JSON either.
    assert_eq!(all["response"].as_array().unwrap().len(), 5, "every filter is ignored");
    let index = rest.request(ADMIN, "POST", "/events/index").json(&json!({"minimal": 1}));
    let index: Value = index.send().await.unwrap().json().await.unwrap();
    assert_eq!(index, json!([]), "events without attributes are not in it");
}

#[tokio::test]
async fn deleted_ones_and_those_without_to_ids_are_shown_as_asked() {
    let rest = Rest::start().await;
    let attributes: Vec<_> =
        ["a.example", "b.example", "c.example"].map(|v| new("domain", v)).into();
    let (event, uuids) = (Uuid::new_v4(), attributes.iter().map(|a| a.uuid).collect::<Vec<_>>());
    rest.misp.add_event(NewEvent { uuid: event, attributes, ..NewEvent::default() });
    rest.misp.delete_attribute(event, uuids[1]);
    rest.misp.edit_attribute(event, uuids[2], Edit::ToIds(false));
    let values = async |asked: Value| {
        let (_, events) = rest.search_as(ADMIN, asked).await;
        let attributes = events[0]["Attribute"].as_array().unwrap().clone();
        let values = attributes.iter().map(|one| one["value"].as_str().unwrap().to_owned());
        values.collect::<Vec<_>>()
    };
    assert_eq!(values(json!({"uuid": event})).await, ["a.example", "c.example"]);
    assert_eq!(values(json!({"deleted": [0, 1]})).await, ["a.example", "b.example", "c.example"]);
    assert_eq!(values(json!({"deleted": 1})).await, ["b.example"]);
    assert_eq!(values(json!({"to_ids": 1})).await, ["a.example"]);
    assert_eq!(values(json!({"to_ids": 1, "deleted": [0, 1]})).await, ["a.example", "b.example"]);
    assert_eq!(values(json!({"to_ids": 0})).await, ["c.example"]);
}

#[tokio::test]
async fn another_organisations_key_sees_less() {
    let rest = Rest::start().await;
    let own = NewAttribute { distribution: 0, ..new("domain", "own.example") };
    let object = NewObject {
        distribution: 0,
        attributes: vec![new("domain", "object.example")],
        ..NewObject::default()
    };
    let event = NewEvent {
        info: "mixed".into(),
        attributes: vec![own, new("domain", "shared.example")],
        objects: vec![object],
        ..NewEvent::default()
    };
    let hidden = NewEvent { info: "hidden".into(), distribution: 0, ..NewEvent::default() };
    let hidden_uuid = hidden.uuid;
    rest.misp.load_event(event);
    rest.misp.load_event(hidden);
    let (all, events) = rest.search_as(ADMIN, json!({})).await;
    assert_eq!(all, 2);
    assert_eq!(events[0]["Attribute"].as_array().unwrap().len(), 2);
    let (seen, events) = rest.search_as(READER, json!({})).await;
    assert_eq!((seen, events[0]["info"].as_str().unwrap()), (1, "mixed"));
    assert_eq!(events[0]["Attribute"][0]["value"], "shared.example");
    assert_eq!(events[0]["Object"], json!([]));
    let path = format!("/events/view/{hidden_uuid}");
    assert_eq!(rest.request(READER, "GET", &path).send().await.unwrap().status(), 404);
    rest.server.script([RestFault::AnswerAs(Key::read_only("whoever"))]);
    assert_eq!(rest.search_as(ADMIN, json!({})).await.0, 1);
    assert_eq!(rest.request(ADMIN, "GET", &path).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn faults_come_on_order() {
    let mut rest = Rest::start().await;
    for n in 0..300 {
        let attributes = (0..10).map(|a| new("domain", &format!("{n}.{a}.example"))).collect();
        rest.misp.load_event(NewEvent { attributes, ..NewEvent::default() });
    }
    let ask = |rest: &Rest| {
        rest.request(ADMIN, "POST", "/events/restSearch").json(&json!({"limit": 300})).send()
    };
    for (fault, status) in [
        (RestFault::Status(500), 500),
        (RestFault::Status(502), 502),
        (RestFault::RateLimited { reset: 900 }, 429),
        (RestFault::LoginRedirect, 302),
        (RestFault::HtmlPage, 200),
    ] {
        rest.server.script([fault.clone()]);
        let answer = ask(&rest).await.unwrap();
        assert_eq!(answer.status(), status, "{fault:?}");
        if status == 429 {
            assert_eq!(answer.headers()["x-rate-limit-reset"], "900");
        }
        let is_json = serde_json::from_str::<Value>(&answer.text().await.unwrap()).is_ok();
        assert_eq!(is_json, matches!(status, 500 | 429), "{fault:?}");
    }
    let whole = ask(&rest).await.unwrap().text().await.unwrap();
    assert!(whole.len() > 1_000_000);
    for after in [0, 1, 65_536, 500_000] {
        rest.server.script([RestFault::Truncated { after }, RestFault::CutShort { after }]);
        let broken = async { ask(&rest).await?.text().await };
        assert!(broken.await.is_err(), "the connection breaks after {after}");
        let short = ask(&rest).await.unwrap().text().await.unwrap();
        assert_eq!(Some(short.as_str()), whole.get(..after));
        let pause = Duration::from_millis(50);
        rest.server.script([RestFault::Stall { after, pause }]);
        let started = Instant::now();
        assert_eq!(ask(&rest).await.unwrap().text().await.unwrap(), whole);
        assert!(started.elapsed() >= pause);
    }
    rest.server.script([RestFault::Reset]);
    assert!(ask(&rest).await.is_err());
    rest.server.script_for("/users", [RestFault::Status(503)]);
    rest.server.script([RestFault::Empty, RestFault::EndsEarly { missing: 7 }]);
    assert_eq!(rest.search_as(ADMIN, json!({})).await, (0, vec![]));
    let (total, page) = rest.search_as(ADMIN, json!({"limit": 20})).await;
    assert_eq!((total, page.len()), (300, 13));
    let me = rest.request(ADMIN, "GET", "/users/view/me").send().await.unwrap();
    assert_eq!(me.status(), 503);
    rest.server.always(Some(RestFault::Status(504)));
    assert_eq!(ask(&rest).await.unwrap().status(), 504);
    rest.server.heal();
    rest.server.stop().await;
    assert!(ask(&rest).await.is_err(), "nobody listens");
    rest.server.restart().await.unwrap();
    assert_eq!(ask(&rest).await.unwrap().status(), 200);
    assert!(rest.server.requests().iter().any(|asked| asked.fault == RestFault::HtmlPage));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    let mut courses = Vec::new();
    for seed in [7, 7, 8] {
        let rest = Rest::start().await;
        let faults = vec![RestFault::Status(500), RestFault::Status(503)];
        rest.server.by_chance(Chance { seed, probability: 0.5, faults });
        let mut course = Vec::new();
        for _ in 0..40 {
            let me = rest.request(ADMIN, "GET", "/users/view/me").send().await.unwrap();
            course.push(me.status().as_u16());
        }
        courses.push(course);
    }
    assert_eq!(courses[0], courses[1]);
    assert_ne!(courses[0], courses[2]);
    assert!([200, 500, 503].iter().all(|status| courses[0].contains(status)));
}

/// `cargo test --release --test it a_million_attributes -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_million_attributes_are_served_fast() {
    let rest = Rest::start().await;
    for event in 0..100 {
        let value = |n| format!("{n}.{event}.example");
        let attributes = (0..10_000).map(|n| new("domain", &value(n))).collect();
        rest.misp.load_event(NewEvent { attributes, ..NewEvent::default() });
    }
    let begun = Instant::now();
    let asked = rest.request(ADMIN, "POST", "/events/restSearch").json(&json!({"deleted": [0, 1]}));
    let mut answer = asked.send().await.unwrap();
    let mut bytes = 0;
    while let Some(piece) = answer.chunk().await.unwrap() {
        bytes += piece.len();
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("1,000,000 attributes, {bytes} bytes in {seconds:.2} s: {:.0}/s", 1e6 / seconds);
}
