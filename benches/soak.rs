//! An hour of a busy MISP, release build, Sentinel's real quota: does anything grow?
//! `cargo bench --bench soak` (`-- 10` for ten minutes)
//!
//! Two events in three seconds are added and published, others are edited, tagged, withdrawn and
//! deleted; the feed restarts now and then, MISP and Sentinel fail now and then. Events older than a
//! few hundred are deleted, so what is live stays bounded.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement fails by panicking and reports on standard output"
)]

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/support/mod.rs"]
mod support;

mod measure;

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use measure::memory;
use misp_sentinel_relay::sandbox::{Fault, Sandbox, Settings};
use misp_stand_in::{
    Chance, Edit, Frame, Misp, MispServer, MispSettings, NewAttribute, NewEvent, RestFault,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use support::publisher::Publisher;
use support::relay::{Relay, held};
use support::sandbox::start_with;
use support::scene::is_live;
use uuid::Uuid;

const KEY: &str = "SiteAdministratorsKeyOfTheMispStandIn000";

/// Events that are kept in MISP.
const KEPT: usize = 300;

struct Soak {
    misp: Misp,
    rest: MispServer,
    publisher: Publisher,
    sandbox: Sandbox,
    chance: StdRng,
    events: VecDeque<Uuid>,
    deeds: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let minutes = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(60_u64);
    let misp = Misp::new(chrono::Utc::now().timestamp());
    let rest = MispServer::start(misp.clone(), MispSettings::default()).await.unwrap();
    let sandbox = start_with(Settings::default()).await;
    let url = rest.base_url();
    let settings = [
        ("MSR_MISP__URL", url.as_str()),
        ("MSR_MISP__KEY", KEY),
        ("MSR_MISP__RESYNC__SCHEDULE", "*/10 * * * *"),
        ("MSR_LEDGER__FSYNC", "true"),
        ("MSR_DELIVERY__QUOTA_REQUESTS", "99"),
        ("MSR_DELIVERY__LINGER", "200ms"),
        ("MSR_DELIVERY__REQUEST_TIMEOUT", "30s"),
        ("MSR_DELIVERY__THROTTLED_DEFAULT", "60s"),
    ];
    let publisher = Publisher::bind();
    let relay = Relay::start(&sandbox, &publisher, &settings).await;
    let mut soak = Soak {
        misp,
        rest,
        publisher,
        sandbox,
        chance: StdRng::seed_from_u64(1),
        events: VecDeque::new(),
        deeds: 0,
    };
    let began = Instant::now();
    let mut told = 0;
    while began.elapsed() < Duration::from_secs(60 * minutes) {
        soak.second().await;
        let minute = began.elapsed().as_secs() / 60;
        if minute > told && (minute == 1 || minute.is_multiple_of(5)) {
            told = minute;
            soak.tell(&relay, minute);
        }
    }
    soak.rest.heal();
    soak.sandbox.heal();
    soak.settle(&relay).await;
    soak.tell(&relay, minutes);
}

impl Soak {
    /// What happens in a second.
    async fn second(&mut self) {
        let now = Instant::now();
        self.misp.set_clock(chrono::Utc::now().timestamp());
        if self.chance.random_bool(0.66) {
            self.publish_new().await;
        }
        if let Some(event) = self.some_event() {
            self.alter(event).await;
        }
        if self.events.len() > KEPT {
            let oldest = self.events.pop_front().unwrap();
            self.send(self.misp.delete_event(oldest)).await;
        }
        if self.chance.random_bool(1.0 / 600.0) {
            self.publisher.stop();
            tokio::time::sleep(Duration::from_secs(3)).await;
            self.publisher.start();
        }
        self.weather();
        if self.deeds.is_multiple_of(10) {
            self.publisher.send_heartbeat(i64::try_from(self.deeds).unwrap()).await;
        }
        tokio::time::sleep_until((now + Duration::from_secs(1)).into()).await;
    }

    async fn publish_new(&mut self) {
        let count = self.chance.random_range(1..60);
        // A few addresses are named again and again, most once.
        let address = |chance: &mut StdRng| {
            let wide = chance.random_bool(0.9);
            let number: u32 =
                if wide { chance.random_range(0..1 << 24) } else { chance.random_range(0..500) };
            format!("11.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255)
        };
        let attributes =
            (0..count).map(|_| NewAttribute::new("ip-dst", &address(&mut self.chance))).collect();
        let new = NewEvent { attributes, ..NewEvent::default() };
        let uuid = new.uuid;
        self.send(self.misp.add_event(new)).await;
        self.send(self.misp.publish(uuid)).await;
        self.events.push_back(uuid);
    }

    fn some_event(&mut self) -> Option<Uuid> {
        (!self.events.is_empty())
            .then(|| self.events[self.chance.random_range(0..self.events.len())])
    }

    async fn alter(&mut self, event: Uuid) {
        let Some(state) = self.misp.event(event) else { return };
        let Some(attribute) = state.attributes.first().map(|attribute| attribute.uuid) else {
            return;
        };
        let frames = match self.chance.random_range(0..8) {
            0 => self.misp.edit_attribute(event, attribute, Edit::ToIds(false)),
            1 => self.misp.edit_attribute(event, attribute, Edit::ToIds(true)),
            2 => self.misp.edit_attribute(event, attribute, Edit::Comment("seen again".to_owned())),
            3 => self.misp.delete_attribute(event, attribute),
            4 => self.misp.tag_event(event, "tlp:green", false),
            5 => self.misp.tag_attribute(event, attribute, "tlp:red", true),
            _ => self.misp.publish(event),
        };
        self.send(frames).await;
    }

    fn weather(&mut self) {
        if self.chance.random_bool(1.0 / 300.0) {
            self.sandbox.script([Fault::ServerError, Fault::ResetAfter]);
        }
        if self.chance.random_bool(1.0 / 300.0) {
            let faults =
                vec![RestFault::Status(500), RestFault::Reset, RestFault::Truncated { after: 500 }];
            let seed = self.chance.random();
            self.rest.by_chance(Chance { seed, probability: 0.05, faults });
        }
    }

    async fn send(&mut self, frames: Vec<Frame>) {
        self.deeds += 1;
        for frame in frames {
            self.publisher.send(&frame.bytes).await;
        }
    }

    /// Publishes everything once more, and waits until Sentinel holds exactly what MISP says.
    async fn settle(&mut self, relay: &Relay) {
        for event in self.events.clone() {
            self.misp.set_clock(chrono::Utc::now().timestamp());
            self.send(self.misp.publish(event)).await;
        }
        let expected = self.expected();
        let began = Instant::now();
        while self.live() != expected {
            assert!(
                began.elapsed() < Duration::from_secs(900),
                "{} live, {} expected\n{}",
                self.live().len(),
                expected.len(),
                String::from_utf8_lossy(&relay.command(&["status"]).stdout)
            );
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        println!(
            "Sentinel holds exactly the {} indicators of MISP, {:.0} s after the last deed",
            expected.len(),
            began.elapsed().as_secs_f64()
        );
    }

    fn expected(&self) -> BTreeSet<String> {
        let red = |tags: &[misp_stand_in::Tag]| tags.iter().any(|tag| tag.name == "tlp:red");
        let events = self.misp.events();
        let shown = events.iter().flat_map(|event| event.attributes.iter());
        let admitted = shown.filter(|one| one.to_ids && !one.deleted && !red(&one.tags));
        admitted.map(|one| format!("[ipv4-addr:value = '{}']", one.value)).collect()
    }

    fn live(&self) -> BTreeSet<String> {
        let live = held(&self.sandbox).into_iter().filter(|held| is_live(&held.json));
        live.map(|held| held.json["pattern"].as_str().unwrap().to_owned()).collect()
    }

    fn tell(&self, relay: &Relay, minute: u64) {
        let files = std::fs::read_dir(format!("/proc/{}/fd", relay.pid())).unwrap().count();
        let size = |name: &str| {
            std::fs::metadata(relay.folder().join(name)).map_or(0, |file| file.len()) as f64 / 1e6
        };
        let requests = self.sandbox.requests();
        let throttled = requests.iter().filter(|request| request.status == Some(429)).count();
        println!(
            "minute {minute}: RSS {:.1} MB, peak {:.1} MB, {files} files, ledger {:.1} MB + WAL {:.1} MB; {} deeds, {} uploads, {throttled} answers of 429",
            memory(relay.pid(), "VmRSS"),
            memory(relay.pid(), "VmHWM"),
            size("ledger.db"),
            size("ledger.db-wal"),
            self.deeds,
            requests.len(),
        );
    }
}
