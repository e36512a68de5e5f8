//! Eleven minutes with Sentinel's real quota: how much of it a backlog uses, that it is never
//! exceeded, and how fast live events and withdrawals overtake. `cargo bench --bench quota`
//!
//! Plan: 0:00 a full resync of 120,000 new indicators begins; 1:30 a live event of 50 attributes;
//! 3:00 a live event of 50,000, and in the middle of it a withdrawal and a live event of three; 6:00
//! the relay is killed and started again; 11:00 the count.

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

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use misp_sentinel_relay::sandbox::{Sandbox, Settings};
use misp_stand_in::{Edit, Frame, Misp, MispServer, MispSettings, NewAttribute, NewEvent};
use support::publisher::Publisher;
use support::relay::Relay;
use support::sandbox::start_with;
use support::scene::is_live;
use uuid::Uuid;

const KEY: &str = "SiteAdministratorsKeyOfTheMispStandIn000";
const BACKLOG: usize = 120_000;
const MINUTE: Duration = Duration::from_secs(60);

struct Stage {
    misp: Misp,
    publisher: Publisher,
    sandbox: Sandbox,
    seen: Seen,
}

/// When each pattern arrived last, and whether it was live then.
type Seen = Arc<Mutex<HashMap<String, (Instant, bool)>>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let misp = Misp::new(chrono::Utc::now().timestamp() - 100_000);
    let first = load(&misp, 0, BACKLOG);
    misp.advance(90_000);
    let rest = MispServer::start(misp.clone(), MispSettings::default()).await.unwrap();
    let sandbox = start_with(Settings::default()).await;
    let seen = Seen::default();
    let keep = Arc::clone(&seen);
    sandbox.reject_where(move |object| {
        let pattern = object["pattern"].as_str().unwrap().to_owned();
        keep.lock().unwrap().insert(pattern, (Instant::now(), is_live(object)));
        None
    });
    let stage = Stage { misp, publisher: Publisher::bind(), sandbox, seen };
    let url = rest.base_url();
    let settings = [
        ("MSR_MISP__URL", url.as_str()),
        ("MSR_MISP__KEY", KEY),
        ("MSR_LEDGER__FSYNC", "true"),
        ("MSR_DELIVERY__QUOTA_REQUESTS", "99"),
        ("MSR_DELIVERY__LINGER", "200ms"),
        ("MSR_DELIVERY__REQUEST_TIMEOUT", "30s"),
    ];
    let began = Instant::now();
    let mut relay = Relay::start(&stage.sandbox, &stage.publisher, &settings).await;
    at(began, 1.5).await;
    let event = add(&stage.misp, 200_000, 50);
    let took = stage.live_event(event, 200_000..200_050).await;
    println!("live event of 50 during the resync: {:.2} s", took.as_secs_f64());
    at(began, 3.0).await;
    let large = add(&stage.misp, 300_000, 50_000);
    stage.send(stage.misp.publish(large)).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    stage.misp.advance(1);
    let sent = Instant::now();
    stage.send(stage.misp.edit_attribute(first.0, first.1, Edit::ToIds(false))).await;
    let took = stage.arrives(0, false).await - sent;
    println!("withdrawal during a live event of 50,000: {:.2} s", took.as_secs_f64());
    let small = add(&stage.misp, 400_000, 3);
    let took = stage.live_event(small, 400_000..400_003).await;
    println!("live event of 3 during a live event of 50,000: {:.2} s", took.as_secs_f64());
    at(began, 6.0).await;
    relay.kill();
    let killed = Instant::now();
    relay.restart(&stage.publisher).await;
    at(began, 11.0).await;
    count(&stage.sandbox, killed);
}

async fn at(began: Instant, minutes: f64) {
    let moment = began + MINUTE.mul_f64(minutes);
    tokio::time::sleep_until(moment.into()).await;
}

impl Stage {
    async fn send(&self, frames: Vec<Frame>) {
        for frame in frames {
            self.publisher.send(&frame.bytes).await;
        }
    }

    /// Publishes; how long until all of it has arrived.
    async fn live_event(&self, event: Uuid, numbers: std::ops::Range<usize>) -> Duration {
        let sent = Instant::now();
        self.send(self.misp.publish(event)).await;
        let arrivals = numbers.map(|number| self.arrives(number, true));
        let last = futures::future::join_all(arrivals).await.into_iter().max().unwrap();
        last - sent
    }

    async fn arrives(&self, number: usize, live: bool) -> Instant {
        let pattern = format!("[ipv4-addr:value = '{}']", address(number));
        let began = Instant::now();
        loop {
            let seen = self.seen.lock().unwrap().get(&pattern).copied();
            if let Some((at, _)) = seen.filter(|(_, as_live)| *as_live == live) {
                return at;
            }
            assert!(began.elapsed() < MINUTE * 2, "{pattern}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn address(number: usize) -> String {
    format!("11.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255)
}

fn attributes(first: usize, count: usize) -> Vec<NewAttribute> {
    (first..first + count).map(|n| NewAttribute::new("ip-dst", &address(n))).collect()
}

fn add(misp: &Misp, first: usize, count: usize) -> Uuid {
    let uuid = Uuid::new_v4();
    misp.load_event(NewEvent { uuid, attributes: attributes(first, count), ..NewEvent::default() });
    misp.advance(1);
    uuid
}

/// Published events of 200 attributes; the first attribute and its event.
fn load(misp: &Misp, first: usize, count: usize) -> (Uuid, Uuid) {
    let mut found = None;
    for first in (first..first + count).step_by(200) {
        let event = add(misp, first, 200);
        let attribute = misp.event(event).unwrap().attributes[0].uuid;
        misp.publish(event);
        found.get_or_insert((event, attribute));
    }
    found.unwrap()
}

fn count(sandbox: &Sandbox, killed: Instant) {
    let requests = sandbox.requests();
    let arrivals: Vec<Instant> = requests.iter().map(|request| request.arrived).collect();
    let in_window =
        |from: &Instant| arrivals.iter().filter(|at| *at >= from && **at < *from + MINUTE).count();
    let most = arrivals.iter().map(in_window).max().unwrap();
    let first = arrivals[0];
    for minute in 0..10 {
        let from = first + MINUTE * minute;
        let note = if killed >= from && killed < from + MINUTE { " (killed here)" } else { "" };
        println!("minute {}: {} requests{note}", minute + 1, in_window(&from));
    }
    let throttled = requests.iter().filter(|request| request.status == Some(429)).count();
    let total = arrivals.iter().filter(|at| **at < first + MINUTE * 10).count();
    println!(
        "most in any 60 s: {most}; answers of 429: {throttled}; {:.1} % of 99 a minute over ten minutes",
        total as f64 / 9.9
    );
}
