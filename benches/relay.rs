//! The figures of the whole relay, release build, real sockets on loopback: start, memory, latency,
//! the recorded 50,000-attribute publication. `cargo bench --bench relay`
//!
//! The publisher and the sandbox run in this process, the relay in its own.

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
use std::time::{Duration, Instant};

use measure::memory;
use support::publisher::{Publisher, recorded_frame};
use support::relay::{Relay, held};
use support::sandbox::start;

/// The recorded event has 50,000 attributes, 5,000 of them without `to_ids`.
const LARGE: usize = 45_000;

/// Runs of the latency measurement.
const RUNS: usize = 200;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = tempfile::TempDir::new().unwrap();
    report("fsync of the disk (4 KiB appended)", &mut fsyncs(folder.path()));
    small_events("0ms").await;
    small_events("200ms").await;
    large_event().await;
}

/// Appends and syncs, as SQLite does once a commit.
fn fsyncs(folder: &std::path::Path) -> Vec<Duration> {
    use std::io::Write;
    let mut file = std::fs::File::create(folder.join("probe")).unwrap();
    let one = || {
        let started = Instant::now();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        started.elapsed()
    };
    std::iter::repeat_with(one).take(RUNS).collect()
}

async fn small_events(linger: &str) {
    let sandbox = start().await;
    let publisher = Publisher::bind();
    let settings = [("MSR_DELIVERY__LINGER", linger), ("MSR_LEDGER__FSYNC", "true")];
    let relay = Relay::start(&sandbox, &publisher, &settings).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("start to ready: {} ms", ready_after(&relay));
    println!("idle RSS: {:.1} MB", memory(relay.pid(), "VmRSS"));
    let mut taken = Vec::new();
    for run in 0..RUNS + 5 {
        let frame = small_event(run);
        let before = sandbox.requests().len();
        let sent = Instant::now();
        publisher.send(frame.as_bytes()).await;
        let mut changes = sandbox.changes();
        let answered = loop {
            let requests = sandbox.requests();
            if let Some(answered) = requests.get(before).and_then(|one| one.answered) {
                break answered;
            }
            changes.changed().await.unwrap();
        };
        // The first few pay for sign-in and TLS.
        if run >= 5 {
            taken.push(answered - sent);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(held(&sandbox).len(), (RUNS + 5) * 50);
    report(&format!("frame to 200, 50 attributes, linger {linger}"), &mut taken);
}

async fn large_event() {
    let sandbox = start().await;
    let publisher = Publisher::bind();
    let settings = [("MSR_LEDGER__FSYNC", "true")];
    let relay = Relay::start(&sandbox, &publisher, &settings).await;
    let frame = recorded_frame("zmq", "010630_misp_json.bin").frame;
    let sent = Instant::now();
    publisher.send(&frame).await;
    while !relay.log().contains("\"event_committed\"") {
        assert!(sent.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("50,000 attributes: frame to committed {:.2} s", sent.elapsed().as_secs_f64());
    println!("  peak RSS at commit: {:.1} MB", memory(relay.pid(), "VmHWM"));
    println!("  of it the frame's size: {:.1} MB", frame.len() as f64 / 1e6);
    let mut changes = sandbox.changes();
    while held(&sandbox).len() < LARGE {
        tokio::time::timeout(Duration::from_secs(120), changes.changed()).await.unwrap().unwrap();
    }
    println!("  frame to all accepted {:.2} s (no quota)", sent.elapsed().as_secs_f64());
    println!("  peak RSS: {:.1} MB", memory(relay.pid(), "VmHWM"));
    let ledger = std::fs::metadata(relay.folder().join("ledger.db")).unwrap().len();
    println!("  ledger: {:.1} MB", ledger as f64 / 1e6);
}

/// Fifty addresses that no other run has.
fn small_event(run: usize) -> String {
    let uuid = |kind: u8, n: usize| format!("{kind:08x}-0000-4000-8000-{n:012x}");
    let mut attributes = String::new();
    for n in 0..50 {
        let number = run * 50 + n;
        let separator = if n == 0 { "" } else { "," };
        write!(
            attributes,
            r#"{separator}{{"id":"{number}","type":"ip-dst","category":"Network activity","to_ids":true,"uuid":"{}","event_id":"{run}","distribution":"5","timestamp":"1795499521","comment":"","sharing_group_id":"0","deleted":false,"object_id":"0","object_relation":null,"first_seen":null,"last_seen":null,"value":"11.{}.{}.{}","Galaxy":[],"ShadowAttribute":[]}}"#,
            uuid(1, number), number >> 16 & 255, number >> 8 & 255, number & 255,
        )
        .unwrap();
    }
    format!(
        r#"misp_json {{"Event":{{"id":"{run}","date":"2026-11-24","threat_level_id":"3","info":"bench {run}","published":false,"uuid":"{}","analysis":"0","timestamp":"1795499521","distribution":"3","publish_timestamp":"0","sharing_group_id":"0","Orgc":{{"id":"1","name":"ORG","uuid":"4028eff6-8b64-45f8-ac36-ff18b327dc76"}},"Attribute":[{attributes}],"Object":[],"Tag":[]}}}}"#,
        uuid(2, run),
    )
}

fn ready_after(relay: &Relay) -> u64 {
    let log = relay.log();
    let line = log.lines().find(|line| line.contains("relay_ready")).unwrap();
    serde_json::from_str::<serde_json::Value>(line).unwrap()["ready_after_ms"].as_u64().unwrap()
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what}: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(0.5), at(0.99), at(1.0));
}
