//! Tests that the relay keeps Sentinel's quota, and that withdrawals and live events are sent first under it.

use std::time::{Duration, Instant};

use misp_sentinel_relay::sandbox::{Fault, Sandbox, Settings, Upload};
use uuid::Uuid;

use super::{Event, Scene, live_patterns};
use crate::support::publisher::recorded_frame;
use crate::support::relay::held;
use crate::support::sandbox::{eventually, start_with};

const WINDOW: Duration = Duration::from_secs(1);

/// As in real life the relay allows itself one request less than Sentinel does.
const RELAY: (&str, &str) = ("MSR_DELIVERY__QUOTA_REQUESTS", "19");
const SENTINEL: u32 = 20;

const SETTINGS: [(&str, &str); 2] = [RELAY, ("MSR_DELIVERY__QUOTA_WINDOW", "1s")];

async fn strict(workspaces: usize) -> Sandbox {
    let mut settings = Settings {
        quota_requests: SENTINEL,
        quota_window: WINDOW,
        keep_bodies: true,
        ..Settings::default()
    };
    for number in 1..workspaces {
        settings.workspaces.push(Uuid::from_u128(0x77 + number as u128));
    }
    start_with(settings).await
}

/// The most arrivals in any window.
fn most_in_any_window(requests: &[Upload]) -> usize {
    let most = requests.iter().map(|first| {
        let is_in = |other: &&Upload| {
            other.arrived >= first.arrived && other.arrived - first.arrived <= WINDOW
        };
        requests.iter().filter(is_in).count()
    });
    most.max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn quota_is_kept_in_any_window_also_across_a_restart() {
    let mut scene = Scene::with(strict(1).await, &SETTINGS).await;
    scene.publish(&Event::new(1, 0..4_000)).await;
    eventually(&scene.sandbox, |sandbox| held(sandbox).len() >= 1_500).await;
    scene.relay.stop();
    scene.restart().await;
    eventually(&scene.sandbox, |sandbox| held(sandbox).len() == 4_000).await;
    scene.assert_written(1);
    assert!(scene.statuses().iter().all(|status| *status == 200), "{:?}", scene.statuses());
    let requests = scene.sandbox.requests();
    assert!(most_in_any_window(&requests) <= 20, "{}", most_in_any_window(&requests));
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_pass_while_signing_in_are_not_used_at_once() {
    let sandbox = strict(1).await;
    sandbox.script_sign_ins([misp_sentinel_relay::sandbox::SignInFault::NeverAnswers]);
    let settings = [SETTINGS[0], SETTINGS[1], ("MSR_AZURE__TOKEN_TIMEOUT", "500ms")];
    let scene = Scene::with(sandbox, &settings).await;
    scene.publish(&Event::new(1, 0..2_500)).await;
    eventually(&scene.sandbox, |sandbox| held(sandbox).len() == 2_500).await;
    assert!(scene.statuses().iter().all(|status| *status == 200), "{:?}", scene.statuses());
}

/// How many requests arrive, and how long it takes, from the moment at which the ledger has the event until
/// one brings it to the workspace. Neither how long the commit takes nor when somebody looks counts.
async fn overtakes(
    scene: &Scene,
    event: &Event,
    (pattern, workspace): (&str, Uuid),
) -> (usize, Duration) {
    let earlier = scene.requests();
    scene.commit(event).await;
    let (before, committed) = (scene.requests(), Instant::now());
    let brings = |upload: &Upload| {
        upload.status == Some(200)
            && upload.workspace == Some(workspace)
            && String::from_utf8_lossy(&upload.body).contains(pattern)
    };
    let found = |sandbox: &Sandbox| sandbox.requests().iter().skip(earlier).position(brings);
    eventually(&scene.sandbox, |sandbox| found(sandbox).is_some()).await;
    let place = earlier + found(&scene.sandbox).unwrap();
    let arrived = scene.sandbox.requests()[place].arrived;
    ((place + 1).saturating_sub(before), arrived.saturating_duration_since(committed))
}

/// A sender with one request in flight picks the next one when that is answered. So what is committed waits
/// for the request that was picked already, and in its own lane for the turn of each other event.
#[tokio::test(flavor = "multi_thread")]
async fn withdrawals_and_small_events_overtake_a_large_event() {
    let settings = [SETTINGS[0], SETTINGS[1], ("MSR_DELIVERY__MAX_IN_FLIGHT", "1")];
    let scene = Scene::with(strict(1).await, &settings).await;
    let workspace = scene.sandbox.settings().workspaces[0];
    let first = Event::new(1, 0..3);
    scene.publish(&first).await;
    scene.holds(3).await;
    scene.publisher.send(&recorded_frame("zmq", "010616_misp_json.bin").frame).await;
    scene.logs("\"attributes\":5000").await;

    let small = Event::new(2, 0..3);
    let (requests, took) = overtakes(&scene, &small, (&small.pattern(0), workspace)).await;
    // The one that was picked, the large event's turn, and its own.
    assert!(requests <= 3, "{requests} requests, {took:?}");
    assert!(took < Duration::from_millis(500), "{took:?}");

    let withdrawn = first.only(0..2);
    let (requests, took) = overtakes(&scene, &withdrawn, (&first.pattern(2), workspace)).await;
    assert!(!live_patterns(&scene.sandbox).contains(&first.pattern(2)), "it is withdrawn");
    // The one that was picked, and its own.
    assert!(requests <= 2, "{requests} requests, {took:?}");
    assert!(held(&scene.sandbox).len() < 4_500, "the large event was still under way");
}

#[tokio::test(flavor = "multi_thread")]
async fn live_events_overtake_the_backlog_of_a_new_target() {
    let (sandbox, publisher) = (strict(2).await, crate::support::publisher::Publisher::bind());
    let second = sandbox.settings().workspaces[1];
    let fast = [("MSR_TARGET__SANDBOX_2__ENABLED", "false")];
    let relay = crate::support::relay::Relay::start(&sandbox, &publisher, &fast).await;
    let mut scene = Scene { sandbox, publisher, relay };
    scene.relay.stop();
    let all = scene.relay.unset("MSR_TARGET__SANDBOX_2__");
    scene.restart().await;
    SETTINGS.iter().for_each(|(key, value)| scene.relay.set(key, value));
    scene.publish(&Event::new(1, 0..1_900)).await;
    eventually(&scene.sandbox, |sandbox| held(sandbox).len() == 1_900).await;
    scene.relay.stop();

    all.iter().filter(|(key, _)| !key.ends_with("ENABLED")).for_each(|(key, value)| {
        scene.relay.set(key, value);
    });
    scene.restart().await;
    eventually(&scene.sandbox, |sandbox| sandbox.objects(second).len() >= 300).await;
    let small = Event::new(2, 0..3);
    let (requests, took) = overtakes(&scene, &small, (&small.pattern(0), second)).await;
    assert!(requests <= 6, "{requests} requests, {took:?}");
    assert!(scene.sandbox.objects(second).len() < 1_800, "the backlog was still under way");
    eventually(&scene.sandbox, |sandbox| sandbox.objects(second).len() == 1_903).await;
}

/// A try that Sentinel refused is no acceptance.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_after_a_try_that_failed_is_not_told_as_accepted() {
    let scene = Scene::start(&[]).await;
    scene.sandbox.script([Fault::Throttled { seconds: Some(2), header: Some(2) }]);
    let event = Event::new(1, 0..2);
    scene.publish(&event).await;
    scene.asked(1).await;
    scene.commit(&event.only([])).await;
    scene.drained().await;
    // The line would come just after the change is closed.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let log = scene.relay.log();
    assert!(!log.contains("accepted_after_ms"), "{log}");
    assert!(held(&scene.sandbox).is_empty());
}

/// Sentinel never heard of the second event, so nothing of it was accepted.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_before_it_was_sent_is_not_told_as_accepted() {
    let scene = Scene::start(&[]).await;
    scene.sandbox.script([Fault::Throttled { seconds: Some(5), header: Some(5) }]);
    scene.publish(&Event::new(1, 0..2)).await;
    scene.asked(1).await;
    let second = Event::new(2, 0..2);
    scene.commit(&second).await;
    scene.commit(&second.only([])).await;
    scene.holds(2).await;
    scene.logs("\"change_accepted\"").await;
    scene.drained().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let log = scene.relay.log();
    let accepted: Vec<&str> =
        log.lines().filter(|line| line.contains("accepted_after_ms")).collect();
    assert!(matches!(accepted.as_slice(), [one] if one.contains("Event 1")), "{accepted:#?}");
    assert_eq!(held(&scene.sandbox).len(), 2);
}
