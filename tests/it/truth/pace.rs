//! Tests that the relay never asks MISP more often than `misp.rest.requests_per_second` allows, whatever MISP
//! answers.

use std::collections::BTreeMap;
use std::time::Duration;

use misp_stand_in::{AskedFor, RestFault, Spoilt};

use super::*;

/// Requests a second, and how long each fault lasts.
const RATE: usize = 10;
const LASTS: Duration = Duration::from_secs(3);

/// What a request is for.
fn kind(asked: &AskedFor) -> &'static str {
    match asked.path.as_str() {
        "/users/view/me" => "key",
        path if path.starts_with("/warninglists") => "warninglist",
        path if path.starts_with("/events/view") => "existence of one",
        _ if asked.body.contains("\"metadata\"") => "listing",
        _ => "read",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_misp_makes_the_relay_ask_more_often_than_allowed() {
    let (misp, event, _) = misp(&["1.1.1.1", "2.2.2.2"]);
    misp.advance(100);
    let rate = RATE.to_string();
    // All waits are so short that nothing but the rate holds the relay back.
    let settings = [
        ("MSR_MISP__REST__REQUESTS_PER_SECOND", rate.as_str()),
        ("MSR_MISP__REST__CATCH_UP_EVERY", "1ms"),
        ("MSR_MISP__REST__EXISTENCE_EVERY", "1ms"),
        ("MSR_MISP__REST__BACKOFF_MIN", "1ms"),
        ("MSR_MISP__REST__BACKOFF_MAX", "1ms"),
        ("MSR_MISP__WARNINGLISTS__REFRESH_EVERY", "1ms"),
        ("MSR_MISP__REST__ANSWER_TIMEOUT", "100ms"),
    ];
    let stage = Stage::set(misp, &settings).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    let faults = [
        RestFault::None,
        RestFault::Status(500),
        RestFault::Status(504),
        RestFault::HtmlPage,
        RestFault::LoginRedirect,
        RestFault::Reset,
        RestFault::Empty,
        RestFault::EndsEarly { missing: 1 },
        RestFault::CutShort { after: 50 },
        RestFault::RateLimited { reset: 0 },
        RestFault::Spoilt(Spoilt::Promises(1_000_000_000)),
        RestFault::Spoilt(Spoilt::NotUtf8(event)),
        RestFault::Spoilt(Spoilt::PhpWarning),
        RestFault::Spoilt(Spoilt::Drips(Duration::from_millis(10))),
    ];
    for fault in faults {
        stage.rest.always(Some(fault.clone()));
        let before = stage.requests();
        stage.relay.command(&["resync", "--detach"]);
        tokio::time::sleep(LASTS).await;
        let asked = stage.rest.requests().split_off(before);
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        asked.iter().for_each(|one| *kinds.entry(kind(one)).or_default() += 1);
        eprintln!("{fault:?}: {kinds:?} in {LASTS:?}");
        // Two seconds' worth may have been saved up, and half a second passes around the sleep.
        let most = RATE * (usize::try_from(LASTS.as_secs()).unwrap() + 2) + RATE;
        assert!(asked.len() <= most, "{fault:?}: {kinds:?}, more than {most}");
        assert!(!asked.is_empty(), "{fault:?}: MISP was not even asked");
        stage.rest.heal();
    }
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
}
