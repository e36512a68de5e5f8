//! Plays Sentinel for a ledger without a network: it accepts everything that is pending, and stores every
//! version.

use std::collections::{BTreeMap, BTreeSet};

use misp_sentinel_relay::ledger::{Ledger, Moment, Settlement};
use serde_json::Value;

use super::ledger::{Relay, TARGET, VIEW};
use super::scene::{is_live, references};

#[derive(Debug, Default)]
pub(crate) struct Sentinel {
    /// By STIX id, as last accepted.
    held: BTreeMap<String, Value>,
    /// How many versions were accepted.
    pub(crate) writes: usize,
}

impl Sentinel {
    /// Accepts all that is pending.
    pub(crate) async fn accept_all(&mut self, relay: &Relay) {
        self.accept_all_of(relay, TARGET).await;
    }

    /// Accepts all that is pending for a target.
    pub(crate) async fn accept_all_of(&mut self, relay: &Relay, target: &str) {
        self.accept_all_at(relay, target, Ledger::now()).await;
    }

    /// The same at another time, Unix milliseconds.
    pub(crate) async fn accept_all_at(&mut self, relay: &Relay, target: &str, now: i64) {
        loop {
            let pending = relay.ledger.pending(VIEW, target, 0, None, now, 1_000).await.unwrap();
            if pending.is_empty() {
                return;
            }
            let sent = relay
                .ledger
                .mark_sending(target, &pending, Moment::by_our_clock(now))
                .await
                .unwrap();
            for one in &sent {
                self.accept(serde_json::from_str(&one.json).unwrap());
            }
            let objects: Vec<_> = sent.iter().map(|one| one.object).collect();
            let accepted = [Settlement::Accepted(&objects)];
            relay.ledger.settle(target, &accepted, now, now).await.unwrap();
        }
    }

    fn accept(&mut self, object: Value) {
        let bare = |mut object: Value| {
            object.as_object_mut().unwrap().remove("modified");
            object
        };
        let before = self.held.insert(object["id"].as_str().unwrap().to_owned(), object.clone());
        assert_ne!(before.map(bare), Some(bare(object)), "sent twice without a change");
        self.writes += 1;
    }

    /// The live values, each with the events that its references name.
    pub(crate) fn live(&self) -> BTreeMap<String, BTreeSet<String>> {
        let live = self.held.values().filter(|object| is_live(object));
        live.map(|object| (value(object), references(object))).collect()
    }

    /// All versions held, one for each id.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Value> {
        self.held.values()
    }

    /// The held version for a value.
    pub(crate) fn of(&self, wanted: &str) -> &Value {
        self.held.values().find(|object| value(object) == wanted).unwrap()
    }
}

/// What stands between the quotes of the pattern.
fn value(object: &Value) -> String {
    object["pattern"].as_str().unwrap().split('\'').nth_back(1).unwrap().to_owned()
}
