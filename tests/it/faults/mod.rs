//! Tests the whole relay between a real publisher and a sandbox that fails on order. Whatever fault Sentinel,
//! Entra, the network or an operator causes, each indicator must arrive once and in few requests.

mod answers;
mod doubt;
mod pace;
mod paced;
mod sign_in;
mod stops;
mod targets;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use misp_sentinel_relay::config::LedgerConfig;
use misp_sentinel_relay::ledger::{Ledger, TargetStatus};
use misp_sentinel_relay::sandbox::{HeldObject, Sandbox};
use serde_json::json;
use uuid::Uuid;

use crate::support::database;
use crate::support::publisher::Publisher;
use crate::support::relay::{Relay, held};
use crate::support::sandbox::{eventually, start};
use crate::support::scene::is_live;

/// MISP's time of the first edit, Unix seconds.
const EDITED: i64 = 1_700_000_000;

/// A sandbox, a publisher and a relay between them.
struct Scene {
    sandbox: Sandbox,
    publisher: Publisher,
    relay: Relay,
}

impl Scene {
    async fn start(settings: &[(&str, &str)]) -> Self {
        Self::with(start().await, settings).await
    }

    async fn with(sandbox: Sandbox, settings: &[(&str, &str)]) -> Self {
        let publisher = Publisher::bind();
        // Each failure has a line at this level.
        let settings = [&[("MSR_LOG__LEVEL", "debug")], settings].concat();
        let relay = Relay::start(&sandbox, &publisher, &settings).await;
        Self { sandbox, publisher, relay }
    }

    async fn publish(&self, event: &Event) {
        self.publisher.send(&event.frame()).await;
    }

    /// Publishes, and waits until the ledger has it.
    async fn commit(&self, event: &Event) {
        let committed = |relay: &Relay| relay.log().matches("\"event_committed\"").count();
        let before = committed(&self.relay);
        self.publish(event).await;
        let deadline = Instant::now() + Duration::from_secs(5);
        while committed(&self.relay) == before {
            assert!(Instant::now() < deadline, "never committed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the sandbox holds so many live indicators.
    async fn holds(&self, live: usize) {
        eventually(&self.sandbox, |sandbox| live_patterns(sandbox).len() == live).await;
    }

    /// Waits for so many upload requests in all.
    async fn asked(&self, requests: usize) {
        eventually(&self.sandbox, |sandbox| sandbox.requests().len() >= requests).await;
    }

    fn requests(&self) -> usize {
        self.sandbox.requests().len()
    }

    /// The statuses of the answers, in the order of the requests; 0 is none.
    fn statuses(&self) -> Vec<u16> {
        let requests = self.sandbox.requests();
        requests.iter().map(|request| request.status.unwrap_or_default()).collect()
    }

    /// Waits until nothing is left in the queues of a running relay.
    async fn drained(&self) {
        let database = database::open(self.relay.folder());
        let deadline = Instant::now() + Duration::from_secs(5);
        while database::count(&database, "queue") > 0 {
            assert!(Instant::now() < deadline, "the queue is never empty");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops the relay once nothing is left to do, and reads its ledger.
    async fn status(&mut self) -> TargetStatus {
        self.drained().await;
        assert_eq!(self.relay.stop().0, Some(0));
        let ledger = self.ledger().await;
        let status = ledger.status().await.unwrap();
        ledger.close().await;
        status.targets.into_iter().next().unwrap()
    }

    /// The ledger of a relay that is stopped.
    async fn ledger(&self) -> Ledger {
        let data_dir = self.relay.folder().to_owned();
        let tombstones = Duration::from_secs(86_400);
        Ledger::open(&LedgerConfig { data_dir, fsync: false, tombstones }).await.unwrap()
    }

    async fn restart(&mut self) {
        self.relay.restart(&self.publisher).await;
    }

    /// Waits for words in the relay's log.
    async fn logs(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.relay.log().contains(words) {
            assert!(Instant::now() < deadline, "the log never says {words:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Each observable is held once, and was written so often.
    fn assert_written(&self, times: usize) {
        assert_written(&held(&self.sandbox), times);
    }
}

fn assert_written(held: &[HeldObject], times: usize) {
    let patterns: BTreeSet<&str> =
        held.iter().map(|one| one.json["pattern"].as_str().unwrap()).collect();
    assert_eq!(patterns.len(), held.len(), "an observable has two ids");
    let odd: Vec<_> = held.iter().filter(|one| one.writes != times).collect();
    assert!(odd.is_empty(), "not written {times} times: {odd:#?}");
}

/// The sorted patterns of what the sandbox holds live.
fn live_patterns(sandbox: &Sandbox) -> Vec<String> {
    let live = held(sandbox).into_iter().filter(|one| is_live(&one.json));
    let mut patterns: Vec<String> =
        live.map(|one| one.json["pattern"].as_str().unwrap().to_owned()).collect();
    patterns.sort();
    patterns
}

/// A published event with domains for attributes.
#[derive(Debug, Clone)]
struct Event {
    number: u32,
    /// Seconds after the first edit.
    edited: i64,
    comment: String,
    tags: Vec<String>,
    domains: Vec<u32>,
}

impl Event {
    fn new(number: u32, domains: impl IntoIterator<Item = u32>) -> Self {
        let domains = domains.into_iter().collect();
        Self { number, edited: 0, comment: String::new(), tags: Vec::new(), domains }
    }

    /// Edited a second later: another comment on each attribute, so that each indicator alters.
    fn commented(&self, comment: &str) -> Self {
        Self { edited: self.edited + 1, comment: comment.to_owned(), ..self.clone() }
    }

    /// Edited a second later: only these attributes are left.
    fn only(&self, domains: impl IntoIterator<Item = u32>) -> Self {
        let domains = domains.into_iter().collect();
        Self { edited: self.edited + 1, domains, ..self.clone() }
    }

    fn tagged(mut self, tag: &str) -> Self {
        self.tags.push(tag.to_owned());
        self
    }

    fn pattern(&self, domain: u32) -> String {
        format!("[domain-name:value = 'd{domain}.e{}.example']", self.number)
    }

    fn frame(&self) -> Vec<u8> {
        let number = u128::from(self.number);
        let attribute = |domain: &u32| {
            json!({
                "id": (domain + 1 + self.number * 10_000).to_string(),
                "uuid": uuid((number << 32) | (u128::from(*domain) + 1)),
                "type": "domain",
                "category": "Network activity",
                "value": format!("d{domain}.e{number}.example"),
                "to_ids": true,
                "deleted": false,
                "distribution": "5",
                "timestamp": EDITED.to_string(),
                "comment": self.comment,
            })
        };
        let attributes: Vec<_> = self.domains.iter().map(attribute).collect();
        let tags: Vec<_> = self.tags.iter().map(|name| json!({"name": name})).collect();
        let edited = EDITED + self.edited;
        let event = json!({"Event": {
            "id": self.number.to_string(),
            "uuid": uuid(number << 64),
            "info": format!("Event {number}"),
            "date": "2026-11-20",
            "published": false,
            "timestamp": edited.to_string(),
            "publish_timestamp": "0",
            "distribution": "3",
            "threat_level_id": "2",
            "analysis": "2",
            "Orgc": {"name": "CERT", "uuid": uuid(1 << 80)},
            "Tag": tags,
            "Attribute": attributes,
        }});
        [b"misp_json ".as_slice(), event.to_string().as_bytes()].concat()
    }
}

/// An RFC 4122 uuid.
fn uuid(number: u128) -> Uuid {
    uuid::Builder::from_u128(number)
        .with_variant(uuid::Variant::RFC4122)
        .with_version(uuid::Version::Random)
        .into_uuid()
}

/// What the sandbox holds for a pattern.
fn of_pattern(sandbox: &Sandbox, pattern: &str) -> HeldObject {
    held(sandbox).into_iter().find(|one| one.json["pattern"] == pattern).unwrap()
}
