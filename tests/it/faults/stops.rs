//! Tests what happens when the relay is killed, stopped, or stopped by two signals.

use std::time::Duration;

use misp_sentinel_relay::sandbox::Fault;

use super::{Scene, live_patterns};
use crate::support::publisher::recorded_frame;
use crate::support::relay::held;
use crate::support::sandbox::eventually;

/// Of the 5,000 attributes, 500 are no indicators (to_ids off).
const INDICATORS: usize = 4_500;

/// The recorded event of 5,000 attributes is on its way, in slow motion.
async fn under_way(settings: &[(&str, &str)]) -> Scene {
    let scene = Scene::start(settings).await;
    scene.sandbox.always(Some(Fault::Late(Duration::from_millis(20))));
    scene.publisher.send(&recorded_frame("zmq", "010616_misp_json.bin").frame).await;
    eventually(&scene.sandbox, |sandbox| held(sandbox).len() >= 1_000).await;
    scene
}

fn written(scene: &Scene) -> usize {
    held(&scene.sandbox).iter().map(|one| one.writes).sum()
}

async fn all_arrive(scene: &Scene) {
    eventually(&scene.sandbox, |sandbox| held(sandbox).len() == INDICATORS).await;
    assert_eq!(live_patterns(&scene.sandbox).len(), INDICATORS);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_goes_on() {
    let mut scene = under_way(&[]).await;
    scene.relay.kill();
    let before = held(&scene.sandbox).len();
    assert!(before < INDICATORS, "killed too late to tell");
    scene.restart().await;
    all_arrive(&scene).await;
    let again = written(&scene) - INDICATORS;
    assert!(again <= 400, "{again} sent again, four requests were on their way");
    assert_eq!(scene.status().await.queue, [0; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_in_the_middle_it_sends_nothing_twice() {
    let mut scene = under_way(&[]).await;
    let (code, took) = scene.relay.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(held(&scene.sandbox).len() < INDICATORS, "stopped too late to tell");
    scene.restart().await;
    all_arrive(&scene).await;
    scene.assert_written(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_does_not_wait_for_an_answer_that_never_comes() {
    let settings = [("MSR_DELIVERY__GRACE", "300ms"), ("MSR_DELIVERY__REQUEST_TIMEOUT", "30s")];
    let mut scene = under_way(&settings).await;
    scene.sandbox.always(Some(Fault::NeverAnswers));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (code, took) = scene.relay.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(1), "{took:?}");
    scene.sandbox.heal();
    scene.restart().await;
    all_arrive(&scene).await;
    scene.assert_written(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn second_signal_ends_it_at_once() {
    let mut scene = under_way(&[("MSR_DELIVERY__REQUEST_TIMEOUT", "30s")]).await;
    scene.sandbox.always(Some(Fault::NeverAnswers));
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.relay.signal("TERM");
    scene.logs("stopping").await;
    assert!(scene.relay.runs());
    let (code, took) = scene.relay.stop();
    assert_eq!(code, Some(1));
    assert!(took < Duration::from_millis(300), "{took:?}");
    scene.sandbox.heal();
    scene.restart().await;
    all_arrive(&scene).await;
    scene.assert_written(1);
}
