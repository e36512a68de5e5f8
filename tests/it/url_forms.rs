//! Tests URLs that have another form in HTTP requests than in MISP: both forms are sent and withdrawn
//! together.

use misp_sentinel_relay::ledger::Ledger;
use uuid::Uuid;

use super::support::event::{attribute_uuid, publication, then, to_ids_off};
use super::support::ledger::Relay;
use super::support::sentinel::Sentinel;

const ROOT: &str = "http://evil.example";
const WIRE: &str = "http://evil.example/";
const FRAGMENT: &str = "http://evil.example/a#Victim";
const WITHOUT: &str = "http://evil.example/a";

/// A frame of `misp_json` with these URLs.
fn urls(later: i64, urls: &[(usize, &str)]) -> Vec<u8> {
    let attributes: Vec<(usize, &str, &[&str])> =
        urls.iter().map(|(number, url)| (*number, *url, &[][..])).collect();
    of_urls(&publication(then() + later, &attributes))
}

fn of_urls(frame: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(frame.to_vec()).unwrap();
    text.replace(r#""type":"domain""#, r#""type":"url""#).into_bytes()
}

/// The relay has heard of both URLs, and Sentinel has accepted all.
async fn two(settings: &[(&str, &str)]) -> (Relay, Sentinel) {
    let relay = Relay::start_with(settings).await;
    let mut sentinel = Sentinel::default();
    relay.hear(&urls(0, &[(1, ROOT), (2, FRAGMENT)])).await;
    sentinel.accept_all(&relay).await;
    (relay, sentinel)
}

fn live(sentinel: &Sentinel) -> Vec<String> {
    sentinel.live().into_keys().collect()
}

#[tokio::test]
async fn both_forms_end_with_their_attribute() {
    let (relay, mut sentinel) = two(&[]).await;
    assert_eq!(live(&sentinel), [ROOT, WIRE, WITHOUT, FRAGMENT]);
    relay.hear(&of_urls(&to_ids_off(1, ROOT, then() + 1))).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(live(&sentinel), [WITHOUT, FRAGMENT]);
    // Edited into a URL of one form.
    relay.hear(&urls(2, &[(2, "http://evil.example/c")])).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(live(&sentinel), ["http://evil.example/c"]);
}

#[tokio::test]
async fn a_form_that_another_attribute_claims_stays() {
    let relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    relay.hear(&urls(0, &[(1, ROOT), (2, WIRE)])).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(live(&sentinel), [ROOT, WIRE]);
    assert_eq!(sentinel.writes, 2, "one observable, one indicator");
    relay.hear(&of_urls(&to_ids_off(1, ROOT, then() + 1))).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(live(&sentinel), [WIRE]);
}

#[tokio::test]
async fn whoever_withholds_one_form_withholds_both() {
    for (value, left) in [
        (ROOT, [WITHOUT, FRAGMENT]),
        (WIRE, [WITHOUT, FRAGMENT]),
        (FRAGMENT, [ROOT, WIRE]),
        (WITHOUT, [ROOT, WIRE]),
    ] {
        let (relay, mut sentinel) = two(&[]).await;
        let (now, views) = (Ledger::now(), &relay.views);
        let done = relay.ledger.suppress(views, value, "ours", None, now).await.unwrap();
        assert_eq!((done.claims, done.indicators), (2, 2), "{value}");
        assert_eq!(relay.ledger.suppressed().await.unwrap()[0].claims, 2, "{value}");
        sentinel.accept_all(&relay).await;
        assert_eq!(live(&sentinel), left, "{value}");
        // What comes later as well.
        relay.hear(&urls(1, &[(1, ROOT), (2, FRAGMENT), (3, ROOT), (4, FRAGMENT)])).await;
        sentinel.accept_all(&relay).await;
        assert_eq!(live(&sentinel), left, "{value}");
        // The end names the other form.
        let other = [(ROOT, WIRE), (WIRE, ROOT), (FRAGMENT, WITHOUT), (WITHOUT, FRAGMENT)];
        let (_, other) = other.into_iter().find(|(one, _)| *one == value).unwrap();
        assert_eq!(
            relay.ledger.unsuppress(views, other, now).await.unwrap().before.len(),
            1,
            "{value}"
        );
        sentinel.accept_all(&relay).await;
        assert_eq!(live(&sentinel), [ROOT, WIRE, WITHOUT, FRAGMENT], "{value}");
    }
}

/// The claims are kept, whichever form counts.
#[tokio::test]
async fn another_choice_of_forms_needs_no_word_from_misp() {
    let (mut relay, mut sentinel) = two(&[]).await;
    for (choice, left) in [
        ("as-written", &[ROOT, FRAGMENT][..]),
        ("wire", &[WIRE, WITHOUT]),
        ("both", &[ROOT, WIRE, WITHOUT, FRAGMENT]),
    ] {
        relay.reconfigure(&[("MSR_CONVERT__URL_ROOT", choice)]).await;
        sentinel.accept_all(&relay).await;
        assert_eq!(live(&sentinel), left, "{choice}");
    }
}

#[tokio::test]
async fn by_attribute_the_written_form_has_its_uuid_and_the_other_a_name_in_it() {
    let (_, sentinel) = two(&[("MSR_INDICATOR__IDENTITY", "attribute")]).await;
    let attribute: Uuid = attribute_uuid(1).parse().unwrap();
    let id = |value| sentinel.of(value)["id"].as_str().unwrap().to_owned();
    assert_eq!(id(ROOT), format!("indicator--{attribute}"));
    let other = Uuid::new_v5(&attribute, b"url:value = http://evil.example/");
    assert_eq!(id(WIRE), format!("indicator--{other}"));
}
