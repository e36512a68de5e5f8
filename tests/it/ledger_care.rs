//! Tests the commands `ledger export`, `ledger check` and `ledger vacuum`, with and without a running relay.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use misp_sentinel_relay::ledger::{Finding, Ledger};
use misp_sentinel_relay::notice::What;
use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::support::database;
use super::support::event::{publication, then};
use super::support::ledger::{Relay, TARGET};
use super::support::publisher::recorded_frames;
use super::support::relay::ageless;
use super::support::scene::Scene;
use super::support::sentinel::Sentinel;

/// Publications, withdrawals, tags, a deletion.
const FRAMES: [&str; 6] = ["000332", "000337", "000339", "000429", "000500", "000507"];

fn frame(number: &str) -> Vec<u8> {
    let frames = recorded_frames("zmq");
    let frame = frames.into_iter().find(|frame| frame.name.starts_with(number)).unwrap().frame;
    // Without a key what is for a sharing group stays: here it is for all.
    let text = String::from_utf8(frame).unwrap();
    text.replace(r#""distribution":"4""#, r#""distribution":"3""#).into_bytes()
}

/// A ledger with a past; the last events are not delivered.
async fn filled() -> Relay {
    let context = ("MSR_INDICATOR__CONTEXT", "identity,threat-actor");
    let relay = Relay::start_with(&[&ageless()[..], &[context]].concat()).await;
    relay.ledger.reevaluate(&relay.views, Ledger::now(), |_| {}).await.unwrap();
    let mut sentinel = Sentinel::default();
    for (index, number) in FRAMES.into_iter().enumerate() {
        relay.hear(&frame(number)).await;
        if index < 3 {
            sentinel.accept_all(&relay).await;
        }
    }
    relay
}

fn connect(relay: &Relay) -> rusqlite::Connection {
    database::open(&relay.config.ledger.data_dir)
}

/// Without a bound it grows unnoticed. It was 2,076 bytes before texts were packed.
#[tokio::test]
async fn a_claim_and_what_follows_from_it_take_a_kilobyte() {
    const CLAIMS: usize = 2_000;
    let relay = Relay::start().await;
    let database = connect(&relay);
    let bytes = || {
        let pages: i64 = database::value(&database, "PRAGMA page_count");
        pages * database::value::<i64>(&database, "PRAGMA page_size")
    };
    let before = bytes();
    let names: Vec<String> = (0..CLAIMS).map(|number| format!("host{number}.example")).collect();
    let attributes: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(number, name)| (number + 1, name.as_str(), &[][..]))
        .collect();
    relay.hear(&publication(then(), &attributes)).await;
    let mut sentinel = Sentinel::default();
    sentinel.accept_all(&relay).await;
    assert_eq!(sentinel.live().len(), CLAIMS);
    let each = (bytes() - before) / i64::try_from(CLAIMS).unwrap();
    assert!(each <= 1_000, "{each} bytes a claim");
}

async fn check(relay: &Relay) -> Vec<Finding> {
    findings_of(&relay.ledger, relay).await
}

async fn findings_of(ledger: &Ledger, relay: &Relay) -> Vec<Finding> {
    let (findings, mut told) = mpsc::channel(100);
    ledger.check(&relay.views, Ledger::now(), findings).await.unwrap();
    let mut all = Vec::new();
    while let Some(finding) = told.recv().await {
        all.push(finding);
    }
    all
}

fn broken(findings: &[Finding]) -> Vec<&str> {
    let broken = findings.iter().filter(|finding| !finding.holds());
    broken.map(|finding| finding.invariant.as_str()).collect()
}

/// Each breaks what its name says, and perhaps something else.
const DAMAGES: [(&str, &str); 21] = [
    ("claims-have-events", "DELETE FROM events WHERE event IN (SELECT event FROM events JOIN claims ON number = event_number LIMIT 1)"),
    (
        "deleted-events-claim-nothing",
        "UPDATE events SET deleted_at = 1 WHERE event IN (SELECT event FROM events JOIN claims ON number = event_number LIMIT 1)",
    ),
    (
        "claims-have-their-keys",
        "UPDATE claims SET value = 'elsewhere.example' WHERE attribute IN (SELECT attribute FROM claims LIMIT 1)",
    ),
    (
        "claims-are-readable",
        "UPDATE claims SET facts = '{' WHERE attribute IN (SELECT attribute FROM claims LIMIT 1)",
    ),
    (
        "wanted-is-what-claims-give",
        "UPDATE wanted SET version = version + 1 WHERE object IN (SELECT object FROM claims LIMIT 1)",
    ),
    (
        "wanted-is-what-claims-give",
        "DELETE FROM wanted WHERE object IN (SELECT object FROM claims LIMIT 1)",
    ),
    ("wanted-objects-are-claimed", "DELETE FROM claims"),
    (
        "no-id-twice",
        "INSERT INTO wanted (view, object, key, observable, kind, stix_id, body, valid_from, valid_until, version, change)
         VALUES ('view', x'01', x'01', x'01', 'indicator', x'03', '{}', 1, 2, 3, 1),
             ('view', x'02', x'02', x'02', 'indicator', x'03', '{}', 1, 2, 3, 1)",
    ),
    (
        "only-the-newest-generation-lives",
        "INSERT INTO wanted (view, object, key, observable, kind, stix_id, body, valid_from, valid_until, version, change, generation)
         SELECT view, randomblob(16), key, observable, kind, randomblob(16), body, valid_from, valid_until, 0, 1, 1 FROM wanted WHERE version <> 0 LIMIT 1",
    ),
    (
        "observables-are-of-views-by-attribute",
        "UPDATE wanted SET observable = randomblob(16) WHERE kind = 'indicator' AND version <> 0",
    ),
    (
        "context-is-what-indicators-need",
        "DELETE FROM wanted WHERE kind = 'threat-actor'",
    ),
    (
        "relationships-have-their-ends",
        "DELETE FROM wanted WHERE object IN (SELECT source FROM wanted WHERE kind = 'relationship' AND version <> 0 LIMIT 1)",
    ),
    ("only-relationships-end", "UPDATE wanted SET version = 0 WHERE kind = 'identity'"),
    ("delivered-rows-have-targets", "UPDATE delivered SET target = 'nobody'"),
    ("queues-have-targets", "UPDATE queue SET lane = 3 WHERE change > 0"),
    ("changes-are-counted", "UPDATE counters SET value = 0"),
    ("events-are-counted", "UPDATE counters SET value = 0"),
    ("pending-objects-are-queued", "DELETE FROM queue"),
    (
        "held-claims-exist",
        "INSERT INTO held (source, event, attribute, part, since) VALUES ('misp', x'01', x'02', 0, 1)",
    ),
    (
        "reads-are-sound",
        "INSERT INTO reads (source, event, urgency, due_at, asked_at, asked) VALUES ('misp', x'01', 9, 1, 1, 1)",
    ),
    (
        "tombstones-are-sound",
        "UPDATE tombstones SET timestamp = -1 WHERE attribute IN (SELECT attribute FROM tombstones LIMIT 1)",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_invariant_is_named_when_it_breaks_and_only_then() {
    let relay = filled().await;
    let findings = check(&relay).await;
    assert_eq!(findings.len(), 21);
    assert_eq!(broken(&findings), Vec::<&str>::new(), "{findings:#?}");
    assert!(findings.iter().all(|finding| finding.left_out.is_none()), "{findings:#?}");
    for (invariant, damage) in DAMAGES {
        let copy = copy_of(&relay);
        let altered = database::execute(&database::open(copy.path()), damage);
        assert!(altered > 0, "{damage}");
        let findings = check_in(&relay, copy.path()).await;
        let finding = findings.iter().find(|finding| finding.invariant == invariant).unwrap();
        assert!(!finding.holds(), "{damage}: {findings:#?}");
        assert!(!finding.examples.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
    }
}

/// A state in which a sound ledger may be found at any moment, and what brings it about.
const BUSY: [(&str, &str); 6] = [
    (
        "a full resync waits, as do reads of every other kind",
        "INSERT INTO reads (source, event, urgency, due_at, asked_at, asked, resync, weight)
         SELECT source, event, (ROW_NUMBER() OVER (ORDER BY event)) % 4, 1, 1, 1, TRUE, 7 FROM events",
    ),
    (
        "claims are held",
        "INSERT INTO held (source, event, attribute, part, since)
         SELECT source, event, attribute, part, 1 FROM claims JOIN events ON number = event_number LIMIT 5",
    ),
    (
        "an event is to be gone through",
        "UPDATE events SET unfinished = 1, content = NULL WHERE event IN (SELECT event FROM events JOIN claims ON number = event_number LIMIT 1)",
    ),
    (
        "tags were heard of that belong to no known event",
        "INSERT INTO tag_changes (source, event, attribute, tag, local, attached, heard_at)
         VALUES ('misp', 4711, 0, 'tlp:red', FALSE, TRUE, 1)",
    ),
    (
        "a webhook's publication and a gap wait",
        "INSERT INTO gaps (source, intake, reason, event, publication, since, until, times)
         VALUES ('misp', 'webhook', 'memory_full', x'01', TRUE, 1, 2, 3)",
    ),
    (
        "a request has no known outcome",
        "UPDATE delivered SET sending = accepted WHERE object IN (SELECT object FROM delivered LIMIT 3)",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_invariant_holds_in_a_busy_ledger() {
    let relay = filled().await;
    for (state, how) in BUSY {
        let copy = copy_of(&relay);
        let altered = database::execute(&database::open(copy.path()), how);
        assert!(altered > 0, "{state}");
        let findings = check_in(&relay, copy.path()).await;
        assert_eq!(broken(&findings), Vec::<&str>::new(), "{state}: {findings:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_invariant_holds_while_a_large_event_is_half_applied() {
    let relay = filled().await;
    let attributes: Vec<String> = (0..12_000_u32)
        .map(|number| {
            let (uuid, [_, a, b, c]) = (Uuid::from_u128((7 << 64) + 0x4000_8000_0000_0000_0000 + u128::from(number)), number.to_be_bytes());
            format!(r#"{{"id":"{}","uuid":"{uuid}","type":"ip-dst","category":"Network activity","value":"9.{a}.{b}.{c}","to_ids":true,"deleted":false,"timestamp":"1795499521","distribution":"5"}}"#, number + 10_000)
        })
        .collect();
    let document = |tag: &str| {
        format!(
            r#"{{"Event":{{"id":"900","uuid":"90000000-0000-4000-8000-000000000001","info":"x","timestamp":"1795499521","published":true,"publish_timestamp":"1795499522","distribution":"3","Tag":[{tag}],"Attribute":[{}],"Object":[]}}}}"#,
            attributes.join(",")
        )
    };
    let mut seen = 0;
    for tag in ["", r#"{"id":"43","name":"tlp:red"}"#, ""] {
        let what = What::Published(document(tag).into_bytes().into());
        let mut receipt = relay.inbox.offer_and_wait(what, Instant::now()).unwrap();
        while receipt.try_recv().is_err() {
            let findings = check(&relay).await;
            assert_eq!(broken(&findings), Vec::<&str>::new(), "{findings:#?}");
            seen += 1;
        }
    }
    assert!(seen >= 3, "looked at least once while each was being applied: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_invariant_holds_while_work_is_withheld() {
    let settings: [&[(&str, &str)]; 2] = [
        &[("MSR_POLICY__TLP_MAX", "clear"), ("MSR_POLICY__TLP_UNTAGGED", "red")],
        &[("MSR_POLICY__NEVER", "198.51.100.7,203.0.113.65")],
    ];
    for settings in settings {
        let mut relay = filled().await;
        relay.reconfigure(settings).await;
        let findings = check(&relay).await;
        assert_eq!(broken(&findings), Vec::<&str>::new(), "{settings:?} {findings:#?}");
    }
}

fn copy_of(relay: &Relay) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let into = format!("VACUUM INTO '{}'", copy.path().join("ledger.db").display());
    database::execute(&connect(relay), &into);
    copy
}

async fn check_in(relay: &Relay, folder: &Path) -> Vec<Finding> {
    let mut config = relay.config.ledger.clone();
    config.data_dir = folder.to_owned();
    let ledger = Ledger::open(&config).await.unwrap();
    let findings = findings_of(&ledger, relay).await;
    ledger.close().await;
    findings
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_is_repaired_by_judging_anew() {
    let relay = filled().await;
    let database = connect(&relay);
    for damage in [
        "UPDATE wanted SET version = 7 WHERE object IN (SELECT object FROM wanted LIMIT 20)",
        "DELETE FROM wanted WHERE object IN (SELECT object FROM claims LIMIT 3)",
        "UPDATE counters SET value = 1",
        "DELETE FROM queue",
    ] {
        database::execute(&database, damage);
    }
    assert!(broken(&check(&relay).await).len() >= 3);
    relay.ledger.judge_anew(&relay.views, Ledger::now()).await.unwrap();
    let wanted = |findings: Vec<Finding>| {
        findings.into_iter().find(|one| one.invariant == "wanted-is-what-claims-give").unwrap()
    };
    assert!(wanted(check(&relay).await).left_out.is_some(), "it waits for the next start");
    relay.ledger.reevaluate(&relay.views, Ledger::now(), |_| {}).await.unwrap();
    assert_eq!(broken(&check(&relay).await), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_whose_event_is_lost_are_repaired_away() {
    let relay = filled().await;
    let lost = "DELETE FROM events WHERE number IN (SELECT MIN(event_number) FROM claims)";
    assert_eq!(database::execute(&connect(&relay), lost), 1);
    assert!(broken(&check(&relay).await).contains(&"claims-have-events"));
    relay.ledger.judge_anew(&relay.views, Ledger::now()).await.unwrap();
    relay.ledger.reevaluate(&relay.views, Ledger::now(), |_| {}).await.unwrap();
    assert_eq!(broken(&check(&relay).await), Vec::<&str>::new());
}

async fn export(relay: &Relay) -> Vec<Value> {
    let (chunks, mut told) = mpsc::channel::<Vec<u8>>(2);
    let reading = async move {
        let mut all = Vec::new();
        while let Some(chunk) = told.recv().await {
            all.extend(chunk);
        }
        all
    };
    let (rows, bytes) = tokio::join!(relay.ledger.export(chunks), reading);
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, rows.unwrap());
    lines
}

fn per_table(lines: &[Value]) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line["table"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_every_row_as_people_read_it() {
    let relay = filled().await;
    let lines = export(&relay).await;
    let counts = per_table(&lines);
    let database = connect(&relay);
    for table in ["events", "claims", "wanted", "delivered", "queue", "tombstones", "settings"] {
        let count = database::count(&database, table);
        assert!(count > 0, "{table}");
        assert_eq!(counts[table], count, "{table}");
    }
    let of = |table: &'static str| lines.iter().filter(move |line| line["table"] == table).cloned();
    let event = of("events").find(|event| event["deleted_at"].is_null()).unwrap();
    let json: Value = serde_json::from_slice(&frame("000332")["misp_json ".len()..]).unwrap();
    let uuid = json["Event"]["uuid"].as_str().unwrap();
    assert!(of("events").any(|event| event["event"] == uuid));
    assert!(event["facts"]["info"].is_string() && event["skipped"].is_object(), "{event:#}");
    assert!(event["read_published"].is_boolean() && event["timestamp"].is_i64(), "{event:#}");
    let wanted = of("wanted").find(|row| row["kind"] == "indicator").unwrap();
    assert!(wanted["object"].as_str().unwrap().parse::<Uuid>().is_ok(), "{wanted:#}");
    assert_eq!(wanted["body"]["type"], "indicator");
    assert!(of("delivered").all(|row| row["target"] == TARGET && row["created"].is_i64()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_relay_exports_checks_and_vacuums() {
    let mut scene = Scene::set(&[]).await;
    scene.publisher.send(&frame("000332")).await;
    scene.settle().await;
    let out = scene.relay.folder().join("export.ndjson");
    let path = out.to_str().unwrap();
    for running in [true, false] {
        std::fs::remove_file(&out).ok();
        let checked = scene.relay.command(&["ledger", "check"]);
        let told = String::from_utf8(checked.stdout.clone()).unwrap();
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
        assert_eq!(told.lines().filter(|line| line.starts_with("holds ")).count(), 21, "{told}");
        let exported = scene.relay.command(&["ledger", "export", "--out", path]);
        assert_eq!(exported.status.code(), Some(0), "{exported:?}");
        let text = std::fs::read_to_string(&out).unwrap();
        let mode = std::fs::metadata(&out).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it holds what policy keeps home");
        assert!(text.contains("{\"table\":\"claims\",\"source\":\"misp\""), "{text}");
        let printed = scene.relay.command(&["ledger", "export"]);
        let lines = |text: &[u8]| text.split(|byte| *byte == b'\n').count();
        assert_eq!(lines(&printed.stdout), lines(text.as_bytes()));
        let vacuumed = scene.relay.command(&["ledger", "vacuum"]);
        assert_eq!(vacuumed.status.code(), Some(0), "{vacuumed:?}");
        let told = String::from_utf8(vacuumed.stdout).unwrap();
        assert!(told.starts_with("The ledger had ") && !told.contains("stop the relay"), "{told}");
        if running {
            assert!(scene.relay.runs());
            assert_eq!(scene.relay.stop().0, Some(0));
        }
    }
    database::execute(&database::open(scene.relay.folder()), "UPDATE counters SET value = 0");
    let checked = scene.relay.command(&["ledger", "check", "--repair"]);
    let told = String::from_utf8(checked.stdout.clone()).unwrap();
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(told.contains("BROKEN   changes-are-counted") && told.contains("remedy:"), "{told}");
    scene.relay.restart(&scene.publisher).await;
    scene.settle().await;
    let checked = scene.relay.command(&["ledger", "check"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_nothing_is_given_back() {
    let relay = filled().await;
    let mut config = relay.config.ledger.clone();
    for by_vacuum in [false, true] {
        let copy = copy_of(&relay);
        database::execute(&database::open(copy.path()), "DELETE FROM wanted");
        config.data_dir = copy.path().to_owned();
        let ledger = Ledger::open(&config).await.unwrap();
        let given = if by_vacuum { ledger.vacuum().await } else { ledger.give_back().await };
        let given = given.unwrap();
        assert!(given.after < given.before, "{given:?}");
        assert_eq!(ledger.room().await.unwrap().free, 0);
        ledger.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_relay_is_refused_and_commands_go_to_the_first() {
    let mut scene = Scene::set(&[]).await;
    let process = scene.relay.pid().to_string();
    let refused = scene.relay.command(&["run"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{words}");
    assert!(words.contains(&format!("another relay (process {process})")), "{words}");
    let told = |arguments: &[&str]| {
        let done = scene.relay.command(arguments);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    assert!(told(&["status"]).contains(&format!("process {process}, running for")));
    assert_eq!(told(&["retry-rejected"]), "0 rejected objects are pending again.\n");
    assert!(told(&["ledger", "check"]).contains("holds    file-is-sound"));
    assert!(told(&["ledger", "export"]).lines().all(|line| line.starts_with("{\"table\":")));
    assert!(scene.relay.runs());
}
