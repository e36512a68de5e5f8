//! Tests faults of sign-ins: Entra is down, Entra refuses, or a token is refused later.

use std::time::Duration;

use misp_sentinel_relay::sandbox::{Fault, SignInFault};

use super::{Event, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn token_that_is_refused_is_renewed_once() {
    let scene = Scene::start(&[]).await;
    scene.publish(&Event::new(1, 0..1)).await;
    scene.holds(1).await;
    scene.sandbox.invalidate_tokens();
    scene.publish(&Event::new(2, 0..1_000)).await;
    scene.holds(1_001).await;
    assert_eq!(scene.sandbox.sign_ins(), 2);
    let refused = scene.statuses().iter().filter(|status| **status == 401).count();
    assert!((1..=4).contains(&refused), "{:?}", scene.statuses());
    scene.assert_written(1);
    assert!(!scene.relay.log().contains("degraded"), "a renewal is no trouble");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_that_is_never_good_is_tried_slowly() {
    let scene = Scene::start(&[]).await;
    scene.sandbox.always(Some(Fault::TokenRefused));
    scene.publish(&Event::new(1, 0..1_000)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (requests, sign_ins) = (scene.requests(), scene.sandbox.sign_ins());
    scene.sandbox.heal();
    scene.holds(1_000).await;
    scene.assert_written(1);
    assert!(requests <= 40, "{requests}");
    assert!(sign_ins <= 15, "{sign_ins}");
}

#[tokio::test(flavor = "multi_thread")]
async fn entra_away_at_the_start_is_waited_for() {
    let sandbox = crate::support::sandbox::start().await;
    sandbox.script_sign_ins([
        SignInFault::Unavailable,
        SignInFault::Reset,
        SignInFault::NeverAnswers,
        SignInFault::Unavailable,
    ]);
    let scene = Scene::with(sandbox, &[("MSR_AZURE__TOKEN_TIMEOUT", "300ms")]).await;
    scene.publish(&Event::new(1, 0..500)).await;
    scene.holds(500).await;
    assert_eq!(scene.sandbox.sign_ins(), 5);
    assert_eq!(scene.statuses(), [200; 5], "no request without a token");
    scene.logs("Entra cannot be reached").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_secret_is_named_and_heals() {
    let sandbox = crate::support::sandbox::start().await;
    let body = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided."}"#;
    let wrong = SignInFault::Answer { status: 401, body: body.to_owned() };
    sandbox.script_sign_ins([wrong.clone(), wrong]);
    let scene = Scene::with(sandbox, &[]).await;
    scene.publish(&Event::new(1, 0..500)).await;
    scene.holds(500).await;
    assert_eq!(scene.sandbox.sign_ins(), 3);
    assert_eq!(scene.statuses(), [200; 5]);
    scene.logs("AADSTS7000215").await;
    scene.logs("use the secret's value").await;
}
