//! Tests the output of `convert` for recorded and hand-written documents. The tests count what a document
//! holds in a `serde_json::Value`. Expectations follow from MISP's values, the default policy and STIX 2.1,
//! not from the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::mapping;
use crate::recordings::{elements, files, http, publication, read, recording};
use crate::support::program::{BINARY, bare, program};

pub(crate) type Setting = (&'static str, &'static str);

/// What `convert` printed, and how it ended.
pub(crate) struct Converted {
    pub(crate) bundle: String,
    pub(crate) skipped: String,
    pub(crate) code: Option<i32>,
}

impl Converted {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code();
        Self { bundle: text(output.stdout), skipped: text(output.stderr), code }
    }

    pub(crate) fn all(&self) -> Vec<Value> {
        let bundle: Value = serde_json::from_str(&self.bundle).unwrap();
        elements(&bundle["objects"]).cloned().collect()
    }

    /// The indicators.
    pub(crate) fn objects(&self) -> Vec<Value> {
        self.kind("indicator")
    }

    pub(crate) fn kind(&self, kind: &str) -> Vec<Value> {
        self.all().into_iter().filter(|object| object["type"] == kind).collect()
    }

    fn patterns(&self) -> Vec<String> {
        self.objects().iter().map(|object| text(&object["pattern"])).collect()
    }

    /// The lines of JSON: all but notes in words, and behind them the error of a document that could
    /// not be read as a whole.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let mut lines: Vec<&str> = self.skipped.lines().collect();
        if self.code != Some(0) {
            let error = lines.pop();
            assert!(error.is_some_and(|words| words.starts_with("error: ")), "{error:?}");
        }
        let lines = lines.iter().filter(|line| !line.starts_with("note: "));
        let read = |line: &&str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        lines.map(read).collect()
    }

    fn reasons(&self) -> BTreeMap<String, u64> {
        let mut reasons = BTreeMap::new();
        for line in self.lines() {
            *reasons.entry(text(&line["reason"])).or_default() += 1;
        }
        reasons
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn command(arguments: &[&str], settings: &[Setting]) -> Command {
    let mut command = program();
    // A test may take it away.
    command.env("MSR_MISP__PUBLIC_URL", "https://misp.example.org");
    command.arg("convert").args(arguments).envs(settings.iter().copied());
    command
}

/// Converts what is written to standard input.
pub(crate) fn convert(document: &[u8], arguments: &[&str], settings: &[Setting]) -> Converted {
    let arguments: Vec<&str> = ["-"].iter().chain(arguments).copied().collect();
    let mut child = command(&arguments, settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(document).unwrap();
    Converted::of(child.wait_with_output().unwrap())
}

/// The recordings are made of documentation addresses.
pub(crate) const ANYWHERE: Setting = ("MSR_POLICY__ALLOW_NON_ROUTABLE", "true");

/// Whatever its age.
fn ageless(document: &[u8]) -> Converted {
    convert(document, &["--no-expiry"], &[ANYWHERE])
}

// Recorded documents.

/// Larger ones cost seconds in a debug build.
const LARGEST: usize = 4_000_000;

#[test]
fn recorded_frames_give_a_valid_bundle_and_a_line_for_all_that_is_left_out() {
    let mut frames = 0;
    for folder in ["zmq", "zmq-more", "zmq-variants"] {
        for path in files(folder, "_misp_json.bin") {
            frames += u64::from(assert_accounted_for(&path, &read(&path), b"misp_json "));
        }
    }
    assert!(frames >= 60, "{frames}");
}

#[test]
fn recorded_rest_search_answers_give_one_too() {
    let mut answers = 0;
    for path in files("rest", ".response.http") {
        let (head, body) = http(&path);
        let name = path.file_name().unwrap().to_str().unwrap();
        if head.starts_with("HTTP/1.1 200") && !name.starts_with("at_rs_count") {
            answers += u64::from(assert_accounted_for(&path, &body, b""));
        } else {
            assert_eq!(ageless(&body).code, Some(1), "{name}");
        }
    }
    assert!(answers >= 80, "{answers}");
}

/// `false` if the document is too large for this test.
fn assert_accounted_for(path: &Path, input: &[u8], topic: &[u8]) -> bool {
    if input.len() > LARGEST {
        return false;
    }
    let converted = ageless(input);
    assert_eq!(converted.code, Some(0), "{}: {}", path.display(), converted.skipped);
    let mut expected = Expected::default();
    expected.document(&serde_json::from_slice(&input[topic.len()..]).unwrap());
    assert_eq!(converted.reasons(), expected.skipped, "{}", path.display());
    assert_eq!(converted.objects().len(), expected.observables.len(), "{}", path.display());
    assert_valid(&converted.bundle);
    true
}

/// What the default policy lets through, and what is left out.
#[derive(Debug, Default)]
struct Expected {
    /// Object path (of either kind of address `ip`) and value, in lower case but for URLs.
    observables: BTreeSet<(String, String)>,
    skipped: BTreeMap<String, u64>,
}

impl Expected {
    fn document(&mut self, document: &Value) {
        let response = &document["response"];
        for attribute in elements(&response["Attribute"]) {
            self.attribute(attribute, &Value::Null, &attribute["Event"]);
        }
        let answers: Vec<&Value> = match response.as_array() {
            Some(answers) => answers.iter().collect(),
            None => vec![document],
        };
        for answer in answers {
            let event = &answer["Event"];
            elements(&event["Attribute"])
                .for_each(|attribute| self.attribute(attribute, &Value::Null, event));
            elements(&event["Object"]).for_each(|object| self.object(object, event));
            // Answers of /objects/restSearch.
            if answer["Object"]["uuid"].is_string() {
                self.object(&answer["Object"], &answer["Object"]["Event"]);
            }
        }
    }

    fn object(&mut self, object: &Value, event: &Value) {
        elements(&object["Attribute"])
            .for_each(|attribute| self.attribute(attribute, object, event));
    }

    fn attribute(&mut self, attribute: &Value, object: &Value, event: &Value) {
        // Phantoms of includeGranularCorrelations.
        if attribute["uuid"].is_null() {
            return;
        }
        let (kind, value) = (text(&attribute["type"]), text(&attribute["value"]));
        if attribute["deleted"] == true || object["deleted"] == true {
            return self.skip("deleted");
        }
        let Some(observables) = observables(&kind, &value) else {
            return self.skip("context");
        };
        for (is_on, path, value) in observables {
            if attribute["to_ids"] != true {
                self.skip("to_ids_off");
            } else if !is_on {
                self.skip("type_off");
            } else if is_red(attribute) || is_red(event) {
                self.skip("tlp_too_strict");
            } else {
                self.observables.insert((path, value));
            }
        }
    }

    fn skip(&mut self, reason: &str) {
        *self.skipped.entry(reason.to_owned()).or_default() += 1;
    }
}

fn is_red(holder: &Value) -> bool {
    elements(&holder["Tag"]).any(|tag| tag["name"] == "tlp:red")
}

/// What an attribute is about, and whether that is on; `None` where it is about nothing.
fn observables(kind: &str, value: &str) -> Option<Vec<(bool, String, String)>> {
    let (_, fate, paths) = mapping::FATES.iter().find(|(name, ..)| *name == kind)?;
    if *fate == "skip" {
        return None;
    }
    let halves = value.rsplit_once('|').unwrap_or((value, value));
    let one = |value: &str| {
        let path = paths.split(' ').next().unwrap().replace("ipv4-addr:value", "ip");
        let value = if kind == "url" { value.to_owned() } else { value.to_lowercase() };
        vec![(*fate == "on", path, value)]
    };
    Some(match kind {
        "domain|ip" => {
            let address = (true, "ip".to_owned(), halves.1.to_lowercase());
            [one(halves.0), vec![address]].concat()
        }
        "regkey|value" => one(value.split_once('|').unwrap().0),
        "url" if value.contains('#') => {
            [one(value), one(value.split('#').next().unwrap())].concat()
        }
        _ if kind.ends_with("|port") => one(halves.0),
        _ if kind.starts_with("filename|") || kind == "malware-sample" => {
            // File names are off.
            [one(halves.1), vec![(false, "file:name".to_owned(), halves.0.to_owned())]].concat()
        }
        _ => one(value),
    })
}

/// STIX 2.1: 8 "STIX Bundle Object", 4.1 "Attack Pattern", 4.5 "Identity", 4.7 "Indicator", 4.17
/// "Threat Actor", 5.1 "Relationship", 2.9 "List" (never empty), 2.10 "Object Identifier".
pub(crate) fn assert_valid(bundle: &str) {
    let bundle: Value = serde_json::from_str(bundle).unwrap();
    assert_eq!(bundle["type"], "bundle");
    assert_id(&bundle["id"], "bundle");
    assert!(bundle.get("objects").is_none_or(|objects| !objects.as_array().unwrap().is_empty()));
    let mut ids = BTreeSet::new();
    for object in elements(&bundle["objects"]) {
        let kind = text(&object["type"]);
        assert_eq!(object["spec_version"], "2.1");
        assert_id(&object["id"], &kind);
        assert!(ids.insert(text(&object["id"])), "twice: {object}");
        assert!(time(&object["created"]) <= time(&object["modified"]), "{object}");
        match kind.as_str() {
            "indicator" => {
                assert_eq!(object["pattern_type"], "stix");
                assert!(time(&object["valid_from"]) < time(&object["valid_until"]), "{object}");
            }
            "identity" | "attack-pattern" | "threat-actor" => drop(text(&object["name"])),
            "relationship" => assert_eq!(object["relationship_type"], "indicates"),
            other => panic!("{other} is nothing that Sentinel takes"),
        }
        assert_no_empty_list(object);
    }
    for object in elements(&bundle["objects"]).filter(|object| object["type"] == "relationship") {
        for end in ["source_ref", "target_ref"] {
            assert!(ids.contains(object[end].as_str().unwrap()), "{end} leads nowhere: {object}");
        }
    }
}

fn assert_id(id: &Value, kind: &str) {
    let uuid = text(id).strip_prefix(&format!("{kind}--")).unwrap().to_owned();
    let uuid: Uuid = uuid.parse().unwrap();
    assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
}

/// RFC 3339 in UTC with milliseconds, which sorts as text.
fn time(value: &Value) -> String {
    let time = text(value);
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    time
}

fn assert_no_empty_list(object: &Value) {
    for (key, value) in object.as_object().unwrap() {
        assert!(!value.is_null() && *value != json!([]) && *value != json!(""), "{key}: {object}");
    }
}

// Golden files: reviewed by hand against MISP's values and STIX 2.1; UPDATE_GOLDEN=1 rewrites them.

#[test]
fn recorded_events_are_converted_byte_for_byte_as_reviewed() {
    for (case, recorded) in [
        ("kitchen_sink", "000332"),
        ("only_an_object", "000419"),
        ("tags", "000480"),
        ("local_tag", "000473"),
    ] {
        assert_golden(case, &publication(recorded));
    }
    let (_, body) = http(&recording("rest/ev_rs_page2.response.http"));
    assert_golden("rest_search", &body);
}

fn assert_golden(case: &str, document: &[u8]) {
    let converted = ageless(document);
    assert_valid(&converted.bundle);
    compare(&format!("{case}.stix.json"), &converted.bundle);
    compare(&format!("{case}.skipped.ndjson"), &converted.skipped);
}

fn compare(name: &str, printed: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !printed.is_empty() {
        std::fs::write(&path, printed).unwrap();
    }
    // Nothing printed has no file.
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(printed == golden, "{name} differs; UPDATE_GOLDEN=1 rewrites it:\n{printed}");
}

// How documents come.

#[test]
fn a_frame_its_document_and_a_file_of_it_give_the_same_bytes() {
    let path = recording("zmq/000480_misp_json.bin");
    let path = path.to_str().unwrap();
    let of_file = Converted::of(command(&[path, "--no-expiry"], &[ANYWHERE]).output().unwrap());
    assert!(of_file.bundle.contains("203.0.113.61"), "{}", of_file.bundle);
    let document = publication("000480");
    let marked = [b"\xef\xbb\xbf\n  ".as_slice(), &document, b"\n"].concat();
    for input in [&read(Path::new(path)), &document, &marked] {
        let converted = ageless(input);
        assert_eq!(converted.bundle, of_file.bundle);
        assert_eq!(converted.skipped, of_file.skipped);
    }
}

#[test]
fn a_broken_document_ends_with_exit_1_and_says_what_was_found() {
    let gzip = [0x1f, 0x8b, 8, 0];
    let attribute = read(&recording("zmq/000092_misp_json_attribute_add.bin"));
    let cases: [(&[u8], &str); 9] = [
        (b"", "nothing"),
        (b"HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK"),
        (b"{\"Event\":{\"uuid\"", "not JSON"),
        (b"\"a text\"", "a text"),
        (b"{\"name\":\"x\",\"url\":\"/events\"}", "`name`, `url`"),
        (b"{\"Event\":{\"info\":\"without\"}}", "no uuid"),
        (b"misp_json [", "not JSON"),
        (&attribute, "`misp_json_attribute`"),
        (&gzip, "gzip"),
    ];
    for (input, found) in cases {
        let converted = ageless(input);
        assert_eq!(converted.code, Some(1), "{}", converted.skipped);
        assert!(converted.skipped.contains(found), "{found}: {}", converted.skipped);
        assert_eq!(converted.bundle, "");
    }
    let missing = Converted::of(command(&["/nowhere/event.json"], &[]).output().unwrap());
    assert_eq!(missing.code, Some(1));
    assert!(missing.skipped.contains("/nowhere/event.json"), "{}", missing.skipped);
}

#[test]
fn a_broken_event_or_attribute_harms_only_itself() {
    let good = |value: &str| {
        event(&[
            json!({"uuid": EVENT, "type": "domain", "to_ids": true, "timestamp": 1}),
            attribute(2, "domain", value, 1_700_000_000),
        ])
    };
    let answer = json!({"response": [
        good("first.example"), {"Event": [1]}, 7, good("second.example"),
    ]});
    let converted = ageless(answer.to_string().as_bytes());
    assert_eq!(converted.code, Some(1), "{}", converted.skipped);
    let expected = ["first", "second"].map(|n| format!("[domain-name:value = '{n}.example']"));
    assert_eq!(converted.patterns(), expected);
    let problems: Vec<_> = converted
        .lines()
        .iter()
        .map(|line| (text(&line["reason"]), text(&line["problem"])))
        .collect();
    assert_eq!(problems.len(), 4, "{}", converted.skipped);
    assert!(problems.iter().all(|(reason, _)| reason == "malformed"));
    assert!(problems[0].1.contains("no value"), "{}", problems[0].1);
    assert!(problems[1].1.starts_with("event 2 of the document"), "{}", problems[1].1);
    assert!(problems[2].1.starts_with("event 3 of the document"), "{}", problems[2].1);
}

#[test]
fn an_event_without_attributes_gives_a_bundle_without_objects() {
    let converted = ageless(event(&[]).to_string().as_bytes());
    let bundle: Value = serde_json::from_str(&converted.bundle).unwrap();
    assert_eq!(bundle.as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "type"]);
    assert_eq!(converted.code, Some(0));
    let note = format!("note: event {EVENT} of the document has no attributes\n");
    assert_eq!(converted.skipped, note);
}

/// What `convert` tells on a terminal, without the colours and the carriage returns.
fn told_on_a_terminal(document: &Path, arguments: &str) -> String {
    let document = document.display();
    let shell = format!("{BINARY} convert {document} --no-expiry {arguments} > /dev/null");
    let mut command = bare("script");
    command.args(["-qec", &shell, "/dev/null"]).stdin(Stdio::null());
    command.env("MSR_MISP__PUBLIC_URL", "https://misp.example.org").envs([ANYWHERE]);
    String::from_utf8(command.output().unwrap().stdout).unwrap().replace('\r', "")
}

#[test]
fn on_a_terminal_a_table_counts_what_is_left_out_unless_each_is_asked_for() {
    let silent = |number, kind| {
        let mut silent = attribute(number, kind, "x.example", 1_700_000_000);
        silent["to_ids"] = json!(false);
        silent
    };
    let good = attribute(1, "domain", "evil.example", 1_700_000_000);
    let attributes = [good, silent(2, "domain"), silent(3, "comment"), silent(4, "text")];
    let answer = json!({"response": [event(&attributes), {"Event": [1]}]}).to_string();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(answer.as_bytes()).unwrap();

    let table = told_on_a_terminal(file.path(), "");
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert!(rows.contains(&vec!["2", "context"]), "{table}");
    assert!(rows.contains(&vec!["1", "to_ids_off"]), "{table}");
    assert!(
        table.contains("\nevent 2 of the document: ") || table.starts_with("event 2 of"),
        "{table}"
    );
    assert!(!table.contains("\"reason\":"), "{table}");

    // The same lines as those that a file gets.
    let piped = ageless(answer.as_bytes());
    assert_eq!(piped.lines().len(), 4, "{}", piped.skipped);
    assert_eq!(told_on_a_terminal(file.path(), "--skipped"), piped.skipped);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let path = recording("zmq/000332_misp_json.bin");
    let mut child = command(&[path.to_str().unwrap(), "--no-expiry"], &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let converted = Converted::of(child.wait_with_output().unwrap());
    assert_eq!(converted.code, Some(0), "{}", converted.skipped);
}

// What is made of them.

const EVENT: Uuid = Uuid::from_u128(0x6272_4408_1cb5_4198_8ceb_3e54_2ad2_8bcd);

fn event(attributes: &[Value]) -> Value {
    json!({"Event": {"uuid": EVENT, "info": "hand-written", "Attribute": attributes, "Object": []}})
}

/// `timestamp` in Unix seconds.
fn attribute(number: u128, kind: &str, value: &str, timestamp: u64) -> Value {
    let uuid = Uuid::from_u128(0x5000_8000_0000_0000_0000 + number);
    json!({"uuid": uuid, "type": kind, "value": value, "to_ids": true, "timestamp": timestamp})
}

#[test]
fn claims_of_one_observable_in_attributes_and_events_are_one_indicator() {
    let mut first = event(&[
        attribute(1, "domain", "Evil.Example", 1_700_000_000),
        attribute(2, "hostname", "evil.example", 1_700_000_300),
    ]);
    first["Event"]["Tag"] = json!([{"name": "tlp:amber"}, {"name": "a:b"}]);
    let mut second = event(&[attribute(3, "domain", "evil.example", 1_700_000_600)]);
    second["Event"]["uuid"] = json!(Uuid::from_u128(7));
    second["Event"]["info"] = json!("second");
    second["Event"]["Tag"] = json!([
        {"name": "tlp:green"}, {"name": "misp:confidence-level=\"completely-confident\""},
    ]);
    let answer = json!({"response": [first, second]}).to_string();
    let settings = [("MSR_MISP__PUBLIC_URL", "https://misp.soc.example"), ANYWHERE];
    let converted = convert(answer.as_bytes(), &["--no-expiry"], &settings);
    assert_eq!(converted.skipped, "");
    let objects = converted.objects();
    assert_eq!(objects.len(), 1, "{}", converted.bundle);
    let indicator = &objects[0];
    assert_eq!(indicator["pattern"], "[domain-name:value = 'evil.example']");
    assert_eq!(indicator["confidence"], 100);
    // STIX 2.1, 7.2.1.4: TLP amber.
    let amber = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82";
    assert_eq!(indicator["object_marking_refs"], json!([amber]));
    let labels =
        ["a:b", "misp:confidence-level=\"completely-confident\"", "tlp:amber"].map(Value::from);
    assert_eq!(indicator["labels"], json!(labels));
    assert_eq!(indicator["name"], "second");
    let links: Vec<_> =
        elements(&indicator["external_references"]).map(|one| text(&one["url"])).collect();
    let link = |uuid: Uuid| format!("https://misp.soc.example/events/view/{uuid}");
    assert_eq!(links, [link(Uuid::from_u128(7)), link(EVENT)]);
    // date -u -d @1700000000, @1700000600, and 300 days (domains) after the latter.
    assert_eq!(indicator["valid_from"], "2023-11-14T22:13:20.000Z");
    assert_eq!(indicator["modified"], "2023-11-14T22:23:20.000Z");
    assert_eq!(indicator["created"], indicator["modified"]);
    assert_eq!(indicator["valid_until"], "2024-09-09T22:23:20.000Z");
}

#[test]
fn what_has_expired_is_skipped_unless_asked_for() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let long_ago = 1_000_000_000;
    let document = event(&[
        attribute(1, "domain", "fresh.example", now),
        attribute(2, "domain", "old.example", long_ago),
        attribute(3, "domain", "renewed.example", long_ago),
        attribute(4, "hostname", "renewed.example", now),
        // Domains are valid for 300 days, addresses for 150.
        attribute(5, "domain|ip", "half.example|198.51.100.9", now - 200 * 86_400),
    ])
    .to_string();
    let pattern = |name: &str| format!("[domain-name:value = '{name}.example']");
    let converted = convert(document.as_bytes(), &[], &[ANYWHERE]);
    assert_eq!(converted.code, Some(0));
    assert_eq!(converted.patterns(), ["fresh", "renewed", "half"].map(pattern));
    let address = "[ipv4-addr:value = '198.51.100.9']";
    let line = |number: u128, kind: &str, value: &str, pattern: &str| {
        json!({
            "event": EVENT, "attribute": attribute(number, "", "", 0)["uuid"], "type": kind,
            "value": value, "pattern": pattern, "reason": "expired",
        })
    };
    let expected = [
        line(2, "domain", "old.example", &pattern("old")),
        line(5, "domain|ip", "half.example|198.51.100.9", address),
    ];
    assert_eq!(converted.lines(), expected);

    let everything = ageless(document.as_bytes());
    assert_eq!(everything.patterns().len(), 5, "{}", everything.bundle);
    assert_eq!(everything.skipped, "");
}

#[test]
fn what_policy_does_not_admit_is_told_with_its_observable() {
    let document = event(&[
        attribute(1, "domain|ip", "good.example|192.0.2.1", 1_700_000_000),
        attribute(2, "md5", "d41d8cd98f00b204e9800998ecf8427e", 1_700_000_000),
        attribute(3, "yara", "rule x {}", 1_700_000_000),
        attribute(4, "ip-dst", "not an address", 1_700_000_000),
    ]);
    let settings =
        [ANYWHERE, ("MSR_POLICY__NEVER", "192.0.2.1"), ("MSR_POLICY__TYPES_EXCLUDE", "md5")];
    let converted = convert(document.to_string().as_bytes(), &["--no-expiry"], &settings);
    assert_eq!(converted.patterns(), ["[domain-name:value = 'good.example']"]);
    let lines: Vec<_> = converted
        .lines()
        .iter()
        .map(|line| (text(&line["value"]), text(&line["reason"]), line["pattern"].clone()))
        .collect();
    let line = |value: &str, reason: &str, pattern: Value| (value.into(), reason.into(), pattern);
    let expected: [(String, String, Value); 4] = [
        line("good.example|192.0.2.1", "never", json!("[ipv4-addr:value = '192.0.2.1']")),
        line(
            "d41d8cd98f00b204e9800998ecf8427e",
            "type_excluded",
            json!("[file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']"),
        ),
        line("rule x {}", "type_off", json!("rule x {}")),
        line("not an address", "invalid_value", Value::Null),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_the_documents_sightings_and_tags_say_of_false_positives_counts() {
    let time = 1_700_000_000;
    let tagged = |number, value, name: &str| {
        let mut attribute = attribute(number, "domain", value, time);
        attribute["Tag"] = json!([{"name": name}]);
        attribute
    };
    let sighted = |number, value, kinds: &[&str]| {
        let mut attribute = attribute(number, "domain", value, time);
        let one = |(id, kind): (usize, &&str)| {
            let uuid = Uuid::from_u128(number * 100 + id as u128);
            json!({"id": id, "uuid": uuid, "type": kind, "date_sighting": "4102444800"})
        };
        let list: Vec<Value> = kinds.iter().enumerate().map(one).collect();
        attribute["Sighting"] = list.into();
        attribute
    };
    let document = event(&[
        attribute(1, "domain", "a.example", time),
        tagged(2, "a.example", "false-positive:confirmed=\"true\""),
        sighted(3, "b.example", &["1", "0", "2", "1"]),
        sighted(4, "c.example", &["1", "1", "1"]),
    ]);
    let converted = convert(document.to_string().as_bytes(), &[], &[]);
    let [sighted] = &converted.objects()[..] else { panic!("{}", converted.bundle) };
    assert_eq!(sighted["pattern"], "[domain-name:value = 'b.example']");
    assert_eq!(sighted["confidence"], 31);
    assert_eq!(sighted["valid_until"], "2100-01-01T00:00:00.000Z");
    assert_eq!(converted.reasons(), BTreeMap::from([("false_positive".to_owned(), 3)]));
}

#[test]
fn by_default_what_leads_nowhere_is_kept_back() {
    let document = event(&[
        attribute(1, "ip-dst", "192.168.1.10", 1_700_000_000),
        attribute(2, "domain|ip", "evil.com|10.0.0.1", 1_700_000_000),
        attribute(3, "url", "http://localhost:8080/x", 1_700_000_000),
        attribute(4, "ip-dst|port", "8.8.8.8|53", 1_700_000_000),
    ]);
    let converted = convert(document.to_string().as_bytes(), &["--no-expiry"], &[]);
    let expected = ["[domain-name:value = 'evil.com']", "[ipv4-addr:value = '8.8.8.8']"];
    assert_eq!(converted.patterns(), expected);
    assert_eq!(converted.reasons(), BTreeMap::from([("non_routable".to_owned(), 3)]));
}

#[test]
fn identity_by_attribute_keeps_the_uuids_of_misp() {
    let document = event(&[
        attribute(1, "domain", "evil.example", 1_700_000_000),
        attribute(2, "domain|ip", "evil.example|192.0.2.1", 1_700_000_000),
    ]);
    let settings = [("MSR_INDICATOR__IDENTITY", "attribute"), ANYWHERE];
    let converted = convert(document.to_string().as_bytes(), &["--no-expiry"], &settings);
    let uuid = |number| text(&attribute(number, "", "", 0)["uuid"]).parse::<Uuid>().unwrap();
    // The second half of a composite: UUIDv5 of the observable in the attribute's uuid.
    let half = Uuid::new_v5(&uuid(2), b"ipv4-addr:value = 192.0.2.1");
    let expected = [uuid(1), uuid(2), half].map(|uuid| format!("indicator--{uuid}"));
    let ids: Vec<_> = converted.objects().iter().map(|object| text(&object["id"])).collect();
    assert_eq!(ids, expected);
}

#[test]
fn the_bundles_id_is_that_of_its_content() {
    let id = |document: &Value| {
        let converted = ageless(document.to_string().as_bytes());
        text(&serde_json::from_str::<Value>(&converted.bundle).unwrap()["id"])
    };
    let document = event(&[attribute(1, "domain", "evil.example", 1_700_000_000)]);
    let mut republished = document.clone();
    republished["Event"]["publish_timestamp"] = json!(1_700_000_900);
    republished["Event"]["published"] = json!(true);
    assert_eq!(id(&document), id(&republished));
    let mut renamed = document.clone();
    renamed["Event"]["info"] = json!("renamed");
    assert_ne!(id(&document), id(&renamed));
}

#[test]
fn an_event_without_attributes_and_links_that_lead_nowhere_are_told() {
    const UNSET: Setting = ("MSR_MISP__PUBLIC_URL", "");
    let event = |attributes: Value| {
        json!({"Event": {"uuid": "5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d001", "id": "1", "info": "x",
            "distribution": "3", "timestamp": "1793000000", "Attribute": attributes}})
        .to_string()
        .into_bytes()
    };
    const EMPTY: &str =
        "note: event 5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d001 of the document has no attributes";
    const NOWHERE: &str = "note: neither misp.public_url nor misp.url is set: links to MISP begin \
                           with the placeholder https://misp.example.org";
    let none = event(json!([]));
    for arguments in [&["--no-expiry"][..], &["--explain"]] {
        let converted = convert(&none, arguments, &[UNSET]);
        assert_eq!(converted.code, Some(0));
        assert!(converted.skipped.contains(EMPTY), "{}", converted.skipped);
        assert!(!converted.skipped.contains("placeholder"), "nothing links anywhere");
    }
    let one = event(json!([{"uuid": "00000000-0000-4000-8000-000000000001", "type": "domain",
        "category": "Network activity", "value": "evil.example.com", "to_ids": true,
        "timestamp": "1793000000"}]));
    let converted = convert(&one, &["--no-expiry"], &[UNSET]);
    assert_eq!(converted.skipped.lines().collect::<Vec<_>>(), [NOWHERE]);
    assert!(converted.bundle.contains("https://misp.example.org/events/view/"));
    // All that is claimed is over: nothing is printed that could link anywhere.
    let over = String::from_utf8(one.clone()).unwrap().replace("1793000000", "1000000000");
    let over = convert(over.as_bytes(), &[], &[UNSET]);
    assert_eq!((over.objects().len(), over.lines().len()), (0, 1), "{}", over.skipped);
    assert!(!over.skipped.contains("note: "), "{}", over.skipped);
    let told = convert(&one, &["--no-expiry"], &[("MSR_MISP__PUBLIC_URL", "https://m.example")]);
    assert_eq!(told.skipped, "");
    assert_eq!(convert(&one, &["--explain"], &[UNSET]).skipped, "", "no link is shown");
    let with_stix = convert(&one, &["--explain", "--stix"], &[UNSET]);
    assert_eq!(with_stix.skipped.lines().collect::<Vec<_>>(), [NOWHERE]);
}
