//! Sets up a whole relay: a publisher, the built binary and a sandbox. It keeps everything that the sandbox
//! was ever sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::Utc;
use misp_sentinel_relay::sandbox::{Life, Sandbox};
use serde_json::Value;
use uuid::Uuid;

use super::publisher::Publisher;
use super::relay::{Relay, held};
use super::sandbox::{eventually, start};

/// Marks the observables of probes.
const PROBE: &str = ".probe.example";

pub(crate) struct Scene {
    pub(crate) sandbox: Sandbox,
    pub(crate) publisher: Publisher,
    pub(crate) relay: Relay,
    received: Arc<Mutex<Vec<Value>>>,
}

impl Scene {
    /// One request at a time, so that what arrives has an order.
    pub(crate) async fn set(settings: &[(&str, &str)]) -> Self {
        let sandbox = start().await;
        let received = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&received);
        sandbox.reject_where(move |object| {
            keep.lock().unwrap().push(object.clone());
            None
        });
        let publisher = Publisher::bind();
        let mut all = vec![("MSR_DELIVERY__MAX_IN_FLIGHT", "1")];
        all.extend(settings);
        let relay = Relay::start(&sandbox, &publisher, &all).await;
        Self { sandbox, publisher, relay, received }
    }

    /// Waits until all that was sent before is committed and has reached the sandbox: a probe goes
    /// the same way, first as a publication and then as a withdrawal, over both sockets and through
    /// both lanes.
    pub(crate) async fn settle(&self) {
        let event = Uuid::new_v4();
        let pattern = format!("[domain-name:value = '{event}{PROBE}']");
        self.publisher.send(&probe(event)).await;
        eventually(&self.sandbox, |_| self.is_live(&pattern)).await;
        self.publisher.send(&deletion(event)).await;
        eventually(&self.sandbox, |_| !self.is_live(&pattern)).await;
    }

    /// Waits until all that was sent before is committed, delivered or not.
    pub(crate) async fn commit(&self) {
        let event = Uuid::new_v4();
        self.publisher.send(&probe(event)).await;
        self.logged(&format!("took in the event\",\"misp_event\":\"{event}\"")).await;
        // A second one is logged after the transaction of the first has ended.
        for event in [event, Uuid::new_v4()] {
            self.publisher.send(&deletion(event)).await;
            self.logged(&format!("its claims end\",\"misp_event\":\"{event}\"")).await;
        }
    }

    /// Waits for words in the relay's log.
    pub(crate) async fn logged(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.relay.log().contains(words) {
            assert!(Instant::now() < deadline, "never logged: {words}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What is live at the sandbox: each pattern with the events that its references name.
    pub(crate) fn live(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut live = BTreeMap::new();
        let indicators = held(&self.sandbox).into_iter().map(|held| held.json);
        for object in indicators.filter(|object| object["type"] == "indicator") {
            let pattern = text(&object["pattern"]);
            if is_live(&object) && !pattern.contains(PROBE) {
                let twice = live.insert(pattern, references(&object));
                assert!(twice.is_none(), "two live indicators for one observable: {object:#}");
            }
        }
        live
    }

    pub(crate) fn is_live(&self, pattern: &str) -> bool {
        held(&self.sandbox)
            .iter()
            .any(|held| held.json["pattern"] == pattern && is_live(&held.json))
    }

    /// All objects that the sandbox was ever sent, in their order, without those of probes.
    pub(crate) fn received(&self) -> Vec<Value> {
        let all = self.received.lock().unwrap();
        let is_probe = |one: &&Value| one["pattern"].as_str().is_some_and(|p| p.contains(PROBE));
        all.iter().filter(|one| !is_probe(one)).cloned().collect()
    }

    /// The versions of one STIX id, in the order of their arrival.
    pub(crate) fn versions(&self, id: &str) -> Vec<Value> {
        self.received().into_iter().filter(|one| one["id"] == id).collect()
    }
}

/// Whether any of Sentinel's rules can match it by this machine's clock: one of them does not ask whether
/// an indicator is revoked. What only begins later must never be sent.
pub(crate) fn is_live(object: &Value) -> bool {
    match Life::of(object, Utc::now()) {
        Some(Life::Live | Life::Revoked) => true,
        Some(Life::Over) | None => false,
        Some(Life::NotYet) => panic!("it begins only later: {object:#}"),
    }
}

/// The uuids of the events that an indicator refers to.
pub(crate) fn references(object: &Value) -> BTreeSet<String> {
    let references = object["external_references"].as_array().unwrap();
    references.iter().map(|reference| text(&reference["external_id"])).collect()
}

/// A publication of an event with one domain.
fn probe(event: Uuid) -> Vec<u8> {
    let attribute = Uuid::new_v4();
    format!(
        r#"misp_json {{"Event":{{"id":"0","uuid":"{event}","info":"probe","distribution":"3","timestamp":"1795499521","Attribute":[{{"id":"0","uuid":"{attribute}","type":"hostname","category":"Network activity","value":"{event}{PROBE}","to_ids":true,"timestamp":"1795499521"}}],"Object":[]}}}}"#
    )
    .into_bytes()
}

fn deletion(event: Uuid) -> Vec<u8> {
    format!(
        r#"misp_json_event {{"Event":{{"id":"0","uuid":"{event}","timestamp":"1795499521"}},"action":"delete"}}"#
    )
    .into_bytes()
}

fn text(json: &Value) -> String {
    json.as_str().unwrap().to_owned()
}
