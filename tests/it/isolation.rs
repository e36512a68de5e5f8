//! Tests many targets over a few credentials: a target that is down, throttled or misconfigured must not slow
//! another.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use misp_sentinel_relay::config::Secret;
use misp_sentinel_relay::sandbox::{Account, Fault, Sandbox, Settings};
use uuid::Uuid;

use super::credentials::{certificate_der, certificate_file};
use super::support::event::{Attribute, publication, then};
use super::support::publisher::Publisher;
use super::support::relay::Relay;
use super::support::sandbox::{eventually, start_with};

const TARGETS: usize = 20;
const CREDENTIALS: usize = 5;
const OBJECTS: usize = 300;
/// In each window: what the relay allows itself, and what the sandbox allows.
const QUOTA: (u32, u32) = (76, 78);
/// Of Sentinel's minute a sixth, and so are the relay's pauses.
const WINDOW: Duration = Duration::from_secs(10);
const SETTINGS: [(&str, &str); 8] = [
    ("MSR_DELIVERY__QUOTA_REQUESTS", "76"),
    ("MSR_DELIVERY__QUOTA_WINDOW", "10s"),
    ("MSR_DELIVERY__MAX_OBJECTS", "15"),
    ("MSR_DELIVERY__REQUEST_TIMEOUT", "5s"),
    ("MSR_DELIVERY__BACKOFF_MIN", "160ms"),
    ("MSR_DELIVERY__BACKOFF_MAX", "10s"),
    ("MSR_DELIVERY__DEGRADED_RETRY", "10s"),
    ("MSR_DELIVERY__THROTTLED_DEFAULT", "10s"),
];

/// Of three credentials the first target each.
const DOWN: usize = 0;
const THROTTLED: usize = 4;
const MISCONFIGURED: usize = 8;
const BAD: [usize; 3] = [DOWN, THROTTLED, MISCONFIGURED];

fn workspace(target: usize) -> Uuid {
    Uuid::from_u128(0x4000_8000_0000_0000_0100 + target as u128)
}

fn credential(target: usize) -> usize {
    target * CREDENTIALS / TARGETS
}

async fn sandbox() -> Sandbox {
    let account = |number: usize| Account {
        tenant_id: Uuid::from_u128(0x4000_8000_0000_0000_0200 + number as u128).to_string(),
        client_id: format!("client-{number}"),
        client_secret: Secret::new(format!("secret-{number}")),
        workspaces: (0..TARGETS)
            .filter(|target| credential(*target) == number)
            .map(workspace)
            .collect(),
    };
    start_with(Settings {
        accounts: (0..CREDENTIALS).map(account).collect(),
        workspaces: (0..TARGETS).map(workspace).collect(),
        quota_requests: QUOTA.1,
        quota_window: WINDOW,
        ..Settings::default()
    })
    .await
}

fn setting(target: usize, key: &str) -> String {
    let name = if target == 0 { "SANDBOX".to_owned() } else { format!("SANDBOX_{}", target + 1) };
    format!("MSR_TARGET__{name}__{key}")
}

/// How long it takes, for each credential, until its good targets hold everything.
async fn run(with_bad_ones: bool) -> BTreeMap<usize, Duration> {
    let sandbox = sandbox().await;
    sandbox.always_for(workspace(DOWN), Some(Fault::NeverAnswers));
    let throttled = Fault::Throttled { seconds: Some(2), header: None };
    sandbox.always_for(workspace(THROTTLED), Some(throttled.clone()));
    let publisher = Publisher::bind();
    let nobody = Uuid::from_u128(0x4000_8000_0000_0000_0999).to_string();
    let (wrong, enabled) =
        (setting(MISCONFIGURED, "WORKSPACE_ID"), BAD.map(|bad| setting(bad, "ENABLED")));
    // The targets lie in several tenants, so each says what may leave.
    let tlp_max: Vec<String> =
        (0..TARGETS).map(|target| setting(target, "POLICY__TLP_MAX")).collect();
    let mut settings = SETTINGS.to_vec();
    settings.extend(tlp_max.iter().map(|key| (key.as_str(), "amber")));
    if with_bad_ones {
        settings.push((&wrong, &nobody));
    } else {
        settings.extend(enabled.iter().map(|key| (key.as_str(), "false")));
    }
    let relay = Relay::start(&sandbox, &publisher, &settings).await;
    let values: Vec<String> = (0..OBJECTS).map(|number| format!("host-{number}.example")).collect();
    let numbered = values.iter().enumerate();
    let attributes: Vec<Attribute<'_>> =
        numbered.map(|(number, value)| (number + 1, value.as_str(), &[][..])).collect();
    let began = Instant::now();
    publisher.send(&publication(then(), &attributes)).await;
    let good: Vec<usize> = (0..TARGETS).filter(|target| !BAD.contains(target)).collect();
    let mut took = BTreeMap::new();
    let mut changes = sandbox.changes();
    while took.len() < good.len() {
        let in_time = tokio::time::timeout(Duration::from_secs(20), changes.changed()).await;
        assert!(in_time.is_ok(), "nothing arrives any more; done: {took:?}");
        for target in &good {
            if !took.contains_key(target) && sandbox.count(workspace(*target)) == OBJECTS {
                took.insert(*target, began.elapsed());
            }
        }
    }
    let over: Vec<_> = sandbox
        .requests()
        .into_iter()
        .filter(|upload| upload.status == Some(429) && upload.fault != throttled)
        .collect();
    assert!(over.is_empty(), "the quota of a credential was exceeded: {over:#?}");
    let bad = sandbox
        .requests()
        .into_iter()
        .filter(|upload| !good.iter().any(|target| upload.workspace == Some(workspace(*target))));
    let tried = bad.count();
    assert_eq!(tried > 0, with_bad_ones, "{tried}");
    if with_bad_ones {
        tells_of_the_bad_ones(&relay);
    }
    let mut by_credential = BTreeMap::new();
    for (target, time) in took {
        let last: &mut Duration = by_credential.entry(credential(target)).or_default();
        *last = time.max(*last);
    }
    by_credential
}

fn tells_of_the_bad_ones(relay: &Relay) {
    let status = relay.command(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let targets = status["relay"]["targets"].as_array().unwrap();
    let told = |target: usize| {
        let name = setting(target, "").to_lowercase().replace("msr_target__", "");
        let name = name.trim_end_matches('_').replace('_', "-");
        targets.iter().find(|one| one["target"] == name).unwrap_or_else(|| panic!("{status:#}"))
    };
    for target in 0..TARGETS {
        let degraded = !told(target)["degraded"].is_null();
        let may_be = BAD.contains(&target);
        assert!(may_be || !degraded, "{:#}", told(target));
        assert!(target != MISCONFIGURED || degraded, "{:#}", told(target));
        assert!(told(target)["next_try"].is_null() != BAD.contains(&target), "{:#}", told(target));
    }
}

/// A busy machine may slow one of two runs, so what looks slower is measured once more.
#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_targets_three_bad_ones_slow_none_of_the_others() {
    let slowed = slowed_credentials().await;
    if !slowed.is_empty() {
        println!("measured once more: {slowed:#?}");
        assert_eq!(slowed_credentials().await, Vec::<String>::new());
    }
}

/// The credentials whose good targets take more than a tenth longer beside bad ones.
async fn slowed_credentials() -> Vec<String> {
    let without = run(false).await;
    let with = run(true).await;
    println!("seconds per credential without the bad ones: {without:.1?}, with them: {with:.1?}");
    let slowed = with.iter().filter(|(credential, time)| **time > without[credential].mul_f64(1.1));
    let told =
        |(credential, time)| format!("credential {credential}: {time:?}, without {without:?}");
    slowed.map(told).collect()
}

/// One application, once by its secret and once by a certificate: Sentinel counts them together.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_has_one_quota_however_it_signs_in() {
    let settings = Settings {
        workspaces: vec![workspace(0), workspace(1)],
        quota_requests: 12,
        quota_window: Duration::from_secs(1),
        ..Settings::default()
    };
    let sandbox = start_with(settings).await;
    let client = sandbox.settings().accounts[0].client_id.clone();
    sandbox.register_certificate(&client, certificate_der("one.crt"));
    let publisher = Publisher::bind();
    let keys = ["CREDENTIAL", "CLIENT_SECRET", "CERTIFICATE_FILE"].map(|key| setting(1, key));
    let file = certificate_file("one.pem").display().to_string();
    let own = keys.iter().map(String::as_str).zip(["certificate", "", &file]);
    let mut settings = vec![
        ("MSR_DELIVERY__QUOTA_REQUESTS", "10"),
        ("MSR_DELIVERY__QUOTA_WINDOW", "1s"),
        ("MSR_DELIVERY__MAX_OBJECTS", "5"),
    ];
    settings.extend(own);
    let _relay = Relay::start(&sandbox, &publisher, &settings).await;
    let values: Vec<String> = (0..60).map(|number| format!("host-{number}.example")).collect();
    let numbered = values.iter().enumerate();
    let attributes: Vec<Attribute<'_>> =
        numbered.map(|(number, value)| (number + 1, value.as_str(), &[][..])).collect();
    publisher.send(&publication(then(), &attributes)).await;
    eventually(&sandbox, |sandbox| [0, 1].map(|one| sandbox.count(workspace(one))) == [60, 60])
        .await;
    assert!(sandbox.requests().iter().all(|upload| upload.status == Some(200)));
}
