//! Tests that the demo can fail: it runs real parts with expectations that are wrong on purpose.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;
use scenario::DemoStep;

/// Plays steps beside a relay, with little patience. Returns the result and what the screen showed.
async fn played(steps: Vec<DemoStep>) -> (anyhow::Result<()>, String) {
    let recorded = PrometheusBuilder::new().build_recorder().handle();
    let (stage, relay, feed) = Stage::set(recorded.clone()).await.unwrap();
    let mut shown = Vec::new();
    let screen = Screen::new(&mut shown, None);
    let mut play = Play::new(&stage, feed, screen);
    let stop = CancellationToken::new();
    let acts = async {
        play.greet().await.unwrap();
        play.patience = Duration::from_millis(1_500);
        let mut result = Ok(());
        for step in steps {
            result = result.and(play.step(step).await);
        }
        stop.cancel();
        result
    };
    let (ended, result) =
        tokio::join!(relay.run(recorded, crate::commands::answered_by_relay(), stop.clone()), acts);
    ended.unwrap();
    drop(play);
    (result, String::from_utf8(shown).unwrap())
}

fn steps(numbers: std::ops::Range<usize>) -> Vec<DemoStep> {
    let mut steps = scenario(Recording::until(Utc::now())).unwrap();
    steps.drain(numbers).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn right_expectations_are_met() {
    let (result, shown) = played(steps(0..1)).await;
    result.unwrap();
    assert!(shown.contains("ok     published \"Kitchen sink\""), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_arrive_is_named() {
    let mut steps = steps(0..1);
    steps[0].appears.push("[domain-name:value = 'never.example']".into());
    let (result, shown) = played(steps).await;
    let told = result.unwrap_err().to_string();
    assert!(told.contains("missing: [domain-name:value = 'never.example']"), "{told}");
    assert!(told.contains("objects accepted: 61, expected 62"), "{told}");
    assert!(!told.contains("left over"), "{told}");
    assert!(shown.contains("WRONG  published \"Kitchen sink\""), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_or_comes_unasked_is_named() {
    let mut steps = steps(0..1);
    let unasked = steps[0].appears.pop().unwrap();
    let (result, _) = played(steps).await;
    let told = result.unwrap_err().to_string();
    assert!(told.contains(&format!("left over: {unasked}")), "{told}");
    assert!(!told.contains("missing"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_can_follow_each_other_for_ever() {
    let ago = |seconds: i64| Recording::until(Utc::now() - chrono::TimeDelta::seconds(seconds));
    let mut steps = scenario(ago(90)).unwrap();
    steps.retain(|step| ["Tag holes", "Local tag first"].contains(&step.event));
    for number in 0..10 {
        // The demo itself takes four seconds a step.
        let recording = ago(60 - 4 * i64::try_from(number).unwrap());
        steps.push(edit(number, recording, 60).unwrap());
    }
    let (result, shown) = played(steps).await;
    result.unwrap();
    assert!(!shown.contains("WRONG"), "{shown}");
}
