//! Tests sightings that users of MISP report: false positives and expirations.

use std::time::{Instant, SystemTime};

use misp_sentinel_relay::ledger::{Candidate, Ledger, Listing};
use misp_sentinel_relay::notice::{EventAnswer, EventRef, Read, Receipt, ReportedSighting, What};
use misp_sentinel_relay::pure::misp::{Sighting, SightingKind};
use serde_json::Value;
use uuid::Uuid;

use super::support::event::{
    EVENT, attribute_uuid, of_another_event, publication, sighted, then, with_sightings,
};
use super::support::ledger::{Relay, TARGET, VIEW};
use super::support::publisher::recorded_frame;
use super::support::sandbox::eventually;
use super::support::scene::Scene;
use super::support::sentinel::Sentinel;

const FALSE_POSITIVE: usize = 1;
const EXPIRATION: usize = 2;
const A: (usize, &str) = (1, "a.example");
/// When the recorded false positive was reported, 2026-11-24, Unix milliseconds.
const SIGHTED: i64 = 1_795_499_565_000;
/// 2100-01-01.
const FAR: i64 = 4_102_444_800;

fn one() -> Vec<u8> {
    publication(then(), &[(1, "a.example", &[])])
}

fn recorded(name: &str) -> Vec<u8> {
    recorded_frame("zmq", name).frame
}

/// The confidence and the end of a value's validity, as last sent.
async fn told(relay: &Relay, sentinel: &mut Sentinel, value: &str) -> (i64, String) {
    sentinel.accept_all(relay).await;
    let object: &Value = sentinel.of(value);
    (object["confidence"].as_i64().unwrap(), object["valid_until"].as_str().unwrap().to_owned())
}

/// Event 1 as it was published before its sightings (000332), a false positive (000382) and an
/// expiration on 2026-11-25 (000383) of 203.0.113.99, which is tagged "completely-confident".
#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_sightings_count_in_any_order_and_once() {
    let frames = [
        recorded("000332_misp_json.bin"),
        recorded("000382_misp_json_sighting_add.bin"),
        recorded("000383_misp_json_sighting_add.bin"),
    ];
    for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1]] {
        let relay = Relay::start_with(&[("MSR_POLICY__TLP_MAX", "red")]).await;
        for number in order.iter().chain(&order) {
            relay.hear(&frames[*number]).await;
        }
        let pending = relay.ledger.pending(VIEW, TARGET, 0, None, SIGHTED, 1_000).await.unwrap();
        let sighted = pending.iter().find(|one| one.body.contains("'203.0.113.99'")).unwrap();
        let body: Value = serde_json::from_str(&sighted.body).unwrap();
        assert_eq!(body["confidence"], 90, "{order:?}");
        assert_eq!(sighted.valid_until, 1_795_585_967_000, "{order:?}");
        let others = pending.iter().filter(|one| one.valid_until == sighted.valid_until);
        assert_eq!(others.count(), 1);
    }
}

#[tokio::test]
async fn false_positives_lower_the_confidence_and_withdraw_at_their_count() {
    let relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    relay.hear(&one()).await;
    let confidence = async |sentinel: &mut Sentinel| told(&relay, sentinel, A.1).await.0;
    assert_eq!(confidence(&mut sentinel).await, 51);
    for (number, expected) in [(1, 41), (1, 41), (2, 31)] {
        relay.hear(&sighted(A, (number, FALSE_POSITIVE, then()), "add")).await;
        assert_eq!(confidence(&mut sentinel).await, expected);
    }
    relay.hear(&sighted(A, (9, 0, then()), "add")).await;
    assert_eq!(sentinel.writes, 3, "a plain sighting says nothing");
    relay.hear(&sighted(A, (3, FALSE_POSITIVE, then()), "add")).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().is_empty());
    // What another event claims stays, and a publication changes nothing.
    relay.hear(&publication(then() + 1, &[(1, "a.example", &[])])).await;
    relay.hear(&of_another_event(&one())).await;
    assert_eq!(confidence(&mut sentinel).await, 51);
    assert_eq!(sentinel.live()[A.1].len(), 1);
    relay.hear(&sighted(A, (2, FALSE_POSITIVE, then()), "delete")).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(sentinel.live()[A.1].len(), 2, "two are not enough");
}

#[tokio::test]
async fn other_settings_judge_the_same_sightings_anew() {
    let mut relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    relay.hear(&one()).await;
    relay.hear(&sighted(A, (1, FALSE_POSITIVE, then()), "add")).await;
    relay.reconfigure(&[("MSR_SIGHTINGS__FALSE_POSITIVE_POINTS", "25")]).await;
    assert_eq!(told(&relay, &mut sentinel, A.1).await.0, 26);
    relay.reconfigure(&[("MSR_SIGHTINGS__WITHDRAW_AT", "1")]).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().is_empty());
    let never =
        [("MSR_SIGHTINGS__WITHDRAW_AT", "0"), ("MSR_SIGHTINGS__FALSE_POSITIVE_POINTS", "0")];
    relay.reconfigure(&never).await;
    assert_eq!(told(&relay, &mut sentinel, A.1).await.0, 51);
}

#[tokio::test]
async fn the_newest_of_several_expirations_counts() {
    let relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    // Of an attribute that is not claimed yet, the later one first.
    relay.hear(&sighted(A, (8, EXPIRATION, FAR), "add")).await;
    relay.hear(&sighted(A, (7, EXPIRATION, FAR + 86_400), "add")).await;
    relay.hear(&one()).await;
    assert_eq!(told(&relay, &mut sentinel, A.1).await.1, "2100-01-01T00:00:00.000Z");
    relay.hear(&sighted(A, (9, EXPIRATION, then()), "add")).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().is_empty(), "over");
    for number in [9, 8] {
        relay.hear(&sighted(A, (number, EXPIRATION, 0), "delete")).await;
    }
    assert_eq!(told(&relay, &mut sentinel, A.1).await.1, "2100-01-02T00:00:00.000Z");
}

/// MISP takes any number as the date of a sighting.
#[tokio::test]
async fn an_expiration_on_no_day_of_any_calendar_harms_nothing() {
    let relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    relay.hear(&one()).await;
    relay.hear(&sighted(A, (1, EXPIRATION, i64::MAX), "add")).await;
    relay.hear(&with_sightings(&one(), 1, &[(2, EXPIRATION, 20_000_000_000_000_000)])).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(sentinel.live()[A.1].len(), 1);
    relay.hear(&sighted(A, (3, EXPIRATION, -1), "add")).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().is_empty(), "over since 1970");
}

/// The date of the second one does not fit the ledger. No intake gives such a notice.
#[tokio::test]
async fn of_notices_that_wait_together_one_that_cannot_be_applied_costs_itself_alone() {
    let relay = Relay::start().await;
    relay.hear(&one()).await;
    let offer = |number: u128, at: i64| {
        let kind = SightingKind::FalsePositive;
        let kind = if at == i64::MAX { SightingKind::Expiration } else { kind };
        let sighting = Sighting { uuid: Uuid::from_u128(number), number: 1, kind, at };
        let what = What::Sighted(Box::new(ReportedSighting {
            event: EventRef { uuid: EVENT.parse().ok(), id: None },
            attribute: attribute_uuid(1).parse().unwrap(),
            said: None,
            sighting,
            taken_back: false,
        }));
        relay.inbox.offer_and_wait(what, Instant::now()).unwrap()
    };
    let receipts = [(1, then()), (2, i64::MAX), (3, then())].map(|(number, at)| offer(number, at));
    let mut answers = Vec::new();
    for receipt in receipts {
        answers.push(receipt.await.unwrap());
    }
    assert_eq!(answers, [Receipt::Committed, Receipt::Failed, Receipt::Committed]);
    assert_eq!(told(&relay, &mut Sentinel::default(), A.1).await.0, 31);
}

#[tokio::test]
async fn a_sighting_is_of_the_value_that_was_sighted() {
    let relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    relay.hear(&one()).await;
    relay.hear(&sighted(A, (1, FALSE_POSITIVE, then()), "add")).await;
    assert_eq!(told(&relay, &mut sentinel, A.1).await.0, 41);
    let edited = publication(then() + 1, &[(1, "b.example", &[])]);
    relay.hear(&edited).await;
    assert_eq!(told(&relay, &mut sentinel, "b.example").await.0, 51);
    // Until MISP itself shows it beside the new value.
    let shown = publication(then() + 2, &[(1, "b.example", &[])]);
    relay.hear(&with_sightings(&shown, 1, &[(1, FALSE_POSITIVE, then())])).await;
    assert_eq!(told(&relay, &mut sentinel, "b.example").await.0, 41);
}

/// What MISP shows of the event when it is read now.
async fn read(relay: &Relay, frame: &[u8]) {
    let event: Uuid = EVENT.parse().unwrap();
    let now = Ledger::now();
    let asked = [Candidate { event, weight: 0 }];
    relay.ledger.ask_for("misp", &asked, Listing::CatchUp, now).await.unwrap();
    let due = relay.ledger.due_reads("misp", i64::MAX, 1).await.unwrap();
    let document = frame.strip_prefix(b"misp_json ").unwrap().to_vec();
    let read = Read {
        event,
        // Well after what was heard before.
        began: SystemTime::now() + std::time::Duration::from_secs(10),
        sequence: due[0].sequence,
        asked: due[0].asked,
        attempts: 0,
        confirm: false,
        backlog: false,
        date: now / 1_000,
        answer: EventAnswer::Event { document: document.into(), selected: true },
    };
    let receipt = relay.inbox.offer_and_wait(What::Read(read), Instant::now()).unwrap();
    assert_eq!(receipt.await.unwrap(), Receipt::Committed);
}

fn published(timestamp: i64) -> Vec<u8> {
    let text = String::from_utf8(publication(timestamp, &[(1, "a.example", &[])])).unwrap();
    let published = format!(r#""published":true,"publish_timestamp":"{timestamp}","info""#);
    text.replace(r#""info""#, &published).into_bytes()
}

#[tokio::test]
async fn a_read_finds_sightings_that_were_missed_and_those_that_are_gone() {
    let key = ("MSR_MISP__KEY", "0123456789012345678901234567890123456789");
    let relay = Relay::start_with(&[("MSR_MISP__URL", "https://misp.example.org"), key]).await;
    let mut sentinel = Sentinel::default();
    relay.hear(&published(then())).await;
    relay.hear(&sighted(A, (1, FALSE_POSITIVE, then()), "add")).await;
    assert_eq!(told(&relay, &mut sentinel, A.1).await.0, 41);
    let missed = [(1, FALSE_POSITIVE, then()), (2, FALSE_POSITIVE, then()), (3, EXPIRATION, FAR)];
    read(&relay, &with_sightings(&published(then()), 1, &missed)).await;
    let expected = (31, "2100-01-01T00:00:00.000Z".to_owned());
    assert_eq!(told(&relay, &mut sentinel, A.1).await, expected);
    read(&relay, &with_sightings(&published(then()), 1, &missed[1..2])).await;
    let (confidence, until) = told(&relay, &mut sentinel, A.1).await;
    assert_eq!(confidence, 41);
    assert_ne!(until, expected.1);
    // A publication's list may be from before a sighting: it takes nothing back.
    relay.hear(&published(then() + 1)).await;
    assert_eq!(told(&relay, &mut sentinel, A.1).await.0, 41);
}

#[tokio::test]
async fn sightings_of_what_is_never_claimed_are_forgotten_in_the_end() {
    let relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    relay.hear(&one()).await;
    relay.hear(&sighted(A, (1, FALSE_POSITIVE, then()), "add")).await;
    relay.hear(&sighted((5, "never.example"), (2, FALSE_POSITIVE, then()), "add")).await;
    let remember = i64::try_from(relay.config.ledger.tombstones.as_millis()).unwrap();
    let mut upkeep = relay.upkeep();
    // A clock that has jumped is believed after a day.
    for days in 0..3 {
        let later = Ledger::now() + remember + 1_000 + days * 86_400_000;
        while upkeep.step(&relay.ledger, &relay.views, later).await.unwrap() {}
    }
    assert_eq!(told(&relay, &mut sentinel, A.1).await.0, 41);
    let more = publication(then() + 1, &[(1, "a.example", &[]), (5, "never.example", &[])]);
    relay.hear(&more).await;
    assert_eq!(told(&relay, &mut sentinel, "never.example").await.0, 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_positive_in_misp_is_withdrawn_in_sentinel_and_back() {
    let scene = Scene::set(&[("MSR_SIGHTINGS__WITHDRAW_AT", "2")]).await;
    let pattern = "[domain-name:value = 'a.example']";
    scene.publisher.send(&sighted(A, (1, FALSE_POSITIVE, then()), "add")).await;
    scene.settle().await;
    scene.publisher.send(&one()).await;
    eventually(&scene.sandbox, |_| scene.is_live(pattern)).await;
    let sent = scene.received();
    assert_eq!(sent[0]["confidence"], 41, "sighted before it was published");
    scene.publisher.send(&sighted(A, (2, FALSE_POSITIVE, then()), "add")).await;
    eventually(&scene.sandbox, |_| !scene.is_live(pattern)).await;
    scene.publisher.send(&sighted(A, (2, FALSE_POSITIVE, then()), "delete")).await;
    eventually(&scene.sandbox, |_| scene.is_live(pattern)).await;
    scene.settle().await;
    assert_eq!(scene.received().len(), 3);
    let checked = scene.relay.command(&["ledger", "check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
