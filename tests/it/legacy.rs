//! Tests the two older upload APIs, which take indicators and no other objects.

use std::collections::BTreeSet;

use misp_sentinel_relay::sandbox::{Sandbox, Settings};
use serde_json::Value;
use uuid::Uuid;

use super::context_sent::{ALL, event, then};
use super::support::publisher::Publisher;
use super::support::relay::Relay;
use super::support::sandbox::{eventually, start_with};
use super::support::scene::is_live;
use super::views::{Stage, held};

const V2: (&str, &str) = ("MSR_TARGET__SANDBOX_2__API", "indicators-v2");
const V1: (&str, &str) = ("MSR_TARGET__SANDBOX_3__API", "indicators-v1");
const VALUES: [&str; 2] = ["a.example", "b.example"];

async fn set(settings: &[(&str, &str)]) -> Stage {
    let mut of_sandbox = Settings { quota_requests: 0, keep_bodies: true, ..Settings::default() };
    of_sandbox.workspaces.extend([Uuid::from_u128(0x77), Uuid::from_u128(0x78)]);
    let sandbox = start_with(of_sandbox).await;
    let publisher = Publisher::bind();
    let relay = Relay::start(&sandbox, &publisher, settings).await;
    Stage { sandbox, publisher, relay }
}

/// An event whose attributes carry a technique, so that there is much to tell beside the indicators.
fn publication(later: i64, domains: &[&str]) -> Vec<u8> {
    let tagged: Vec<(&str, bool)> = domains.iter().map(|domain| (*domain, true)).collect();
    event(1, then() + later, "CERT", &tagged)
}

fn live(sandbox: &Sandbox, target: usize) -> BTreeSet<String> {
    let all = held(sandbox, target).into_iter();
    let indicators = all.filter(|one| one.id.starts_with("indicator--"));
    indicators.filter(|one| is_live(&one.json)).map(|one| one.id).collect()
}

/// Everything but indicators.
fn beside(sandbox: &Sandbox, target: usize) -> usize {
    let all = held(sandbox, target);
    all.iter().filter(|one| !one.id.starts_with("indicator--")).count()
}

fn queued(relay: &Relay) -> Vec<i64> {
    let status = relay.command(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let targets = status["ledger"]["targets"].as_array().unwrap();
    let queue = |target: &Value| target["queue"].as_array().unwrap().clone();
    targets.iter().map(|one| queue(one).iter().map(|n| n.as_i64().unwrap()).sum()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_upload_api_gets_the_same_indicators_and_only_the_newest_what_is_beside_them() {
    let stage = set(&[V2, V1, ALL]).await;
    stage.publisher.send(&publication(0, &VALUES)).await;
    eventually(&stage.sandbox, |sandbox| {
        (0..3).all(|at| live(sandbox, at).len() == 2) && beside(sandbox, 0) == 4
    })
    .await;
    assert_eq!(live(&stage.sandbox, 0), live(&stage.sandbox, 1));
    assert_eq!(live(&stage.sandbox, 0), live(&stage.sandbox, 2));
    stage.publisher.send(&publication(1, &VALUES[1..])).await;
    eventually(&stage.sandbox, |sandbox| (0..3).all(|at| live(sandbox, at).len() == 1)).await;
    let empty = || queued(&stage.relay).iter().all(|open| *open == 0);
    for _ in 0..200 {
        if empty() {
            break;
        }
    }
    assert!(empty(), "{:?}", queued(&stage.relay));
    stage.check();
    let lists = ["stixobjects", "indicators", "value"];
    let workspaces = stage.sandbox.settings().workspaces.clone();
    for upload in stage.sandbox.requests() {
        let at = workspaces.iter().position(|one| Some(*one) == upload.workspace).unwrap();
        let body: Value = serde_json::from_slice(&upload.body).unwrap();
        assert!(body[lists[at]].is_array(), "{body:#}");
        assert!(upload.rejected.is_empty(), "{upload:?}");
    }
    assert_eq!([1, 2].map(|at| beside(&stage.sandbox, at)), [0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_upload_api_sends_nothing_anew_but_what_it_takes_besides() {
    let mut stage = set(&[ALL, ("MSR_DELIVERY__MAX_IN_FLIGHT", "1")]).await;
    stage.publisher.send(&publication(0, &VALUES)).await;
    let all = |sandbox: &Sandbox| {
        (0..3).all(|at| live(sandbox, at).len() == 2 && beside(sandbox, at) == 4)
    };
    eventually(&stage.sandbox, all).await;
    let of_second =
        |sandbox: &Sandbox| held(sandbox, 1).iter().map(|one| one.writes).sum::<usize>();
    // Two indicators, an organisation, a technique, two relationships.
    assert_eq!(of_second(&stage.sandbox), 6);
    stage.restart(&[V2]).await;
    stage.publisher.send(&publication(1, &VALUES[1..])).await;
    let one = |sandbox: &Sandbox| (0..3).all(|at| live(sandbox, at).len() == 1);
    eventually(&stage.sandbox, one).await;
    stage.check();
    // The end of one, the other with its new time.
    assert_eq!(of_second(&stage.sandbox), 8);
    stage.restart(&[(V2.0, "stix-objects")]).await;
    let revoked = |sandbox: &Sandbox| {
        let gone = held(sandbox, 0).into_iter().filter(|one| one.json["revoked"] == true);
        gone.count() == 1
    };
    eventually(&stage.sandbox, revoked).await;
    stage.publisher.send(&publication(2, &[VALUES[1], "c.example"])).await;
    eventually(&stage.sandbox, |sandbox| (0..3).all(|at| live(sandbox, at).len() == 2)).await;
    let rejected: usize = stage.sandbox.requests().iter().map(|one| one.rejected.len()).sum();
    assert_eq!(rejected, 0);
    stage.check();
}
