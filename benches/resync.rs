//! A full resync against the stand-in for MISP, release build: what it sends when nothing changed,
//! what it takes beyond what MISP needs to serve, memory and size of the ledger.
//! `cargo bench --bench resync` (`-- 100000` for the small one only)

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

use std::time::{Duration, Instant};

use measure::memory;
use misp_sentinel_relay::sandbox::Sandbox;
use misp_stand_in::{Misp, MispServer, MispSettings, NewAttribute, NewEvent};
use support::publisher::Publisher;
use support::relay::{Relay, held};
use support::sandbox::start;

/// More than so many are not sent to the sandbox: only their reading is measured.
const SENT: usize = 200_000;

const KEY: &str = "SiteAdministratorsKeyOfTheMispStandIn000";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100_000, 1_000_000] } else { sizes };
    for size in sizes {
        measure(size).await;
    }
}

async fn measure(attributes: usize) {
    let misp = filled(attributes);
    let rest = MispServer::start(misp, MispSettings::default()).await.unwrap();
    let (publisher, sandbox) = (Publisher::bind(), start().await);
    let url = rest.base_url();
    let settings = [
        ("MSR_MISP__URL", url.as_str()),
        ("MSR_MISP__KEY", KEY),
        ("MSR_LEDGER__FSYNC", "true"),
        ("MSR_MISP__RESYNC__SCHEDULE", ""),
        // 0: no limit. One request an hour is as good as none.
        ("MSR_DELIVERY__QUOTA_REQUESTS", if attributes <= SENT { "0" } else { "1" }),
        ("MSR_DELIVERY__QUOTA_WINDOW", "1h"),
    ];
    let started = Instant::now();
    let mut relay = Relay::start(&sandbox, &publisher, &settings).await;
    finished(&relay, 1).await;
    let filled_after = started.elapsed();
    println!(
        "{attributes} attributes: filled from an empty ledger in {:.1} s, {:.0} attributes/s, peak RSS {:.1} MB",
        filled_after.as_secs_f64(),
        attributes as f64 / filled_after.as_secs_f64(),
        memory(relay.pid(), "VmHWM")
    );
    let sends = attributes <= SENT;
    while sends && held(&sandbox).len() < attributes {
        assert!(started.elapsed() < Duration::from_secs(1_800), "{}", held(&sandbox).len());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    if sends {
        println!("  all accepted after {:.1} s (no quota)", started.elapsed().as_secs_f64());
    }
    let (serving, served) = serve_all(&url).await;
    let before: usize = sandbox.requests().iter().map(|request| request.objects).sum();
    let again = Instant::now();
    let output = relay.command(&["resync"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let took = again.elapsed();
    let sent: usize =
        sandbox.requests().iter().map(|request| request.objects).sum::<usize>() - before;
    println!(
        "  resync of the same: {:.1} s ({:.0} attributes/s), MISP alone needs {:.2} s to serve its {:.1} MB; {sent} objects sent; peak RSS {:.1} MB",
        took.as_secs_f64(),
        attributes as f64 / took.as_secs_f64(),
        serving.as_secs_f64(),
        served as f64 / 1e6,
        memory(relay.pid(), "VmHWM")
    );
    let ledger = std::fs::metadata(relay.folder().join("ledger.db")).unwrap().len();
    println!("  ledger: {:.1} MB", ledger as f64 / 1e6);
    assert!(sent == 0 || !sends);
    another_policy(&mut relay, &publisher, &sandbox).await;
}

/// A start with another policy, which withholds one value: when the first request leaves, and when all is judged.
async fn another_policy(relay: &mut Relay, publisher: &Publisher, sandbox: &Sandbox) {
    relay.stop();
    relay.set("MSR_POLICY__NEVER", "11.0.0.1");
    relay.set("MSR_DELIVERY__QUOTA_REQUESTS", "0");
    let before = sandbox.requests().len();
    let began = Instant::now();
    relay.restart(publisher).await;
    // If all was accepted before, the request with the one withdrawal is the first.
    while sandbox.requests().len() == before && began.elapsed() < Duration::from_secs(600) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let first = began.elapsed();
    while !relay.log().contains("judging_done") {
        assert!(began.elapsed() < Duration::from_secs(1_800), "{}", relay.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "  another policy: the first request after {:.1} s, all judged after {:.1} s; peak RSS {:.1} MB",
        first.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        memory(relay.pid(), "VmHWM")
    );
}

/// Events of 100 and of 50,000 attributes, half and half.
fn filled(attributes: usize) -> Misp {
    let misp = Misp::new(chrono::Utc::now().timestamp() - 1_000);
    let mut number = 0;
    while number < attributes {
        let size = if number % 100_000 < 50_000 { 50_000 } else { 100 };
        let size = size.min(attributes - number);
        let one = |n: usize| {
            let n = number + n;
            NewAttribute::new(
                "ip-dst",
                &format!("11.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255),
            )
        };
        let event = NewEvent { attributes: (0..size).map(one).collect(), ..NewEvent::default() };
        let uuid = event.uuid;
        misp.load_event(event);
        misp.publish(uuid);
        number += size;
    }
    misp.advance(900);
    misp
}

/// What a client needs that throws everything away, in requests as large as the relay's.
async fn serve_all(url: &str) -> (Duration, usize) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |body: serde_json::Value| {
        let request = client
            .post(format!("{url}/events/restSearch"))
            .header("Authorization", KEY)
            .header("Accept", "application/json")
            .json(&body);
        request.send().await.unwrap()
    };
    let heads: serde_json::Value =
        ask(serde_json::json!({"returnFormat": "json", "metadata": 1})).await.json().await.unwrap();
    let events: Vec<(String, usize)> = heads["response"]
        .as_array()
        .unwrap()
        .iter()
        .map(|head| {
            let event = &head["Event"];
            let count = event["attribute_count"].as_str().unwrap().parse().unwrap();
            (event["uuid"].as_str().unwrap().to_owned(), count)
        })
        .collect();
    let began = Instant::now();
    let (mut next, mut bytes) = (events.as_slice(), 0);
    while !next.is_empty() {
        let mut room = 50_000_i64;
        let fits = |(_, count): &&(String, usize)| {
            room -= *count as i64;
            room >= 0
        };
        let count = next.iter().take(100).take_while(fits).count().max(1);
        let uuids: Vec<&str> = next[..count].iter().map(|(uuid, _)| uuid.as_str()).collect();
        let mut answer =
            ask(serde_json::json!({"returnFormat": "json", "uuid": uuids, "deleted": [0, 1]}))
                .await;
        while let Some(chunk) = answer.chunk().await.unwrap() {
            bytes += chunk.len();
        }
        next = &next[count..];
    }
    (began.elapsed(), bytes)
}

/// So many resyncs have ended.
async fn finished(relay: &Relay, times: usize) {
    let began = Instant::now();
    while relay.log().matches("resync_done").count() < times {
        assert!(began.elapsed() < Duration::from_secs(900), "{}", relay.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
