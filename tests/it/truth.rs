//! The whole relay beside a MISP that answers over REST: what the feed loses is found, and nothing is
//! withdrawn because MISP answers wrongly.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use misp_sentinel_relay::sandbox::Sandbox;
use misp_sentinel_relay::sandbox::misp::{
    Edit, Frame, Key, Misp, MispServer, MispSettings, NewAttribute, NewEvent, NewObject,
    Organisation, RestFault,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use super::support::publisher::Publisher;
use super::support::relay::{Relay, held};
use super::support::sandbox::start;
use super::support::scene::is_live;

const KEY: &str = "SiteAdministratorsKeyOfTheMispStandIn000";
const OTHER_KEY: &str = "AnotherKeyOfTheMispStandIn00000000000000";

/// The waits of `misp.rest`, a hundred times shorter.
const SHORT: [(&str, &str); 11] = [
    ("MSR_MISP__KEY", KEY),
    ("MSR_MISP__REST__READ_BACK_AFTER", "50ms"),
    ("MSR_MISP__REST__READ_BACK_WITHIN", "500ms"),
    ("MSR_MISP__REST__CONFIRM_AFTER", "20ms,60ms,200ms,500ms"),
    ("MSR_MISP__REST__CATCH_UP_EVERY", "1s"),
    ("MSR_MISP__REST__EXISTENCE_EVERY", "1h"),
    ("MSR_MISP__REST__GAP_SETTLE", "20ms"),
    ("MSR_MISP__REST__GAP_GRACE", "200ms"),
    ("MSR_MISP__REST__BACKOFF_MIN", "10ms"),
    ("MSR_MISP__REST__BACKOFF_MAX", "100ms"),
    ("MSR_MISP__RESYNC__SCHEDULE", ""),
];

struct Stage {
    misp: Misp,
    rest: MispServer,
    publisher: Publisher,
    sandbox: Sandbox,
    relay: Relay,
}

impl Stage {
    async fn set(misp: Misp, settings: &[(&str, &str)]) -> Self {
        let keys = vec![Key::site_admin(KEY), Key::read_only(OTHER_KEY)];
        let serving = MispSettings { keys, ..MispSettings::default() };
        let rest = MispServer::start(misp.clone(), serving).await.unwrap();
        let (publisher, sandbox) = (Publisher::bind(), start().await);
        let url = rest.base_url();
        let mut all = vec![("MSR_MISP__URL", url.as_str())];
        all.extend(SHORT);
        all.extend(settings);
        let relay = Relay::start(&sandbox, &publisher, &all).await;
        Self { misp, rest, publisher, sandbox, relay }
    }

    async fn send(&self, frames: Vec<Frame>) {
        for frame in frames {
            self.publisher.send(&frame.bytes).await;
        }
    }

    /// Nobody hears of these.
    fn lose(&self, frames: Vec<Frame>) {
        drop(frames);
        self.misp.advance(1);
    }

    fn live(&self) -> BTreeSet<String> {
        let live = held(&self.sandbox).into_iter().filter(|held| is_live(&held.json));
        live.map(|held| held.json["pattern"].as_str().unwrap().to_owned()).collect()
    }

    async fn becomes(&self, values: &[&str]) {
        let expected: BTreeSet<String> = values.iter().map(|value| pattern(value)).collect();
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.live() != expected {
            assert!(Instant::now() < deadline, "{:?} never became {expected:?}", self.live());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn stays(&self, values: &[&str], time: Duration) {
        tokio::time::sleep(time).await;
        self.becomes(values).await;
    }

    /// The feed is away for a moment.
    async fn gap(&mut self, lost: impl AsyncFnOnce(&Self)) {
        self.publisher.stop();
        lost(self).await;
        self.publisher.start();
        self.publisher.wait_for_subscriptions(2).await;
    }

    async fn logged(&self, words: &str) {
        self.logged_times(words, 1).await;
    }

    async fn logged_times(&self, words: &str, times: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.relay.log().matches(words).count() < times {
            assert!(Instant::now() < deadline, "never logged: {words}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn requests(&self) -> usize {
        self.rest.requests().len()
    }

    fn uploaded(&self) -> usize {
        self.sandbox.requests().iter().map(|request| request.objects).sum()
    }

    fn status(&self) -> serde_json::Value {
        let output = self.relay.command(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn pattern(value: &str) -> String {
    format!("[ipv4-addr:value = '{value}']")
}

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

fn address(value: &str) -> NewAttribute {
    NewAttribute::new("ip-dst", value)
}

/// A MISP with one published event of these addresses.
fn misp(values: &[&str]) -> (Misp, Uuid, Vec<Uuid>) {
    let misp = Misp::new(now() - 1_000);
    let attributes: Vec<NewAttribute> = values.iter().map(|value| address(value)).collect();
    let (uuid, uuids) = (Uuid::new_v4(), attributes.iter().map(|one| one.uuid).collect());
    misp.add_event(NewEvent { uuid, attributes, ..NewEvent::default() });
    misp.advance(1);
    misp.publish(uuid);
    misp.advance(1);
    (misp, uuid, uuids)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_before_the_first_start_arrives() {
    let (misp, ..) = misp(&["1.1.1.1", "2.2.2.2"]);
    misp.add_event(NewEvent { attributes: vec![address("3.3.3.3")], ..NewEvent::default() });
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gap_swallows_is_found() {
    let (misp, event, attributes) = misp(&["1.1.1.1", "2.2.2.2", "3.3.3.3"]);
    let (gone, new) = (Uuid::new_v4(), Uuid::new_v4());
    let other =
        NewEvent { uuid: gone, attributes: vec![address("8.8.8.8")], ..NewEvent::default() };
    misp.add_event(other);
    misp.publish(gone);
    misp.advance(10);
    let mut stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2", "3.3.3.3", "8.8.8.8"]).await;
    stage
        .gap(async |stage| {
            stage.lose(stage.misp.edit_attribute(event, attributes[0], Edit::ToIds(false)));
            stage.lose(stage.misp.remove_attribute(event, attributes[1]));
            stage.lose(stage.misp.delete_event(gone));
            let attributes = vec![address("9.9.9.9")];
            stage.lose(stage.misp.add_event(NewEvent {
                uuid: new,
                attributes,
                ..NewEvent::default()
            }));
            stage.lose(stage.misp.publish(new));
        })
        .await;
    stage.becomes(&["3.3.3.3", "9.9.9.9"]).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while stage.status()["ledger"]["gaps"] != json!([]) {
        assert!(Instant::now() < deadline, "the gap is never healed: {}", stage.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = stage.uploaded();
    stage.stays(&["3.3.3.3", "9.9.9.9"], Duration::from_millis(1_500)).await;
    assert_eq!(stage.uploaded(), before, "nothing is sent without a change");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_withdrawn_because_misp_answers_wrongly() {
    let (misp, event, _) = misp(&["1.1.1.1", "2.2.2.2"]);
    misp.advance(100);
    let stage = Stage::set(
        misp,
        &[("MSR_MISP__REST__EXISTENCE_EVERY", "50ms"), ("MSR_MISP__REST__CATCH_UP_EVERY", "50ms")],
    )
    .await;
    let all = ["1.1.1.1", "2.2.2.2"];
    stage.becomes(&all).await;
    let faults = [
        RestFault::Empty,
        RestFault::HtmlPage,
        RestFault::LoginRedirect,
        RestFault::Truncated { after: 300 },
        RestFault::CutShort { after: 300 },
        RestFault::EndsEarly { missing: 1 },
        RestFault::Status(500),
        RestFault::Reset,
        RestFault::AnswerAs(Key::read_only(OTHER_KEY)),
    ];
    let attribute = NewAttribute { distribution: 0, ..address("7.7.7.7") };
    stage.send(stage.misp.add_attribute(event, attribute)).await;
    stage.send(stage.misp.publish(event)).await;
    let all = [all[0], all[1], "7.7.7.7"];
    stage.becomes(&all).await;
    for fault in faults {
        stage.rest.always(Some(fault.clone()));
        let before = stage.requests();
        stage.relay.command(&["resync", "--detach"]);
        stage.stays(&all, Duration::from_millis(400)).await;
        assert!(stage.requests() > before, "{fault:?}: MISP was not even asked");
        stage.rest.heal();
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while stage.status()["degraded"] != json!([]) {
        assert!(Instant::now() < deadline, "all is well again: {}", stage.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_withdraws_nothing_until_it_is_accepted() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    let attribute = NewAttribute { distribution: 0, ..address("7.7.7.7") };
    misp.add_attribute(event, attribute);
    misp.publish(event);
    misp.advance(100);
    let mut stage = Stage::set(misp, &[]).await;
    let all = ["1.1.1.1", "7.7.7.7"];
    stage.becomes(&all).await;
    stage.relay.stop();
    stage.relay.set("MSR_MISP__KEY", OTHER_KEY);
    stage.relay.restart(&stage.publisher).await;
    stage.relay.command(&["resync"]);
    stage.stays(&all, Duration::from_millis(300)).await;
    assert_eq!(stage.status()["relay"]["rest"]["other_view"], true);
    stage.relay.stop();
    stage.relay.options(&["--accept-new-view"]);
    stage.relay.restart(&stage.publisher).await;
    stage.becomes(&["1.1.1.1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_key_may_not_see_waits_for_a_read() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let stage = Stage::set(misp, &[("MSR_MISP__KEY", OTHER_KEY)]).await;
    stage.becomes(&["1.1.1.1"]).await;
    let hidden = NewAttribute { distribution: 0, ..address("7.7.7.7") };
    stage.send(stage.misp.add_attribute(event, hidden)).await;
    stage.send(stage.misp.add_attribute(event, address("2.2.2.2"))).await;
    let publication = stage.misp.publish(event);
    stage.send(publication).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    let ever = held(&stage.sandbox).iter().any(|held| held.json["pattern"] == pattern("7.7.7.7"));
    assert!(!ever, "it never left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_search_decides_what_a_publication_adds() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let search = format!(r#"{{"org": "{}"}}"#, Organisation::own().id);
    let stage = Stage::set(misp, &[("MSR_MISP__SEARCH", &search)]).await;
    stage.becomes(&["1.1.1.1"]).await;
    stage.send(stage.misp.add_attribute(event, address("2.2.2.2"))).await;
    stage.send(stage.misp.publish(event)).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_and_changes_nothing() {
    let (misp, event, attributes) = misp(&["1.1.1.1", "2.2.2.2"]);
    misp.advance(100);
    let stage = Stage::set(misp, &[("MSR_MISP__REST__CATCH_UP_EVERY", "1h")]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stage.lose(stage.misp.remove_attribute(event, attributes[0]));
    stage.lose(stage.misp.add_attribute(event, address("3.3.3.3")));
    stage.lose(stage.misp.publish(event));
    let output = stage.relay.command(&["resync", "--dry-run"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(&format!("new       {}", pattern("3.3.3.3"))), "{text}");
    assert!(text.contains(&format!("withdrawn {}", pattern("1.1.1.1"))), "{text}");
    assert!(text.contains("1 new, 0 changed and 1 withdrawn"), "{text}");
    stage.stays(&["1.1.1.1", "2.2.2.2"], Duration::from_millis(200)).await;
    let output = stage.relay.command(&["resync"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stage.becomes(&["2.2.2.2", "3.3.3.3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_alone_is_confirmed_by_reads() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = free.to_string();
    let settings = [
        ("MSR_MISP__REST__CATCH_UP_EVERY", "1h"),
        ("MSR_MISP__WEBHOOK__LISTEN", listen.as_str()),
        ("MSR_MISP__WEBHOOK__SECRET", "a secret of enough characters"),
    ];
    let stage = Stage::set(misp, &settings).await;
    stage.becomes(&["1.1.1.1"]).await;
    let announce = async || {
        let body = format!(r#"{{"Event":{{"uuid":"{event}","id":"1","Attribute":[]}}}}"#);
        let request = format!(
            "POST /misp HTTP/1.1\r\nHost: relay\r\nX-Relay-Secret: a secret of enough characters\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut answer = String::new();
        let mut stream = tokio::net::TcpStream::connect(&listen).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    };
    // MISP's module fires before the publication is saved.
    stage.lose(stage.misp.add_attribute(event, address("2.2.2.2")));
    announce().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stage.lose(stage.misp.publish(event));
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    // And one that is blocked after all.
    stage.lose(stage.misp.add_attribute(event, address("3.3.3.3")));
    announce().await;
    stage.stays(&["1.1.1.1", "2.2.2.2"], Duration::from_millis(900)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resync_that_is_killed_goes_on_where_it_was() {
    let misp = Misp::new(now() - 10_000);
    let mut expected = 0;
    for event in 0..60 {
        let of = |n: usize| address(&format!("10.{event}.{}.{}", n / 250, n % 250 + 1));
        let new = NewEvent { attributes: (0..100).map(of).collect(), ..NewEvent::default() };
        let uuid = new.uuid;
        misp.add_event(new);
        misp.publish(uuid);
        misp.advance(1);
        expected += 100;
    }
    misp.advance(1_000);
    let mut stage = Stage::set(misp, &[("MSR_MISP__REST__PAGE_EVENTS", "5")]).await;
    stage.logged("the listing is complete").await;
    for kill in 0..3 {
        let read = stage.read_events();
        let deadline = Instant::now() + Duration::from_secs(20);
        while stage.read_events() < read + 10 && stage.read_events() < 60 {
            assert!(Instant::now() < deadline, "kill {kill}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stage.relay.kill();
        stage.relay.restart(&stage.publisher).await;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while stage.live().len() < expected {
        assert!(Instant::now() < deadline, "{} of {expected}", stage.live().len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let read = stage.read_events();
    // Five at each kill, and as many that a listing named while they were settled.
    let in_hand = 2 * 3 * 5;
    assert!(read <= 60 + in_hand, "{read} reads of 60 events: only those in hand are read again");
    let sent = stage.uploaded();
    let in_flight = 3 * 4 * 100;
    assert!(sent <= expected + in_flight, "{sent} sent, {expected} wanted");
}

impl Stage {
    /// Events that were asked for whole.
    fn read_events(&self) -> usize {
        let requests = self.rest.requests();
        let whole = |body: &str| {
            let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
            let asked = body["uuid"].as_array().map_or(0, Vec::len);
            if body.get("metadata").is_some() { 0 } else { asked }
        };
        requests.iter().map(|request| whole(&request.body)).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ledger_is_filled_again_without_duplicates() {
    let (misp, event, attributes) = misp(&["1.1.1.1", "2.2.2.2", "3.3.3.3"]);
    misp.advance(100);
    let mut stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2", "3.3.3.3"]).await;
    stage.logged("all events are read and compared").await;
    let before: BTreeSet<String> = held(&stage.sandbox).into_iter().map(|held| held.id).collect();
    // An edit unpublishes the event; what it did not touch is still what was published.
    let comment = Edit::Comment("touched".to_owned());
    stage.lose(stage.misp.edit_attribute(event, attributes[0], comment));
    stage.relay.kill();
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        std::fs::remove_file(stage.relay.folder().join(file)).ok();
    }
    stage.relay.restart(&stage.publisher).await;
    stage.logged_times("all events are read and compared", 2).await;
    let status = stage.status();
    assert_eq!(status["ledger"]["wanted"], 2, "{status}");
    let after: BTreeSet<String> = held(&stage.sandbox).into_iter().map(|held| held.id).collect();
    assert_eq!(after, before, "the same ids");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_misp_empties_sentinel_only_when_told() {
    let (misp, event, _) = misp(&["1.1.1.1", "2.2.2.2"]);
    misp.advance(100);
    let stage = Stage::set(misp, &[("MSR_MISP__REST__EXISTENCE_EVERY", "100ms")]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    stage.lose(stage.misp.delete_event(event));
    stage.stays(&["1.1.1.1", "2.2.2.2"], Duration::from_millis(1_500)).await;
    let degraded = stage.status()["degraded"].to_string();
    assert!(degraded.contains("release --empty"), "{degraded}");
    let output = stage.relay.command(&["release", "--empty"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stage.becomes(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_and_the_operator_find_what_leaves_no_trace() {
    let misp = Misp::new(now() - 1_000);
    let (event, object) = (Uuid::new_v4(), Uuid::new_v4());
    let of = |value: &str| NewObject {
        uuid: object,
        attributes: vec![address(value)],
        ..NewObject::default()
    };
    let attributes = vec![address("1.1.1.1")];
    misp.add_event(NewEvent { uuid: event, attributes, ..NewEvent::default() });
    misp.add_object(event, of("2.2.2.2"));
    misp.publish(event);
    misp.advance(100);
    let every_second = [("MSR_MISP__RESYNC__SCHEDULE", "* * * * * *")];
    let stage = Stage::set(misp.clone(), &every_second).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    stage.lose(stage.misp.remove_object(event, object));
    stage.becomes(&["1.1.1.1"]).await;
    drop(stage);
    misp.add_object(event, of("3.3.3.3"));
    misp.publish(event);
    misp.advance(100);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1", "3.3.3.3"]).await;
    stage.lose(stage.misp.remove_object(event, object));
    let output = stage.relay.command(&["resync", "--event", &event.to_string()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 of 1 events"), "{text}");
    stage.becomes(&["1.1.1.1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpublished_event_goes_where_the_operator_wants_that() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let settings =
        [("MSR_MISP__ON_UNPUBLISH", "withdraw"), ("MSR_MISP__REST__CATCH_UP_EVERY", "1h")];
    let stage = Stage::set(misp, &settings).await;
    stage.becomes(&["1.1.1.1"]).await;
    let frames = stage.misp.unpublish(event);
    stage.send(frames).await;
    stage.becomes(&[]).await;
    stage.misp.advance(1);
    let frames = stage.misp.publish(event);
    stage.send(frames).await;
    stage.becomes(&["1.1.1.1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_misp_cannot_serve_stops_no_other() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    for value in ["2.2.2.2", "3.3.3.3", "4.4.4.4"] {
        let new = NewEvent { attributes: vec![address(value)], ..NewEvent::default() };
        let uuid = new.uuid;
        misp.add_event(new);
        misp.publish(uuid);
    }
    misp.advance(100);
    let settings = [("MSR_MISP__REST__BACKOFF_MAX", "30ms"), ("MSR_MISP__REST__RETRIES", "0")];
    let mut stage = Stage::set(misp, &settings).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"]).await;
    stage.logged("all events are read and compared").await;
    stage.relay.kill();
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        std::fs::remove_file(stage.relay.folder().join(file)).ok();
    }
    for fault in [RestFault::Status(500), RestFault::Truncated { after: 100 }] {
        stage.rest.poison(event, fault);
    }
    stage.relay.restart(&stage.publisher).await;
    stage.logged_times("all events are read and compared", 2).await;
    stage.logged("a resync goes on without this event").await;
    assert_eq!(stage.status()["ledger"]["wanted"], 3);
    stage.rest.heal();
    let deadline = Instant::now() + Duration::from_secs(10);
    while stage.status()["ledger"]["wanted"] != 4 {
        assert!(Instant::now() < deadline, "it is read once MISP can serve it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_withdraws_nothing_while_misp_shows_no_event() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    let new = NewEvent { attributes: vec![address("2.2.2.2")], ..NewEvent::default() };
    let other = new.uuid;
    misp.add_event(new);
    misp.publish(other);
    misp.advance(100);
    let stage = Stage::set(misp, &[("MSR_MISP__REST__CATCH_UP_EVERY", "1h")]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    stage.logged("gaps healed").await;
    stage.lose(stage.misp.delete_event(event));
    stage.lose(stage.misp.delete_event(other));
    stage.relay.command(&["resync", "--detach", "--event", &event.to_string()]);
    stage.stays(&["1.1.1.1", "2.2.2.2"], Duration::from_millis(500)).await;
    let degraded = stage.status()["degraded"].to_string();
    assert!(degraded.contains("release --empty"), "{degraded}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_bounds_what_is_fetched_and_not_what_is_taken_back() {
    let (misp, event, attributes) = misp(&["1.1.1.1", "2.2.2.2"]);
    let mut stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    stage.relay.stop();
    let new = NewEvent { attributes: vec![address("3.3.3.3")], ..NewEvent::default() };
    let old = new.uuid;
    stage.lose(stage.misp.add_event(new));
    stage.lose(stage.misp.publish(old));
    stage.misp.set_clock(now());
    stage.lose(stage.misp.edit_attribute(event, attributes[0], Edit::ToIds(false)));
    stage.relay.set("MSR_MISP__WINDOW", "500s");
    stage.relay.restart(&stage.publisher).await;
    stage.becomes(&["2.2.2.2"]).await;
    let output = stage.relay.command(&["resync"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stage.stays(&["2.2.2.2"], Duration::from_millis(200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_in_the_middle_of_a_listing_is_waited_for() {
    let (misp, ..) = misp(&["1.1.1.1"]);
    misp.advance(100);
    let mut stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1"]).await;
    stage.relay.stop();
    let new = NewEvent { attributes: vec![address("2.2.2.2")], ..NewEvent::default() };
    let uuid = new.uuid;
    stage.lose(stage.misp.add_event(new));
    stage.lose(stage.misp.publish(uuid));
    let limited = [RestFault::None, RestFault::RateLimited { reset: 1 }];
    stage.rest.script_for("/events/restSearch", limited);
    let began = Instant::now();
    stage.relay.restart(&stage.publisher).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    stage.logged("gaps healed").await;
}
