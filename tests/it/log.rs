//! Tests the log of the built binary: its fields, which parts it says work again, what it sums up, and which host it
//! names.

use std::time::{Duration, Instant};

use misp_sentinel_relay::sandbox::{Sandbox, Settings, SignInFault};
use misp_stand_in::{Key, Misp, MispServer, MispSettings, NewAttribute, NewEvent, RestFault};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::support::event::{EVENT, publication, tagged_publication, then};
use super::support::program::program;
use super::support::publisher::Publisher;
use super::support::relay::{FAST, Relay, environment, held};
use super::support::sandbox::{eventually, start};
use super::support::terminal::Terminal;

const KEY: &str = "SiteAdministratorsKeyOfTheMispStandIn000";

fn lines(relay: &Relay) -> Vec<Value> {
    let log = relay.log();
    // The last line may still be on its way.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn of<'l>(lines: &'l [Value], event: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

/// Waits for the first line with this name.
async fn line(relay: &Relay, event: &str) -> Value {
    line_number(relay, event, 1).await
}

/// Waits for one of the lines with this name, counted from 1.
async fn line_number(relay: &Relay, event: &str, number: usize) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let lines = lines(relay);
        if let Some(line) = of(&lines, event).get(number - 1) {
            return (*line).clone();
        }
        assert!(Instant::now() < deadline, "no {event} {number}:\n{}", relay.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The frame of an event with three domains, of which one is none.
fn mixed(tags: &[&str]) -> Vec<u8> {
    let values = [(1, "evil.example", &[][..]), (2, "bad.example", &[]), (3, "no domain", &[])];
    tagged_publication(then(), tags, &values)
}

/// The line of the page, between the fences of its example.
fn example() -> Value {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/log.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("```json\n").unwrap();
    serde_json::from_str(rest.split_once("```").unwrap().0).unwrap()
}

fn kinds(line: &Value) -> Vec<(String, &'static str)> {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fields = line.as_object().unwrap().iter();
    fields.map(|(name, value)| (name.clone(), kind(value))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_has_a_line_of_numbers_objects_and_names() {
    let sandbox = start().await;
    let publisher = Publisher::bind();
    let relay = Relay::start(&sandbox, &publisher, &[]).await;
    let frame = mixed(&["tlp:green"]);
    publisher.send(&frame).await;
    let committed = line(&relay, "event_committed").await;
    assert_eq!(committed["misp_event"], EVENT);
    assert_eq!((&committed["misp_event_id"], &committed["title"]), (&json!(7), &json!("x")));
    assert_eq!((&committed["attributes"], &committed["new"]), (&json!(3), &json!(2)));
    assert_eq!(committed["skipped"], json!({"invalid_value": 1}), "{committed}");
    assert!(committed["took_ms"].is_u64(), "{committed}");
    assert_eq!(committed["module"], "misp_sentinel_relay::ledger::running");
    let accepted = line(&relay, "change_accepted").await;
    assert_eq!((&accepted["target"], &accepted["lane"]), (&json!("sandbox"), &json!("live")));
    assert!(accepted["accepted_after_ms"].is_u64(), "{accepted}");
    assert_eq!((&accepted["misp_event"], &accepted["title"]), (&json!(EVENT), &json!("x")));
    assert_eq!(kinds(&example()), kinds(&accepted), "the example of docs/reference/log.md");
    // The same again is no news.
    publisher.send(&frame).await;
    publisher.send(&publication(then() + 9, &[(1, "evil.example", &[])])).await;
    // One of the domains goes, and the other one changes.
    line_number(&relay, "change_accepted", 3).await;
    let lines = lines(&relay);
    assert_eq!(of(&lines, "event_committed").len(), 2, "{}", relay.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_title_of_what_is_above_green_stays_out_of_the_log() {
    let sandbox = start().await;
    let publisher = Publisher::bind();
    let relay = Relay::start(&sandbox, &publisher, &[("MSR_LOG__LEVEL", "debug")]).await;
    let frame = String::from_utf8(mixed(&["tlp:amber"])).unwrap();
    publisher.send(frame.replace(r#""info":"x""#, r#""info":"canary""#).as_bytes()).await;
    let accepted = line(&relay, "change_accepted").await;
    assert_eq!(accepted["misp_event"], EVENT, "it is named all the same");
    assert!(!relay.log().contains("canary"), "{}", relay.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_sentinel_has_a_line_or_two_and_an_end() {
    let mut sandbox = start().await;
    let publisher = Publisher::bind();
    let relay = Relay::start(&sandbox, &publisher, &[("MSR_LOG__LEVEL", "debug")]).await;
    publisher.send(&publication(then(), &[(1, "evil.example", &[])])).await;
    eventually(&sandbox, |sandbox| held(sandbox).len() == 1).await;
    sandbox.stop().await;
    publisher.send(&publication(then() + 1, &[(2, "bad.example", &[])])).await;
    let degraded = line(&relay, "target_degraded").await;
    let deadline = Instant::now() + Duration::from_secs(30);
    let tries = || relay.log().matches("\"pause_ms\"").count();
    while tries() < 8 {
        assert!(Instant::now() < deadline, "{} tries", tries());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sandbox.restart().await.unwrap();
    let recovered = line(&relay, "target_recovered").await;
    let host = degraded["host"].as_str().unwrap();
    assert!(sandbox.base_url().contains(&format!("//{host}:")), "{host}");
    assert_eq!(degraded["target"], "sandbox");
    let why = degraded["why"].as_str().unwrap();
    assert!(
        why.contains(&format!("Sentinel cannot be reached at {}", sandbox.base_url())),
        "{why}"
    );
    assert!(recovered["failures"].as_u64().unwrap() >= 8, "{recovered}");
    assert!(recovered["down_ms"].as_u64().unwrap() > 0, "{recovered}");
    assert_eq!(recovered["waiting"]["backlog"], 0, "{recovered}");
    assert!(recovered["waiting"]["live"].is_u64(), "{recovered}");
    // One when it began, and one when it was degraded by it.
    let warnings = lines(&relay).into_iter().filter(|line| line["level"] == "WARN");
    let warnings: Vec<Value> = warnings.filter(|line| line["pause_ms"].is_u64()).collect();
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_fails_is_an_error_that_names_entra_and_has_an_end() {
    let sandbox = start().await;
    sandbox.script_sign_ins([SignInFault::Reset, SignInFault::Reset]);
    let publisher = Publisher::bind();
    let relay = Relay::start(&sandbox, &publisher, &[]).await;
    publisher.send(&publication(then(), &[(1, "evil.example", &[])])).await;
    let recovered = line(&relay, "sign_in_recovered").await;
    let failed = line(&relay, "sign_in_failed").await;
    assert_eq!((&failed["level"], &failed["targets"]), (&json!("ERROR"), &json!(["sandbox"])));
    let error = failed["error"].as_str().unwrap();
    assert!(error.starts_with("Entra ") && error.contains(&sandbox.base_url()), "{error}");
    assert_eq!(recovered["failures"], 2);
    line(&relay, "target_recovered").await;
    assert_eq!(of(&lines(&relay), "sign_in_failed").len(), 1, "of two alike one is told");
}

/// A MISP with so many published events of two addresses each, of which one has no `to_ids`.
async fn misp(events: u8) -> (Misp, MispServer) {
    let misp = Misp::new(chrono::Utc::now().timestamp() - 10_000);
    for number in 0..events {
        let address = |last: u8| NewAttribute::new("ip-dst", &format!("11.1.{number}.{last}"));
        let uuid = Uuid::new_v4();
        let silent = NewAttribute { to_ids: false, ..address(2) };
        let attributes = vec![address(1), silent];
        misp.add_event(NewEvent { uuid, attributes, ..NewEvent::default() });
        misp.publish(uuid);
        misp.advance(1);
    }
    misp.advance(1_000);
    let keys = vec![Key::site_admin(KEY)];
    let serving = MispSettings { keys, ..MispSettings::default() };
    let server = MispServer::start(misp.clone(), serving).await.unwrap();
    (misp, server)
}

const REST: [(&str, &str); 5] = [
    ("MSR_MISP__KEY", KEY),
    ("MSR_MISP__RESYNC__SCHEDULE", ""),
    ("MSR_MISP__REST__BACKOFF_MIN", "10ms"),
    ("MSR_MISP__REST__BACKOFF_MAX", "100ms"),
    ("MSR_LOG__PROGRESS_EVERY", "50ms"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_first_fill_is_summed_up() {
    let (sandbox, publisher) = (start().await, Publisher::bind());
    let (misp, server) = misp(60).await;
    let url = server.base_url();
    // So slow that some events are left to read when the relay looks how far it is, on any machine.
    let pages = [
        ("MSR_MISP__URL", url.as_str()),
        ("MSR_MISP__REST__PAGE_EVENTS", "2"),
        ("MSR_MISP__REST__REQUESTS_PER_SECOND", "20"),
    ];
    let relay = Relay::start(&sandbox, &publisher, &[&REST[..], &pages].concat()).await;
    let done = line(&relay, "resync_done").await;
    assert_eq!((&done["events"], &done["attributes"]), (&json!(60), &json!(120)), "{done}");
    assert_eq!(
        (&done["altered"], &done["new"], &done["gone"]),
        (&json!(60), &json!(120), &json!(0))
    );
    assert_eq!(done["skipped"], json!({"to_ids_off": 60}), "{done}");
    assert!(done["took_ms"].as_u64().is_some_and(|took| took > 0), "{done}");
    let sent = line(&relay, "backlog_done").await;
    eventually(&sandbox, |sandbox| held(sandbox).len() == 60).await;
    assert!(sent["objects"].as_u64().is_some_and(|objects| objects > 0), "{sent}");
    let told = lines(&relay);
    for event in ["resync_started", "resync_listed", "resync_done"] {
        assert_eq!(of(&told, event).len(), 1, "{event}: {}", relay.log());
    }
    let progress = of(&told, "resync_progress");
    assert!(!progress.is_empty(), "{}", relay.log());
    assert_eq!(progress[0]["events"], 60, "{progress:?}");
    for event in ["event_committed", "change_accepted"] {
        assert_eq!(of(&told, event).len(), 0, "{event}: {}", relay.log());
    }
    // From now on each event has its lines.
    let event = NewEvent {
        attributes: vec![NewAttribute::new("ip-dst", "11.2.2.2")],
        ..NewEvent::default()
    };
    let (uuid, mut frames) = (event.uuid, misp.add_event(event));
    frames.extend(misp.publish(uuid));
    for frame in frames {
        publisher.send(&frame.bytes).await;
    }
    assert_eq!(line(&relay, "event_committed").await["misp_event"], uuid.to_string());
    assert_eq!(line(&relay, "change_accepted").await["misp_event"], uuid.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misp_that_is_away_is_named_and_its_end_is_told() {
    let (sandbox, publisher) = (start().await, Publisher::bind());
    let (_, server) = misp(1).await;
    let url = server.base_url();
    let often = [("MSR_MISP__URL", url.as_str()), ("MSR_MISP__REST__CATCH_UP_EVERY", "100ms")];
    let relay = Relay::start(&sandbox, &publisher, &[&REST[..], &often].concat()).await;
    line(&relay, "resync_done").await;
    server.always(Some(RestFault::Reset));
    let failing = line(&relay, "misp_failing").await;
    let error = failing["error"].as_str().unwrap();
    assert!(error.contains(&url), "{error}");
    server.heal();
    let recovered = line(&relay, "misp_recovered").await;
    assert!(recovered["down_ms"].is_u64() && recovered["reads_waiting"].is_u64(), "{recovered}");
}

/// What a terminal shows of a relay that is just ready.
async fn shown(environment_of: &Sandbox, more: &[(&str, &str)]) -> String {
    let (publisher, folder) = (Publisher::bind(), TempDir::new().unwrap());
    let mut command = program();
    command.arg("run").envs(FAST).envs(environment(environment_of)).envs([
        ("MSR_MISP__ZEROMQ__ENDPOINTS", publisher.endpoint()),
        ("MSR_LEDGER__DATA_DIR", folder.path().display().to_string()),
        ("MSR_LOG__FORMAT", "pretty".to_owned()),
    ]);
    command.envs(more.iter().copied());
    Terminal::start(80, command).wait_for("relay_ready").await
}

/// <https://no-color.org>: any value but an empty one.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_gets_colours_unless_it_wants_none() {
    let sandbox = Sandbox::start(Settings::default()).await.unwrap();
    let coloured = shown(&sandbox, &[("NO_COLOR", "")]).await;
    assert!(coloured.contains("\u{1b}["), "{coloured:?}");
    for value in ["1", "0", "no"] {
        let plain = shown(&sandbox, &[("NO_COLOR", value)]).await;
        assert!(!plain.contains('\u{1b}'), "{value}: {plain:?}");
    }
}
