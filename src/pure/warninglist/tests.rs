//! Tests recorded warninglists against MISP's own verdicts, and against MISP's source where there is no
//! recording.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

use serde_json::{Value, json};

use super::value::parts;
use super::{List, ListHead, ListKind, Lists, NotAnIndex, Texts, read_index, read_view};

/// The lists that were enabled when MISP answered: frames zmq/000036 to 000046 switch them on before
/// the answers, `warninglists_index2` shows the same six after them.
const ENABLED: [u64; 6] = [2, 10, 36, 58, 61, 87];

/// The body of a recorded HTTP message.
fn body(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(name);
    let mut bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    if name.ends_with(".gz") {
        let mut inflated = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut inflated).unwrap();
        bytes = inflated;
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    bytes.split_off(end + 4)
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&body(name)).unwrap()
}

/// The heads of all recorded lists, enabled or not.
fn heads() -> BTreeMap<u64, ListHead> {
    let mut index = json("lists-and-settings/warninglists_index_all.response.http");
    for list in index["Warninglists"].as_array_mut().unwrap() {
        list["Warninglist"]["enabled"] = Value::Bool(true);
    }
    let heads = read_index(index.to_string().as_bytes()).unwrap();
    heads.into_iter().map(|head| (head.id, head)).collect()
}

fn views() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/lists-and-settings");
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut views: Vec<String> =
        names.filter(|name| name.starts_with("warninglists_view_")).collect();
    views.sort();
    views.into_iter().map(|name| format!("lists-and-settings/{name}")).collect()
}

fn id(view: &str) -> u64 {
    view.split_once("view_").unwrap().1.get(..3).unwrap().parse().unwrap()
}

fn recorded() -> Vec<Arc<List>> {
    let heads = heads();
    let views = views().into_iter().filter(|view| !view.contains("as_readonly"));
    views
        .map(|view| Arc::new(read_view(heads[&id(&view)].clone(), &body(&view)[..]).unwrap()))
        .collect()
}

fn enabled() -> Lists {
    Lists::new(recorded().into_iter().filter(|list| ENABLED.contains(&list.head.id)).collect())
}

fn head(kind: ListKind, types: &[&str]) -> ListHead {
    ListHead {
        id: 1,
        name: "A list".to_owned(),
        kind,
        category: "false_positive".to_owned(),
        version: "1".to_owned(),
        entries: None,
        types: types.iter().map(|kind| (*kind).to_owned()).collect(),
    }
}

fn list(kind: ListKind, types: &[&str], entries: &[&str]) -> Lists {
    let list = List::new(head(kind, types), Texts::of(entries).unwrap());
    Lists::new(vec![Arc::new(list.unwrap())])
}

/// The entry that a value hits.
fn hit(lists: &Lists, kind: &str, value: &str) -> Option<String> {
    lists.hits(kind, value).next().map(|hit| hit.entry)
}

#[test]
fn the_recorded_indexes_name_the_enabled_lists() {
    for name in [
        "lists-and-settings/warninglists_index_all.response.http",
        "lists-and-settings/warninglists_index_enabled.response.http",
        "lists-and-settings/warninglists_index_enabled_path.response.http",
        "lists-and-settings/warninglists_index_as_readonly.response.http",
        "lists-and-settings/warninglists_index2.response.http",
    ] {
        let heads = read_index(&body(name)).unwrap();
        assert_eq!(heads.iter().map(|head| head.id).collect::<Vec<_>>(), ENABLED, "{name}");
        assert_eq!(heads[5].types, ["domain", "hostname", "url"], "{name}");
        assert_eq!(heads[3].entries, Some(62_745), "{name}");
    }
    assert_eq!(
        read_index(&body("lists-and-settings/warninglists_index.response.http")).unwrap(),
        []
    );
    for other in ["", "[]", "<html>", "{}", r#"{"Warninglists":[{}]}"#, r#"{"message":"x"}"#] {
        assert!(matches!(read_index(other.as_bytes()), Err(NotAnIndex(_))), "{other}");
    }
}

#[test]
fn ids_and_switches_may_be_numbers_and_unknown_kinds_are_left_out() {
    let one = |id: Value, kind: &str, enabled: Value| {
        json!({"Warninglist": {"id": id, "name": "x", "type": kind, "enabled": enabled,
            "version": 3, "warninglist_entry_count": 2, "valid_attributes": "ALL"}})
    };
    let index = json!({"Warninglists": [
        one(json!(9), "string", json!(1)), one(json!("8"), "cidr", json!("1")),
        one(json!(7), "bloom", json!(true)), one(json!(6), "regex", json!("0")),
    ]});
    let heads = read_index(index.to_string().as_bytes()).unwrap();
    let read: Vec<_> = heads.iter().map(|head| (head.id, head.kind, head.entries)).collect();
    assert_eq!(read, [(8, ListKind::Cidr, Some(2)), (9, ListKind::String, Some(2))]);
    assert_eq!(heads[0].version, "3");
}

/// Counted by walking the JSON, not by the code under test.
#[test]
fn every_entry_of_every_recorded_list_is_there() {
    let heads = heads();
    let (mut kinds, mut lists, mut entries) = (BTreeSet::new(), 0, 0);
    for view in views() {
        let document = json(&view);
        let document = &document["Warninglist"];
        let kind = document["type"].as_str().unwrap();
        let values: Vec<&str> = document["WarninglistEntry"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["value"].as_str().unwrap())
            .collect();
        let list = Arc::new(read_view(heads[&id(&view)].clone(), &body(&view)[..]).unwrap());
        let alone = Lists::new(vec![Arc::clone(&list)]);
        assert!(list.unreadable.is_empty(), "{view}");
        for value in &values {
            match kind {
                // The other regular expressions end in "/g": PHP refuses them, so they never match.
                "regex" => assert_eq!(list.len(), usize::from(!value.ends_with("/g")), "{view}"),
                _ => assert!(
                    list.find(&parts("", value, &alone.bloom)[0]).is_some(),
                    "{view}: {value}"
                ),
            }
        }
        kinds.insert(kind.to_owned());
        (lists, entries) = (lists + 1, entries + values.len());
    }
    assert_eq!((kinds.len(), lists), (5, 17));
    assert!(entries > 78_000, "{entries}");
}

#[test]
fn a_view_that_is_cut_or_another_is_none() {
    let heads = heads();
    let view = body("lists-and-settings/warninglists_view_061_cidr.response.http");
    let read = |head: &ListHead, view: &[u8]| read_view(head.clone(), view);
    assert_eq!(read(&heads[&61], &view).unwrap().len(), 3);
    for end in 0..view.len() {
        assert!(read(&heads[&61], &view[..end]).is_err(), "{end}");
    }
    assert!(read(&heads[&61], &[&view[..], b"x"].concat()).is_err());
    // Of another kind, with other types, or of another length than the index said.
    for head in [
        ListHead { kind: ListKind::String, ..heads[&61].clone() },
        ListHead { types: vec!["ip-src".to_owned()], ..heads[&61].clone() },
        ListHead { entries: Some(4), ..heads[&61].clone() },
    ] {
        assert!(read(&head, &view).is_err(), "{head:?}");
    }
    for other in
        [&b"[]"[..], b"{}", b"{\"Warninglist\":{}}", b"{\"name\":\"Not found\"}", b"<html>"]
    {
        assert!(read(&heads[&61], other).is_err());
    }
}

#[test]
fn a_view_that_is_no_list_is_refused_with_what_was_expected() {
    let head = head(ListKind::String, &["ALL"]);
    for (view, expected) in [
        ("[]", "an object with Warninglist"),
        (r#"{"Warninglist":7}"#, "a warninglist"),
        (r#"{"Warninglist":{"WarninglistEntry":7}}"#, "a list of entries"),
        (r#"{"Warninglist":{"WarninglistEntry":[7]}}"#, "an object with value"),
        (r#"{"Warninglist":{"WarninglistEntry":[{"value":7}]}}"#, "a string"),
        (r#"{"Warninglist":{"WarninglistEntry":[{}]}}"#, "value"),
        (r#"{"Warninglist":{"WarninglistEntry":[]}}"#, "WarninglistType"),
    ] {
        let refused = read_view(head.clone(), view.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains(expected), "{view}: {refused}");
    }
}

/// What MISP's `checkValue` answers: without types, and without splitting.
fn checked(lists: &Lists, value: &str) -> Vec<Value> {
    let part = &parts("", value, &lists.bloom)[0];
    lists
        .iter()
        .filter_map(|list| {
            let matched = list.find(part)?;
            Some(
                json!({"id": list.head.id.to_string(), "name": list.head.name, "matched": matched}),
            )
        })
        .collect()
}

#[test]
fn the_recorded_answers_of_check_value_are_ours() {
    let lists = enabled();
    let mut values = 0;
    for name in [
        "lists-and-settings/warninglists_checkValue_20",
        "lists-and-settings/warninglists_checkValue_20_as_readonly",
        "lists-and-settings/warninglists_checkValue_single_8_8_8_8",
        "lists-and-settings/warninglists_checkValue_single_google_com_8_8_8_8",
        "lists-and-settings/warninglists_checkValue",
    ] {
        let answer = json(&format!("{name}.response.http"));
        let request = json(&format!("{name}.request.http"));
        let asked = request.as_array().cloned().unwrap_or_else(|| vec![request.clone()]);
        for value in asked.iter().map(|value| value.as_str().unwrap().trim()) {
            let expected = answer.get(value).and_then(Value::as_array).cloned().unwrap_or_default();
            assert_eq!(checked(&lists, value), expected, "{name}: {value:?}");
            values += 1;
        }
    }
    assert_eq!(values, 20 + 20 + 1 + 1 + 3);
}

/// Every attribute of recorded answers, objects' included, by uuid.
fn attributes(names: &[&str]) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for name in names {
        collect(&json(&format!("rest/{name}.response.http"))["response"], &mut found);
    }
    found
}

fn collect(value: &Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Array(list) => list.iter().for_each(|one| collect(one, found)),
        Value::Object(fields) if fields.contains_key("to_ids") => {
            found.insert(fields["uuid"].as_str().unwrap().to_owned(), value.clone());
        }
        Value::Object(fields) => {
            for name in ["Event", "Attribute", "Object"] {
                fields.get(name).into_iter().for_each(|inner| collect(inner, found));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn hits(lists: &Lists, attribute: &Value) -> Vec<Value> {
    let text = |name: &str| attribute[name].as_str().unwrap();
    let hits = lists.hits(text("type"), text("value")).map(|hit| {
        json!({"value": hit.value, "match": hit.entry, "warninglist_id": hit.list.head.id,
            "warninglist_name": hit.list.head.name,
            "warninglist_category": hit.list.head.category})
    });
    hits.collect()
}

/// `enforceWarninglist` of an event looks at attributes with `to_ids` (`attachWarninglistToAttributes`);
/// of attributes at all of them (`filterWarninglistAttribute`).
#[test]
fn the_recorded_verdicts_of_misp_are_ours_attribute_by_attribute() {
    let lists = enabled();
    let (mut compared, mut forbidden) = (0, 0);
    for (all, enforced, only_to_ids) in [
        (&["ev_rs_page1"][..], "ev_rs_enforceWarninglist", true),
        (&["ev_rs_by_uuid"], "ev_rs_enforceWarninglist_holes", true),
        (&["ev_rs_page1"], "at_rs_enforceWarninglist", false),
        (&["at_rs_to_ids0", "at_rs_to_ids1"], "at_rs_enforceWarninglist", false),
    ] {
        let kept = attributes(&[enforced]);
        let all = attributes(all);
        assert!(kept.keys().all(|uuid| all.contains_key(uuid)), "{enforced}");
        for (uuid, attribute) in &all {
            let looked_at = !only_to_ids || attribute["to_ids"] == true;
            let hit = looked_at && !hits(&lists, attribute).is_empty();
            assert_eq!(hit, !kept.contains_key(uuid), "{enforced}: {attribute}");
            (compared, forbidden) = (compared + 1, forbidden + usize::from(hit));
        }
    }
    assert_eq!((compared, forbidden), (98 + 3 + 98 + 98, 4 + 1 + 4 + 4));
}

#[test]
fn the_recorded_warnings_of_misp_are_ours() {
    let lists = enabled();
    let all = attributes(&["ev_rs_includeWarninglistHits"]);
    assert_eq!(all.len(), 3);
    for attribute in all.values() {
        let expected = attribute.get("warnings").and_then(Value::as_array).cloned();
        assert_eq!(hits(&lists, attribute), expected.unwrap_or_default(), "{attribute}");
    }
}

#[test]
fn a_list_counts_for_its_types_only() {
    let lists = enabled();
    assert!(hit(&lists, "domain", "www.google.com").is_some());
    // No list has a row for it.
    assert_eq!(hit(&lists, "hostname|port", "www.google.com|443"), None);
    assert_eq!(hit(&lists, "domain|ip", "evil.example|8.8.8.8").as_deref(), Some("8.8.8.8/32"));
    assert_eq!(hit(&lists, "ip-dst|port", "10.1.2.3|443").as_deref(), Some("10.0.0.0/8"));
    // A link is none of the types, a url is: list 36 has hostname and domain only.
    assert_eq!(hit(&lists, "link", "https://google.com/"), None);
    let names = lists.hits("url", "google.com").map(|hit| hit.list.head.id).collect::<Vec<_>>();
    assert_eq!(names, [2, 10]);
}

#[test]
fn all_is_every_type_and_only_in_capitals() {
    let all = list(ListKind::String, &["ALL"], &["evil.example"]);
    assert!(hit(&all, "domain", "evil.example").is_some());
    assert!(hit(&all, "made-up", "evil.example").is_some());
    let other = list(ListKind::String, &["all", "Domain"], &["evil.example"]);
    assert_eq!(hit(&other, "domain", "evil.example"), None);
}

/// Derived from `__evalString`, `__evalSubString`, `getFilteredEntries` and `checkValue`.
#[test]
fn each_kind_compares_as_misp_does() {
    let string = list(ListKind::String, &["ALL"], &["Evil.example", "a|b", "7", ""]);
    for (kind, value, expected) in [
        ("domain", "Evil.example", true),
        ("domain", "evil.example", false),
        ("domain", "Evil.example.", false),
        // Split by its type: neither half is on the list.
        ("domain|ip", "a|b", false),
        ("text", "a|b", true),
        ("counter", "7", true),
        ("counter", "07", false),
        // The second half is empty, and so is an entry.
        ("filename|md5", "x|", true),
    ] {
        assert_eq!(hit(&string, kind, value).is_some(), expected, "{kind} {value}");
    }

    let substring = list(ListKind::Substring, &["ALL"], &["mail", "@b.example"]);
    for (value, expected) in
        [("x@b.example.org", true), ("GMAIL", false), ("hotmail.com", true), ("@b.exampl", false)]
    {
        assert_eq!(hit(&substring, "email-src", value).is_some(), expected, "{value}");
    }
    // PHP 8 finds an empty text in every text.
    assert!(hit(&list(ListKind::Substring, &["ALL"], &["x", ""]), "text", "a").is_some());

    let hostname = list(ListKind::Hostname, &["ALL"], &[".Google.COM.", "co.uk"]);
    for (value, expected) in [
        ("google.com", true),
        ("mail.google.com", true),
        ("Google.com", false),
        ("notgoogle.com", false),
        ("http://x.co.uk/?u=http://y", true),
        ("google.com.evil.example", false),
        ("google.com:443", false),
    ] {
        assert_eq!(hit(&hostname, "url", value).is_some(), expected, "{value}");
    }

    let regex = list(ListKind::Regex, &["ALL"], &["/^(abuse|soc)\\@.*\\..*$/i", "/x/g"]);
    for (value, expected) in [("ABUSE@a.example", true), ("x-abuse@a.example", false), ("x", false)]
    {
        assert_eq!(hit(&regex, "email-src", value).is_some(), expected, "{value}");
    }
}

#[test]
fn a_pattern_that_cannot_be_read_is_told() {
    let entries = Texts::of(["/(?<=a)b/", "/c/", "/d/g"]).unwrap();
    let list = List::new(head(ListKind::Regex, &["ALL"]), entries).unwrap();
    assert_eq!(list.unreadable, ["/(?<=a)b/"]);
    assert_eq!(list.len(), 1);
    // It is told again after a restart.
    let stored = stored(&Lists::new(vec![Arc::new(list)]));
    let again = Lists::read(&stored[..]).unwrap();
    assert_eq!(again.iter().next().unwrap().unreadable, ["/(?<=a)b/"]);
}

#[test]
fn entries_are_counted_list_by_list() {
    for kind in [ListKind::String, ListKind::Hostname, ListKind::Substring] {
        let lists = list(kind, &["ALL"], &["a.example", "b.example"]);
        assert_eq!((lists.len(), lists.entries()), (1, 2), "{kind:?}");
        assert!(!lists.is_empty() && !lists.iter().next().unwrap().is_empty());
        let none = list(kind, &["ALL"], &[]);
        assert!(!none.is_empty() && none.iter().next().unwrap().is_empty(), "{kind:?}");
    }
    let networks = list(ListKind::Cidr, &["ALL"], &["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"]);
    assert_eq!(networks.entries(), 2, "one is in another");
    assert!(Lists::default().is_empty());
}

fn stored(lists: &Lists) -> Vec<u8> {
    let mut bytes = Vec::new();
    lists.write(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_written_is_read_again_the_same() {
    let lists = Lists::new(recorded());
    let bytes = stored(&lists);
    let again = Lists::read(&bytes[..]).unwrap();
    assert_eq!(again.fingerprint(), lists.fingerprint());
    assert_eq!((again.len(), again.entries()), (16, lists.entries()));
    let heads = |lists: &Lists| lists.iter().map(|list| list.head.clone()).collect::<Vec<_>>();
    assert_eq!(heads(&again), heads(&lists));
    for attribute in attributes(&["ev_rs_page1"]).values() {
        assert_eq!(hits(&again, attribute), hits(&lists, attribute));
    }
    assert!(Lists::read(&stored(&Lists::default())[..]).unwrap().is_empty());
}

#[test]
fn damage_shows() {
    let bytes = stored(&list(ListKind::Hostname, &["domain"], &["a.example", "b.example"]));
    assert!(Lists::read(&bytes[..]).is_ok());
    for end in 0..bytes.len() {
        assert!(Lists::read(&bytes[..end]).is_err(), "{end}");
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(Lists::read(text.replace("b.example", "c.example").as_bytes()).is_err());
    assert!(Lists::read(text.replace("warninglists 1", "warninglists 2").as_bytes()).is_err());
}

#[test]
fn the_fingerprint_is_of_what_decides() {
    let one = |head: ListHead, entries: &[&str]| {
        let list = List::new(head, Texts::of(entries).unwrap()).unwrap();
        Lists::new(vec![Arc::new(list)]).fingerprint()
    };
    let base = || head(ListKind::String, &["domain", "url"]);
    let same = one(base(), &["a", "b"]);
    assert_eq!(one(base(), &["b", "a"]), same);
    assert_eq!(one(ListHead { version: "2".into(), id: 9, ..base() }, &["a", "b"]), same);
    assert_eq!(one(head(ListKind::String, &["url", "domain"]), &["a", "b"]), same);
    for other in [
        one(base(), &["a", "c"]),
        one(base(), &["a"]),
        one(head(ListKind::String, &["domain"]), &["a", "b"]),
        one(head(ListKind::Substring, &["domain", "url"]), &["a", "b"]),
        one(ListHead { name: "Another".into(), ..base() }, &["a", "b"]),
    ] {
        assert_ne!(other, same);
    }
}
