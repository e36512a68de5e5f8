//! Runs other relays on the same MISP, to test that what a relay wants does not depend on its history. One
//! heard and read everything, one heard no frame, and one starts at the end with an empty ledger. They must
//! want the same as the relay under test, except for what no reader of MISP can know.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use misp_sentinel_relay::sandbox::Sandbox;
use misp_stand_in::{Frame, Key, MispServer, MispSettings};
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use super::compare::PATIENCE;
use super::plan::Plan;
use super::relay::{KEY, Reached, Relay};
use super::sent::ANCHOR;
use super::site::Site;
use crate::support::publisher::Publisher;

/// What a relay wants live: each pattern with what must be equal of it.
pub(super) type Wanted = BTreeMap<String, Value>;

/// A relay without any bad weather, which only writes down what it would send.
pub(super) struct Witness {
    pub(super) name: &'static str,
    /// Whether MISP's frames reach it.
    hears: bool,
    relay: Relay,
    // The relay reads from both of each MISP.
    publishers: Vec<Publisher>,
    _servers: Vec<MispServer>,
}

impl Witness {
    pub(super) async fn start(
        (name, hears): (&'static str, bool),
        plan: &Plan,
        (sandbox, sites): (&Sandbox, &[Site]),
    ) -> Self {
        let (mut publishers, mut servers, mut reached) = (Vec::new(), Vec::new(), Vec::new());
        for site in sites {
            let settings = MispSettings { keys: vec![key(&site.plan)], ..MispSettings::default() };
            let server = MispServer::start(site.misp.clone(), settings).await.unwrap();
            let publisher = Publisher::bind();
            let (endpoint, url) = (publisher.endpoint(), server.base_url());
            reached.push(Reached { name: site.name, endpoint, url });
            publishers.push(publisher);
            servers.push(server);
        }
        let mut relay = Relay::witness(plan, &reached, sandbox);
        relay.start().await;
        for publisher in &publishers {
            publisher.wait_for_subscriptions(2).await;
        }
        Self { name, hears, publishers, relay, _servers: servers }
    }

    /// Frames of the MISP at this place.
    pub(super) async fn hear(&self, place: usize, frames: &[Frame]) {
        if !self.hears {
            return;
        }
        for frame in frames {
            self.publishers[place].send(&frame.bytes).await;
        }
    }

    /// Reads everything anew, and says what it wants then.
    pub(super) async fn resync(&self) -> Result<(), String> {
        self.relay.resync().await
    }

    pub(super) fn relay(&self) -> &Relay {
        &self.relay
    }

    pub(super) async fn stop(mut self) -> Result<(), String> {
        self.relay.stop().await?;
        self.relay.check_ledger().await
    }
}

/// With which the relays of a world ask.
pub(super) fn key(plan: &Plan) -> Key {
    if plan.outsider { Key::read_only(KEY) } else { Key::site_admin(KEY) }
}

/// Of which patterns what is not asked for.
#[derive(Debug)]
pub(super) struct Doubts {
    /// Either is right.
    pub(super) either: BTreeSet<String>,
    /// Not everything about it is certain.
    pub(super) doubtful: BTreeSet<String>,
}

/// In what two relays differ, once they have had the time to become equal.
pub(super) async fn differences(
    (one, other): (&Relay, &Relay),
    doubts: &Doubts,
) -> Result<Vec<String>, String> {
    let begun = Instant::now();
    loop {
        let found = compare(&one.wanted().await?, &other.wanted().await?, doubts);
        if found.is_empty() || begun.elapsed() > PATIENCE / 3 {
            return Ok(found);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn compare(one: &Wanted, other: &Wanted, doubts: &Doubts) -> Vec<String> {
    let mut found = Vec::new();
    let patterns: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for pattern in patterns.into_iter().filter(|pattern| !doubts.either.contains(*pattern)) {
        match (one.get(pattern), other.get(pattern)) {
            (Some(one), Some(other)) if one == other || doubts.doubtful.contains(pattern) => {}
            (one, other) => {
                let words = |wanted: Option<&Value>| {
                    wanted.map_or_else(|| "not".to_owned(), Value::to_string)
                };
                found.push(format!("{pattern}: {} / {}", words(one), words(other)));
            }
        }
    }
    found
}

/// What a ledger's export says of the live indicators.
pub(super) fn wanted(rows: &[Value]) -> Wanted {
    let of_table = rows.iter().filter(|row| row["table"] == "wanted");
    let live = of_table.filter(|row| row["kind"] == "indicator" && row["version"] != 0);
    let said = live.map(|row| {
        let body = &row["body"];
        let pattern = body["pattern"].as_str().unwrap_or_default().to_owned();
        let what = json!({
            "id": row["stix_id"],
            "labels": body["labels"],
            "confidence": body["confidence"],
            "valid_until": row["valid_until"],
        });
        (pattern, what)
    });
    said.filter(|(pattern, _)| !pattern.contains(ANCHOR)).collect()
}
