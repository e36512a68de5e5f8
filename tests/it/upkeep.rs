//! Tests the work that only time causes: renewing indicators, forgetting old rows and freeing disk space. It
//! also tests that a run that did not end in order leaves a gap.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use misp_sentinel_relay::ledger::{Ledger, Upkeep};
use serde_json::Value;
use tokio::sync::mpsc;

use super::support::database;
use super::support::ledger::{Relay, TARGET, VIEW};
use super::support::publisher::recorded_frame;
use super::support::scene::Scene;
use super::support::sentinel::Sentinel;

const EVENT: &str = "00000001-0000-4000-8000-000000000003";
const DAY: i64 = 86_400_000;

/// `count` domains, last seen at the same time.
fn publication(timestamp: i64, count: usize) -> Vec<u8> {
    let seen = "2026-11-01T00:00:00.000000+00:00";
    let attributes: Vec<String> = (1..=count)
        .map(|number| {
            format!(
                r#"{{"id":"{number}","event_id":"7","uuid":"{number:08x}-0000-4000-9000-000000000003","type":"domain","category":"Network activity","value":"d{number}.example","to_ids":true,"deleted":false,"last_seen":"{seen}","timestamp":"{timestamp}"}}"#
            )
        })
        .collect();
    format!(
        r#"misp_json {{"Event":{{"id":"7","uuid":"{EVENT}","info":"x","distribution":"3","timestamp":"{timestamp}","Attribute":[{}],"Object":[]}}}}"#,
        attributes.join(",")
    )
    .into_bytes()
}

fn deletion() -> Vec<u8> {
    format!(
        r#"misp_json_event {{"Event":{{"id":"7","uuid":"{EVENT}","timestamp":"{}"}},"action":"delete"}}"#,
        then() + 10
    )
    .into_bytes()
}

/// Some days ago, so that nothing has expired.
fn then() -> i64 {
    Ledger::now() / 1_000 - 100_000
}

/// All that is to do at that time.
async fn care(relay: &Relay, upkeep: &mut Upkeep, now: i64) {
    while upkeep.step(&relay.ledger, &relay.views, now).await.unwrap() {}
}

async fn check(relay: &Relay) {
    relay.ledger.reevaluate(&relay.views, Ledger::now(), |_| {}).await.unwrap();
    let (findings, mut told) = mpsc::channel(100);
    relay.ledger.check(&relay.views, Ledger::now(), findings).await.unwrap();
    while let Some(finding) = told.recv().await {
        assert!(finding.holds() && finding.left_out.is_none(), "{finding:#?}");
    }
}

fn rows(relay: &Relay) -> BTreeMap<&'static str, i64> {
    let database = database::open(&relay.config.ledger.data_dir);
    let tables = ["events", "claims", "wanted", "delivered", "tombstones", "queue"];
    tables.into_iter().map(|table| (table, database::count(&database, table))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_upkeep_sends_nothing_unless_renewal_is_asked_for() {
    for from in ["timestamp", "last_seen", "first_seen_by_relay"] {
        let relay = Relay::start_with(&[("MSR_EXPIRY__FROM", from)]).await;
        let mut sentinel = Sentinel::default();
        relay.hear(&publication(then(), 3)).await;
        sentinel.accept_all(&relay).await;
        let (mut upkeep, start) = (relay.upkeep(), Ledger::now());
        for day in 0..=365 {
            let now = start + day * DAY;
            care(&relay, &mut upkeep, now).await;
            sentinel.accept_all_at(&relay, TARGET, now).await;
            assert_eq!(sentinel.writes, 3, "{from}, day {day}");
        }
        let left = rows(&relay);
        assert_eq!((left["claims"], left["wanted"], left["delivered"]), (3, 3, 3), "{from}");
        check(&relay).await;
    }
}

fn valid_until(object: &Value) -> i64 {
    let time: DateTime<Utc> = object["valid_until"].as_str().unwrap().parse().unwrap();
    time.timestamp_millis()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_claimed_is_renewed_at_half_life() {
    let settings = [
        ("MSR_EXPIRY__FROM", "first_seen_by_relay"),
        ("MSR_EXPIRY__RENEW", "true"),
        ("MSR_EXPIRY__DAYS__DOMAIN_NAME", "50"),
    ];
    let relay = Relay::start_with(&settings).await;
    let mut sentinel = Sentinel::default();
    let before = Ledger::now();
    relay.hear(&publication(then(), 2)).await;
    sentinel.accept_all(&relay).await;
    let first = valid_until(sentinel.of("d1.example"));
    assert!((before + 50 * DAY..=Ledger::now() + 50 * DAY).contains(&first));
    let start = first - 50 * DAY;
    let mut upkeep = relay.upkeep();
    for day in 0..=200 {
        let now = start + day * DAY;
        care(&relay, &mut upkeep, now).await;
        sentinel.accept_all_at(&relay, TARGET, now).await;
        let until = valid_until(sentinel.of("d1.example"));
        assert_eq!(until, first + day / 25 * 25 * DAY, "day {day}");
        assert_eq!(sentinel.writes, 2 + 2 * usize::try_from(day / 25).unwrap(), "day {day}");
        if day % 60 == 0 {
            upkeep = relay.upkeep();
        }
    }
    // A relay that slept for two years renews at once, and by whole steps.
    let now = start + 1_000 * DAY + 1;
    care(&relay, &mut upkeep, now).await;
    sentinel.accept_all_at(&relay, TARGET, now).await;
    assert_eq!(valid_until(sentinel.of("d1.example")), first + 1_000 * DAY);
    check(&relay).await;
    relay.hear(&deletion()).await;
    sentinel.accept_all_at(&relay, TARGET, now).await;
    let writes = sentinel.writes;
    care(&relay, &mut upkeep, now + 40 * DAY).await;
    sentinel.accept_all_at(&relay, TARGET, now + 40 * DAY).await;
    assert_eq!(sentinel.writes, writes, "what is claimed no more is renewed no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_everywhere_is_forgotten_and_its_room_given_back() {
    let relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    relay.hear(&publication(then(), 6_000)).await;
    sentinel.accept_all(&relay).await;
    relay.hear(&deletion()).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(sentinel.live().len(), 0);
    let full = relay.ledger.room().await.unwrap();
    let mut upkeep = relay.upkeep();
    let now = Ledger::now();
    care(&relay, &mut upkeep, now + 29 * DAY).await;
    let kept = rows(&relay);
    assert_eq!((kept["events"], kept["wanted"], kept["delivered"]), (1, 6_000, 6_000));
    // A walk of one thousand a step, with a pause wherever nothing was found.
    for _ in 0..10 {
        care(&relay, &mut upkeep, now + 31 * DAY).await;
    }
    let left = rows(&relay);
    for table in ["events", "claims", "wanted", "delivered", "tombstones"] {
        assert_eq!(left[table], 0, "{left:?}");
    }
    let room = relay.ledger.room().await.unwrap();
    assert!(room.file < full.file / 2 && room.free < 1 << 20, "{full:?} then {room:?}");
    check(&relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_that_a_target_has_not_taken_is_remembered_until_all_is_over() {
    let mut relay = Relay::start_with(&[("MSR_EXPIRY__DAYS__DOMAIN_NAME", "100")]).await;
    relay.retarget(&[TARGET, "down"]).await;
    let mut sentinel = Sentinel::default();
    let mut down = Sentinel::default();
    relay.hear(&publication(then(), 2)).await;
    sentinel.accept_all(&relay).await;
    down.accept_all_of(&relay, "down").await;
    relay.hear(&deletion()).await;
    sentinel.accept_all(&relay).await;
    let (mut upkeep, now) = (relay.upkeep(), Ledger::now());
    for (days, kept) in [(31, 2), (99, 2), (128, 2), (131, 0)] {
        care(&relay, &mut upkeep, now + days * DAY).await;
        assert_eq!(rows(&relay)["wanted"], kept, "after {days} days");
    }
    check(&relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_is_remembered_for_ever() {
    let relay = Relay::start_with(&[("MSR_INDICATOR__WITHDRAW", "revoke")]).await;
    let mut sentinel = Sentinel::default();
    let (mut upkeep, now) = (relay.upkeep(), Ledger::now());
    for round in 0..3 {
        relay.hear(&publication(then() + round * 2, 1)).await;
        sentinel.accept_all(&relay).await;
        assert_eq!(sentinel.live().len(), 1);
        relay.hear(&publication(then() + round * 2 + 1, 0)).await;
        sentinel.accept_all(&relay).await;
        // A clock that has jumped is believed after a day.
        for days in 0..3 {
            care(&relay, &mut upkeep, now + (1_000 + 10 * round + days) * DAY).await;
        }
        assert_eq!(rows(&relay)["wanted"], 1, "only the last one");
        assert_eq!(sentinel.all().count(), usize::try_from(round).unwrap() + 1, "another id");
    }
    check(&relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_not_enabled_costs_one_row_and_misses_nothing() {
    let mut relay = Relay::start().await;
    relay.retarget_with(&[TARGET], &["off"]).await;
    for round in 0..10 {
        relay.hear(&publication(then() + round, usize::try_from(round).unwrap() + 1)).await;
    }
    let of_off =
        async |relay: &Relay| relay.ledger.queue_depth("off").await.unwrap().iter().sum::<i64>();
    assert_eq!(of_off(&relay).await, 1);
    assert!(rows(&relay)["queue"] >= 10);
    check(&relay).await;
    // Off, on, off again with a queue of its own.
    relay.retarget(&[TARGET, "off"]).await;
    assert_eq!(
        relay.ledger.pending(VIEW, "off", 0, None, Ledger::now(), 100).await.unwrap().len(),
        10
    );
    relay.hear(&publication(then() + 20, 12)).await;
    assert!(of_off(&relay).await > 1);
    relay.retarget_with(&[TARGET], &["off"]).await;
    assert_eq!(of_off(&relay).await, 1);
    check(&relay).await;
}

fn gaps(scene: &Scene) -> Vec<String> {
    let status = scene.relay.command(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let gaps = status["ledger"]["gaps"].as_array().unwrap();
    gaps.iter().map(|gap| gap["reason"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_did_not_end_in_order_leaves_a_gap() {
    let mut scene = Scene::set(&[]).await;
    let interrupted = "interrupted".to_owned();
    assert!(!gaps(&scene).contains(&interrupted));
    assert_eq!(scene.relay.stop().0, Some(0));
    scene.relay.restart(&scene.publisher).await;
    assert!(!gaps(&scene).contains(&interrupted), "stopped in order");
    // Its inbox holds a publication of 5,000 attributes when the grace time is over.
    scene.relay.stop();
    scene.relay.set("MSR_DELIVERY__GRACE", "0ms");
    scene.relay.restart(&scene.publisher).await;
    assert!(!gaps(&scene).contains(&interrupted));
    scene.publisher.send(&recorded_frame("zmq", "010616_misp_json.bin").frame).await;
    // It has arrived by then, and writing it takes some hundred milliseconds.
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(scene.relay.stop().0, Some(0));
    scene.relay.set("MSR_DELIVERY__GRACE", "8s");
    scene.relay.restart(&scene.publisher).await;
    assert!(gaps(&scene).contains(&interrupted), "stopped too early");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_before_it_listens_leaves_no_gap() {
    let mut scene = Scene::set(&[]).await;
    assert_eq!(scene.relay.stop().0, Some(0));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    scene.relay.set("MSR_ADMIN__LISTEN", &taken.local_addr().unwrap().to_string());
    let failed = scene.relay.command(&["run"]);
    let told = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot listen on admin.listen"), "{told}");
    scene.relay.set("MSR_ADMIN__LISTEN", "127.0.0.1:0");
    scene.relay.restart(&scene.publisher).await;
    assert!(!gaps(&scene).contains(&"interrupted".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_a_gap_also_after_a_start_that_fails() {
    let mut scene = Scene::set(&[]).await;
    scene.relay.kill();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    scene.relay.set("MSR_ADMIN__LISTEN", &taken.local_addr().unwrap().to_string());
    assert_eq!(scene.relay.command(&["run"]).status.code(), Some(1));
    scene.relay.set("MSR_ADMIN__LISTEN", "127.0.0.1:0");
    scene.relay.restart(&scene.publisher).await;
    assert!(gaps(&scene).contains(&"interrupted".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_a_gap() {
    let mut scene = Scene::set(&[]).await;
    scene.relay.kill();
    scene.relay.restart(&scene.publisher).await;
    assert!(gaps(&scene).contains(&"interrupted".to_owned()));
}

/// The gap for the time between two runs: since when and until when.
fn between_runs(scene: &Scene) -> Option<[DateTime<Utc>; 2]> {
    let status = scene.relay.command(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let gaps = status["ledger"]["gaps"].as_array().unwrap();
    let gap = gaps.iter().find(|gap| gap["reason"] == "stopped")?;
    Some(["since", "until"].map(|key| gap[key].as_str().unwrap().parse().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_time_between_two_runs_is_a_gap() {
    let mut scene = Scene::set(&[]).await;
    assert_eq!(between_runs(&scene), None, "there was no run before");
    let before = Utc::now();
    assert_eq!(scene.relay.stop().0, Some(0));
    let after = Utc::now();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let restarted = Utc::now();
    scene.relay.restart(&scene.publisher).await;
    let [since, until] = between_runs(&scene).unwrap();
    let millisecond = Duration::from_millis(1);
    assert!(before - millisecond <= since && since <= after, "{before} {since} {after}");
    assert!(restarted - millisecond <= until, "{restarted} {until}");

    // A further one keeps its beginning.
    assert_eq!(scene.relay.stop().0, Some(0));
    scene.relay.restart(&scene.publisher).await;
    assert!(matches!(between_runs(&scene), Some([first, last]) if first == since && last > until));
    assert_eq!(scene.relay.command(&["release", "--gaps"]).status.code(), Some(0));
    assert_eq!(between_runs(&scene), None);

    // A run that breaks off has a gap of its own.
    scene.relay.kill();
    scene.relay.restart(&scene.publisher).await;
    assert_eq!(between_runs(&scene), None);
    assert!(gaps(&scene).contains(&"interrupted".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_a_catch_up_finds_what_was_missed_between_two_runs() {
    // Nothing is asked of this MISP: the key alone decides.
    let settings = [
        ("MSR_MISP__URL", "https://127.0.0.1:1"),
        ("MSR_MISP__KEY", "KeyOfNobodyKeyOfNobodyKeyOfNobodyKeyOfNo"),
    ];
    let mut scene = Scene::set(&settings).await;
    assert_eq!(scene.relay.stop().0, Some(0));
    scene.relay.restart(&scene.publisher).await;
    assert_eq!(between_runs(&scene), None);
}

/// Without a key no catch-up closes a gap, so an operator does.
#[tokio::test(flavor = "multi_thread")]
async fn gaps_that_nothing_heals_are_closed_on_command() {
    let mut scene = Scene::set(&[]).await;
    scene.relay.kill();
    scene.relay.restart(&scene.publisher).await;
    assert!(gaps(&scene).contains(&"interrupted".to_owned()));
    let status = scene.relay.command(&["status"]);
    let told = String::from_utf8(status.stdout).unwrap();
    assert!(told.contains("release --gaps"), "{told}");

    let released = scene.relay.command(&["release", "--gaps"]);
    let told = String::from_utf8(released.stdout).unwrap();
    assert_eq!(released.status.code(), Some(0), "{told}");
    assert!(told.contains("relay: interrupted, 1 time, from "), "{told}");
    assert!(told.contains("Nothing was healed"), "{told}");
    assert!(!gaps(&scene).contains(&"interrupted".to_owned()));
    let log = scene.relay.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let closed = lines.filter(|line| line["event"] == "operator_release");
    let reasons: Vec<Value> = closed.map(|line| line["reason"].clone()).collect();
    assert!(reasons.contains(&Value::from("interrupted")), "{log}");
    let again = scene.relay.command(&["release", "--gaps"]);
    assert_eq!(String::from_utf8(again.stdout).unwrap(), "No gap is open.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_that_a_catch_up_heals_are_left_to_it() {
    // Nothing is asked of this MISP: the key alone decides.
    let settings = [
        ("MSR_MISP__URL", "https://127.0.0.1:1"),
        ("MSR_MISP__KEY", "KeyOfNobodyKeyOfNobodyKeyOfNobodyKeyOfNo"),
    ];
    let scene = Scene::set(&settings).await;
    let refused = scene.relay.command(&["release", "--gaps"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("a catch-up heals the gaps"), "{told}");
}
