//! Tests that every recorded document of MISP can be read and that no attribute is lost. The tests count the
//! attributes by walking a `serde_json::Value`, not with the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use misp_sentinel_relay::pure::convert::{self, Reason};
use misp_sentinel_relay::pure::misp::{self, Event};
use serde_json::Value;

use crate::mapping;

#[test]
fn every_recorded_publication_converts_with_every_attribute_accounted_for() {
    let mut frames = 0;
    for folder in ["zmq", "zmq-more", "zmq-variants"] {
        for path in files(folder, "_misp_json.bin") {
            assert_accounted_for(&path, &[frame(&path)]);
            frames += 1;
        }
    }
    assert_eq!(frames, 69);
}

#[test]
fn every_recorded_webhook_request_with_an_event_converts() {
    let mut requests = 0;
    for folder in ["webhook", "webhook_500", "webhook_401", "webhook_202", "webhook_302"] {
        for path in files(folder, ".http") {
            let (head, body) = http(&path);
            let name = path.file_name().unwrap().to_str().unwrap();
            // Form mode, no body, and templates of the operator.
            let no_event = folder == "webhook"
                && ["0004", "0005", "0007", "0009", "0010", "0014"]
                    .iter()
                    .any(|number| name.starts_with(number));
            if no_event || !head.contains("Content-Type: application/json") {
                assert!(Event::parse(&body).is_err(), "{}", path.display());
                continue;
            }
            assert_accounted_for(&path, &[body]);
            requests += 1;
        }
    }
    assert!(requests >= 12, "{requests}");
}

#[test]
fn every_recorded_kafka_publication_converts() {
    let path = recording("kafka/misp_event_publish.jsonl");
    let messages: Vec<_> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| line.as_bytes().to_vec())
        .collect();
    let (publications, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(|message| {
        serde_json::from_slice::<Value>(message).unwrap()["action"] == "publish"
    });
    assert_eq!(publications.len(), 6);
    assert_accounted_for(&path, &publications);
    assert_eq!(others.len(), 1);
    let error = Event::parse(&others[0]).unwrap_err().to_string();
    assert!(error.contains("`delete`"), "{error}");
}

#[test]
fn a_kafka_message_about_an_event_without_its_attributes_is_no_publication() {
    for line in std::fs::read_to_string(recording("kafka/misp_event.jsonl")).unwrap().lines() {
        let error = Event::parse(line.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("no publication"), "{error}");
    }
}

#[test]
fn every_recorded_rest_search_answer_converts() {
    let mut answers = 0;
    for path in files("rest", ".response.http") {
        let (head, body) = http(&path);
        let name = path.file_name().unwrap().to_str().unwrap();
        if !head.starts_with("HTTP/1.1 200") || name.starts_with("at_rs_count") {
            assert!(misp::events(&body).is_err(), "{}", path.display());
            continue;
        }
        assert_accounted_for(&path, &[body]);
        answers += 1;
    }
    assert!(answers >= 80, "{answers}");
}

#[test]
fn a_publication_repeated_without_change_has_the_same_content() {
    for (first, second) in [("000368", "000370"), ("000393", "000397"), ("000397", "000398")] {
        let [first, second] =
            [first, second].map(|n| frame(&recording(&format!("zmq/{n}_misp_json.bin"))));
        assert_ne!(first, second, "only `published` and `publish_timestamp` differ");
        assert_eq!(content(&first), content(&second));
    }
}

#[test]
fn a_publication_with_any_change_has_another_content() {
    let mut contents = BTreeSet::new();
    for number in ["000332", "000337", "000342", "000349", "000368", "000385", "000393"] {
        contents.insert(content(&frame(&recording(&format!("zmq/{number}_misp_json.bin")))));
    }
    assert_eq!(contents.len(), 7);
}

#[test]
fn the_uuid_of_an_event_is_found_in_every_document_and_in_a_cut_off_one() {
    for folder in ["zmq", "zmq-more", "zmq-variants"] {
        for path in files(folder, "_misp_json.bin") {
            let document = frame(&path);
            let uuid = Event::parse(&document).unwrap().uuid;
            assert_eq!(misp::event_uuid(&document), Some(uuid));
            assert_eq!(misp::event_uuid(&document[..document.len().min(420)]), Some(uuid));
        }
    }
    assert_eq!(misp::event_uuid(br#"{"Event":{"info":"cut"#), None);
    assert_eq!(misp::event_uuid(br#"{"uuid":"62724408-1cb5-4198-8ceb-3e542ad28bcd"}"#), None);
}

/// Converts all events of the documents, and compares with what the documents hold.
fn assert_accounted_for(path: &Path, documents: &[Vec<u8>]) {
    let mut found = Account::default();
    let mut expected = Account::default();
    for document in documents {
        for event in misp::events(document).unwrap() {
            let event = event.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let conversion = convert::event(&event);
            let claiming: BTreeSet<_> =
                conversion.claims.iter().map(|claim| claim.attribute).collect();
            assert_eq!(conversion.attributes, claiming.len() as u64 + conversion.skipped.total());
            found.attributes += conversion.attributes;
            found.claims += conversion.claims.len() as u64;
            found.tags += event.tags.len() as u64;
            found.tags +=
                event.attributes().map(|read| read.unwrap().0.tags.len() as u64).sum::<u64>();
            for (reason, count) in conversion.skipped.iter() {
                *found.skipped.entry(reason).or_default() += count;
            }
        }
        expected.document(&serde_json::from_slice(document).unwrap());
    }
    assert_eq!(found, expected, "{}", path.display());
}

/// What is in documents, counted in a tree.
#[derive(Debug, Default, PartialEq)]
struct Account {
    attributes: u64,
    claims: u64,
    tags: u64,
    skipped: BTreeMap<Reason, u64>,
}

impl Account {
    fn document(&mut self, document: &Value) {
        let response = &document["response"];
        if response.is_null() {
            self.event(document);
        }
        if let Some(answers) = response.as_array() {
            answers.iter().for_each(|answer| self.event(answer));
        }
        for attribute in elements(&response["Attribute"]) {
            self.tags(&attribute["Event"]);
            self.attribute(attribute, &Value::Null);
        }
    }

    fn event(&mut self, document: &Value) {
        for holder in [document, &document["Event"]] {
            self.tags(holder);
            for attribute in elements(&holder["Attribute"]) {
                self.attribute(attribute, &Value::Null);
            }
            let objects = &holder["Object"];
            // An objects answer holds a single one.
            if objects["uuid"].is_string() {
                self.object(objects);
            } else {
                elements(objects).for_each(|object| self.object(object));
            }
        }
    }

    fn object(&mut self, object: &Value) {
        elements(&object["Attribute"]).for_each(|attribute| self.attribute(attribute, object));
    }

    fn attribute(&mut self, attribute: &Value, object: &Value) {
        // Phantoms of includeGranularCorrelations hold nothing but related attributes.
        if attribute["uuid"].is_null() {
            assert!(attribute["RelatedAttribute"].is_array());
            return;
        }
        self.attributes += 1;
        self.tags(attribute);
        let kind = attribute["type"].as_str().unwrap();
        if attribute["deleted"] == true || object["deleted"] == true {
            *self.skipped.entry(Reason::Deleted).or_default() += 1;
            return;
        }
        // Of a URL with a fragment requests have another form.
        let has_fragment = kind == "url" && attribute["value"].as_str().unwrap().contains('#');
        match mapping::claims(kind) {
            Some(claims) => self.claims += claims + u64::from(has_fragment),
            None => *self.skipped.entry(Reason::Context).or_default() += 1,
        }
    }

    fn tags(&mut self, holder: &Value) {
        for list in ["Tag", "EventTag", "AttributeTag"] {
            self.tags += elements(&holder[list]).count() as u64;
        }
    }
}

pub(crate) fn elements(list: &Value) -> impl Iterator<Item = &Value> {
    let entries = list.as_object().into_iter().flat_map(|entries| entries.values());
    list.as_array().into_iter().flatten().chain(entries)
}

fn content(document: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    Event::parse(document).unwrap().content(|piece| {
        hasher.update(piece);
    });
    hasher.finalize().to_string()
}

pub(crate) fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(name)
}

/// The recordings of a folder whose names end so, gzipped ones included.
pub(crate) fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(recording(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().trim_end_matches(".gz").ends_with(end))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_none_or(|extension| extension != "gz") {
        return bytes;
    }
    let mut inflated = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut inflated).unwrap();
    inflated
}

/// The JSON of a recorded frame.
pub(crate) fn frame(path: &Path) -> Vec<u8> {
    read(path).strip_prefix(b"misp_json ").unwrap().to_vec()
}

/// Head and body of a recorded HTTP message.
pub(crate) fn http(path: &Path) -> (String, Vec<u8>) {
    let bytes = read(path);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8(bytes[..end].to_vec()).unwrap(), bytes[end + 4..].to_vec())
}

/// The JSON of a frame of `zmq/`, by its number.
pub(crate) fn publication(number: &str) -> Vec<u8> {
    frame(&recording(&format!("zmq/{number}_misp_json.bin")))
}
