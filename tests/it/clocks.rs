//! Tests wrong clocks and times in the future. After a withdrawal was accepted no rule of Sentinel may match
//! it, and a clock that was ahead once must do no lasting harm.

use std::time::Duration;

use chrono::{DateTime, Utc};
use misp_sentinel_relay::ledger::{Ledger, Moment, Settlement};
use misp_sentinel_relay::sandbox::{Life, Sandbox};
use serde_json::Value;
use uuid::Uuid;

use super::support::database::{execute, execute_with, value};
use super::support::ledger::{Relay, TARGET, VIEW};
use super::support::program::program;
use super::support::sandbox::eventually;
use super::support::scene::Scene;
use super::support::sentinel::Sentinel;
use super::support::{clock, database};
use super::truth::{self, Stage, misp};

const EVENT: &str = "00000007-0000-4000-8000-000000000002";
const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

fn now() -> i64 {
    Ledger::now() / SECOND
}

/// In ten years, and in forty.
fn far() -> [i64; 2] {
    [10, 40].map(|years| now() + years * 365 * DAY)
}

/// A domain with these times, Unix seconds.
struct Domain {
    name: String,
    timestamp: i64,
    first_seen: Option<i64>,
    confidence: &'static str,
}

fn publication(timestamp: i64, domains: &[Domain]) -> Vec<u8> {
    let attributes: Vec<String> = domains
        .iter()
        .map(|Domain { name, timestamp, first_seen, confidence }| {
            let uuid = Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes());
            let seen = first_seen.map(|at| DateTime::from_timestamp(at, 0).unwrap().to_rfc3339());
            let seen = seen.map_or("null".to_owned(), |at| format!("\"{at}\""));
            let tag = format!(r#"{{"name":"misp:confidence-level=\"{confidence}\""}}"#);
            format!(
                r#"{{"id":"1","event_id":"7","uuid":"{uuid}","type":"domain","category":"Network activity","value":"{name}","to_ids":true,"deleted":false,"first_seen":{seen},"timestamp":"{timestamp}","Tag":[{tag}]}}"#
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
    let timestamp = now();
    format!(
        r#"misp_json_event {{"Event":{{"id":"7","uuid":"{EVENT}","timestamp":"{timestamp}"}},"action":"delete"}}"#
    )
    .into_bytes()
}

fn plain(name: &str) -> Domain {
    let (name, timestamp) = (name.to_owned(), now() - DAY);
    Domain { name, timestamp, first_seen: None, confidence: "usually-confident" }
}

/// Every timestamp beside every `first_seen`: past, in an hour, in ten years, in forty.
fn domains() -> Vec<Domain> {
    let [far, farther] = far();
    let times = [now() - DAY, now() + HOUR, far, farther];
    let seen = times.iter().map(|time| Some(*time)).chain([None]);
    let pairs = seen.flat_map(|first_seen| times.map(|timestamp| (timestamp, first_seen)));
    let named = pairs.enumerate().map(|(number, (timestamp, first_seen))| Domain {
        timestamp,
        first_seen,
        ..plain(&format!("d{number}.example"))
    });
    named.collect()
}

fn lives(sandbox: &Sandbox) -> Vec<(Value, Life)> {
    let held = sandbox.lives(sandbox.settings().workspaces[0]).into_iter();
    held.map(|(held, life)| (held.json, life)).collect()
}

/// What a rule can still match by the sandbox's clock.
fn matched(sandbox: &Sandbox) -> Vec<String> {
    let left = lives(sandbox).into_iter().filter(|(_, life)| !life.is_over());
    left.map(|(object, life)| format!("{life:?} {object}")).collect()
}

fn status(scene: &Scene) -> Value {
    serde_json::from_slice(&scene.relay.command(&["status", "--json"]).stdout).unwrap()
}

fn figures(scene: &Scene) -> (i64, i64) {
    let status = status(scene);
    let target = &status["ledger"]["targets"][0];
    (target["delivered"].as_i64().unwrap(), target["withdrawn"].as_i64().unwrap())
}

async fn ends(withdraw: &str) {
    // Sentinel's clock against ours: ours is right, an hour ahead, an hour behind, 400 days ahead.
    for ahead in [0, -HOUR, HOUR, -400 * DAY] {
        let scene = Scene::set(&[("MSR_INDICATOR__WITHDRAW", withdraw)]).await;
        scene.sandbox.set_clock_ahead(ahead);
        let domains = domains();
        let count = domains.len();
        scene.publisher.send(&publication(now() - DAY, &domains)).await;
        eventually(&scene.sandbox, |sandbox| lives(sandbox).len() == count).await;
        let ours = Utc::now();
        for (object, _) in lives(&scene.sandbox) {
            let from: DateTime<Utc> = object["valid_from"].as_str().unwrap().parse().unwrap();
            assert!(from <= ours, "it begins only later: {object:#}");
        }
        assert_eq!(matched(&scene.sandbox).len(), count);
        // It steps back, so that the relay's first end is early.
        scene.sandbox.set_clock_ahead(ahead - HOUR);
        scene.publisher.send(&deletion()).await;
        let withdrawn = i64::try_from(count).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while figures(&scene) != (0, withdrawn) {
            let left = matched(&scene.sandbox);
            assert!(std::time::Instant::now() < deadline, "{:?}, {left:#?}", figures(&scene));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // The relay says that Sentinel accepted all of it.
        let left = matched(&scene.sandbox);
        assert!(left.is_empty(), "{withdraw}, Sentinel {ahead} s ahead: {left:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_is_over_under_each_clock_and_in_each_future() {
    ends("expire").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_is_over_under_each_clock_and_in_each_future() {
    ends("revoke").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_deleted_is_over_under_each_clock_and_in_each_future() {
    ends("delete").await;
}

/// Settings with which a relay is so many seconds ahead of this test.
fn ahead(seconds: i64) -> Option<[(&'static str, String); 3]> {
    let library = clock::library();
    if library.is_none() {
        eprintln!("SKIPPED: no libfaketime to set a relay's clock with");
    }
    Some(clock::ahead(&library?, seconds))
}

fn borrowed<'s>(settings: &'s [(&'static str, String)]) -> Vec<(&'static str, &'s str)> {
    settings.iter().map(|(key, value)| (*key, value.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_400_days_ahead_once_loses_nothing() {
    let Some(ahead) = ahead(400 * DAY) else { return };
    let days = [("MSR_EXPIRY__DEFAULT_DAYS", "300"), ("MSR_EXPIRY__DAYS__DOMAIN_NAME", "300")];
    let mut scene = Scene::set(&[&borrowed(&ahead)[..], &days].concat()).await;
    let names = ["a.example", "b.example", "c.example"];
    scene.publisher.send(&publication(now() - DAY, &names.map(plain))).await;
    scene.logged(&format!("took in the event\",\"misp_event\":\"{EVENT}\"")).await;
    // By that clock all of it has expired.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(lives(&scene.sandbox).is_empty());
    scene.relay.stop();
    scene.relay.unset("LD_PRELOAD");
    scene.relay.unset("FAKETIME");
    scene.relay.restart(&scene.publisher).await;
    eventually(&scene.sandbox, |sandbox| matched(sandbox).len() == names.len()).await;
    let by = status(&scene)["ledger"]["clock_set_back"]["by"].as_i64().unwrap();
    // Less the moments that have passed since.
    assert_eq!(by / SECOND / DAY, 399, "{by}");
    let text = scene.relay.command(&["status"]).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("this machine's went back by 399 days"), "{text}");
    scene.publisher.send(&deletion()).await;
    eventually(&scene.sandbox, |sandbox| matched(sandbox).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_made_while_the_clock_was_ahead_is_over_when_it_is_right() {
    let Some(ahead) = ahead(2 * HOUR) else { return };
    let mut scene = Scene::set(&borrowed(&ahead)).await;
    scene.publisher.send(&publication(now() - DAY, &["a.example", "b.example"].map(plain))).await;
    eventually(&scene.sandbox, |sandbox| matched(sandbox).len() == 2).await;
    scene.relay.stop();
    scene.relay.unset("LD_PRELOAD");
    scene.relay.unset("FAKETIME");
    scene.relay.restart(&scene.publisher).await;
    scene.publisher.send(&deletion()).await;
    eventually(&scene.sandbox, |sandbox| matched(sandbox).is_empty()).await;
    for (object, _) in lives(&scene.sandbox) {
        let time =
            |member: &str| -> DateTime<Utc> { object[member].as_str().unwrap().parse().unwrap() };
        assert!(time("modified") > Utc::now(), "the bookkeeping goes on from where it was");
        assert!(time("modified") > time("created"));
        assert!(time("valid_until") < Utc::now());
    }
}

async fn care(relay: &Relay, now: i64) {
    let mut upkeep = relay.upkeep();
    while upkeep.step(&relay.ledger, &relay.views, now).await.unwrap() {}
}

fn database(relay: &Relay) -> rusqlite::Connection {
    database::open(&relay.config.ledger.data_dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_forgotten_by_a_clock_that_has_just_jumped() {
    let relay = Relay::start_with(&[("MSR_EXPIRY__DAYS__DOMAIN_NAME", "300")]).await;
    let mut sentinel = Sentinel::default();
    relay.hear(&publication(now() - DAY, &["a.example", "b.example"].map(plain))).await;
    sentinel.accept_all(&relay).await;
    relay.hear(&deletion()).await;
    let right = Ledger::now();
    care(&relay, right).await;
    for hours in [0, 1, 23] {
        let wrong = right + (400 * DAY + hours * HOUR) * SECOND;
        for _ in 0..3 {
            care(&relay, wrong).await;
        }
        assert!(relay.ledger.pending(VIEW, TARGET, 0, None, wrong, 10).await.unwrap().is_empty());
    }
    care(&relay, right).await;
    assert_eq!(relay.ledger.queue_depth(TARGET).await.unwrap()[2], 1, "compared with everything");
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().is_empty(), "the withdrawals are remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_clock_that_was_ahead_is_brought_forward() {
    let settings = [
        ("MSR_MISP__URL", "http://127.0.0.1:1"),
        ("MSR_MISP__KEY", "SiteAdministratorsKeyOfTheMispStandIn000"),
    ];
    let relay = Relay::start_with(&settings).await;
    let event = Uuid::parse_str(EVENT).unwrap();
    relay.hear(&publication(now() - DAY, &[plain("a.example")])).await;
    care(&relay, Ledger::now()).await;
    let ahead = 400 * DAY * SECOND;
    let database = database(&relay);
    for statement in [
        "UPDATE reads SET due_at = due_at + $1, not_before = not_before + $1, asked_at = asked_at + $1",
        "UPDATE counters SET value = value + $1 WHERE name = 'clock'",
    ] {
        execute_with(&database, statement, ahead);
    }
    let soon = Ledger::now() + 61 * SECOND;
    assert!(relay.ledger.due_reads("misp", soon, 10).await.unwrap().is_empty());
    care(&relay, Ledger::now()).await;
    let due = relay.ledger.due_reads("misp", soon, 10).await.unwrap();
    assert_eq!(due.iter().map(|read| read.event).collect::<Vec<_>>(), [event]);
    let (resync, _) = relay.ledger.resync_progress("misp").await.unwrap().unwrap();
    assert!(resync.is_whole() && resync.finished_at.is_none(), "everything is read again");
    let told = relay.ledger.status().await.unwrap().clock_set_back.unwrap();
    assert!(told.by > ahead - 60 * SECOND, "{told:?}");
    care(&relay, Ledger::now()).await;
    let again = relay.ledger.status().await.unwrap().clock_set_back.unwrap();
    assert_eq!(again, told, "it is noticed once");
}

fn valid_until(object: &Value) -> i64 {
    let until: DateTime<Utc> = object["valid_until"].as_str().unwrap().parse().unwrap();
    until.timestamp()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_heard_by_a_clock_that_was_wrong_is_heard_anew() {
    let days = ("MSR_EXPIRY__DAYS__DOMAIN_NAME", "300");
    let relay = Relay::start_with(&[days, ("MSR_EXPIRY__FROM", "first_seen_by_relay")]).await;
    let mut sentinel = Sentinel::default();
    relay.hear(&publication(now() - DAY, &[plain("a.example")])).await;
    care(&relay, Ledger::now()).await;
    let database = database(&relay);
    for statement in [
        "UPDATE claims SET claimed_at = claimed_at + $1, heard_at = heard_at + $1",
        "UPDATE counters SET value = value + $1 WHERE name = 'clock'",
    ] {
        execute_with(&database, statement, 400 * DAY * SECOND);
    }
    let right = Ledger::now();
    care(&relay, right).await;
    sentinel.accept_all(&relay).await;
    let end = right / SECOND + 300 * DAY;
    assert!((valid_until(sentinel.of("a.example")) - end).abs() < 60, "its days count from now");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_the_future_only_by_a_clock_that_was_behind_counts_as_it_says() {
    let relay = Relay::start_with(&[("MSR_EXPIRY__DAYS__DOMAIN_NAME", "300")]).await;
    let mut sentinel = Sentinel::default();
    let said = now() - DAY;
    let domain = |confidence| Domain { timestamp: said, confidence, ..plain("a.example") };
    relay.hear(&publication(said, &[domain("usually-confident")])).await;
    care(&relay, Ledger::now()).await;
    // As it was heard by a clock that stood at its beginning.
    let database = database(&relay);
    for statement in
        ["UPDATE claims SET heard_at = 0", "UPDATE counters SET value = 1 WHERE name LIKE 'clock%'"]
    {
        execute(&database, statement);
    }
    relay.hear(&publication(said + 1, &[domain("rarely-confident")])).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(sentinel.all().count(), 0, "its days are over by that clock");
    care(&relay, Ledger::now()).await;
    sentinel.accept_all(&relay).await;
    assert!((valid_until(sentinel.of("a.example")) - (said + 300 * DAY)).abs() < 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_back_that_a_kill_cut_short_is_undone_by_a_clock_that_is_right() {
    let relay = Relay::start_with(&[("MSR_EXPIRY__DAYS__DOMAIN_NAME", "300")]).await;
    let mut sentinel = Sentinel::default();
    let said = now() - DAY;
    relay.hear(&publication(said, &[Domain { timestamp: said, ..plain("a.example") }])).await;
    care(&relay, Ledger::now()).await;
    let database = database(&relay);
    let kill = "CREATE TRIGGER kill BEFORE UPDATE ON counters
        WHEN NEW.name = 'clock' AND NEW.value < OLD.value BEGIN SELECT RAISE(ABORT, 'killed'); END";
    execute(&database, kill);
    let wrong = Ledger::now() - 400 * DAY * SECOND;
    let killed = relay.upkeep().step(&relay.ledger, &relay.views, wrong).await;
    assert!(killed.unwrap_err().to_string().contains("killed"));
    execute(&database, "DROP TRIGGER kill");
    care(&relay, Ledger::now()).await;
    sentinel.accept_all(&relay).await;
    assert!((valid_until(sentinel.of("a.example")) - (said + 300 * DAY)).abs() < 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_misp_ahead_by_minutes_said_to_a_clock_that_was_behind_by_months_is_heard_again_once()
 {
    let relay = Relay::start_with(&[("MSR_EXPIRY__DAYS__DOMAIN_NAME", "300")]).await;
    let mut sentinel = Sentinel::default();
    let said = now() + 1_200;
    relay.hear(&publication(said, &[Domain { timestamp: said, ..plain("a.example") }])).await;
    care(&relay, Ledger::now()).await;
    let database = database(&relay);
    let behind = 400 * DAY * SECOND;
    for statement in [
        "UPDATE claims SET heard_at = heard_at - $1",
        "UPDATE counters SET value = value - $1 WHERE name LIKE 'clock%' AND value > 0",
    ] {
        execute_with(&database, statement, behind);
    }
    let right = Ledger::now();
    care(&relay, right).await;
    sentinel.accept_all(&relay).await;
    let heard: i64 = value(&database, "SELECT heard_at FROM claims");
    assert_eq!(heard, right);
    let end = right / SECOND + 300 * DAY;
    assert!((valid_until(sentinel.of("a.example")) - end).abs() < 1_260);
    // After a pause nothing is heard again: MISP is ahead, and our clock is right.
    let later = right + 600 * SECOND;
    care(&relay, later).await;
    let heard: i64 = value(&database, "SELECT heard_at FROM claims");
    assert_eq!(heard, right);
}

/// MISP and the relay may share one clock.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_noted_by_a_clock_that_misp_shared_is_put_right() {
    let relay = Relay::start_with(&[
        ("MSR_EXPIRY__DAYS__DOMAIN_NAME", "300"),
        ("MSR_EXPIRY__FROM", "first_seen_by_relay"),
    ])
    .await;
    let mut sentinel = Sentinel::default();
    relay.hear(&publication(now() - DAY, &[plain("a.example")])).await;
    care(&relay, Ledger::now()).await;
    let database = database(&relay);
    for statement in [
        "INSERT INTO tombstones (source, attribute, object, timestamp, ids_only, withdrawn_at)
             SELECT 'misp', zeroblob(16), zeroblob(16), 1, FALSE, value FROM counters
             WHERE name = 'clock'",
        "INSERT INTO tag_changes (source, event, attribute, tag, local, attached, heard_at)
             SELECT 'misp', 7, 0, 'tlp:red', FALSE, TRUE, value FROM counters WHERE name = 'clock'",
        "UPDATE events SET read_at = (SELECT value / 1000 FROM counters WHERE name = 'clock')",
    ] {
        execute(&database, statement);
    }
    for statement in [
        "UPDATE claims SET claimed_at = claimed_at + $1, heard_at = heard_at + $1",
        "UPDATE tombstones SET withdrawn_at = withdrawn_at + $1",
        "UPDATE tag_changes SET heard_at = heard_at + $1",
        "UPDATE events SET read_at = read_at + $1 / 1000",
        "UPDATE counters SET value = value + $1 WHERE name = 'clock'",
    ] {
        execute_with(&database, statement, 400 * DAY * SECOND);
    }
    let right = Ledger::now();
    care(&relay, right).await;
    for times in [
        "SELECT withdrawn_at FROM tombstones",
        "SELECT heard_at FROM tag_changes",
        "SELECT claimed_at FROM claims",
        "SELECT heard_at FROM claims",
    ] {
        let time: i64 = value(&database, times);
        assert!(time <= right, "{times}: {} s ahead", (time - right) / SECOND);
    }
    sentinel.accept_all(&relay).await;
    let end = right / SECOND + 300 * DAY;
    assert!((valid_until(sentinel.of("a.example")) - end).abs() < 60, "its days count from now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_behind_for_a_while_shortens_no_life() {
    for from in ["timestamp", "first_seen_by_relay"] {
        let days = ("MSR_EXPIRY__DAYS__DOMAIN_NAME", "300");
        let relay = Relay::start_with(&[days, ("MSR_EXPIRY__FROM", from)]).await;
        let mut sentinel = Sentinel::default();
        let said = now() - DAY;
        let domain = Domain { timestamp: said, ..plain("a.example") };
        relay.hear(&publication(said, &[domain])).await;
        let right = Ledger::now();
        care(&relay, right).await;
        care(&relay, 2 * DAY * SECOND).await;
        care(&relay, right + SECOND).await;
        sentinel.accept_all(&relay).await;
        let begin = if from == "timestamp" { said } else { right / SECOND };
        let off = valid_until(sentinel.of("a.example")) - begin - 300 * DAY;
        assert!(off.abs() < 60, "{from}: {off} s off");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_behind_by_a_moment_sends_nothing_again_after_a_pause() {
    let relay = Relay::start_with(&[("MSR_EXPIRY__DAYS__DOMAIN_NAME", "300")]).await;
    let mut sentinel = Sentinel::default();
    let said = now() - DAY;
    let domain = |confidence| Domain { timestamp: said, confidence, ..plain("a.example") };
    relay.hear(&publication(said, &[domain("usually-confident")])).await;
    care(&relay, Ledger::now()).await;
    // As it was heard by a clock that is two seconds behind MISP's.
    let database = database(&relay);
    let behind = "UPDATE claims SET heard_at = (timestamp - 2) * 1000";
    execute(&database, behind);
    relay.hear(&publication(said + 1, &[domain("rarely-confident")])).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(valid_until(sentinel.of("a.example")), said - 2 + 300 * DAY);
    let stopped = "UPDATE counters SET value = value - 600000 WHERE name LIKE 'clock%'";
    execute(&database, stopped);
    care(&relay, Ledger::now()).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(sentinel.writes, 1, "nothing changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_asked_for_again_waits_for_no_clock_that_was_ahead() {
    let settings = [
        ("MSR_MISP__URL", "http://127.0.0.1:1"),
        ("MSR_MISP__KEY", "SiteAdministratorsKeyOfTheMispStandIn000"),
    ];
    let relay = Relay::start_with(&settings).await;
    relay.hear(&publication(now() - DAY, &[plain("a.example")])).await;
    let database = database(&relay);
    let far = "UPDATE reads SET due_at = due_at + 34560000000, not_before = not_before + 34560000000, asked_at = asked_at + 34560000000";
    execute(&database, far);
    relay.hear(&publication(now() - DAY, &[plain("a.example"), plain("b.example")])).await;
    let soon = Ledger::now() + 61 * SECOND;
    assert_eq!(relay.ledger.due_reads("misp", soon, 10).await.unwrap().len(), 1);
    execute(&database, far);
    let event = Uuid::parse_str(EVENT).unwrap();
    relay.ledger.resync_event("misp", event, Ledger::now()).await.unwrap();
    assert_eq!(relay.ledger.due_reads("misp", soon, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_a_withdrawal_is_byte_identical_and_one_that_is_not_over_goes_with_another_end()
{
    let relay = Relay::start_with(&[("MSR_INDICATOR__WITHDRAW", "revoke")]).await;
    let mut sentinel = Sentinel::default();
    let future = Domain { first_seen: Some(far()[1]), ..plain("a.example") };
    relay.hear(&publication(now() - DAY, &[future])).await;
    sentinel.accept_all(&relay).await;
    relay.hear(&deletion()).await;
    let send = async |moment: Moment| {
        let pending = relay.ledger.pending(VIEW, TARGET, 0, None, moment.now, 10).await.unwrap();
        relay.ledger.mark_sending(TARGET, &pending, moment).await.unwrap().remove(0)
    };
    let time = Ledger::now();
    let first = send(Moment::by_our_clock(time)).await;
    let repeat = send(Moment::at_target(time + 90_000, time - 400 * DAY * SECOND)).await;
    assert_eq!(first.json, repeat.json, "an ambiguous failure changes nothing");
    let taken = [first.object];
    let early = [Settlement::NotOver(&taken)];
    relay.ledger.settle(TARGET, &early, time, time).await.unwrap();
    let there = time - HOUR * SECOND;
    let next = send(Moment::at_target(time + 90_000, there)).await;
    // An answer tells whole seconds only.
    assert_eq!(next.ended_at, Some(there - SECOND));
    let [first, next] =
        [first.json, next.json].map(|json| -> Value { serde_json::from_str(&json).unwrap() });
    let of = |object: &Value, member: &str| -> DateTime<Utc> {
        object[member].as_str().unwrap().parse().unwrap()
    };
    assert!(of(&next, "modified") > of(&first, "modified"));
    assert!(of(&next, "valid_from") < of(&next, "valid_until"));
    assert_eq!((&first["revoked"], &next["revoked"]), (&true.into(), &true.into()));
    let done = [Settlement::Accepted(&taken)];
    relay.ledger.settle(TARGET, &done, time, time).await.unwrap();
    assert!(relay.ledger.pending(VIEW, TARGET, 0, None, time, 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_as_confident_as_what_was_delivered() {
    let relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    relay.hear(&publication(now() - DAY, &[plain("a.example")])).await;
    sentinel.accept_all(&relay).await;
    let delivered = sentinel.of("a.example")["confidence"].as_i64().unwrap();
    // Lowered in MISP, and taken back before anything of that was sent.
    let doubted = Domain { confidence: "rarely-confident", timestamp: now(), ..plain("a.example") };
    relay.hear(&publication(now(), &[doubted])).await;
    let wanted = relay.ledger.pending(VIEW, TARGET, 0, None, Ledger::now(), 10).await.unwrap();
    let wanted: Value = serde_json::from_str(&wanted[0].body).unwrap();
    assert!(wanted["confidence"].as_i64().unwrap() < delivered, "the test lowers it");
    relay.hear(&deletion()).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().is_empty());
    assert_eq!(sentinel.of("a.example")["confidence"], delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_of_misps_that_was_ahead_hides_no_later_publication() {
    let (misp, ..) = misp(&["1.1.1.1"]);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1"]).await;
    stage.misp.advance(400 * DAY);
    truth::publish(&stage, "2.2.2.2");
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    // Its catch-up has listed what was published by that clock.
    let listed = stage.requests();
    while stage.requests() < listed + 4 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stage.misp.advance(-400 * DAY);
    truth::publish(&stage, "3.3.3.3");
    stage.becomes(&["1.1.1.1", "2.2.2.2", "3.3.3.3"]).await;
}

#[test]
fn a_first_seen_in_the_future_is_a_mistake() {
    let input = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/first-seen-in-the-future.json");
    let output = program()
        .args(["convert", "--no-expiry", input])
        .envs([
            ("MSR_MISP__PUBLIC_URL", "https://misp.example.org"),
            ("MSR_EXPIRY__DAYS__DOMAIN_NAME", "300"),
        ])
        .output()
        .unwrap();
    let bundle: Value = serde_json::from_slice(&output.stdout).unwrap();
    let objects = bundle["objects"].as_array().unwrap();
    let of = |name: &str| {
        let pattern = format!("[domain-name:value = '{name}']");
        objects.iter().find(|object| object["pattern"] == pattern).unwrap()
    };
    let time = |object: &Value, member: &str| -> DateTime<Utc> {
        object[member].as_str().unwrap().parse().unwrap()
    };
    let timestamp = 1_793_000_000.min(now());
    let end = DateTime::from_timestamp(timestamp + 300 * DAY, 0).unwrap();
    for name in ["future.evil.example", "now.evil.example"] {
        let object = of(name);
        assert!(time(object, "valid_from") <= Utc::now(), "{object:#}");
        let off = (time(object, "valid_until") - end).num_seconds().abs();
        assert!(off < 60, "{object:#}");
    }
}
