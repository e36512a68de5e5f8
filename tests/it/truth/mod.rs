//! Tests the whole relay beside a MISP that answers over REST. The relay must find what the feed loses, and
//! must withdraw nothing because MISP answers wrongly.

mod answers;
mod crashes;
mod decay;
mod explain;
mod feed;
mod lists;
mod pace;
mod policy;
mod resync;
mod samples;
mod unreadable;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use misp_sentinel_relay::sandbox::Sandbox;
use misp_stand_in::{Frame, Key, Misp, MispServer, MispSettings, NewAttribute, NewEvent};
use uuid::Uuid;

use super::support::publisher::Publisher;
use super::support::relay::{Relay, held};
use super::support::sandbox::start;
use super::support::scene::is_live;

pub(super) const KEY: &str = "SiteAdministratorsKeyOfTheMispStandIn000";
pub(super) const OTHER_KEY: &str = "AnotherKeyOfTheMispStandIn00000000000000";

/// The waits of `misp.rest`, a hundred times shorter.
pub(super) const SHORT: [(&str, &str); 11] = [
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

pub(super) struct Stage {
    pub(super) misp: Misp,
    pub(super) rest: MispServer,
    pub(super) publisher: Publisher,
    pub(super) sandbox: Sandbox,
    pub(super) relay: Relay,
}

impl Stage {
    pub(super) async fn set(misp: Misp, settings: &[(&str, &str)]) -> Self {
        Self::set_with(misp, settings, |_| {}).await
    }

    /// With faults that MISP has from the beginning.
    pub(super) async fn set_with(
        misp: Misp,
        settings: &[(&str, &str)],
        faults: impl FnOnce(&MispServer),
    ) -> Self {
        let keys = vec![Key::site_admin(KEY), Key::read_only(OTHER_KEY)];
        let serving = MispSettings { keys, ..MispSettings::default() };
        let rest = MispServer::start(misp.clone(), serving).await.unwrap();
        faults(&rest);
        let (publisher, sandbox) = (Publisher::bind(), start().await);
        let url = rest.base_url();
        // What changed nothing has its line at this level.
        let mut all = vec![("MSR_MISP__URL", url.as_str()), ("MSR_LOG__LEVEL", "debug")];
        all.extend(SHORT);
        all.extend(settings);
        let relay = Relay::start(&sandbox, &publisher, &all).await;
        Self { misp, rest, publisher, sandbox, relay }
    }

    pub(super) async fn send(&self, frames: Vec<Frame>) {
        for frame in frames {
            self.publisher.send(&frame.bytes).await;
        }
    }

    /// Nobody hears of these.
    pub(super) fn lose(&self, frames: Vec<Frame>) {
        drop(frames);
        self.misp.advance(1);
    }

    pub(super) fn live(&self) -> BTreeSet<String> {
        let live = held(&self.sandbox).into_iter().filter(|held| is_live(&held.json));
        live.map(|held| held.json["pattern"].as_str().unwrap().to_owned()).collect()
    }

    pub(super) async fn becomes(&self, values: &[&str]) {
        let patterns: Vec<String> = values.iter().map(|value| pattern(value)).collect();
        self.lives(&patterns).await;
    }

    /// Waits until the indicators with these patterns are live, and no others.
    pub(super) async fn lives(&self, patterns: &[String]) {
        let expected: BTreeSet<String> = patterns.iter().cloned().collect();
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.live() != expected {
            assert!(Instant::now() < deadline, "{:?} never became {expected:?}", self.live());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) async fn stays(&self, values: &[&str], time: Duration) {
        tokio::time::sleep(time).await;
        self.becomes(values).await;
    }

    /// The feed is away for a moment.
    pub(super) async fn gap(&mut self, lost: impl AsyncFnOnce(&Self)) {
        self.publisher.stop();
        lost(self).await;
        self.publisher.start();
        self.publisher.wait_for_subscriptions(2).await;
    }

    pub(super) async fn logged(&self, words: &str) {
        self.logged_times(words, 1).await;
    }

    pub(super) async fn logged_times(&self, words: &str, times: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.relay.log().matches(words).count() < times {
            assert!(Instant::now() < deadline, "never logged: {words}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) fn requests(&self) -> usize {
        self.rest.requests().len()
    }

    pub(super) fn uploaded(&self) -> usize {
        self.sandbox.requests().iter().map(|request| request.objects).sum()
    }

    pub(super) fn status(&self) -> serde_json::Value {
        let output = self.relay.command(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

pub(super) fn pattern(value: &str) -> String {
    format!("[ipv4-addr:value = '{value}']")
}

pub(super) fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

pub(super) fn address(value: &str) -> NewAttribute {
    NewAttribute::new("ip-dst", value)
}

/// A MISP with one published event of these addresses.
pub(super) fn misp(values: &[&str]) -> (Misp, Uuid, Vec<Uuid>) {
    let misp = Misp::new(now() - 1_000);
    let attributes: Vec<NewAttribute> = values.iter().map(|value| address(value)).collect();
    let (uuid, uuids) = (Uuid::new_v4(), attributes.iter().map(|one| one.uuid).collect());
    misp.add_event(NewEvent { uuid, attributes, ..NewEvent::default() });
    misp.advance(1);
    misp.publish(uuid);
    misp.advance(1);
    (misp, uuid, uuids)
}

/// An event of one address that is published without a word on the feed.
pub(super) fn publish(stage: &Stage, value: &str) -> Uuid {
    let event = NewEvent { attributes: vec![address(value)], ..NewEvent::default() };
    let uuid = event.uuid;
    stage.lose(stage.misp.add_event(event));
    stage.lose(stage.misp.publish(uuid));
    uuid
}

impl Stage {
    /// Events that were asked for whole.
    pub(super) fn read_events(&self) -> usize {
        let requests = self.rest.requests();
        let whole = |body: &str| {
            let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
            let asked = body["uuid"].as_array().map_or(0, Vec::len);
            if body.get("metadata").is_some() { 0 } else { asked }
        };
        requests.iter().map(|request| whole(&request.body)).sum()
    }
}
