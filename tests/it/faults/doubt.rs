//! Tests requests whose outcome is unknown. They are repeated byte for byte. What changed meanwhile is sent
//! once more when the old request can no longer arrive.

use std::time::Duration;

use misp_sentinel_relay::sandbox::Fault;

use super::{Event, Scene, live_patterns, of_pattern};
use crate::support::relay::held;
use crate::support::sandbox::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn reset_before_acceptance_writes_once() {
    let scene = Scene::start(&[]).await;
    scene.sandbox.script([Fault::ResetBefore]);
    scene.publish(&Event::new(1, 0..10)).await;
    scene.holds(10).await;
    assert_eq!(scene.requests(), 2);
    scene.assert_written(1);
}

/// The first request is taken and its answer lost, the rest of the script follows; the repeat must
/// be the same bytes.
async fn repeat_is_the_same(then: impl IntoIterator<Item = Fault>) {
    let scene = Scene::start(&[]).await;
    let mut script = vec![Fault::ResetAfter];
    script.extend(then);
    let requests = script.len() + 1;
    script.push(Fault::Late(Duration::from_millis(300)));
    scene.sandbox.script(script);
    scene.publish(&Event::new(1, 0..10)).await;
    scene.holds(10).await;
    let first = held(&scene.sandbox);
    eventually(&scene.sandbox, |sandbox| held(sandbox).iter().all(|one| one.writes == 2)).await;
    for (first, repeat) in first.iter().zip(held(&scene.sandbox)) {
        assert_eq!(first.writes, 1, "{:#?}", scene.sandbox.requests());
        assert_eq!(first.json, repeat.json);
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(scene.requests(), requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeat_after_a_lost_answer_is_byte_identical() {
    repeat_is_the_same([]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeat_is_byte_identical_also_after_a_refusal_in_between() {
    repeat_is_the_same([Fault::Throttled { seconds: Some(0), header: None }]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_arrived_is_withdrawn() {
    let mut scene = Scene::start(&[]).await;
    let event = Event::new(1, 0..2);
    scene.sandbox.script([Fault::ResetAfter]);
    scene.sandbox.always(Some(Fault::Forbidden));
    scene.publish(&event).await;
    scene.asked(3).await;
    assert_eq!(live_patterns(&scene.sandbox).len(), 2);
    scene.publish(&event.only([0])).await;
    scene.logs("gone\":1").await;
    scene.sandbox.heal();
    scene.holds(1).await;
    assert_eq!(live_patterns(&scene.sandbox), [event.pattern(0)]);
    assert_eq!(scene.status().await.queue, [0; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_in_doubt_is_sent_once_more_later() {
    let scene = Scene::start(&[("MSR_DELIVERY__BACKOFF_MIN", "200ms")]).await;
    let event = Event::new(1, 0..2);
    scene.sandbox.script([Fault::ResetAfter]);
    scene.publish(&event).await;
    scene.holds(2).await;
    // One alters, one is withdrawn, before the first is repeated.
    scene.publish(&event.only([0]).commented("altered")).await;
    let writes =
        |times: usize| move |one: &misp_sentinel_relay::sandbox::HeldObject| one.writes == times;
    eventually(&scene.sandbox, |sandbox| held(sandbox).iter().all(writes(2))).await;
    let second = held(&scene.sandbox);
    let seen = std::time::Instant::now();
    eventually(&scene.sandbox, |sandbox| held(sandbox).iter().all(writes(3))).await;
    assert!(seen.elapsed() >= Duration::from_millis(400), "{:?}", seen.elapsed());
    for (second, third) in second.iter().zip(held(&scene.sandbox)) {
        assert_eq!(second.json, third.json);
    }
    assert_eq!(
        of_pattern(&scene.sandbox, &event.pattern(0)).json["description"],
        "altered - Event 1"
    );
    assert_eq!(live_patterns(&scene.sandbox), [event.pattern(0)]);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(held(&scene.sandbox).iter().all(writes(3)), "once more, not again and again");
}

#[tokio::test(flavor = "multi_thread")]
async fn event_that_alters_while_requests_hang_stops_nothing() {
    let scene = Scene::start(&[("MSR_DELIVERY__REQUEST_TIMEOUT", "1s")]).await;
    let event = Event::new(1, 0..400);
    scene.sandbox.script([Fault::NeverAnswers, Fault::NeverAnswers]);
    scene.publish(&event).await;
    scene.holds(200).await;
    scene.publish(&event.commented("altered")).await;
    let altered = |sandbox: &misp_sentinel_relay::sandbox::Sandbox| {
        held(sandbox).iter().filter(|one| one.json["description"] == "altered - Event 1").count()
    };
    eventually(&scene.sandbox, |sandbox| altered(sandbox) == 200).await;
    scene.publish(&Event::new(2, 0..1)).await;
    eventually(&scene.sandbox, |sandbox| altered(sandbox) == 400).await;
    scene.holds(401).await;
    let patterns = live_patterns(&scene.sandbox);
    assert_eq!(patterns.len(), 401);
}
