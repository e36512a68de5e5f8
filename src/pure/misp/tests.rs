//! Tests shapes of MISP's documents that the recordings do not hold, and input that does not come from MISP.

use std::hint::black_box;

use proptest::prelude::*;

use super::{Attribute, Decay, Event, SightingKind, event_uuid, events};

const EVENT: &str = "62724408-1cb5-4198-8ceb-3e542ad28bcd";
const UUID: &str = "58634bba-6203-49db-85e0-06c10dc6430e";

/// An event whose `Attribute` is `list`.
fn with(list: &str) -> String {
    format!(r#"{{"Event":{{"uuid":"{EVENT}","Attribute":{list},"Object":[]}}}}"#)
}

fn attribute(more: &str) -> String {
    format!(r#"{{"uuid":"{UUID}","type":"domain","value":"evil.example"{more}}}"#)
}

/// The only attribute of an event that lists `element`.
fn one(document: &str) -> Attribute<'_> {
    let event = Event::parse(document.as_bytes()).unwrap();
    let mut attributes = event.attributes();
    let (attribute, _) = attributes.next().unwrap().unwrap();
    assert!(attributes.next().is_none());
    attribute
}

fn refusal(document: &[u8]) -> String {
    Event::parse(document).unwrap_err().to_string()
}

#[test]
fn a_sharing_group_is_named_where_misp_names_it() {
    let group = r#","distribution":"4","sharing_group_id":"7","SharingGroup":"#;
    let of = |what: &str| {
        let document = with(&format!("[{}]", attribute(&format!("{group}{what}"))));
        let attribute = one(&document);
        assert_eq!((attribute.distribution, attribute.sharing_group_id), (4, 7));
        attribute.sharing_group.map(|group| (group.uuid.to_string(), group.name.into_owned()))
    };
    let named = format!(r#"{{"id":"7","uuid":"{EVENT}","name":"SG 1","active":true}}"#);
    assert_eq!(of(&named), Some((EVENT.to_owned(), "SG 1".to_owned())));
    for none in ["[]", "null", "false", r#"{"id":"7"}"#] {
        assert_eq!(of(none), None, "{none}");
    }
}

#[test]
fn texts_without_escapes_are_borrowed() {
    let document = with(&format!("[{}]", attribute(r#","comment":"a\"b""#)));
    let attribute = one(&document);
    assert!(matches!(attribute.value, std::borrow::Cow::Borrowed("evil.example")));
    assert_eq!(attribute.comment, "a\"b");
}

#[test]
fn numbers_and_booleans_are_read_in_every_spelling() {
    for (id, flag) in [("74", "true"), ("\"74\"", "\"1\""), (" 74", "1"), ("\" 74 \"", "\"true\"")]
    {
        let more = format!(r#","id":{id},"to_ids":{flag},"timestamp":{id},"distribution":{id}"#);
        let document = with(&format!("[{}]", attribute(&more)));
        let attribute = one(&document);
        assert_eq!((attribute.id, attribute.timestamp, attribute.distribution), (74, 74, 74));
        assert!(attribute.to_ids);
    }
    let document = with(&format!(r#"[{{"uuid":"{UUID}","type":"AS","value":64500}}]"#));
    assert_eq!(one(&document).value, "64500");
}

#[test]
fn what_is_missing_or_null_has_the_strict_or_neutral_meaning() {
    let nulls = r#","id":null,"to_ids":null,"deleted":null,"distribution":null,"timestamp":null,
        "first_seen":null,"comment":null,"object_relation":null,"Tag":null,"category":null"#;
    for more in ["", nulls] {
        let document = with(&format!("[{}]", attribute(more)));
        let attribute = one(&document);
        assert!(!attribute.to_ids && !attribute.deleted);
        assert_eq!((attribute.id, attribute.timestamp, attribute.distribution), (0, 0, 5));
        assert_eq!((attribute.comment.as_ref(), attribute.first_seen), ("", None));
        assert!(attribute.tags.is_empty());
    }
    let document = with("null");
    let event = Event::parse(document.as_bytes()).unwrap();
    assert_eq!((event.distribution, event.timestamp, event.listed()), (0, 0, 0));
}

#[test]
fn a_bad_attribute_is_one_malformed_and_harms_no_other() {
    let bad = [
        "null",
        "7",
        "\"text\"",
        "[]",
        r#"["58634bba-6203-49db-85e0-06c10dc6430e"]"#,
        r#"{"type":"domain","value":"evil.example"}"#,
        r#"{"uuid":"","type":"domain","value":"evil.example"}"#,
        r#"{"uuid":"586","type":"domain","value":"evil.example"}"#,
        r#"{"uuid":"58634bba-6203-49db-c5e0-06c10dc6430e","type":"domain","value":"a.example"}"#,
        r#"{"uuid":"00000000-0000-0000-0000-000000000000","type":"domain","value":"a.example"}"#,
        &format!(r#"{{"uuid":"{UUID}"}}"#),
        r#"{"type":"domain"}"#,
        r#"{"value":"evil.example"}"#,
        &format!(r#"{{"uuid":"{UUID}","value":"evil.example"}}"#),
        &format!(r#"{{"uuid":"{UUID}","type":"domain"}}"#),
        &format!(r#"{{"uuid":"{UUID}","type":"domain","value":["evil.example"]}}"#),
        &format!(r#"{{"uuid":"{UUID}","type":"domain","value":"lone \ud800 surrogate"}}"#),
        &attribute(r#","timestamp":"yesterday""#),
        &attribute(r#","distribution":1e99"#),
        &attribute(r#","to_ids":"perhaps""#),
        &attribute(r#","Tag":"tlp:red""#),
        &attribute(r#","Tag":[{"name":["tlp:red"]}]"#),
    ];
    for bad in bad {
        let document = with(&format!("[{},{bad},{}]", attribute(""), attribute("")));
        let event = Event::parse(document.as_bytes()).unwrap();
        let read: Vec<_> = event.attributes().map(|read| read.is_ok()).collect();
        assert_eq!(read, [true, false, true], "{bad}");
        let malformed = event.attributes().nth(1).unwrap().unwrap_err();
        assert_eq!(malformed.json, bad);
        assert!(!malformed.problem.is_empty());
    }
}

#[test]
fn a_malformed_attribute_is_named_where_it_can_be() {
    let document = with(&format!("[{}]", attribute(r#","timestamp":"yesterday""#)));
    let event = Event::parse(document.as_bytes()).unwrap();
    let malformed = event.attributes().next().unwrap().unwrap_err();
    assert_eq!(malformed.uuid.unwrap().to_string(), UUID);
    assert!(malformed.problem.contains("yesterday"), "{}", malformed.problem);
}

#[test]
fn an_unreadable_moment_costs_no_attribute() {
    for seen in ["\"long ago\"", "[1]", "{\"a\":1}", "true", "1.5"] {
        let document = with(&format!("[{}]", attribute(&format!(r#","first_seen":{seen}"#))));
        assert_eq!(one(&document).first_seen, None);
    }
}

#[test]
fn a_list_with_holes_is_an_object_and_phantoms_in_it_are_no_attributes() {
    let list = format!(r#"{{"0":{},"4":{{"RelatedAttribute":[{{"id":"1"}}]}}}}"#, attribute(""));
    assert_eq!(one(&with(&list)).value, "evil.example");
    let list = format!(r#"[{},{{"RelatedAttribute":[]}}]"#, attribute(""));
    assert_eq!(one(&with(&list)).value, "evil.example");
    let tags = r#","Tag":{"0":{"name":"tlp:red"},"3":{"name":"x","local":"1"}}"#;
    let document = with(&format!("[{}]", attribute(tags)));
    let tags: Vec<_> = one(&document).tags;
    assert_eq!(tags.iter().map(|tag| tag.local).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn rows_whose_tag_is_gone_are_no_tags() {
    let tags =
        r#","AttributeTag":[{"id":"1","Tag":[]},{"id":"2"},{"local":true,"Tag":{"name":"a"}}]"#;
    let document = with(&format!("[{}]", attribute(tags)));
    let tags = one(&document).tags;
    assert_eq!(tags.len(), 1);
    assert_eq!((tags[0].name.as_ref(), tags[0].local), ("a", true));
}

#[test]
fn proposals_are_never_attributes() {
    let document = format!(
        r#"{{"Event":{{"uuid":"{EVENT}","ShadowAttribute":[{0}],"Attribute":[],
        "Object":[{{"uuid":"{UUID}","name":"file","ShadowAttribute":[{0}],"Attribute":[]}}]}}}}"#,
        attribute("")
    );
    assert_eq!(Event::parse(document.as_bytes()).unwrap().attributes().count(), 0);
}

#[test]
fn a_bad_object_is_one_malformed_and_harms_no_other() {
    let object = format!(r#"{{"uuid":"{UUID}","name":"file","Attribute":[{}]}}"#, attribute(""));
    for bad in ["null", "[]", r#"{"distribution":"x"}"#, r#"{"Attribute":"none"}"#] {
        let document =
            format!(r#"{{"Event":{{"uuid":"{EVENT}","Object":[{object},{bad},{object}]}}}}"#);
        let event = Event::parse(document.as_bytes()).unwrap();
        let read: Vec<_> = event.attributes().map(|read| read.is_ok()).collect();
        assert_eq!(read, [true, false, true], "{bad}");
    }
}

#[test]
fn a_refusal_says_what_was_found_instead() {
    let cases: [(&[u8], &str); 13] = [
        (b"", "found nothing"),
        (b"  ", "found nothing"),
        (b"\xff", "not UTF-8"),
        (b"GIF89a", "not JSON"),
        (br#"{"Event":{"uuid":"#, "not JSON"),
        (b"[]", "found a list"),
        (b"106", "invalid type: integer `106`"),
        (br#"{"name":"Authentication failed.","url":"/"}"#, "found `name`, `url`"),
        (br#"{"response":[]}"#, "found `response`"),
        (br#"{"Event":12}"#, "integer `12`"),
        (br#"{"Event":{"Attribute":[]}}"#, "no uuid"),
        (br#"{"Event":{"uuid":"x","Attribute":"none"}}"#, "expected a list"),
        (br#"{"Event":{"uuid":"x","Attribute":{"id":"1"}}}"#, "the key \"id\""),
    ];
    for (document, expected) in cases {
        let refusal = refusal(document);
        assert!(refusal.contains(expected), "{refusal:?} lacks {expected:?}");
    }
}

#[test]
fn an_event_without_any_list_is_no_publication() {
    let document = format!(r#"{{"Event":{{"uuid":"{EVENT}","info":"x"}},"action":"edit"}}"#);
    assert!(refusal(document.as_bytes()).contains("action `edit`"));
    let document = format!(r#"{{"Event":{{"uuid":"{EVENT}","info":"x"}}}}"#);
    assert!(refusal(document.as_bytes()).contains("neither"));
    assert_eq!(events(document.as_bytes()).unwrap().count(), 1, "an answer with `metadata`");
}

#[test]
fn a_bad_event_in_an_answer_ends_nothing() {
    let event = with("[]");
    let document = format!(r#"{{"response":[{event},{{"Event":{{}}}},7,{event}]}}"#);
    let read: Vec<_> = events(document.as_bytes()).unwrap().map(|event| event.is_ok()).collect();
    assert_eq!(read, [true, false, false, true]);
    let document = format!("[{event},{event}]");
    assert_eq!(events(document.as_bytes()).unwrap().flatten().count(), 2);
}

/// PyMISP writes an event without `Event` around it.
#[test]
fn events_are_the_same_beside_a_broken_one_and_without() {
    let events_of = |document: String| -> Vec<String> {
        let read = events(document.as_bytes()).unwrap().flatten();
        read.map(|event| format!("{event:?}")).collect()
    };
    let attribute = attribute("");
    let one = format!(
        r#"{{"Event":{{"uuid":"62724408-1cb5-4198-8ceb-3e542ad28bcd","info":"one","Orgc":{{"name":"o"}},
        "Attribute":[{attribute}],"Object":[{{"name":"file","Attribute":[{attribute}]}}],
        "Tag":[{{"name":"tlp:green"}}]}},"Orgc":[]}}"#
    );
    let beside = format!(
        r#"{{"Event":{{"uuid":"62724408-1cb5-4198-8ceb-3e542ad28bce"}},"Attribute":[{attribute}]}}"#
    );
    for (begin, end) in
        [("[", "]"), (r#" {"response": ["#, "]}"), (r#"{"response":["#, r#"],"x":1}"#)]
    {
        let whole = events_of(format!("{begin}{one},{beside}{end}"));
        assert_eq!(whole.len(), 2);
        assert!(whole[0].contains("tlp:green"), "{whole:?}");
        assert_eq!(events_of(format!("{begin}{one},7,{beside}{end}")), whole);
    }
}

#[test]
fn a_bare_event_has_a_uuid_an_info_and_a_list() {
    let fields = |without: &str| {
        let all = [
            ("uuid", format!(r#""uuid":"{UUID}""#)),
            ("info", r#""info":"x""#.to_owned()),
            ("Attribute", format!(r#""Attribute":[{}]"#, attribute(""))),
        ];
        let kept = all.into_iter().filter(|(name, _)| *name != without);
        kept.map(|(_, field)| field).collect::<Vec<_>>().join(",")
    };
    let uuids = |document: &str| -> Vec<Option<String>> {
        let Ok(events) = events(document.as_bytes()) else { return Vec::new() };
        events.map(|event| Some(event.ok()?.uuid.to_string())).collect()
    };
    let bare = format!("{{{}}}", fields(""));
    let objects = bare.replace("Attribute", "Object");
    for one in [&bare, &objects] {
        assert_eq!(uuids(one), [Some(UUID.to_owned())]);
        assert_eq!(
            uuids(&format!("[{one},{one}]")),
            [Some(UUID.to_owned()), Some(UUID.to_owned())]
        );
    }
    for without in ["uuid", "info", "Attribute"] {
        let less = format!("{{{}}}", fields(without));
        assert_eq!(uuids(&less), [], "{without}");
        assert_eq!(uuids(&format!("[{less}]")), [None], "{without}");
    }
    // What stands beside an `Event` makes no other.
    let beside = format!(r#"{{"Event":{{"uuid":"{EVENT}"}},{}}}"#, fields(""));
    assert_eq!(uuids(&beside), [Some(EVENT.to_owned())]);
}

/// The body of a recorded answer of MISP 2.5.1.
fn answer(name: &str) -> Vec<u8> {
    let mut answer = recorded(&format!("rest/{name}.response.http"));
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    answer.split_off(end + 4)
}

/// Event, its info and distribution, object, its distribution, and the attribute's type.
type Place = (String, String, i64, String, i64, String);

fn places(document: &[u8]) -> Vec<Place> {
    let mut places = Vec::new();
    for event in events(document).unwrap().map(Result::unwrap) {
        for (attribute, object) in event.attributes().map(Result::unwrap) {
            let object = object.unwrap();
            places.push((
                event.uuid.to_string(),
                event.info.to_string(),
                event.distribution,
                object.uuid.to_string(),
                object.distribution,
                attribute.kind.to_string(),
            ));
        }
    }
    places
}

#[test]
fn an_attribute_of_an_answer_stands_in_its_event_and_under_its_object() {
    let nil = "00000000-0000-0000-0000-000000000000";
    let expected =
        (EVENT.into(), "Kitchen sink edited".into(), 1, nil.into(), 0, "domain".to_owned());
    assert_eq!(places(&answer("at_rs_objattr")), [expected.clone(), expected]);
}

#[test]
fn an_object_of_an_answer_holds_its_attributes() {
    let document = answer("ob_rs");
    let json: serde_json::Value = serde_json::from_slice(&document).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut expected = Vec::new();
    for object in json["response"].as_array().unwrap().iter().map(|one| &one["Object"]) {
        for attribute in object["Attribute"].as_array().unwrap() {
            expected.push((
                text(&object["uuid"]),
                text(&object["distribution"]).parse().unwrap(),
                text(&attribute["type"]),
            ));
        }
    }
    assert!(expected.len() > 5, "{}", expected.len());
    let read = places(&document).into_iter();
    let read: Vec<(String, i64, String)> =
        read.map(|(_, _, _, object, audience, kind)| (object, audience, kind)).collect();
    assert_eq!(read, expected);
}

#[test]
fn an_attribute_is_whole_with_all_that_says_whether_it_counts_and_for_whom() {
    let fields = [r#","to_ids":true"#, r#","timestamp":"5""#, r#","distribution":"5""#];
    let is_whole = |more: &str| one(&with(&format!("[{}]", attribute(more)))).is_whole;
    assert!(is_whole(&fields.concat()));
    for lacking in fields {
        assert!(!is_whole(&fields.concat().replace(lacking, "")), "{lacking}");
    }
}

#[test]
fn sightings_and_scores_beside_an_attribute_are_read() {
    let beside = r#","Sighting":[{"id":"2","date_sighting":"9","type":"1"}],
        "decay_score":[{"score":43.2,"decayed":false}]"#;
    let document = with(&format!("[{}]", attribute(beside)));
    let attribute_of = one(&document);
    let sighting = attribute_of.sightings()[0];
    assert_eq!((sighting.number, sighting.at, sighting.kind), (2, 9, SightingKind::FalsePositive));
    assert_eq!(attribute_of.decay(), Some(Decay { decayed: false, score: 40 }));
    let document = with(&format!("[{}]", attribute("")));
    assert_eq!((one(&document).sightings(), one(&document).decay()), (vec![], None));
}

/// An event, with the distributions of its object (and the object's attribute) and of its attribute.
fn distributed(event: i64, object: i64, below: i64, alone: i64) -> String {
    let of = |number: i64| attribute(&format!(r#","distribution":{number}"#));
    format!(
        r#"{{"Event":{{"uuid":"{EVENT}","distribution":{event},"Attribute":[{},{}],
        "Object":[{{"uuid":"{UUID}","distribution":{object},"Attribute":[{}]}}]}}}}"#,
        of(5),
        of(alone),
        of(below)
    )
}

/// MISP's distributions: 0 the own organisation, 1 to 3 communities, 4 a sharing group, 5 inherits.
#[test]
fn an_event_is_restricted_where_anything_in_it_is() {
    for (event, object, below, alone, restricted) in [
        (3, 5, 5, 5, false),
        (1, 2, 3, 1, false),
        (0, 5, 5, 5, true),
        (4, 5, 5, 5, true),
        (3, 0, 5, 5, true),
        (3, 5, 4, 5, true),
        (3, 5, 5, 0, true),
    ] {
        let document = distributed(event, object, below, alone);
        let event = Event::parse(document.as_bytes()).unwrap();
        assert_eq!(event.is_restricted(), restricted, "{document}");
        assert_eq!(event.listed(), 3);
    }
}

#[test]
fn an_event_tells_what_it_lacks() {
    let fields = [
        ("published", "true"),
        ("publish_timestamp", "\"7\""),
        ("timestamp", "\"7\""),
        ("distribution", "\"0\""),
    ];
    let lacking = |without: &[&str]| {
        let kept = fields.iter().filter(|(name, _)| !without.contains(name));
        let kept: String = kept.map(|(name, value)| format!(r#","{name}":{value}"#)).collect();
        let document = format!(r#"{{"Event":{{"uuid":"{EVENT}","Attribute":[]{kept}}}}}"#);
        Event::parse(document.as_bytes()).unwrap().lacking
    };
    assert_eq!(lacking(&[]), [""; 0]);
    for (name, _) in fields {
        assert_eq!(lacking(&[name]), [name]);
    }
    let all = fields.map(|(name, _)| name);
    assert_eq!(lacking(&all), all);
}

#[test]
fn a_republication_has_the_same_content_and_every_edit_another() {
    let content = |document: &str| {
        let mut bytes = Vec::new();
        let event = Event::parse(document.as_bytes()).unwrap();
        event.content(|piece| bytes.extend_from_slice(piece));
        bytes
    };
    let document = format!(
        r#"{{"Event":{{"uuid":"{EVENT}","id":"1","info":"a","date":"2026-11-20","timestamp":"2",
        "publish_timestamp":"3","published":false,"threat_level_id":"1","analysis":"2",
        "distribution":"4","sharing_group_id":"6","SharingGroup":{{"uuid":"{UUID}","name":"g"}},
        "Orgc":{{"uuid":"{UUID}","name":"o"}},"Tag":[{{"name":"t","local":false}}],
        "Galaxy":[{{"type":"x"}}],"Attribute":[{}],"Object":[{{"uuid":"{UUID}","name":"file"}}]}}}}"#,
        attribute("")
    );
    let before = content(&document);
    for (from, to) in [
        (r#""published":false"#, r#""published":true"#),
        (r#"timestamp":"3""#, r#"timestamp":"9""#),
    ] {
        assert_eq!(content(&document.replace(from, to)), before, "{to}");
    }
    for (from, to) in [
        (EVENT, UUID),
        (r#""id":"1""#, r#""id":"2""#),
        (r#""info":"a""#, r#""info":"b""#),
        ("2026-11-20", "2026-11-21"),
        (r#"timestamp":"2""#, r#"timestamp":"9""#),
        (r#"level_id":"1""#, r#"level_id":"2""#),
        (r#"analysis":"2""#, r#"analysis":"1""#),
        (r#"distribution":"4""#, r#"distribution":"3""#),
        (r#"group_id":"6""#, r#"group_id":"7""#),
        (r#""name":"g""#, r#""name":"h""#),
        (r#""name":"o""#, r#""name":"p""#),
        (r#""name":"t""#, r#""name":"u""#),
        (r#""local":false"#, r#""local":true"#),
        (r#""type":"x""#, r#""type":"y""#),
        ("evil.example", "good.example"),
        (r#""name":"file""#, r#""name":"url""#),
    ] {
        let edited = document.replacen(from, to, 1);
        assert_ne!(edited, document, "{to}");
        assert_ne!(content(&edited), before, "{to}");
    }
}

#[test]
fn deep_nesting_is_passed_over() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let document = with(&format!("[{},{deep}]", attribute(&format!(r#","Galaxy":{deep}"#))));
    let event = Event::parse(document.as_bytes()).unwrap();
    assert_eq!(event.attributes().filter(Result::is_ok).count(), 1);
}

/// Reads everything there is to read.
fn exhaust(document: &[u8]) {
    black_box(event_uuid(document));
    let Ok(events) = events(document) else { return };
    for event in events.flatten() {
        black_box(event.facts());
        black_box(crate::pure::convert::event(&event));
        event.content(|_| {});
    }
    if let Ok(event) = Event::parse(document) {
        black_box(crate::pure::convert::event(&event));
    }
}

fn recorded(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/recordings/{name}", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).unwrap();
    bytes.strip_prefix(b"misp_json ").unwrap_or(&bytes).to_vec()
}

proptest! {
    #[test]
    fn no_bytes_panic(document in proptest::collection::vec(any::<u8>(), 0..200)) {
        exhaust(&document);
    }

    #[test]
    fn no_mutilated_publication_panics(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut document = recorded("zmq-more/000120_misp_json.bin");
        for (at, byte) in changes {
            let at = at.index(document.len());
            document[at] = byte;
        }
        if !whole {
            document.truncate(cut.index(document.len()));
        }
        exhaust(&document);
    }

    #[test]
    fn no_value_of_any_type_panics(
        kind in prop::sample::select(crate::pure::convert::types()).prop_map(|row| row.name),
        value in "\\PC{0,40}|[\\[\\]:./|@hx0-9a-f?#-]{0,40}",
    ) {
        let attribute = serde_json::json!({"uuid": UUID, "type": kind, "value": value});
        exhaust(with(&format!("[{attribute}]")).as_bytes());
    }
}
