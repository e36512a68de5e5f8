//! What goes wrong with Sentinel and the sign-in.

use std::time::Duration;

use misp_sentinel_relay::sandbox::{Fault, Settings};

use super::fires;
use crate::support::event::{publication, then, to_ids_off};
use crate::support::publisher::Publisher;
use crate::support::relay::Relay;
use crate::support::sandbox::start_with;
use crate::support::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_refuses_everything() {
    let scene = Scene::set(&[]).await;
    scene.sandbox.always(Some(Fault::Forbidden));
    scene.publisher.send(&publication(then(), &[(1, "a.example", &[])])).await;
    fires(&scene.relay, "target", "failing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_short() {
    let token_lifetime = Duration::from_secs(240);
    let settings = Settings { token_lifetime, quota_requests: 0, ..Settings::default() };
    let (sandbox, publisher) = (start_with(settings).await, Publisher::bind());
    let relay = Relay::start(&sandbox, &publisher, &[]).await;
    publisher.send(&publication(then(), &[(1, "a.example", &[])])).await;
    fires(&relay, "target", "sign_in").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_rejected() {
    let scene = Scene::set(&[]).await;
    scene.sandbox.reject_where(|_| Some("Invalid pattern".to_owned()));
    scene.publisher.send(&publication(then(), &[(1, "a.example", &[])])).await;
    fires(&scene.relay, "target", "rejected").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_that_are_refused() {
    let settings = [
        ("MSR_INDICATOR__WITHDRAW", "delete"),
        ("MSR_AZURE__MANAGEMENT__DELETE_AFTER", "100ms"),
        ("MSR_AZURE__MANAGEMENT__BACKOFF_MIN", "10ms"),
        ("MSR_AZURE__MANAGEMENT__RETRIES", "1"),
    ];
    let scene = Scene::set(&settings).await;
    scene.sandbox.script_management(vec![Fault::ServerError; 10_000]);
    scene.publisher.send(&publication(then(), &[(1, "a.example", &[])])).await;
    scene.settle().await;
    scene.publisher.send(&to_ids_off(1, "a.example", then() + 1)).await;
    fires(&scene.relay, "target", "deletion").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_that_cannot_be_read() {
    let settings = [
        ("MSR_TARGET__SANDBOX__HITS", "true"),
        ("MSR_TARGET__SANDBOX__HITS_EVERY", "100ms"),
        ("MSR_AZURE__MANAGEMENT__RETRIES", "0"),
    ];
    let scene = Scene::set(&settings).await;
    scene.sandbox.script_logs(vec![Fault::ServerError; 10_000]);
    fires(&scene.relay, "target", "hits").await;
}
