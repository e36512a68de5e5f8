//! Tests the built binary between several MISPs and one workspace: an indicator lives as long as any of them claims it,
//! and none disturbs another.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use misp_sentinel_relay::http::LOCAL;
use misp_sentinel_relay::sandbox::Sandbox;
use misp_stand_in::{
    Frame, Key, Misp, MispServer, MispSettings, NewAttribute, NewEvent, Organisation, RestFault,
    Warninglist,
};
use serde_json::Value;
use uuid::Uuid;

use super::support::database;
use super::support::port::free_address;
use super::support::publisher::Publisher;
use super::support::relay::{Relay, held, of_source, owned};
use super::support::sandbox::start;
use super::support::scene::is_live;
use super::support::webhook;
use super::truth::{KEY, SHORT, address, now, pattern};

/// A MISP with its REST API and its feed.
struct Source {
    name: &'static str,
    misp: Misp,
    rest: MispServer,
    publisher: Publisher,
}

impl Source {
    async fn new(name: &'static str) -> Self {
        let misp = Misp::new(now() - 1_000);
        let serving = MispSettings { keys: vec![Key::site_admin(KEY)], ..MispSettings::default() };
        let rest = MispServer::start(misp.clone(), serving).await.unwrap();
        Self { name, misp, rest, publisher: Publisher::bind() }
    }

    /// Its settings, with the keys of `[misp]`.
    fn settings(&self) -> Vec<(String, String)> {
        let mut all = owned(&SHORT);
        let own = [
            ("MSR_MISP__URL", self.rest.base_url()),
            ("MSR_MISP__PUBLIC_URL", format!("https://{}.example", self.name)),
            ("MSR_MISP__ZEROMQ__ENDPOINTS", self.publisher.endpoint()),
        ];
        all.extend(own.map(|(key, value)| (key.to_owned(), value)));
        all
    }

    /// Attributes of an event vanish, and nobody hears of it.
    fn loses(&self, event: Uuid, attributes: std::ops::Range<usize>) {
        let all = &self.misp.event(event).unwrap().attributes[attributes];
        for attribute in all {
            self.misp.remove_attribute(event, attribute.uuid);
        }
        self.misp.publish(event);
        self.misp.advance(1);
    }

    /// Publishes an event of these addresses; returns its uuid.
    async fn publish(&self, values: &[&str]) -> Uuid {
        let attributes = values.iter().map(|value| address(value)).collect();
        let event = NewEvent { attributes, ..NewEvent::default() };
        let uuid = event.uuid;
        self.send(self.misp.add_event(event)).await;
        self.send(self.misp.publish(uuid)).await;
        self.misp.advance(1);
        uuid
    }

    async fn send(&self, frames: Vec<Frame>) {
        for frame in frames {
            self.publisher.send(&frame.bytes).await;
        }
    }
}

/// Two MISPs, a relay that reads both, and a workspace.
struct Stage {
    own: Source,
    sector: Source,
    sandbox: Sandbox,
    relay: Relay,
}

impl Stage {
    async fn set() -> Self {
        Self::set_with(&[], |_| Vec::new()).await
    }

    /// The same with these settings, and with more of each source.
    async fn set_with(
        settings: &[(&str, &str)],
        more: impl Fn(&str) -> Vec<(&'static str, String)>,
    ) -> Self {
        let (own, sector) = (Source::new("own").await, Source::new("sector").await);
        let sandbox = start().await;
        let sources = [&own, &sector].map(|source| {
            let more = more(source.name).into_iter().map(|(key, value)| (key.to_owned(), value));
            (source.name, source.settings().into_iter().chain(more).collect())
        });
        let relay = Relay::of_sources(&sandbox, &sources, settings);
        for source in [&own, &sector] {
            source.publisher.wait_for_subscriptions(2).await;
        }
        Self { own, sector, sandbox, relay }
    }

    fn live(&self) -> BTreeSet<String> {
        let live = held(&self.sandbox).into_iter().filter(|held| is_live(&held.json));
        live.map(|held| held.json["pattern"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the indicators of these addresses are live, and no others.
    async fn becomes(&self, values: &[&str]) {
        let expected: BTreeSet<String> = values.iter().map(|value| pattern(value)).collect();
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.live() != expected {
            let now = self.live();
            assert!(Instant::now() < deadline, "{now:?} never became {expected:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn logged(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.relay.log().contains(words) {
            assert!(Instant::now() < deadline, "never logged: {words}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a line of a source with this event of the log.
    async fn logged_of(&self, source: &str, event: &str) {
        let (source, event) =
            (format!("\"source\":\"{source}\""), format!("\"event\":\"{event}\""));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.relay.log().lines().any(|line| line.contains(&source) && line.contains(&event))
        {
            assert!(Instant::now() < deadline, "never logged: {source} {event}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn uploaded(&self) -> usize {
        self.sandbox.requests().iter().map(|request| request.objects).sum()
    }

    /// What `check` finds of sources: severity, source, words and remedy.
    fn checked_sources(&self) -> Vec<String> {
        let output = self.relay.command(&["check", "--json", "--wait", "1s"]).stdout;
        let output = String::from_utf8(output).unwrap();
        let findings = output.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_sources = findings.filter(|finding| finding["step"] == "source");
        let word =
            |finding: &Value, member: &str| finding[member].as_str().unwrap_or_default().to_owned();
        let members = ["severity", "subject", "evidence", "remedy"];
        of_sources.map(|one| members.map(|member| word(&one, member)).join("|")).collect()
    }

    /// What `status` says with and without a relay, which ends with another code.
    fn status(&self) -> String {
        String::from_utf8(self.relay.command(&["status"]).stdout).unwrap()
    }

    /// The page of the relay, which was started so many times.
    async fn page(&self, starts: usize) -> String {
        let client = LOCAL.client_with(|builder| builder).unwrap();
        let page = client.get(self.relay.page_address(starts).await).send().await.unwrap();
        page.text().await.unwrap()
    }

    fn says(&self, arguments: &[&str]) -> String {
        let output = self.relay.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

const SHARED: &str = "198.51.100.7";

#[tokio::test(flavor = "multi_thread")]
async fn what_two_misps_claim_lives_until_the_last_of_them_withdraws_it() {
    let stage = Stage::set().await;
    let own = stage.own.publish(&[SHARED, "198.51.100.1"]).await;
    let sector = stage.sector.publish(&[SHARED, "198.51.100.2"]).await;
    stage.becomes(&[SHARED, "198.51.100.1", "198.51.100.2"]).await;
    stage.own.send(stage.own.misp.delete_event(own)).await;
    stage.becomes(&[SHARED, "198.51.100.2"]).await;
    // A comparison of everything finds nothing else.
    stage.says(&["resync"]);
    stage.becomes(&[SHARED, "198.51.100.2"]).await;
    stage.sector.send(stage.sector.misp.delete_event(sector)).await;
    stage.becomes(&[]).await;
    for (source, event) in [("own", own), ("sector", sector)] {
        stage.logged_of(source, "event_deleted").await;
        let log = stage.relay.log();
        let deleted = log.lines().filter(|line| line.contains("event_deleted"));
        let of_event = deleted.filter(|line| line.contains(&event.to_string()));
        assert!(of_event.into_iter().all(|line| line.contains(source)), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misp_that_is_down_or_answers_nonsense_holds_up_no_other() {
    let mut stage = Stage::set().await;
    stage.sector.publish(&["198.51.100.2"]).await;
    stage.becomes(&["198.51.100.2"]).await;
    stage.sector.rest.always(Some(RestFault::Status(500)));
    stage.sector.publisher.stop();
    let began = Instant::now();
    stage.own.publish(&["198.51.100.1"]).await;
    stage.becomes(&["198.51.100.1", "198.51.100.2"]).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    stage.logged(r#""source":"sector""#).await;
    let status: Value = serde_json::from_str(&stage.says(&["status", "--json"])).unwrap();
    let sources = status["relay"]["sources"].as_array().unwrap();
    let connected =
        |source: &Value| source["endpoints"][0]["publications_connected"].as_bool().unwrap();
    assert_eq!(sources.iter().map(connected).collect::<Vec<_>>(), [true, false]);
    let text = stage.says(&["status"]);
    assert!(text.contains("Source own") && text.contains("Source sector"), "{text}");
    stage.sector.rest.heal();
    stage.relay.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_misp_empties_nothing_of_another() {
    let stage = Stage::set().await;
    stage.own.publish(&["198.51.100.1"]).await;
    let event = stage.sector.publish(&["198.51.100.2"]).await;
    stage.becomes(&["198.51.100.1", "198.51.100.2"]).await;
    stage.sector.rest.always(Some(RestFault::Empty));
    stage.says(&["resync", "--source", "own"]);
    stage.relay.command(&["resync", "--source", "sector", "--detach"]);
    stage.logged("returns none of the events").await;
    stage.becomes(&["198.51.100.1", "198.51.100.2"]).await;
    let status = stage.says(&["status"]);
    assert!(status.contains("rest of sector: MISP returns none"), "{status}");
    assert!(!status.contains("rest of own"), "{status}");
    // The one that is not empty, and one that nobody knows.
    for (source, words) in [("own", "nothing is kept back"), ("other", "no source \"other\"")] {
        let refused = stage.relay.command(&["release", "--empty", "--source", source]);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && told.contains(words), "{told}");
    }
    // It is empty indeed: a direct read confirms that the event is gone.
    drop(stage.sector.misp.delete_event(event));
    stage.says(&["release", "--source", "sector", "--empty"]);
    stage.becomes(&["198.51.100.1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_of_one_misp_neither_limits_nor_spares_another() {
    let stage =
        Stage::set_with(&[("MSR_GUARD__MAX", "1"), ("MSR_GUARD__PERCENT", "0")], |_| Vec::new())
            .await;
    let own = stage.own.publish(&["198.51.100.1", "198.51.100.2", "198.51.100.3"]).await;
    let sector = stage.sector.publish(&["198.51.100.4", "198.51.100.5", SHARED]).await;
    let own_values = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
    stage.becomes(&[&own_values[..], &["198.51.100.4", "198.51.100.5", SHARED]].concat()).await;
    stage.own.loses(own, 0..2);
    stage.sector.loses(sector, 0..1);
    stage.says(&["resync"]);
    stage.becomes(&[&own_values[..], &["198.51.100.5", SHARED]].concat()).await;
    let held = stage.says(&["held"]);
    assert!(held.contains("own") && held.contains(&own.to_string()), "{held}");
    stage.logged_of("own", "claims_held").await;
    assert!(!held.contains("sector") && !held.contains(&sector.to_string()), "{held}");
    // The allowance of one is used up, and that of the other is not.
    stage.sector.loses(sector, 0..1);
    stage.says(&["resync", "--source", "sector"]);
    stage.becomes(&[&own_values[..], &["198.51.100.5", SHARED]].concat()).await;
    assert!(stage.says(&["held"]).contains("sector"));
    stage.says(&["release"]);
    stage.becomes(&["198.51.100.3", SHARED]).await;
}

/// A relay with the form of the configuration for one source.
async fn relay_of_one(own: &Source, sandbox: &Sandbox) -> Relay {
    let url = own.rest.base_url();
    let mut settings = vec![("MSR_MISP__URL", url.as_str())];
    settings.extend(SHORT);
    Relay::start(sandbox, &own.publisher, &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_source_is_added_and_removed_again() {
    let (own, sector) = (Source::new("misp").await, Source::new("sector").await);
    let sandbox = start().await;
    let relay = relay_of_one(&own, &sandbox).await;
    own.publish(&[SHARED, "198.51.100.1"]).await;
    sector.publish(&[SHARED, "198.51.100.2"]).await;
    let mut stage = Stage { own, sector, sandbox, relay };
    stage.becomes(&[SHARED, "198.51.100.1"]).await;
    stage.relay.stop();
    let before = stage.uploaded();

    // The same source in the other form: nothing is sent anew.
    stage.relay.unset("MSR_MISP__");
    stage.relay.set_all(of_source("misp", &stage.own.settings()));
    stage.relay.set("MSR_SOURCE__MISP__PUBLIC_URL", "https://misp.example");
    stage.relay.restart(&stage.own.publisher).await;
    stage.says(&["resync"]);
    assert_eq!(stage.uploaded(), before);
    stage.relay.stop();

    stage.relay.set_all(of_source("sector", &stage.sector.settings()));
    stage.relay.restart(&stage.own.publisher).await;
    stage.logged("A source is new to the ledger").await;
    stage.becomes(&[SHARED, "198.51.100.1", "198.51.100.2"]).await;
    // The new value, and the shared one with one reference more.
    assert_eq!(stage.uploaded(), before + 2);
    stage.relay.stop();

    stage.relay.unset("MSR_SOURCE__SECTOR__");
    stage.relay.restart(&stage.own.publisher).await;
    stage.logged("a source that is no longer read").await;
    stage.says(&["resync"]);
    stage.becomes(&[SHARED, "198.51.100.1", "198.51.100.2"]).await;
    assert_eq!(stage.uploaded(), before + 2, "it keeps its claims");
    let refused = stage.relay.command(&["forget-source", "misp"]);
    assert!(!refused.status.success());
    let told = stage.says(&["forget-source", "sector"]);
    assert!(told.contains("sector is forgotten, with 1 event: 1 object"), "{told}");
    stage.becomes(&[SHARED, "198.51.100.1"]).await;
}

/// Loads one event of these attributes into both MISPs, as their synchronisation does, and publishes it.
async fn synchronise(stage: &Stage, attributes: &[NewAttribute]) -> Uuid {
    let event = NewEvent { attributes: attributes.to_vec(), ..NewEvent::default() };
    for source in [&stage.own, &stage.sector] {
        source.misp.load_event(event.clone());
        source.send(source.misp.publish(event.uuid)).await;
        source.misp.advance(1);
    }
    event.uuid
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_in_one_misp_ends_the_older_copy_in_the_other() {
    let stage = Stage::set().await;
    let (shared, other) = (address(SHARED), address("198.51.100.1"));
    let event = synchronise(&stage, &[shared.clone(), other]).await;
    stage.becomes(&[SHARED, "198.51.100.1"]).await;
    stage.own.misp.advance(5);
    stage.own.send(stage.own.misp.delete_attribute(event, shared.uuid)).await;
    stage.becomes(&["198.51.100.1"]).await;
    // Neither a comparison nor a publication of the copy that is older brings it back.
    stage.says(&["resync"]);
    stage.sector.send(stage.sector.misp.publish(event)).await;
    stage.says(&["resync"]);
    stage.becomes(&["198.51.100.1"]).await;
    let told = stage.says(&["explain", SHARED]);
    assert!(told.contains("source sector") && told.contains("taken back in own"), "{told}");
    // The event itself goes in one of them: the copy in the other goes on.
    stage.own.send(stage.own.misp.delete_event(event)).await;
    stage.becomes(&[SHARED, "198.51.100.1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_strictest_level_of_any_misp_counts_and_a_copy_that_is_added_sends_nothing() {
    let stage = Stage::set().await;
    let attribute = address(SHARED);
    let event = NewEvent { attributes: vec![attribute.clone()], ..NewEvent::default() };
    stage.own.misp.load_event(event.clone());
    stage.own.send(stage.own.misp.publish(event.uuid)).await;
    stage.becomes(&[SHARED]).await;
    let before = stage.uploaded();
    stage.sector.misp.load_event(event.clone());
    stage.sector.send(stage.sector.misp.publish(event.uuid)).await;
    stage.logged_of("sector", "event_committed").await;
    stage.says(&["resync"]);
    assert_eq!(stage.uploaded(), before, "the copy says nothing else");
    let frames = stage.sector.misp.tag_attribute(event.uuid, attribute.uuid, "tlp:red", false);
    stage.sector.send(frames).await;
    stage.becomes(&[]).await;
    let told = stage.says(&["explain", SHARED]);
    assert!(told.contains("tlp:red") || told.contains("TLP"), "{told}");
}

/// Announces an event to a webhook; returns the status of the answer.
async fn announce(address: SocketAddr, path: &str, secret: &str, event: Uuid) -> u16 {
    let body = format!(r#"{{"Event":{{"uuid":"{event}","id":"1","Attribute":[]}}}}"#);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: relay\r\nX-Relay-Secret: {secret}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    webhook::send(address, &webhook::Recorded { head, body: body.into_bytes() }).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn two_misps_share_a_webhook_port_and_each_has_its_path_and_secret() {
    let free = free_address();
    let secret = |source: &str| format!("the-secret-of-{source}-for-webhooks");
    let stage = Stage::set_with(&[], |source| {
        vec![
            ("MSR_MISP__REST__CATCH_UP_EVERY", "1h".to_owned()),
            ("MSR_MISP__WEBHOOK__LISTEN", free.to_string()),
            ("MSR_MISP__WEBHOOK__PATH", format!("/{source}")),
            ("MSR_MISP__WEBHOOK__SECRET", secret(source)),
        ]
    })
    .await;
    stage.logged_of("own", "webhook_listens").await;
    stage.logged_of("sector", "webhook_listens").await;
    // Nobody but the webhook tells of these, and each is in one MISP alone.
    let publish = |source: &Source, value| {
        let event = NewEvent { attributes: vec![address(value)], ..NewEvent::default() };
        drop(source.misp.add_event(event.clone()));
        drop(source.misp.publish(event.uuid));
        source.misp.advance(1);
        event.uuid
    };
    let own = publish(&stage.own, "198.51.100.1");
    let sector = publish(&stage.sector, "198.51.100.2");
    assert_eq!(announce(free, "/own", &secret("sector"), own).await, 401);
    stage.logged_of("own", "webhook_refused").await;
    assert_eq!(announce(free, "/sector", &secret("own"), sector).await, 401);
    stage.logged_of("sector", "webhook_refused").await;
    assert_eq!(announce(free, "/misp", &secret("own"), own).await, 404);
    assert_eq!(announce(free, "/own", &secret("own"), own).await, 200);
    stage.becomes(&["198.51.100.1"]).await;
    assert_eq!(announce(free, "/sector", &secret("sector"), sector).await, 200);
    stage.becomes(&["198.51.100.1", "198.51.100.2"]).await;
    let told = stage.says(&["explain", "198.51.100.2"]);
    assert!(told.contains("source sector") && !told.contains("source own"), "{told}");
    let status = stage.says(&["status"]);
    for source in ["own", "sector"] {
        assert!(status.contains(&format!("Webhook on {free}/{source}")), "{status}");
    }
    let checked = stage.relay.command(&["check", "--json", "--wait", "1s"]);
    let checked = String::from_utf8(checked.stdout).unwrap();
    for source in ["own", "sector"] {
        let line = checked.lines().find(|line| line.contains(&format!("{free}/{source}")));
        assert!(line.is_some_and(|line| line.contains("the relay listens")), "{checked}");
    }
}

/// What forgetting would do is counted while the source is still read.
fn tries_to_forget_the_sector(stage: &Stage) {
    let tried = stage.says(&["forget-source", "sector", "--dry-run"]);
    for words in [
        format!("withdrawn {}", pattern("198.51.100.2")),
        "0 new, 1 changed and 1 withdrawn indicators would be sent because sector is forgotten"
            .to_owned(),
        "other sources keep 1 of 2 live indicators that sector claims".to_owned(),
        "sector would be forgotten, with 1 event. Nothing was sent".to_owned(),
    ] {
        assert!(tried.contains(&words), "{words}: {tried}");
    }
    let unknown = stage.relay.command(&["forget-source", "other", "--dry-run"]);
    assert!(!unknown.status.success());
}

const NEW: &str = "sector|is new to the ledger, and a full resync fills it; what others have sent already is not sent again|";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_that_begins_or_ends_does_is_told_before_it_is_done() {
    let (own, sector) = (Source::new("own").await, Source::new("sector").await);
    let sandbox = start().await;
    let relay = Relay::of_sources(&sandbox, &[(own.name, own.settings())], &[]);
    own.publisher.wait_for_subscriptions(2).await;
    own.publish(&[SHARED, "198.51.100.1"]).await;
    sector.publish(&[SHARED, "198.51.100.2"]).await;
    let mut stage = Stage { own, sector, sandbox, relay };
    stage.becomes(&[SHARED, "198.51.100.1"]).await;
    assert_eq!(stage.checked_sources(), [""; 0]);

    // A section is added while the relay runs without it, and then stops.
    stage.relay.set_all(of_source("sector", &stage.sector.settings()));
    assert_eq!(stage.checked_sources(), [format!("note|{NEW}")]);
    assert!(!stage.status().contains("new to the ledger"), "the running relay does not read it");
    stage.relay.stop();
    assert_eq!(stage.checked_sources(), [format!("note|{NEW}")]);
    assert!(stage.status().contains("  - sector is new to the ledger, and a full resync fills it"));
    let key = stage.relay.unset("MSR_SOURCE__SECTOR__KEY");
    let told = stage.checked_sources();
    assert!(told[0].contains("has no key: only what it publishes from now on"), "{told:?}");
    assert!(stage.status().contains("sector is new to the ledger and has no key"));
    stage.relay.set_all(key);
    stage.relay.restart(&stage.own.publisher).await;
    stage.becomes(&[SHARED, "198.51.100.1", "198.51.100.2"]).await;
    assert_eq!(stage.checked_sources(), [""; 0]);

    let uploaded = stage.uploaded();
    tries_to_forget_the_sector(&stage);
    assert_eq!(stage.uploaded(), uploaded);

    // Switched off, it is a decision; without its section, it may be a mistake.
    stage.relay.set("MSR_SOURCE__SECTOR__ENABLED", "false");
    let absent = "sector|is no longer read, and what it claims stays (2 claims)";
    let told = stage.checked_sources();
    assert!(told[0].starts_with(&format!("note|{absent}: `forget-source sector`")), "{told:?}");
    stage.relay.unset("MSR_SOURCE__SECTOR__");
    let told = stage.checked_sources();
    assert!(told[0].starts_with(&format!("warning|{absent}|`forget-source sector`")), "{told:?}");
    stage.relay.stop();
    assert!(stage.checked_sources()[0].starts_with(&format!("warning|{absent}")));
    assert!(
        stage
            .status()
            .contains("  - sector is no longer read, and what it claims stays (2 claims)")
    );
    let tried = stage.says(&["forget-source", "sector", "--dry-run"]);
    assert!(tried.contains("1 changed and 1 withdrawn"), "{tried}");
    stage.relay.restart(&stage.own.publisher).await;
    stage.logged("\"claims\":2").await;
    assert!(stage.status().contains("Source own"), "its name stays with one source left");
    let page = stage.page(3).await;
    assert!(page.contains("own: Feed") && page.contains("is no longer read"), "{page}");
    stage.becomes(&[SHARED, "198.51.100.1", "198.51.100.2"]).await;
    let done = stage.says(&["forget-source", "sector"]);
    assert!(done.contains("sector is forgotten, with 1 event: 1 object"), "{done}");
    stage.becomes(&[SHARED, "198.51.100.1"]).await;
    assert_eq!(stage.uploaded(), uploaded + 2, "as it was told");
    assert_eq!(stage.checked_sources(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_warninglists_of_each_misp_are_shown_beside_it() {
    let stage = Stage::set().await;
    let list = Warninglist::new(1, "string", &["ip-dst"], &["198.51.100.9"]);
    stage.own.send(stage.own.misp.set_warninglist(list)).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    let counted = |status: &Value| {
        let sources = status["relay"]["sources"].as_array().unwrap();
        sources.iter().map(|one| one["warninglists"]["lists"].clone()).collect::<Vec<_>>()
    };
    while counted(&serde_json::from_str(&stage.says(&["status", "--json"])).unwrap()) != [1, 0] {
        assert!(Instant::now() < deadline, "{}", stage.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = stage.status();
    let of_own = status.split("Source own").nth(1).unwrap();
    let (of_own, of_sector) = of_own.split_once("Source sector").unwrap();
    assert!(of_own.contains("Warninglists: 1 with 1 entry; asked for"), "{status}");
    assert!(of_sector.contains("Warninglists: 0 with 0 entries; asked for"), "{status}");
    let page = stage.page(1).await;
    assert!(page.contains("own: Warninglists") && page.contains("1 list with 1 entry"), "{page}");
    assert!(page.contains("sector: Warninglists") && page.contains("0 lists with 0 entries"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resync_of_one_misp_without_a_relay_judges_by_the_warninglists_of_all() {
    let mut stage = Stage::set().await;
    let list = Warninglist::new(1, "string", &["ip-dst"], &["198.51.100.9"]);
    stage.sector.send(stage.sector.misp.set_warninglist(list)).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !stage.status().contains("Warninglists: 1 with 1 entry") {
        assert!(Instant::now() < deadline, "{}", stage.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.relay.stop();
    let attributes = vec![address("198.51.100.1"), address("198.51.100.9")];
    let event = NewEvent { attributes, ..NewEvent::default() };
    drop(stage.own.misp.add_event(event.clone()));
    drop(stage.own.misp.publish(event.uuid));
    let tried = stage.says(&["resync", "--source", "own", "--dry-run"]);
    assert!(tried.contains(&format!("new       {}", pattern("198.51.100.1"))), "{tried}");
    assert!(!tried.contains(&pattern("198.51.100.9")), "{tried}");
    assert!(tried.contains("indicators would be sent from own\n"), "{tried}");
    stage.says(&["resync", "--source", "own"]);
    stage.relay.restart(&stage.own.publisher).await;
    stage.becomes(&["198.51.100.1"]).await;
    let ever = held(&stage.sandbox);
    assert!(!ever.iter().any(|held| held.json["pattern"] == pattern("198.51.100.9")));
}

/// What only its key could tell of the audience counts no longer once nobody knows of a key.
#[tokio::test(flavor = "multi_thread")]
async fn the_source_of_an_earlier_release_whose_section_is_gone_is_absent_at_once() {
    let (own, sector) = (Source::new("misp").await, Source::new("sector").await);
    let sandbox = start().await;
    let relay = relay_of_one(&own, &sandbox).await;
    let mut stage = Stage { own, sector, sandbox, relay };
    let event = NewEvent {
        organisation: Organisation::other(),
        distribution: 0,
        attributes: vec![address("198.51.100.1")],
        ..NewEvent::default()
    };
    stage.own.send(stage.own.misp.add_event(event.clone())).await;
    stage.own.send(stage.own.misp.publish(event.uuid)).await;
    stage.own.publish(&["198.51.100.2"]).await;
    stage.becomes(&["198.51.100.1", "198.51.100.2"]).await;
    stage.relay.stop();

    // An earlier release remembered neither the sources nor whether they have a key.
    let database = database::open(stage.relay.folder());
    let forget = "DELETE FROM settings
                  WHERE name IN ('sources', 'has key misp', 'public url misp')";
    assert_eq!(database::execute(&database, forget), 3);
    drop(database);
    stage.relay.unset("MSR_MISP__");
    stage.relay.set_all(of_source("sector", &stage.sector.settings()));
    stage.relay.restart(&stage.sector.publisher).await;
    stage.logged("a source that is no longer read").await;
    stage.becomes(&["198.51.100.2"]).await;
}
