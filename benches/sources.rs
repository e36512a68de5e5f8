//! Several MISPs and one relay: how long the first fill takes, what it costs, and whether MISPs in trouble slow another:
//! one that is down, one that answers nonsense and one that is empty. `cargo bench --bench sources [ATTRIBUTES]`: so many attributes a source (10,000), half of them shared by all.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement fails by panicking and reports on standard output"
)]

mod measure;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use misp_sentinel_relay::sandbox::{Sandbox, Settings};
use misp_stand_in::{
    Frame, Key, Misp, MispServer, MispSettings, NewAttribute, NewEvent, RestFault,
};
use support::publisher::Publisher;
use support::relay::{Relay, held, owned};
use support::sandbox::start_with;
use support::scene::is_live;

const KEY: &str = "SiteAdministratorsKeyOfTheMispStandIn000";
const SOURCES: usize = 10;
const ATTRIBUTES_AN_EVENT: usize = 500;
/// Alternating rounds, and publications in each.
const ROUNDS: usize = 7;
const PUBLICATIONS: usize = 20;
/// Malformed frames of each of two topics that come with each trouble.
const NONSENSE: usize = 50;

struct Source {
    name: String,
    misp: Misp,
    rest: MispServer,
    publisher: Publisher,
}

/// When each pattern arrived first.
type Seen = Arc<Mutex<BTreeMap<String, Instant>>>;

fn address(number: usize) -> String {
    format!("11.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255)
}

impl Source {
    /// A MISP whose first attributes are those of all others, and the rest its own.
    async fn new(number: usize, attributes: usize) -> Self {
        let misp = Misp::new(chrono::Utc::now().timestamp() - 10_000);
        let own = |index: usize| attributes / 2 + number * attributes + index;
        let value = |index| if index < attributes / 2 { index } else { own(index) };
        for first in (0..attributes).step_by(ATTRIBUTES_AN_EVENT) {
            let end = attributes.min(first + ATTRIBUTES_AN_EVENT);
            let all = (first..end).map(|index| NewAttribute::new("ip-dst", &address(value(index))));
            let event = NewEvent { attributes: all.collect(), ..NewEvent::default() };
            let uuid = event.uuid;
            misp.load_event(event);
            misp.publish(uuid);
        }
        misp.advance(5_000);
        let serving = MispSettings { keys: vec![Key::site_admin(KEY)], ..MispSettings::default() };
        let rest = MispServer::start(misp.clone(), serving).await.unwrap();
        Self { name: format!("s{number}"), misp, rest, publisher: Publisher::bind() }
    }

    fn settings(&self) -> Vec<(String, String)> {
        let (url, feed) = (self.rest.base_url(), self.publisher.endpoint());
        let settings = [
            ("MSR_MISP__KEY", KEY),
            ("MSR_MISP__URL", &url),
            ("MSR_MISP__ZEROMQ__ENDPOINTS", &feed),
            ("MSR_MISP__RESYNC__SCHEDULE", ""),
            ("MSR_MISP__REST__CATCH_UP_EVERY", "2s"),
            ("MSR_MISP__REST__EXISTENCE_EVERY", "2s"),
        ];
        owned(&settings)
    }

    async fn send(&self, frames: Vec<Frame>) {
        for frame in frames {
            self.publisher.send(&frame.bytes).await;
        }
    }

    /// Publishes an event of one new address; returns the time until Sentinel was sent it.
    async fn time_to_sentinel(&self, value: &str, seen: &Seen) -> Duration {
        let attributes = vec![NewAttribute::new("ip-dst", value)];
        let event = NewEvent { attributes, ..NewEvent::default() };
        let uuid = event.uuid;
        self.misp.set_clock(chrono::Utc::now().timestamp());
        self.misp.add_event(event);
        let frames = self.misp.publish(uuid);
        let (began, pattern) = (Instant::now(), format!("[ipv4-addr:value = '{value}']"));
        self.send(frames).await;
        loop {
            if let Some(at) = seen.lock().unwrap().get(&pattern) {
                return at.saturating_duration_since(began);
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{value} never came");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let attributes = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    let mut sources = Vec::new();
    for number in 0..SOURCES {
        sources.push(Source::new(number, attributes).await);
    }
    // Without a quota: what is measured is the relay.
    let no_quota = Settings { quota_requests: u32::MAX, ..Settings::default() };
    let sandbox = start_with(no_quota).await;
    let seen = watch(&sandbox);
    let named: Vec<_> =
        sources.iter().map(|source| (source.name.as_str(), source.settings())).collect();
    let began = Instant::now();
    let relay = Relay::of_sources(&sandbox, &named, &[]);
    let values = attributes / 2 + SOURCES * (attributes - attributes / 2);
    while seen.lock().unwrap().len() < values {
        assert!(began.elapsed() < Duration::from_secs(3_600), "{}", seen.lock().unwrap().len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "{SOURCES} sources of {attributes} attributes: {values} indicators after {:.1} s, peak {:.1} MB",
        began.elapsed().as_secs_f64(),
        measure::memory(relay.pid(), "VmHWM"),
    );
    let live = values + pairs(&mut sources, &seen).await;
    let ended = held(&sandbox).into_iter().filter(|held| !is_live(&held.json)).count();
    let held = held(&sandbox).len();
    println!("{held} of {live} indicators in the workspace, {ended} of them withdrawn");
}

fn watch(sandbox: &Sandbox) -> Seen {
    let seen = Seen::default();
    let keep = Arc::clone(&seen);
    sandbox.reject_where(move |object| {
        let pattern = object["pattern"].as_str().unwrap().to_owned();
        keep.lock().unwrap().entry(pattern).or_insert_with(Instant::now);
        None
    });
    seen
}

/// Makes the last three sources well, or brings each into a trouble of its own.
async fn trouble(sources: &mut [Source], is_trouble: bool) {
    let faults = [RestFault::Status(500), RestFault::HtmlPage, RestFault::Empty];
    let [.., down, wrong, empty] = sources else { panic!("too few sources") };
    for (source, fault) in [&*down, wrong, empty].into_iter().zip(faults) {
        source.rest.always(is_trouble.then_some(fault));
    }
    if !is_trouble {
        down.publisher.start();
        return;
    }
    down.publisher.stop();
    for _ in 0..NONSENSE {
        wrong.publisher.send(b"misp_json {\"Event\": nonsense}").await;
        wrong.publisher.send(b"misp_json_attribute []").await;
    }
}

/// Publishes in the first source while the last ones are well, and while they are in trouble, in turn. Returns how many
/// indicators that made.
async fn pairs(sources: &mut [Source], seen: &Seen) -> usize {
    let mut ratios = Vec::new();
    let mut number = 0;
    for round in 0..ROUNDS {
        let mut medians = Vec::new();
        for is_trouble in [false, true] {
            if round > 0 || is_trouble {
                trouble(sources, is_trouble).await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            let mut times = Vec::new();
            for _ in 0..PUBLICATIONS {
                number += 1;
                let value = format!("12.0.{}.{}", number >> 8, number & 255);
                times.push(sources[0].time_to_sentinel(&value, seen).await);
            }
            medians.push(median(times).as_secs_f64() * 1e3);
        }
        println!(
            "round {round}: {:.1} ms well, {:.1} ms with three in trouble",
            medians[0], medians[1]
        );
        ratios.push(medians[1] / medians[0]);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    println!("median ratio {:.3}", ratios[ROUNDS / 2]);
    number
}
