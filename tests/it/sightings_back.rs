//! Tests that hits are told to MISP as sightings: one an attribute, target and day, never two, and none is lost.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use misp_sentinel_relay::config::{self, LedgerConfig};
use misp_sentinel_relay::ledger::{DueSighting, Ledger, RecordedHits, TellingRules};
use misp_sentinel_relay::misp_api::MispClient;
use misp_sentinel_relay::pure::alert::{Alert, Named};
use misp_sentinel_relay::pure::policy::Reach;
use misp_sentinel_relay::pure::stix::Observable;
use misp_stand_in::{
    Audience, Key, Misp, MispServer, MispSettings, NewAttribute, NewEvent, Organisation, RestFault,
    Sighting, Spoilt,
};
use serde_json::Value;
use uuid::Uuid;

use super::support::ledger::{Relay as InProcess, TARGET as SOC};
use super::support::relay::{Relay, held, owned};
use super::support::rest::settings;
use super::support::sandbox::start;
use super::support::sentinel::Sentinel;
use super::truth::{KEY, SHORT, Stage, address, now};

/// The target of the sandbox.
const TARGET: &str = "sandbox";
const WRITER: &str = "WritingKeyOfTheMispStandIn00000000000000";
const VALUE: &str = "11.0.0.1";
const SIGHTINGS: (&str, &str) = ("MSR_MISP__SIGHTINGS__KEY", WRITER);

/// The key of a user of the organisation who may add sightings.
fn writer() -> Key {
    Key { user_id: 4, role_id: 3, site_admin: false, read_only: false, ..Key::site_admin(WRITER) }
}

/// A MISP with one event of the organisation alone.
fn own_misp() -> (Misp, Uuid) {
    let misp = Misp::new(now() - 1_000);
    let attribute = address(VALUE);
    let (event, uuid) = (Uuid::new_v4(), attribute.uuid);
    let attributes = vec![attribute];
    let new = NewEvent { uuid: event, distribution: 0, attributes, ..NewEvent::default() };
    misp.add_event(new);
    misp.advance(1);
    misp.publish(event);
    misp.advance(1);
    (misp, uuid)
}

async fn stage(misp: Misp, settings: &[(&str, &str)]) -> Stage {
    let settings = [&[SIGHTINGS], settings].concat();
    let keys = |rest: &MispServer| rest.set_keys(vec![Key::site_admin(KEY), writer()]);
    let stage = Stage::set_with(misp, &settings, keys).await;
    stage.becomes(&[VALUE]).await;
    stage
}

fn seen(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// An alert that names an address, seen at this second.
fn alert(id: &str, at: i64) -> Alert {
    Alert {
        id: id.to_owned(),
        rule: "TI map IP entity".to_owned(),
        first_seen: seen(at - 60),
        last_seen: seen(at),
        named: vec![Named::Entity(Observable::new("ipv4-addr:value", VALUE))],
    }
}

async fn open(folder: &Path) -> Ledger {
    let (data_dir, tombstones) = (folder.to_owned(), Duration::from_secs(1_000_000));
    Ledger::open(&LedgerConfig { data_dir, fsync: false, tombstones }).await.unwrap()
}

/// Records alerts while no relay runs.
async fn record(stage: &Stage, alerts: Vec<Alert>) -> RecordedHits {
    let ledger = open(stage.relay.folder()).await;
    let recorded = ledger.record_alerts(TARGET, alerts, seen(now())).await.unwrap();
    ledger.close().await;
    recorded
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for so many sightings, and that there are no more of them a while later.
async fn told(stage: &Stage, count: usize) -> Vec<Sighting> {
    let reached = || stage.misp.sightings().len() >= count && due(stage) == 0;
    eventually(&format!("{count} sightings and none due"), reached).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let all = stage.misp.sightings();
    assert_eq!(all.len(), count, "{all:?}");
    all
}

/// How many sightings the relay still has to tell; many where it does not answer.
fn due(stage: &Stage) -> i64 {
    let output = stage.relay.command(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let counts = status["ledger"]["own_sightings"].as_array().cloned();
    counts.map_or(i64::MAX, |all| all.iter().filter_map(|one| one["due"].as_i64()).sum())
}

fn explained(stage: &Stage) -> String {
    String::from_utf8(stage.relay.command(&["explain", VALUE]).stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_comes_twice_is_told_once() {
    let (misp, attribute) = own_misp();
    let mut stage = stage(misp, &[]).await;
    stage.relay.stop();
    let today = now() - now().rem_euclid(86_400);
    let recorded = record(&stage, vec![alert("a", today - 10), alert("b", today - 20)]).await;
    assert_eq!(recorded, RecordedHits { new: 2, known: 0, dropped: 0 });
    let again = record(&stage, vec![alert("a", today - 10)]).await;
    assert_eq!(again, RecordedHits { new: 0, known: 1, dropped: 0 });
    stage.relay.restart_alone().await;
    let all = told(&stage, 1).await;
    let Sighting { source, kind, org_id, date_sighting, .. } = &all[0];
    assert_eq!((source.as_str(), kind.as_str(), *org_id), ("misp-sentinel-relay", "0", 1));
    assert_eq!((all[0].attribute, *date_sighting), (attribute, today - 10));
    let text = explained(&stage);
    assert!(text.contains("hit at sandbox by rule \"TI map IP entity\": 2 alerts"), "{text}");
    assert!(text.contains(&format!("MISP took it as {}", all[0].uuid)), "{text}");
    // Another start tells it no more; another day is another sighting.
    stage.relay.stop();
    record(&stage, vec![alert("a", today - 10), alert("c", today - 86_410)]).await;
    stage.relay.restart_alone().await;
    told(&stage, 2).await;
    // What MISP publishes of it changes nothing here: it speaks neither against the attribute nor for its end.
    let (uploaded, frames) = (stage.uploaded(), stage.misp.sighting_frames());
    assert_eq!(frames.len(), 2);
    stage.send(frames).await;
    stage.stays(&[VALUE], Duration::from_millis(300)).await;
    assert_eq!(stage.uploaded(), uploaded);
}

fn own_rules() -> TellingRules {
    TellingRules {
        source: "misp".to_owned(),
        reach: Reach::Own,
        organisation: Some(Organisation::own().uuid),
        said_by: "misp-sentinel-relay".to_owned(),
    }
}

/// The due sighting, made as the running relay makes it.
async fn made(stage: &Stage, ledger: &Ledger) -> DueSighting {
    let rules = own_rules();
    assert_eq!(ledger.make_sightings(&rules).await.unwrap(), 1, "{:?}", stage.misp.events());
    // A crash before the commit makes it again, and one after it makes no second one.
    assert_eq!(ledger.make_sightings(&rules).await.unwrap(), 0);
    ledger.due_sightings("misp", Ledger::now(), 9).await.unwrap().remove(0)
}

/// The same of a new alert, while no relay runs. `asked`: as it is while MISP is asked.
async fn due_of_an_alert(stage: &Stage, asked: bool) -> DueSighting {
    record(stage, vec![alert("a", now() - 10)]).await;
    let ledger = open(stage.relay.folder()).await;
    let due = made(stage, &ledger).await;
    if asked {
        ledger.begin_sighting("misp", &due, &due.said_by, 0).await.unwrap();
    }
    ledger.close().await;
    due
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_request_loses_nothing_and_one_after_it_tells_nothing_twice() {
    for has_arrived in [false, true] {
        let (misp, attribute) = own_misp();
        let mut stage = stage(misp, &[]).await;
        stage.relay.kill();
        let due = due_of_an_alert(&stage, true).await;
        if has_arrived {
            add(&stage.rest, WRITER, attribute, &due).await;
        }
        stage.relay.restart_alone().await;
        told(&stage, 1).await;
    }
}

fn http(rest: &MispServer) -> reqwest::Client {
    MispClient::way(&settings(&rest.base_url())).client_with(|builder| builder).unwrap()
}

/// The copy knows nothing of the sighting, and the same alerts are read again.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_restored_tells_nothing_twice() {
    let (misp, _) = own_misp();
    let mut stage = stage(misp, &[]).await;
    let copy = stage.relay.folder().join("copy.db").display().to_string();
    assert!(stage.relay.command(&["ledger", "backup", &copy]).status.success());
    stage.relay.stop();
    let today = now() - now().rem_euclid(86_400);
    record(&stage, vec![alert("a", today - 10)]).await;
    stage.relay.restart_alone().await;
    told(&stage, 1).await;
    stage.relay.stop();
    let restored = stage.relay.command(&["ledger", "restore", &copy, "--replace"]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let recorded = record(&stage, vec![alert("b", today - 20), alert("a", today - 10)]).await;
    assert_eq!(recorded.new, 2);
    stage.relay.restart_alone().await;
    told(&stage, 1).await;
    assert!(explained(&stage).contains("MISP took it as"), "{}", explained(&stage));
}

/// What was due in the copy may have been told since.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_due_in_a_copy_is_looked_up_after_it_was_restored() {
    let (misp, _) = own_misp();
    let mut stage = stage(misp, &[]).await;
    stage.relay.stop();
    due_of_an_alert(&stage, false).await;
    let copy = stage.relay.folder().join("copy.db").display().to_string();
    assert!(stage.relay.command(&["ledger", "backup", &copy]).status.success());
    stage.relay.restart_alone().await;
    told(&stage, 1).await;
    stage.relay.stop();
    assert!(stage.relay.command(&["ledger", "restore", &copy, "--replace"]).status.success());
    stage.relay.restart_alone().await;
    told(&stage, 1).await;
}

/// MISP says no more whether it took the sighting of an attribute that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_ends_with_its_attribute() {
    let (misp, attribute) = own_misp();
    let event = misp.events()[0].uuid;
    let mut stage = stage(misp, &[]).await;
    stage.relay.kill();
    due_of_an_alert(&stage, true).await;
    drop(stage.misp.delete_attribute(event, attribute));
    stage.relay.restart_alone().await;
    told(&stage, 0).await;
    assert!(stage.relay.log().contains("MISP no longer shows the attribute"));
}

/// Who narrows the audience stops a leak, also of what was due under the wider one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_judged_by_the_audience_of_now() {
    let (misp, _) = own_misp();
    let event = misp.events()[0].uuid;
    misp.share_event(event, Audience { distribution: 3, group: 0 });
    misp.publish(event);
    misp.advance(1);
    let mut stage = stage(misp, &[]).await;
    stage.relay.stop();
    record(&stage, vec![alert("a", now() - 10)]).await;
    let ledger = open(stage.relay.folder()).await;
    let rules = TellingRules { reach: Reach::All, ..own_rules() };
    assert_eq!(ledger.make_sightings(&rules).await.unwrap(), 1);
    ledger.close().await;
    drop(ledger);
    stage.relay.restart_alone().await;
    told(&stage, 0).await;
    assert!(explained(&stage).contains("no longer within misp.sightings.audience"));
}

/// A MISP that is down holds up no other one.
#[tokio::test(flavor = "multi_thread")]
async fn the_trouble_of_one_misp_holds_up_no_other() {
    let (own, attribute) = own_misp();
    let other = Misp::new(now() - 1_000);
    let event = own.events()[0].uuid;
    let again = NewAttribute { uuid: attribute, ..address(VALUE) };
    let new =
        NewEvent { distribution: 0, attributes: vec![again], uuid: event, ..NewEvent::default() };
    other.load_event(new);
    let serving =
        || MispSettings { keys: vec![Key::site_admin(KEY), writer()], ..MispSettings::default() };
    let mut down = MispServer::start(own, serving()).await.unwrap();
    let up = MispServer::start(other, serving()).await.unwrap();
    let settings = |rest: &MispServer| {
        let mut all = owned(&SHORT);
        let own = [
            ("MSR_MISP__URL", rest.base_url()),
            ("MSR_MISP__PUBLIC_URL", "https://misp.example".to_owned()),
            (SIGHTINGS.0, SIGHTINGS.1.to_owned()),
        ];
        all.extend(own.map(|(key, value)| (key.to_owned(), value)));
        all
    };
    let sandbox = start().await;
    let sources = [("down", settings(&down)), ("up", settings(&up))];
    let mut relay = Relay::of_sources(&sandbox, &sources, &[]);
    eventually("delivered", || !held(&sandbox).is_empty()).await;
    let both = |relay: &Relay| {
        let output = relay.command(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let sources = status["ledger"]["sources"].as_array().cloned().unwrap_or_default();
        sources.iter().filter(|one| one["claims"] == 1).count() == 2
    };
    eventually("both claim it", || both(&relay)).await;
    relay.stop();
    let ledger = open(relay.folder()).await;
    ledger.record_alerts(TARGET, vec![alert("a", now() - 10)], seen(now())).await.unwrap();
    ledger.close().await;
    drop(ledger);
    down.stop().await;
    relay.restart_alone().await;
    eventually("the one is told", || up.misp().sightings().len() == 1).await;
    down.restart().await.unwrap();
    eventually("the other is told", || down.misp().sightings().len() == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((up.misp().sightings().len(), down.misp().sightings().len()), (1, 1));
}

/// Adds a sighting as the relay does.
async fn add(rest: &MispServer, key: &str, attribute: Uuid, due: &DueSighting) {
    let body = serde_json::json!({"source": due.said_by, "type": "0", "timestamp": due.seen_at});
    let url = format!("{}/sightings/add/{attribute}", rest.base_url());
    let request = http(rest).post(url).header("Authorization", key);
    let request = request.header("Content-Type", "application/json").body(body.to_string());
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_or_late_and_a_misp_that_is_down_make_one_sighting() {
    let (misp, _) = own_misp();
    let mut stage = stage(misp, &[("MSR_MISP__REST__REQUEST_TIMEOUT", "1s")]).await;
    stage.relay.stop();
    record(&stage, vec![alert("a", now() - 10)]).await;
    stage.rest.script_for(
        "/sightings/add",
        [
            RestFault::Status(500),
            RestFault::Status(503),
            RestFault::Reset,
            RestFault::RateLimited { reset: 1 },
            // MISP takes it, and its answer cannot be read.
            RestFault::Spoilt(Spoilt::PhpWarning),
        ],
    );
    stage.rest.stop().await;
    stage.relay.restart_alone().await;
    stage.logged("sightings_failing").await;
    stage.rest.restart().await.unwrap();
    told(&stage, 1).await;
    let adds =
        stage.rest.requests().into_iter().filter(|one| one.path.starts_with("/sightings/add"));
    assert_eq!(adds.count(), 5);
    stage.logged("sightings_recovered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_right_loses_nothing_and_is_told_with_the_remedy() {
    let (misp, _) = own_misp();
    let mut stage = stage(misp, &[]).await;
    stage.relay.stop();
    record(&stage, vec![alert("a", now() - 10)]).await;
    for key in [Key { role_id: 6, ..writer() }, Key { read_only: true, ..writer() }] {
        stage.rest.set_keys(vec![Key::site_admin(KEY), key]);
        stage.relay.restart_alone().await;
        stage.logged("misp.sightings.key needs a user whose role may add").await;
        assert_eq!(stage.misp.sightings(), []);
        stage.relay.stop();
    }
    stage.rest.set_keys(vec![Key::site_admin(KEY), writer()]);
    stage.relay.restart_alone().await;
    told(&stage, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_misp_refuses_for_good_is_told_once_and_never_asked_again() {
    let (misp, attribute) = own_misp();
    let mut stage = stage(misp, &[]).await;
    stage.relay.stop();
    record(&stage, vec![alert("a", now() - 10)]).await;
    let event = stage.misp.events()[0].uuid;
    stage.misp.remove_attribute(event, attribute);
    // The relay does not learn of it before it tells the hit.
    stage.rest.script_for("/events", std::iter::repeat_n(RestFault::Status(502), 1_000));
    stage.relay.restart_alone().await;
    stage.logged("sighting_refused").await;
    let log = stage.relay.log();
    assert!(log.contains("No valid attributes found that match the criteria."), "{log}");
    stage.relay.stop();
    stage.relay.restart_alone().await;
    eventually("nothing due", || due(&stage) == 0).await;
    let adds =
        stage.rest.requests().into_iter().filter(|one| one.path.starts_with("/sightings/add"));
    assert_eq!((adds.count(), stage.misp.sightings()), (1, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_audience_is_told() {
    for (audience, distribution, org, count) in [
        ("own", 0, Organisation::own(), 1),
        ("own", 1, Organisation::own(), 0),
        ("own", 0, Organisation::other(), 0),
        ("distribution<=1", 1, Organisation::other(), 1),
        ("distribution<=1", 2, Organisation::own(), 0),
        ("all", 3, Organisation::other(), 1),
    ] {
        let misp = Misp::new(now() - 1_000);
        let event = Uuid::new_v4();
        let (attributes, organisation) = (vec![address(VALUE)], org.clone());
        let new =
            NewEvent { uuid: event, distribution, organisation, attributes, ..NewEvent::default() };
        misp.add_event(new);
        misp.publish(event);
        misp.advance(1);
        let mut stage = stage(misp, &[("MSR_MISP__SIGHTINGS__AUDIENCE", audience)]).await;
        stage.relay.stop();
        record(&stage, vec![alert("a", now() - 10)]).await;
        stage.relay.restart_alone().await;
        told(&stage, count).await;
        stage.relay.stop();
        let ledger = open(stage.relay.folder()).await;
        assert!(!ledger.has_new_hits("misp").await.unwrap(), "{audience} {distribution}");
        ledger.close().await;
    }
}

/// An alert may name what matched nothing.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_target_was_sent_is_a_hit() {
    use super::support::event::{publication, then};
    let (relay, mut sentinel) = (InProcess::start().await, Sentinel::default());
    relay.hear(&publication(then(), &[(1, "a.example", &[]), (2, "b.example", &[])])).await;
    let named = |named| Alert { named: vec![named], ..alert("a", now()) };
    let domain = |value: &str| Named::Entity(Observable::new("domain-name:value", value));
    let record = async |one: Named| {
        let recorded = relay.ledger.record_alerts(SOC, vec![named(one)], seen(now())).await;
        let RecordedHits { new, known, dropped } = recorded.unwrap();
        (new, known, dropped)
    };
    // Nothing was sent yet.
    assert_eq!(record(domain("a.example")).await, (0, 0, 1));
    sentinel.accept_all(&relay).await;
    assert_eq!(record(domain("a.example")).await, (1, 0, 0));
    // By its id it is the same hit; as another type, or in another spelling, it is none.
    let id = sentinel.of("a.example")["id"].as_str().unwrap().to_owned();
    assert_eq!(record(Named::Indicator(id)).await, (0, 1, 0));
    for other in [
        domain("A.example"),
        domain("c.example"),
        Named::Entity(Observable::new("url:value", "a.example")),
        Named::Indicator("a.example".to_owned()),
        Named::Indicator(format!("indicator--{}", Uuid::new_v4())),
    ] {
        assert_eq!(record(other.clone()).await, (0, 0, 1), "{other:?}");
    }
    // Another target was not sent it.
    let other = relay.ledger.record_alerts("other", vec![named(domain("b.example"))], seen(now()));
    assert_eq!(other.await.unwrap(), RecordedHits { new: 0, known: 0, dropped: 1 });
    assert_eq!(relay.ledger.alerts_cursor("nobody").await.unwrap(), None);
    let cursor = seen(1_700_000_000);
    relay.ledger.record_alerts(SOC, Vec::new(), cursor).await.unwrap();
    assert_eq!(relay.ledger.alerts_cursor(SOC).await.unwrap(), Some(cursor));
    // Withdrawn now, and in force when the logs were written.
    relay.hear(&publication(then() + 1, &[(1, "a.example", &[])])).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(record(domain("b.example")).await, (1, 0, 0));
}

/// What `check` says of the sightings' key.
fn checked(stage: &Stage) -> String {
    let output = stage.relay.command(&["check", "--json", "--wait", "0s"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let of_sightings = text.lines().filter(|line| line.contains("sightings"));
    of_sightings.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_whose_the_key_is_what_it_may_and_who_sees_sightings() {
    let (misp, _) = own_misp();
    let stage = stage(misp, &[]).await;
    let text = checked(&stage);
    assert!(text.contains("sightings of hits are of this organisation, 4028eff6"), "{text}");
    assert!(text.contains("Plugin.Sightings_policy is true"), "{text}");
    for (key, words) in [
        (Key { role_id: 6, ..writer() }, "its role may not add sightings"),
        (Key { read_only: true, ..writer() }, "MISP refuses the key (403)"),
    ] {
        stage.rest.set_keys(vec![Key::site_admin(KEY), key]);
        let text = checked(&stage);
        assert!(text.contains(words) && text.contains("perm_sighting"), "{text}");
    }
    // It made none.
    assert_eq!(stage.misp.sightings(), []);
}

#[test]
fn mistakes_in_how_misp_is_told_are_told() {
    let long = "s".repeat(300);
    let with_name = format!("{}{{target}}", "s".repeat(250));
    let key = ("MSR_MISP__KEY", KEY);
    for (settings, words) in [
        (vec![key, ("MSR_MISP__SIGHTINGS__SOURCE", long.as_str())], "at most 255 bytes"),
        (vec![key, ("MSR_MISP__SIGHTINGS__SOURCE", with_name.as_str())], "at most 255 bytes"),
        (vec![key, ("MSR_MISP__SIGHTINGS__SOURCE", "")], "know its own sightings again"),
        (vec![key, ("MSR_MISP__SIGHTINGS__AUDIENCE", "distribution<=4")], "no such audience"),
        (vec![], "misp.sightings.key is set"),
    ] {
        let common = [
            SIGHTINGS,
            ("MSR_MISP__URL", "https://misp.example.org"),
            ("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://misp-core:50000"),
            ("MSR_TARGET__SECTOR__MODE", "dry-run"),
        ];
        let environment = common.iter().chain(&settings);
        let environment = environment.map(|(key, value)| ((*key).into(), (*value).into()));
        let file = tempfile::NamedTempFile::new().unwrap();
        let mistakes = config::load(Some(file.path()), environment).unwrap_err().to_string();
        assert!(mistakes.contains(words), "{words}: {mistakes}");
    }
}

/// The calls of a MISP 2.5.1 that were recorded, each replayed against the stand-in.
#[tokio::test(flavor = "multi_thread")]
async fn the_stand_in_answers_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/sightings");
    let mut requests: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|one| one.unwrap().path()).collect();
    requests.retain(|path| path.to_str().unwrap().ends_with(".request.http"));
    requests.sort();
    let stage = recorded_misp();
    let rest = MispServer::start(stage.clone(), MispSettings::default()).await.unwrap();
    let mut replayed = 0;
    for request in requests {
        let name = request.file_name().unwrap().to_str().unwrap().to_owned();
        let name = name.trim_end_matches(".request.http");
        rest.set_keys(vec![key_of(name)]);
        let (status, answer) = replay(&rest, &text_of(&request)).await;
        let recorded = text_of(&folder.join(format!("{name}.response.http")));
        let (head, body) = recorded.split_once("\n\n").unwrap();
        let expected = head.split(' ').nth(1).unwrap();
        assert_eq!(status.to_string(), expected, "{name}: {answer}");
        let body: Value = serde_json::from_str(body.trim()).unwrap();
        if !name.starts_with("43-") {
            assert_eq!(alike(&answer), alike(&body), "{name}");
        } else {
            assert_eq!(alike(&answer[0]), alike(&body[0]), "{name}");
        }
        let frames = std::fs::read_to_string(folder.join(format!("{name}.frames.txt")));
        let frames = frames.unwrap_or_default();
        let expected: Vec<Value> = frames.lines().filter_map(frame_of).collect();
        let sent = stage.sighting_frames();
        let sent: Vec<Value> = sent
            .iter()
            .filter_map(|one| frame_of(std::str::from_utf8(&one.bytes).unwrap()))
            .collect();
        assert_eq!(sent.len(), expected.len(), "{name}");
        for (sent, expected) in sent.iter().zip(&expected) {
            assert_eq!(alike(sent), alike(expected), "{name}");
        }
        replayed += 1;
    }
    assert_eq!(replayed, 37);
}

/// A recorded file, with line feeds alone.
fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap().replace("\r\n", "\n")
}

fn frame_of(line: &str) -> Option<Value> {
    serde_json::from_str(line.strip_prefix("misp_json_sighting ")?).ok()
}

/// Whose key a recorded call had.
fn key_of(name: &str) -> Key {
    let key = Key::site_admin(&"X".repeat(40));
    match name.get(..2).unwrap() {
        "35" => Key { role_id: 6, ..key },
        "36" => Key { role_id: 5, read_only: true, ..key },
        "37" => Key { key: "another".to_owned(), ..key },
        "38" => Key { org_id: 2, ..key },
        _ => key,
    }
}

/// The two events of the recordings, "SIGHT one" of this organisation and "SIGHT two" of the other.
fn recorded_misp() -> Misp {
    let misp = Misp::new(1_795_952_158);
    let of = |uuid: &str, kind: &str, value: &str| NewAttribute {
        uuid: uuid.parse().unwrap(),
        ..NewAttribute::new(kind, value)
    };
    let attributes = vec![
        of("7bc22131-fb8f-4370-ab2e-19bdd9203b23", "ip-dst", "48.1.1.1"),
        NewAttribute::new("domain|ip", "sight.badsite.org|48.1.1.2"),
        of("d36bf514-bd96-4578-a4d0-9fdaa472b945", "ip-dst", "48.1.1.3"),
        NewAttribute::new("url", "http://sight.badsite.org/A"),
    ];
    let uuid = "273cb7cc-8036-4502-bbb9-731c3cd77394".parse().unwrap();
    let organisation = Organisation { name: "ORGNAME".to_owned(), ..Organisation::own() };
    let info = "SIGHT one".to_owned();
    misp.load_event(NewEvent { uuid, info, organisation, attributes, ..NewEvent::default() });
    let organisation = Organisation { name: "OTHERORG".to_owned(), ..Organisation::other() };
    let attributes = vec![NewAttribute::new("ip-dst", "48.1.1.1")];
    let info = "SIGHT two".to_owned();
    misp.load_event(NewEvent { info, organisation, attributes, ..NewEvent::default() });
    misp
}

/// Sends a recorded request, with the numbers that the stand-in gave to its attributes.
async fn replay(rest: &MispServer, recorded: &str) -> (u16, Value) {
    let (head, body) = recorded.split_once("\n\n").unwrap();
    let numbered = |text: &str| text.replace("10730", "1").replace("10732", "3");
    let path = numbered(head.split(' ').nth(1).unwrap()).replace('|', "%7C");
    let request = http(rest).post(format!("{}{path}", rest.base_url()));
    let request = request.header("Authorization", "X".repeat(40));
    let request = request.header("Content-Type", "application/json").body(numbered(body));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Without numbers, new uuids and times of the call.
fn alike(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Some(sighting) = answer.get_mut("Sighting").and_then(Value::as_object_mut) {
        for key in ["id", "attribute_id", "event_id", "uuid", "date_sighting"] {
            assert!(sighting.insert(key.to_owned(), Value::Null).is_some(), "{key}");
        }
        if let Some(event) = sighting.get_mut("Event") {
            event["id"] = Value::Null;
            if event["info"] == "SIGHT two" {
                event["uuid"] = Value::Null;
            }
        }
        if let Some(attribute) = sighting.get_mut("Attribute") {
            attribute["id"] = Value::Null;
            attribute["uuid"] = Value::Null;
        }
    }
    answer
}
