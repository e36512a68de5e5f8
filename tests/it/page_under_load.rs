//! Measures what the page costs beside a large ledger: the time of an answer, and how much later a withdrawal is
//! committed while many look.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use misp_sentinel_relay::http::LOCAL;

use super::admin::serve_http_as;
use super::support::event::{publication, then, to_ids_off};
use super::support::ledger::{Relay, TARGET};
use super::support::relay::ageless;
use super::support::sentinel::Sentinel;

/// Attributes of each event.
const ATTRIBUTES: usize = 1_000;

/// Withdrawals that are measured.
const WITHDRAWALS: usize = 100;

/// Browsers that ask for the page without a pause.
const LOOKERS: usize = 4;

/// How much later a withdrawal may be committed, in the median.
const LATER: Duration = Duration::from_millis(10);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; see CONTRIBUTING.md"]
async fn a_large_ledger_is_looked_at_without_holding_up_withdrawals() {
    let events = std::env::var("MSR_EVENTS").map_or(100, |events| events.parse().unwrap());
    let relay = Relay::start_with(&ageless()).await;
    let began = Instant::now();
    for event in 0..events {
        relay.hear(&large(event)).await;
    }
    println!("{} claims in {:?}", events * ATTRIBUTES, began.elapsed());
    // All of it is accepted: live indicators, as in a relay that has caught up.
    Sentinel::default().accept_all_of(&relay, TARGET).await;
    println!("accepted after {:?}", began.elapsed());
    let (address, served) = serve_http_as(&relay, &relay.config.admin);
    let alone = withdrawals(&relay, 0).await;
    let (stop, looked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let lookers = (0..LOOKERS).map(|_| look(address, Arc::clone(&stop), Arc::clone(&looked)));
    let lookers: Vec<_> = lookers.map(tokio::spawn).collect();
    let beside = withdrawals(&relay, WITHDRAWALS).await;
    stop.store(true, Ordering::Relaxed);
    let mut longest = Duration::ZERO;
    for looker in lookers {
        longest = longest.max(looker.await.unwrap());
    }
    let pages = looked.load(Ordering::Relaxed);
    println!(
        "a withdrawal: {alone:?} alone, {beside:?} beside {pages} pages, of which the slowest took {longest:?}"
    );
    assert!(pages >= LOOKERS, "nobody looked");
    assert!(beside < alone + LATER, "{beside:?} in place of {alone:?}");
    served.stop().await;
}

/// A publication of an event of its own.
fn large(event: usize) -> Vec<u8> {
    let first = event * ATTRIBUTES;
    let values: Vec<(usize, String)> =
        (first..first + ATTRIBUTES).map(|number| (number, value(number))).collect();
    let attributes: Vec<_> =
        values.iter().map(|(number, value)| (*number, value.as_str(), &[][..])).collect();
    let frame = String::from_utf8(publication(then(), &attributes)).unwrap();
    frame.replace("00000001-0000-4000-8000-000000000007", &uuid(event)).into_bytes()
}

fn uuid(event: usize) -> String {
    format!("{event:08x}-0000-4000-8000-0000000000aa")
}

fn value(number: usize) -> String {
    format!("host-{number}.example")
}

/// The median of the time from a frame to its commit.
async fn withdrawals(relay: &Relay, skipped: usize) -> Duration {
    let mut took = Vec::with_capacity(WITHDRAWALS);
    for number in skipped..skipped + WITHDRAWALS {
        let frame = to_ids_off(number, &value(number), then() + 1);
        let frame = String::from_utf8(frame).unwrap();
        let frame = frame.replace("00000001-0000-4000-8000-000000000007", &uuid(0));
        let began = Instant::now();
        relay.hear(frame.as_bytes()).await;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took[took.len() / 2]
}

/// Asks for the page again and again; returns how long the slowest answer took.
async fn look(address: SocketAddr, stop: Arc<AtomicBool>, looked: Arc<AtomicUsize>) -> Duration {
    let client = LOCAL.client_with(|builder| builder).unwrap();
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = client.get(format!("http://{address}/")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
        longest = longest.max(began.elapsed());
        looked.fetch_add(1, Ordering::Relaxed);
    }
    longest
}
