//! Tests that alerts of a workspace are read and become hits, and then sightings in MISP, with the built binary.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use misp_sentinel_relay::sandbox::{Fault, Settings};
use misp_stand_in::{Key, Misp, MispServer, NewEvent, Sighting};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::support::database;
use super::support::relay::held;
use super::truth::{KEY, Stage, address, now};

const WRITER: &str = "WritingKeyOfTheMispStandIn00000000000000";
const VALUE: &str = "11.0.0.1";

/// Asks all the time, for alerts as young as they are.
const OFTEN: [(&str, &str); 6] = [
    ("MSR_MISP__SIGHTINGS__KEY", WRITER),
    ("MSR_TARGET__SANDBOX__HITS", "true"),
    ("MSR_TARGET__SANDBOX__HITS_EVERY", "100ms"),
    ("MSR_TARGET__SANDBOX__HITS_DELAY", "0s"),
    ("MSR_AZURE__MANAGEMENT__RETRIES", "0"),
    ("MSR_AZURE__MANAGEMENT__BACKOFF_MIN", "50ms"),
];

/// A relay that reads alerts, and a MISP with one event of its own organisation that is live in Sentinel.
async fn stage(settings: &[(&str, &str)]) -> Stage {
    let misp = Misp::new(now() - 1_000);
    let event = Uuid::new_v4();
    let attributes = vec![address(VALUE)];
    misp.add_event(NewEvent { uuid: event, distribution: 0, attributes, ..NewEvent::default() });
    misp.advance(1);
    misp.publish(event);
    misp.advance(1);
    let writer = Key { user_id: 4, role_id: 3, site_admin: false, ..Key::site_admin(WRITER) };
    let writer = Key { read_only: false, ..writer };
    let keys = |rest: &MispServer| rest.set_keys(vec![Key::site_admin(KEY), writer]);
    let stage = Stage::set_with(misp, &[&OFTEN[..], settings].concat(), keys).await;
    stage.becomes(&[VALUE]).await;
    stage
}

fn workspace() -> Uuid {
    Settings::default().workspaces[0]
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A row of `SecurityAlert`, as a rule of Microsoft's makes it.
fn alert(id: &str) -> Map<String, Value> {
    let now = Utc::now();
    let entities = json!([
        {"$id": "3", "Type": "ip", "Address": VALUE},
        {"$id": "4", "Type": "host", "HostName": "accounting-7"},
    ]);
    let row = json!({
        "TimeGenerated": written(now),
        "SystemAlertId": id,
        "AlertName": "TI map IP entity to DNS Events",
        "StartTime": written(now - TimeDelta::minutes(5)),
        "EndTime": written(now),
        "Entities": entities.to_string(),
        "ExtendedProperties": "{}",
    });
    row.as_object().unwrap().clone()
}

/// The same from a rule of our solution, which carries the id of the indicator and names it by no entity.
fn alert_with_id(id: &str, indicator: &str) -> Map<String, Value> {
    let details = json!({"IndicatorId": [indicator], "Labels": ["x"]}).to_string();
    let mut row = alert(id);
    row.insert("AlertName".to_owned(), "MISP: 11.0.0.1 and 3 more".into());
    row.insert("Entities".to_owned(), "[]".into());
    let properties = json!({"Custom Details": details}).to_string();
    row.insert("ExtendedProperties".to_owned(), properties.into());
    row
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for so many sightings, and that no more come while alerts are read a few times more.
async fn told(stage: &Stage, count: usize) -> Vec<Sighting> {
    eventually("the sightings", || stage.misp.sightings().len() >= count).await;
    let asked = stage.sandbox.log_queries();
    eventually("some more queries", || stage.sandbox.log_queries() > asked + 3).await;
    let all = stage.misp.sightings();
    assert_eq!(all.len(), count, "{all:?}");
    all
}

fn explained(stage: &Stage) -> String {
    String::from_utf8(stage.relay.command(&["explain", VALUE]).stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_becomes_one_sighting_however_often_it_is_told() {
    let mut stage = stage(&[]).await;
    stage.sandbox.script_logs([Fault::Answer { status: 204, body: String::new() }]);
    stage.sandbox.add_alert(workspace(), alert("alert-1"));
    stage.sandbox.add_alert(workspace(), alert("alert-1"));
    let all = told(&stage, 1).await;
    let text = format!("{all:?}");
    assert!(!text.contains("accounting-7") && !text.contains("sandbox"), "{text}");
    let story = explained(&stage);
    assert!(story.contains("hit at sandbox by rule \"TI map IP entity to DNS Events\": 1 alert"));
    stage.relay.stop();
    stage.relay.restart(&stage.publisher).await;
    told(&stage, 1).await;
    // Another alert of the same day is a hit more, and no sighting.
    let indicator = held(&stage.sandbox)[0].id.clone();
    stage.sandbox.add_alert(workspace(), alert_with_id("alert-2", &indicator));
    let second = "hit at sandbox by rule \"a rule of the MISP solution\": 1 alert";
    eventually("the second hit", || explained(&stage).contains(second)).await;
    told(&stage, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_no_indicator_of_ours_is_no_hit() {
    let stage = stage(&[]).await;
    let mut other_value = alert("alert-1");
    other_value["Entities"] = json!([{"Type": "ip", "Address": "11.0.0.2"}]).to_string().into();
    let unknown = alert_with_id("alert-2", &format!("indicator--{}", Uuid::new_v4()));
    for row in [other_value, unknown] {
        stage.sandbox.add_alert(workspace(), row);
    }
    told(&stage, 0).await;
    assert!(!explained(&stage).contains("hit at"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_log_analytics_loses_an_alert_and_each_is_told_with_its_remedy() {
    let mut stage = stage(&[("MSR_TARGET__SANDBOX__HITS_EVERY", "300ms")]).await;
    // As before the first query, which looks back by a day. What it passes over comes never again.
    stage.relay.stop();
    let ledger = database::open(stage.relay.folder());
    assert_eq!(database::execute(&ledger, "DELETE FROM alert_cursors"), 1);
    drop(ledger);
    let partial = r#"{"tables":[{"name":"PrimaryResult","columns":[],"rows":[]}],"error":{"code":"PartialError","message":"There were some errors"}}"#;
    let answer = |status, body: &str| Fault::Answer { status, body: body.to_owned() };
    stage.sandbox.script_logs([
        answer(200, partial),
        answer(200, ""),
        answer(504, ""),
        Fault::Throttled { header: Some(1), seconds: None },
        answer(403, r#"{"error":{"code":"InsufficientAccessError","message":"no"}}"#),
    ]);
    let mut old = alert("alert-1");
    old["TimeGenerated"] = written(Utc::now() - TimeDelta::hours(3)).into();
    stage.sandbox.add_alert(workspace(), old);
    stage.relay.restart(&stage.publisher).await;
    told(&stage, 1).await;
    let log = stage.relay.log();
    for words in ["it is empty", "HTTP 504", "Data.Read", "are read again"] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_role_is_told_by_check_and_status() {
    let stage = stage(&[]).await;
    let check = |stage: &Stage| {
        let output = stage.relay.command(&["check", "--wait", "1s"]);
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(check(&stage).contains("Log Analytics answers: 0 alerts of the last hour"));
    let refused = || Fault::Answer {
        status: 403,
        body: r#"{"error":{"code":"InsufficientAccessError","message":"no"}}"#.to_owned(),
    };
    stage.sandbox.script_logs((0..10_000).map(|_| refused()));
    let status = || String::from_utf8(stage.relay.command(&["status"]).stdout).unwrap();
    eventually("a degraded target", || status().contains("its alerts cannot be read")).await;
    let told = check(&stage);
    assert!(told.contains("InsufficientAccessError") && told.contains("60 minutes"), "{told}");
}
