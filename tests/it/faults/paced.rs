//! Tests that every kind of request is paced under every fault. It counts sign-ins, uploads, requests to the
//! management plane and reads from vaults.

use std::fmt;
use std::time::{Duration, Instant};

use misp_sentinel_relay::sandbox::{Fault, Settings, SignInFault};

use super::{Event, Scene};
use crate::support::sandbox::{start, start_with};

/// A hundred times faster than the defaults, in the same ratios but for the quota.
const SETTINGS: [(&str, &str); 12] = [
    ("MSR_AZURE__SIGN_IN_PAUSE", "100ms"),
    ("MSR_AZURE__TOKEN_TIMEOUT", "300ms"),
    ("MSR_AZURE__MANAGEMENT__REQUEST_PAUSE", "50ms"),
    ("MSR_AZURE__MANAGEMENT__BACKOFF_MIN", "10ms"),
    ("MSR_AZURE__MANAGEMENT__BACKOFF_MAX", "100ms"),
    ("MSR_AZURE__MANAGEMENT__DELETE_AFTER", "10ms"),
    ("MSR_AZURE__MANAGEMENT__DELETE_PAUSE", "0s"),
    ("MSR_INDICATOR__WITHDRAW", "delete"),
    ("MSR_DELIVERY__QUOTA_REQUESTS", "20"),
    ("MSR_DELIVERY__QUOTA_WINDOW", "1s"),
    ("MSR_DELIVERY__DEGRADED_RETRY", "50ms"),
    ("MSR_DELIVERY__THROTTLED_DEFAULT", "50ms"),
];

/// How long the relay is looked at under a fault.
const LOOK: Duration = Duration::from_secs(2);

/// What was asked for within a time.
#[derive(Clone, Copy)]
struct Count {
    sign_ins: usize,
    uploads: usize,
    managed: usize,
}

impl Count {
    fn all(self) -> usize {
        self.sign_ins + self.uploads + self.managed
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sign_ins, uploads, managed } = self;
        write!(f, "{sign_ins} sign-ins, {uploads} uploads, {managed} to the management plane")
    }
}

fn count(scene: &Scene) -> Count {
    Count {
        sign_ins: scene.sandbox.sign_ins(),
        uploads: scene.requests(),
        managed: scene.sandbox.managed().len(),
    }
}

/// A relay with 60 indicators that it wants to delete and 3,000 that it wants to send, under a fault and
/// with a token that is no longer good.
async fn under(name: &str, scene: &Scene, order: impl FnOnce(&Scene)) {
    let event = Event::new(1, 0..60);
    scene.publish(&event).await;
    scene.holds(60).await;
    order(scene);
    scene.sandbox.invalidate_tokens();
    scene.publish(&event.only([])).await;
    scene.publish(&Event::new(2, 0..3_000)).await;
    let (begun, before) = (Instant::now(), count(scene));
    // A busy machine makes the relay slow.
    while begun.elapsed() < LOOK || count(scene).all() == before.all() {
        assert!(begun.elapsed() < LOOK * 10, "{name}: nothing was asked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (after, took) = (count(scene), begun.elapsed());
    let made = Count {
        sign_ins: after.sign_ins - before.sign_ins,
        uploads: after.uploads - before.uploads,
        managed: after.managed - before.managed,
    };
    println!("{name}: {made} in {took:?}");
    // Three at once, then one in each pause; and one that falls on each edge.
    let paced = |pause: u64| 3 + took.as_millis() as usize / pause as usize + 2;
    assert!(made.sign_ins <= paced(100), "{name}: {made}");
    assert!(made.managed <= paced(50), "{name}: {made}");
    assert!(made.uploads <= 2 + took.as_millis() as usize * 20 / 1_000, "{name}: {made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_request_is_paced_when_all_is_well() {
    let scene = Scene::with(start().await, &SETTINGS).await;
    under("no fault", &scene, |_| {}).await;
    let deleted = |sandbox: &misp_sentinel_relay::sandbox::Sandbox| {
        sandbox.managed().iter().filter(|one| one.method == "DELETE").count()
    };
    let begun = Instant::now();
    while deleted(&scene.sandbox) < 20 {
        assert!(begun.elapsed() < LOOK * 10, "{} deleted", deleted(&scene.sandbox));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Each deletion pays too.
    let managed = scene.sandbox.managed();
    let took = managed.last().unwrap().arrived - managed.first().unwrap().arrived;
    assert!(managed.len() <= 5 + took.as_millis() as usize / 50, "{} in {took:?}", managed.len());
    assert!(scene.sandbox.sign_ins() <= 4, "{}", scene.sandbox.sign_ins());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_request_is_paced_under_faults_of_sign_ins() {
    let refusal = r#"{"error":"invalid_client","error_description":"AADSTS7000215: no"}"#;
    for fault in [
        SignInFault::Unavailable,
        SignInFault::NeverAnswers,
        SignInFault::Reset,
        SignInFault::Answer { status: 401, body: refusal.to_owned() },
        SignInFault::Answer { status: 200, body: "{}".to_owned() },
        SignInFault::Lifetime(Some(0)),
        SignInFault::Lifetime(None),
        SignInFault::Lifetime(Some(1)),
    ] {
        let scene = Scene::with(start().await, &SETTINGS).await;
        let order = |scene: &Scene| scene.sandbox.always_sign_in(Some(fault.clone()));
        under(&format!("{fault:?}"), &scene, order).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_request_is_paced_with_tokens_of_two_seconds() {
    let token_lifetime = Duration::from_secs(2);
    let settings = Settings { token_lifetime, quota_requests: 0, ..Settings::default() };
    let scene = Scene::with(start_with(settings).await, &SETTINGS).await;
    under("tokens of two seconds", &scene, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_request_is_paced_under_faults_of_uploads() {
    for fault in [
        Fault::Throttled { seconds: None, header: None },
        Fault::ServerError,
        Fault::ResetBefore,
        Fault::TokenRefused,
        Fault::BadRequest,
        Fault::Forbidden,
        Fault::TooLarge,
        Fault::Answer { status: 200, body: "{}".to_owned() },
        Fault::Answer { status: 200, body: r#"{"errors":7}"#.to_owned() },
    ] {
        let scene = Scene::with(start().await, &SETTINGS).await;
        let order = |scene: &Scene| scene.sandbox.always(Some(fault.clone()));
        under(&format!("{fault:?}"), &scene, order).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_request_is_paced_under_faults_of_the_management_plane() {
    for fault in [
        Fault::Throttled { seconds: None, header: None },
        Fault::ServerError,
        Fault::ResetBefore,
        Fault::TokenRefused,
        Fault::Answer { status: 200, body: "{}".to_owned() },
    ] {
        let scene = Scene::with(start().await, &SETTINGS).await;
        let order = |scene: &Scene| scene.sandbox.script_management(vec![fault.clone(); 10_000]);
        under(&format!("management plane: {fault:?}"), &scene, order).await;
    }
}
