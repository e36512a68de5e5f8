//! What goes wrong with MISP, its feed, its warninglists, and what the ledger takes from them.

use std::time::Duration;

use misp_stand_in::{NewAttribute, RestFault, Spoilt, Warninglist};

use super::fires;
use crate::support::event::{publication, then, to_ids_off};
use crate::support::scene::Scene;
use crate::truth::{OTHER_KEY, Stage, misp};

const VALUE: &str = "198.51.100.1";
const OTHER: &str = "198.51.100.2";
const THIRD: &str = "198.51.100.3";

const NO_RETRIES: (&str, &str) = ("MSR_MISP__REST__RETRIES", "0");

fn list(kind: &str, entries: &[&str]) -> Warninglist {
    Warninglist::new(58, kind, &["ip-src", "ip-dst"], entries)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_is_lost() {
    let (misp, ..) = misp(&[VALUE]);
    let mut stage = Stage::set(misp, &[]).await;
    stage.becomes(&[VALUE]).await;
    stage.publisher.stop();
    fires(&stage.relay, "feed", "not_connected").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn misp_that_fails_or_is_late() {
    let (misp, ..) = misp(&[VALUE]);
    misp.advance(100);
    let settings = [
        ("MSR_MISP__REST__ANSWER_TIMEOUT", "300ms"),
        ("MSR_MISP__REST__CATCH_UP_EVERY", "200ms"),
        NO_RETRIES,
    ];
    let stage = Stage::set(misp, &settings).await;
    stage.becomes(&[VALUE]).await;
    stage.rest.always(Some(RestFault::Spoilt(Spoilt::Drips(Duration::from_millis(20)))));
    fires(&stage.relay, "rest", "failing").await;
    fires(&stage.relay, "rest", "late").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_another_view() {
    let (misp, ..) = misp(&[VALUE]);
    misp.advance(100);
    let mut stage = Stage::set(misp, &[]).await;
    stage.becomes(&[VALUE]).await;
    stage.relay.stop();
    stage.relay.set("MSR_MISP__KEY", OTHER_KEY);
    stage.relay.restart(&stage.publisher).await;
    fires(&stage.relay, "rest", "other_view").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn misp_that_is_empty() {
    let (misp, event, _) = misp(&[VALUE]);
    misp.advance(100);
    let stage = Stage::set(misp, &[("MSR_MISP__REST__EXISTENCE_EVERY", "100ms")]).await;
    stage.becomes(&[VALUE]).await;
    stage.lose(stage.misp.delete_event(event));
    fires(&stage.relay, "rest", "empty").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read() {
    let (misp, bad, _) = misp(&[VALUE]);
    let settings = [("MSR_MISP__REST__CATCH_UP_EVERY", "100ms")];
    let stage = Stage::set_with(misp, &settings, |rest| {
        rest.poison(bad, RestFault::Spoilt(Spoilt::NotUtf8(bad)));
    })
    .await;
    fires(&stage.relay, "rest", "unreadable_events").await;
}

/// Nothing heals a gap there, and nothing judges a withdrawal that looks older than its claim.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_a_key() {
    let mut scene = Scene::set(&[]).await;
    fires(&scene.relay, "rest", "not_configured").await;
    scene.publisher.send(&publication(then(), &[(1, "a.example", &[])])).await;
    scene.settle().await;
    scene.publisher.send(&to_ids_off(1, "a.example", then() - 10_000)).await;
    fires(&scene.relay, "rest", "notices_unjudged").await;
    scene.publisher.stop();
    scene.publisher.start();
    fires(&scene.relay, "ledger", "gaps").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warninglists_that_were_never_read() {
    let (misp, ..) = misp(&[VALUE, OTHER]);
    drop(misp.set_warninglist(list("cidr", &[OTHER])));
    let stage = Stage::set_with(misp, &[NO_RETRIES], |rest| {
        rest.script_for("/warninglists/index", vec![RestFault::Status(500); 10_000]);
    })
    .await;
    fires(&stage.relay, "warninglists", "pending").await;
    fires(&stage.relay, "warninglists", "failing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warninglist_that_this_program_cannot_read() {
    let (misp, ..) = misp(&[VALUE]);
    drop(misp.set_warninglist(list("regex", &["/(?<=a)b/"])));
    let stage = Stage::set(misp, &[]).await;
    fires(&stage.relay, "warninglists", "unreadable").await;
}

const STRICT: [(&str, &str); 3] = [
    ("MSR_GUARD__MAX", "1"),
    ("MSR_GUARD__PERCENT", "0"),
    ("MSR_MISP__WARNINGLISTS__REFRESH_EVERY", "100ms"),
];

#[tokio::test(flavor = "multi_thread")]
async fn warninglists_that_would_withdraw_too_much() {
    let (misp, ..) = misp(&[VALUE, OTHER, THIRD]);
    drop(misp.set_warninglist(list("cidr", &["203.0.113.1"])));
    let stage = Stage::set(misp, &STRICT).await;
    stage.becomes(&[VALUE, OTHER, THIRD]).await;
    stage.logged("warninglists are in force").await;
    let all = Warninglist { version: 2, ..list("cidr", &["198.51.100.0/24"]) };
    drop(stage.misp.set_warninglist(all));
    fires(&stage.relay, "warninglists", "waiting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_are_gone_without_a_word() {
    let (misp, event, attributes) = misp(&[VALUE, OTHER, THIRD]);
    misp.advance(100);
    let stage = Stage::set(misp, &STRICT).await;
    stage.becomes(&[VALUE, OTHER, THIRD]).await;
    for attribute in attributes.iter().take(2) {
        stage.lose(stage.misp.remove_attribute(event, *attribute));
    }
    stage.lose(stage.misp.add_attribute(event, NewAttribute::new("ip-dst", "198.51.100.4")));
    stage.lose(stage.misp.publish(event));
    fires(&stage.relay, "ledger", "held").await;
}
