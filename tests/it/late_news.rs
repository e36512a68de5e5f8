//! Tests frames that arrive late, twice or during other work, against a real writer and ledger.

use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use misp_sentinel_relay::ledger::{Candidate, Ledger, Listing};
use misp_sentinel_relay::notice::{EventAnswer, Read, Receipt, What};
use uuid::Uuid;

use super::support::ledger::{Relay, TARGET, VIEW};
use super::support::publisher::{Recorded, recorded_frames};
use super::support::relay::ageless;
use super::support::sentinel::Sentinel;

/// Publications A and B of event 16, its deletion, and the soft delete of 198.18.2.0.
const LATE: [&str; 4] = ["000174", "000175", "000177", "000181"];

fn late(number: &str) -> Recorded {
    recorded_frames("zmq-more").into_iter().find(|frame| frame.name.starts_with(number)).unwrap()
}

fn orders(of: &[usize]) -> Vec<Vec<usize>> {
    if of.is_empty() {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for first in of {
        let rest: Vec<usize> = of.iter().copied().filter(|other| other != first).collect();
        all.extend(orders(&rest).into_iter().map(|order| [vec![*first], order].concat()));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_of_the_recorded_frames_brings_anything_back() {
    let frames = LATE.map(late);
    // Of the four, and of those without the event's deletion.
    for order in orders(&[0, 1, 2, 3]).into_iter().chain(orders(&[0, 1, 3])) {
        let relay = Relay::start_with(&ageless()).await;
        let mut sentinel = Sentinel::default();
        let (mut event_deleted, mut attribute_deleted) = (false, false);
        for frame in order.iter().chain(&order) {
            relay.hear(&frames[*frame].frame).await;
            event_deleted |= *frame == 2;
            attribute_deleted |= *frame == 3;
            sentinel.accept_all(&relay).await;
            let live = sentinel.live();
            assert!(!event_deleted || live.is_empty(), "{order:?}: {live:?}");
            assert!(!attribute_deleted || !live.contains_key("198.18.2.0"), "{order:?}: {live:?}");
        }
        let left: &[&str] = if event_deleted { &[] } else { &["198.18.2.1", "198.18.2.2"] };
        assert!(sentinel.live().keys().eq(left), "{order:?}: {:?}", sentinel.live());
    }
}

const EVENT: &str = "00000001-0000-4000-8000-000000000001";

fn attribute(number: usize, kind: &str, value: &str, timestamp: i64, to_ids: bool) -> String {
    format!(
        r#"{{"id":"{number}","event_id":"7","uuid":"{number:08x}-0000-4000-9000-000000000001","type":"{kind}","category":"Network activity","value":"{value}","to_ids":{to_ids},"deleted":false,"timestamp":"{timestamp}"}}"#
    )
}

/// `tag` of the event; none where it is empty.
fn publication(timestamp: i64, tag: &str, attributes: &[String]) -> Vec<u8> {
    let tags = if tag.is_empty() { String::new() } else { format!(r#"{{"name":"{tag}"}}"#) };
    format!(
        r#"misp_json {{"Event":{{"id":"7","uuid":"{EVENT}","info":"x","distribution":"3","timestamp":"{timestamp}","Tag":[{tags}],"Attribute":[{}],"Object":[]}}}}"#,
        attributes.join(",")
    )
    .into_bytes()
}

fn edit(attribute: &str) -> Vec<u8> {
    format!(
        r#"misp_json_attribute {{"Attribute":{attribute},"Event":{{"id":"7","uuid":"{EVENT}"}},"action":"edit"}}"#
    )
    .into_bytes()
}

/// Some days ago, so that nothing has expired.
fn now() -> i64 {
    Ledger::now() / 1_000 - 100_000
}

#[tokio::test]
async fn without_the_need_for_to_ids_an_attribute_comes_back_with_its_publication() {
    let relay = Relay::start_with(&[("MSR_POLICY__TO_IDS", "false")]).await;
    let mut sentinel = Sentinel::default();
    let t = now();
    let with = attribute(1, "domain", "a.example", t, true);
    let without = attribute(1, "domain", "a.example", t + 1, false);
    relay.hear(&publication(t, "", &[with])).await;
    relay.hear(&edit(&without)).await;
    relay.hear(&publication(t + 1, "", &[without])).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().contains_key("a.example"));
}

#[tokio::test]
async fn an_expiration_is_of_the_value_that_was_sighted() {
    let relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    let t = now();
    relay.hear(&publication(t, "", &[attribute(1, "domain", "a.example", t, true)])).await;
    let sighting = format!(
        r#"misp_json_sighting {{"Sighting":{{"type":"2","date_sighting":"4102444800","event_id":"7","Event":{{"id":"7","uuid":"{EVENT}"}},"Attribute":{{"uuid":"00000001-0000-4000-9000-000000000001"}}}},"action":"add"}}"#
    );
    relay.hear(sighting.as_bytes()).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(sentinel.of("a.example")["valid_until"], "2100-01-01T00:00:00.000Z");
    // The frame of the edit was lost: the publication alone tells of the new value.
    relay.hear(&publication(t + 1, "", &[attribute(1, "domain", "b.example", t + 1, true)])).await;
    sentinel.accept_all(&relay).await;
    assert!(!sentinel.live().contains_key("a.example"));
    assert_ne!(sentinel.of("b.example")["valid_until"], "2100-01-01T00:00:00.000Z");
}

/// More claims than a transaction takes; the second half of a composite is the first of the next.
fn large(timestamp: i64, tag: &str) -> Vec<u8> {
    let mut attributes = vec![attribute(1, "domain", "first.example", timestamp, true)];
    attributes.extend((2..2_602).map(|number| {
        let value = format!("d{number}.example|10.0.{}.{}", number / 250, number % 250);
        attribute(number, "domain|ip", &value, timestamp, true)
    }));
    publication(timestamp, tag, &attributes)
}

async fn wanted(relay: &Relay) -> usize {
    relay.ledger.pending(VIEW, TARGET, 0, None, Ledger::now(), 10_000).await.unwrap().len()
}

#[tokio::test]
async fn a_tag_of_a_large_event_reaches_every_half_of_every_attribute() {
    let relay = Relay::start().await;
    let t = now();
    relay.hear(&large(t, "tlp:green")).await;
    assert_eq!(wanted(&relay).await, 5_201);
    relay
        .hear(br#"misp_json_tag {"Tag":{"name":"tlp:red","local":true,"event_id":"7"},"action":"attached to event"}"#)
        .await;
    assert_eq!(wanted(&relay).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_of_a_large_event_leaves_nothing_judged_by_its_old_head() {
    let mut relay = Relay::start().await;
    let t = now();
    relay.hear(&large(t, "tlp:red")).await;
    assert_eq!(wanted(&relay).await, 0);
    let ledger = relay.ledger.clone();
    let committed = ledger.changed();
    let green = large(t, "tlp:green").split_off("misp_json ".len());
    let receipt =
        relay.inbox.offer_and_wait(What::Published(green.into()), Instant::now()).unwrap();
    committed.await;
    relay.crash().await;
    let in_the_middle = receipt.await.is_err();
    // The next notice is taken after what the crash interrupted was taken up.
    relay.dropped_frame(Uuid::new_v4()).await;
    assert_eq!(wanted(&relay).await, 5_201, "killed in the middle: {in_the_middle}");
}

#[tokio::test]
async fn an_attribute_that_a_large_event_lists_twice_claims_one_thing() {
    let relay = Relay::start().await;
    let t = now();
    let value = |number| format!("d{number}.example");
    let one = |number| attribute(number, "domain", &value(number), t, true);
    let mut attributes: Vec<String> = (1..=5_001).map(one).collect();
    attributes.push(attribute(1, "domain", "other.example", t, true));
    relay.hear(&publication(t, "", &attributes)).await;
    assert_eq!(wanted(&relay).await, 5_001);
}

#[tokio::test]
async fn a_repeat_heals_the_gap_of_its_event() {
    let relay = Relay::start().await;
    let t = now();
    let publication = publication(t, "", &[attribute(1, "domain", "a.example", t, true)]);
    relay.hear(&publication).await;
    for _ in 0..2 {
        relay.dropped_frame(EVENT.parse().unwrap()).await;
        assert_eq!(relay.ledger.status().await.unwrap().gaps.len(), 1);
        relay.hear(&publication).await;
        assert_eq!(relay.ledger.status().await.unwrap().gaps.len(), 0);
    }
    let mut sentinel = Sentinel::default();
    sentinel.accept_all(&relay).await;
    assert_eq!(sentinel.live().len(), 1);
    assert_eq!(sentinel.writes, 1);
}

/// An event of attributes with these numbers, published long ago.
fn saved(event: Uuid, numbers: std::ops::Range<usize>, timestamp: i64) -> Vec<u8> {
    // An answer shows all fields of an attribute.
    let one = |number| {
        attribute(number, "domain", &format!("d{number}.example"), timestamp, true)
            .replace(r#""deleted""#, r#""distribution":"5","comment":"","deleted""#)
    };
    let attributes: Vec<String> = numbers.map(one).collect();
    format!(
        r#"{{"Event":{{"id":"7","uuid":"{event}","info":"x","distribution":"3","timestamp":"{timestamp}","published":true,"publish_timestamp":"{timestamp}","Attribute":[{}],"Object":[]}}}}"#,
        attributes.join(",")
    )
    .into_bytes()
}

#[tokio::test]
async fn small_notices_pass_every_snapshot_and_publications_those_that_nobody_waits_for() {
    let settings = [
        ("MSR_MISP__URL", "https://misp.example.org"),
        ("MSR_MISP__KEY", "0123456789012345678901234567890123456789"),
    ];
    let relay = Relay::start_with(&settings).await;
    let (listed, published) = (Uuid::from_u128(0x7), Uuid::from_u128(0x8));
    let t = now();
    let candidate = Candidate { event: listed, weight: 0 };
    relay.ledger.ask_for("misp", &[candidate], Listing::CatchUp, Ledger::now()).await.unwrap();
    let document = saved(listed, 1..15_002, t).into();
    let read = Read {
        event: listed,
        began: SystemTime::now(),
        sequence: 0,
        asked: 1,
        attempts: 0,
        confirm: false,
        backlog: true,
        date: Ledger::now() / 1_000,
        answer: EventAnswer::Event { document, selected: true },
    };
    let touched = || What::Touched(Uuid::from_u128(0x9));
    let publish = |end| What::Published(saved(published, 20_000..end, t).into());
    let notices = [
        ("read", What::Read(read)),
        ("first small one", touched()),
        ("publication", publish(30_002)),
        ("second small one", touched()),
        ("the same event again", publish(30_001)),
        ("third small one", touched()),
    ];
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for (name, what) in notices {
        let receipt = relay.inbox.offer_and_wait(what, Instant::now()).unwrap();
        let order = Arc::clone(&order);
        waiting.push(tokio::spawn(async move {
            assert_eq!(receipt.await.unwrap(), Receipt::Committed, "{name}");
            order.lock().unwrap().push(name);
        }));
    }
    for one in waiting {
        one.await.unwrap();
    }
    let expected = [
        "first small one",
        "second small one",
        "publication",
        "third small one",
        "the same event again",
        "read",
    ];
    assert_eq!(*order.lock().unwrap(), expected);
    let wanted = relay.ledger.status().await.unwrap().wanted;
    assert_eq!(wanted, 25_002, "the second publication of an event counts");
}
