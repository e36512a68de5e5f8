//! A first sync of 100,000 attributes over REST, and a resync that finds nothing new: CPU seconds and memory of
//! the relay, beside the floor in the same run. Release build, real sockets on loopback, no quota.
//! `cargo bench --bench sync` (`-- many` or `-- one` for one of the two shapes)
//!
//! MISP and Sentinel stand in this process, the relay has its own. The floor is what SQLite alone needs for
//! the rows of such a sync, see `floor.rs`.

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
#[path = "../../tests/it/support/mod.rs"]
mod support;

mod floor;
#[path = "../measure/mod.rs"]
mod measure;

use std::time::{Duration, Instant};

use measure::memory;
use misp_sentinel_relay::sandbox::Sandbox;
use misp_stand_in::{Misp, MispServer, MispSettings, NewAttribute, NewEvent};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use support::publisher::Publisher;
use support::relay::{Relay, held};
use support::sandbox::start;

const ATTRIBUTES: usize = 100_000;

/// How many events the attributes are spread over.
const SHAPES: [(&str, usize); 2] = [("many", 200), ("one", 1)];

const KEY: &str = "SiteAdministratorsKeyOfTheMispStandIn000";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let is_asked = |shape: &str| {
        !asked.iter().any(|word| word == "many" || word == "one")
            || asked.iter().any(|word| word == shape)
    };
    for (shape, events) in SHAPES.into_iter().filter(|(shape, _)| is_asked(shape)) {
        let relay = sync(events).await;
        let floor = floor::seconds(events, ATTRIBUTES / events);
        println!(
            "{shape}: {ATTRIBUTES} attributes in {events} events
  first sync: {:.2} CPU s (floor {floor:.2}, ratio {:.2}), peak {:.1} MiB, {:.1} s
  unchanged:  {:.2} CPU s, peak of both {:.1} MiB, 0 objects sent, {:.1} s
  ledger:     {:.1} MB, {:.0} bytes a claim",
            relay.first.cpu,
            relay.first.cpu / floor,
            relay.first.peak,
            relay.first.took.as_secs_f64(),
            relay.unchanged.cpu,
            relay.unchanged.peak,
            relay.unchanged.took.as_secs_f64(),
            relay.ledger as f64 / 1e6,
            relay.ledger as f64 / ATTRIBUTES as f64,
        );
    }
}

struct Sync {
    first: Measured,
    unchanged: Measured,
    /// Bytes.
    ledger: u64,
}

struct Measured {
    /// CPU seconds of the relay's process.
    cpu: f64,
    /// MiB.
    peak: f64,
    took: Duration,
}

async fn sync(events: usize) -> Sync {
    let misp = filled(events);
    let rest = MispServer::start(misp, MispSettings::default()).await.unwrap();
    let (publisher, sandbox) = (Publisher::bind(), start().await);
    let url = rest.base_url();
    let settings = [
        ("MSR_MISP__URL", url.as_str()),
        ("MSR_MISP__KEY", KEY),
        ("MSR_MISP__RESYNC__SCHEDULE", ""),
        ("MSR_LEDGER__FSYNC", "true"),
    ];
    let began = Instant::now();
    let relay = Relay::start(&sandbox, &publisher, &settings).await;
    while held(&sandbox).len() < ATTRIBUTES {
        assert!(began.elapsed() < Duration::from_secs(600), "{}", held(&sandbox).len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    quiet(&relay).await;
    let cpu = cpu_seconds(relay.pid());
    let first = Measured { cpu, peak: peak(&relay), took: began.elapsed() };
    let sent = objects(&sandbox);
    let began = Instant::now();
    let output = relay.command(&["resync"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let took = began.elapsed();
    // What differed would be sent after the command has ended.
    quiet(&relay).await;
    assert_eq!(objects(&sandbox), sent, "an unchanged MISP has nothing sent again");
    let cpu = cpu_seconds(relay.pid()) - cpu;
    let unchanged = Measured { cpu, peak: peak(&relay), took };
    let size =
        |name: &str| std::fs::metadata(relay.folder().join(name)).map_or(0, |file| file.len());
    Sync { first, unchanged, ledger: size("ledger.db") }
}

/// Waits until the relay has settled what it sent.
async fn quiet(relay: &Relay) {
    loop {
        let before = cpu_seconds(relay.pid());
        tokio::time::sleep(Duration::from_secs(1)).await;
        if cpu_seconds(relay.pid()) - before < 0.02 {
            return;
        }
    }
}

/// CPU seconds that a process has used.
fn cpu_seconds(process: u32) -> f64 {
    let process = Pid::from_raw(process.try_into().unwrap());
    let used = clock_getcpuclockid(process).unwrap().now().unwrap();
    used.tv_sec() as f64 + used.tv_nsec() as f64 / 1e9
}

fn peak(relay: &Relay) -> f64 {
    memory(relay.pid(), "VmHWM") * 1e6 / f64::from(1 << 20)
}

/// Objects in all uploads.
fn objects(sandbox: &Sandbox) -> usize {
    sandbox.requests().iter().map(|request| request.objects).sum()
}

fn filled(events: usize) -> Misp {
    let misp = Misp::new(chrono::Utc::now().timestamp() - 1_000);
    let size = ATTRIBUTES / events;
    for event in 0..events {
        let one = |n: usize| {
            let n = event * size + n;
            let address = format!("11.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
            let comment = format!("seen in campaign {event}");
            NewAttribute { comment, ..NewAttribute::new("ip-dst", &address) }
        };
        let event = NewEvent {
            info: format!("Phishing wave {event} against banks"),
            tags: vec![("tlp:green".to_owned(), false), ("type:OSINT".to_owned(), false)],
            attributes: (0..size).map(one).collect(),
            ..NewEvent::default()
        };
        let uuid = event.uuid;
        misp.load_event(event);
        misp.publish(uuid);
    }
    misp.advance(900);
    misp
}
