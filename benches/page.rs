//! What people who look cost a relay with a large ledger, release build, real sockets on loopback: the time of a page,
//! the relay's processor time, and how much later a withdrawal is accepted. `cargo bench --bench page` (`-- 100000` for
//! a smaller ledger)

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

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use measure::memory;
use misp_sentinel_relay::http::LOCAL;
use misp_sentinel_relay::sandbox::{Fault, Sandbox};
use serde_json::Value;
use support::event::then;
use support::publisher::Publisher;
use support::relay::Relay;
use support::sandbox::start;
use tokio::task::JoinHandle;

/// Attributes of each event.
const ATTRIBUTES: usize = 10_000;

/// Times without lookers and with them, one after the other.
const PAIRS: usize = 7;

/// Withdrawals of each time.
const WITHDRAWALS: usize = 60;

/// The time between two withdrawals: a busy MISP, and no queue.
const BETWEEN: Duration = Duration::from_millis(25);

/// Browsers that ask for the overview without a pause. Each real one asks every 5 s.
const LOOKERS: usize = 4;

/// How much later a withdrawal may be accepted, in the median.
const LATER: Duration = Duration::from_millis(10);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let size = std::env::args().find_map(|argument| argument.parse().ok());
    let stage = Stage::filled(size.unwrap_or(1_000_000)).await;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let (mut overviews, mut searches) = (Vec::new(), Vec::new());
    let mut next = 0;
    for pair in 0..PAIRS {
        let mut without = stage.withdraw(&mut next).await;
        let lookers = Lookers::start(&stage.address);
        let mut with = stage.withdraw(&mut next).await;
        let (seen, found) = lookers.stop().await;
        println!(
            "pair {}: a withdrawal {} alone, {} beside {} pages; the relay's processor {:.0} % alone, {:.0} % beside",
            pair + 1,
            told(&mut without.took),
            told(&mut with.took),
            seen.len() + found.len(),
            without.processor * 100.0,
            with.processor * 100.0,
        );
        alone.push(median(&mut without.took));
        beside.push(median(&mut with.took));
        overviews.extend(seen);
        searches.extend(found);
    }
    println!("overview: {}", told(&mut overviews));
    println!("search of a value: {}", told(&mut searches));
    println!("peak RSS {:.1} MB", memory(stage.relay.pid(), "VmHWM"));
    let (alone, beside) = (median(&mut alone), median(&mut beside));
    println!(
        "a withdrawal, the median of the medians: {alone:.2?} alone, {beside:.2?} beside lookers"
    );
    assert!(beside < alone + LATER, "lookers slow a withdrawal");
}

/// A relay whose target holds a large set of live indicators.
struct Stage {
    sandbox: Sandbox,
    publisher: Arc<Publisher>,
    relay: Relay,
    address: String,
    heart: JoinHandle<()>,
}

/// Withdrawals of one time.
struct Times {
    took: Vec<Duration>,
    /// How much of one processor the relay used.
    processor: f64,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

impl Stage {
    async fn filled(size: usize) -> Self {
        let (sandbox, publisher) = (start().await, Arc::new(Publisher::bind()));
        // Accepted and not kept: a million objects here would be in the way.
        sandbox.always(Some(Fault::Answer { status: 200, body: String::new() }));
        let settings = [
            ("MSR_LEDGER__FSYNC", "true"),
            ("MSR_DELIVERY__REQUEST_TIMEOUT", "30s"),
            ("MSR_MISP__ZEROMQ__SILENCE", "10m"),
        ];
        let relay = Relay::start(&sandbox, &publisher, &settings).await;
        let address = relay.page_address(1).await;
        let began = Instant::now();
        for event in 0..size.div_ceil(ATTRIBUTES) {
            publisher.send(large(event).as_bytes()).await;
            // No more at a time than the inbox holds.
            committed(&address, (event + 1) * ATTRIBUTES).await;
        }
        println!("{size} claims committed after {:.1?}", began.elapsed());
        until(&address, |status| {
            status.pointer("/ledger/targets/0/delivered").and_then(Value::as_u64)
                >= Some(size as u64)
        })
        .await;
        println!("all accepted after {:.1?}", began.elapsed());
        let size = |name| std::fs::metadata(relay.folder().join(name)).map_or(0, |file| file.len());
        let ledger = size("ledger.db") + size("ledger.db-wal");
        println!("the ledger has {:.0} MB", ledger as f64 / 1e6);
        // Until the last count is too old to be shown again.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let first = Instant::now();
        get(&format!("{address}/")).await;
        println!("a look for which the ledger is counted anew: {:.1?}", first.elapsed());
        let heart = tokio::spawn(beat(Arc::clone(&publisher)));
        Self { sandbox, publisher, relay, address, heart }
    }

    /// Withdraws one after the other, while small events go on being published.
    async fn withdraw(&self, next: &mut usize) -> Times {
        let (before, began) = (processor_time(self.relay.pid()), Instant::now());
        let mut took = Vec::with_capacity(WITHDRAWALS);
        for _ in 0..WITHDRAWALS {
            let seen = self.sandbox.requests().len();
            let sent = Instant::now();
            self.publisher.send(withdrawal(*next).as_bytes()).await;
            took.push(self.answered(seen).await - sent);
            *next += 1;
            tokio::time::sleep(BETWEEN).await;
            // The feed is busy: an event with some attributes after each withdrawal.
            let seen = self.sandbox.requests().len();
            self.publisher.send(small(*next).as_bytes()).await;
            self.answered(seen).await;
            tokio::time::sleep(BETWEEN).await;
        }
        let used = processor_time(self.relay.pid()) - before;
        Times { took, processor: used.as_secs_f64() / began.elapsed().as_secs_f64() }
    }

    /// Waits until the request after so many is answered.
    async fn answered(&self, before: usize) -> Instant {
        let mut changes = self.sandbox.changes();
        loop {
            let requests = self.sandbox.requests();
            if let Some(at) = requests.get(before).and_then(|one| one.answered) {
                return at;
            }
            let waited = tokio::time::timeout(Duration::from_secs(60), changes.changed()).await;
            waited.expect("no request for a minute").unwrap();
        }
    }
}

/// Browsers that look until they are stopped.
struct Lookers {
    stop: Arc<AtomicBool>,
    overviews: Vec<JoinHandle<Vec<Duration>>>,
    searches: JoinHandle<Vec<Duration>>,
}

impl Lookers {
    fn start(address: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let look = |search: bool| {
            let (stop, address) = (Arc::clone(&stop), address.to_owned());
            tokio::spawn(look(address, search, stop))
        };
        let overviews = (0..LOOKERS).map(|_| look(false)).collect();
        Self { overviews, searches: look(true), stop }
    }

    /// Returns how long the overviews and the searches took.
    async fn stop(self) -> (Vec<Duration>, Vec<Duration>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut overviews = Vec::new();
        for looker in self.overviews {
            overviews.extend(looker.await.unwrap());
        }
        (overviews, self.searches.await.unwrap())
    }
}

/// Which value is searched next.
static SEARCHED: AtomicUsize = AtomicUsize::new(0);

async fn look(address: String, search: bool, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut took = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let value = value(SEARCHED.fetch_add(7_919, Ordering::Relaxed) % ATTRIBUTES);
        let path = if search { format!("/search?q={value}") } else { "/".to_owned() };
        let began = Instant::now();
        get(&format!("{address}{path}")).await;
        took.push(began.elapsed());
        // A browser draws what it got.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    took
}

async fn get(url: &str) -> String {
    let client = LOCAL.client_with(|builder| builder).unwrap();
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{url}");
    answer.text().await.unwrap()
}

/// Waits until the ledger holds so many claims.
async fn committed(address: &str, claims: usize) {
    let claims = claims as u64;
    until(address, |status| {
        status.pointer("/ledger/claims").and_then(Value::as_u64) >= Some(claims)
    })
    .await;
}

async fn until(address: &str, reached: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(1_800);
    loop {
        let status = serde_json::from_str(&get(&format!("{address}/status")).await).unwrap();
        if reached(&status) {
            return;
        }
        assert!(Instant::now() < deadline, "{status:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn beat(publisher: Arc<Publisher>) {
    for uptime in 1.. {
        publisher.send_heartbeat(uptime).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

fn value(number: usize) -> String {
    format!("host-{number}.example")
}

fn large(event: usize) -> String {
    publication(event, (event * ATTRIBUTES)..((event + 1) * ATTRIBUTES))
}

/// A publication of a new event with ten attributes of its own.
fn small(number: usize) -> String {
    let first = 100_000_000 + number * 10;
    publication(1_000_000 + number, first..first + 10)
}

fn publication(event: usize, numbers: std::ops::Range<usize>) -> String {
    let (uuid, now) = (event_uuid(event), then());
    let mut attributes = String::new();
    for number in numbers {
        let (attribute, value) = (attribute_uuid(number), value(number));
        if !attributes.is_empty() {
            attributes.push(',');
        }
        write!(
            attributes,
            r#"{{"id":"{number}","event_id":"{event}","uuid":"{attribute}","type":"domain","category":"Network activity","value":"{value}","to_ids":true,"deleted":false,"distribution":"5","timestamp":"{now}"}}"#
        )
        .unwrap();
    }
    format!(
        r#"misp_json {{"Event":{{"id":"{event}","uuid":"{uuid}","info":"event {event}","distribution":"3","timestamp":"{now}","Attribute":[{attributes}],"Object":[]}}}}"#
    )
}

/// The deletion of one attribute after the other, of as many events as there are.
fn withdrawal(number: usize) -> String {
    let (attribute, event, value) = (attribute_uuid(number), event_uuid(0), value(number));
    let now = then() + 60;
    format!(
        r#"misp_json_attribute {{"Attribute":{{"id":"{number}","event_id":"0","uuid":"{attribute}","type":"domain","category":"Network activity","value":"{value}","to_ids":false,"deleted":false,"timestamp":"{now}"}},"Event":{{"id":"0","uuid":"{event}"}},"action":"edit"}}"#
    )
}

fn event_uuid(event: usize) -> String {
    format!("{event:08x}-0000-4000-8000-0000000000aa")
}

fn attribute_uuid(number: usize) -> String {
    format!("{number:08x}-0000-4000-9000-0000000000aa")
}

/// The processor time that a process has used, of all its threads.
fn processor_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name may hold anything, and ends with the last bracket.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // User and system time, in the 100ths of a second that Linux counts for programs.
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The median, the 99th percentile, the longest and how many.
fn told(times: &mut [Duration]) -> String {
    let median = median(times);
    let p99 = times[(times.len() * 99 / 100).min(times.len() - 1)];
    let longest = times[times.len() - 1];
    format!("p50 {median:.2?}, p99 {p99:.2?}, longest {longest:.2?} ({} times)", times.len())
}
