//! Tests the command `cleanup`, which lists and ends what another product left in Sentinel.

use std::time::Duration;

use misp_sentinel_relay::pure::verify::Cleaning;
use misp_sentinel_relay::sandbox::{Fault, Sandbox};
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::relay::held;
use super::support::scene::{Scene, is_live};

const OTHER: &str = "MISP";

/// As misp2sentinel uploads them: the attribute's uuid is the id.
fn object(number: u128, pattern: &str) -> Value {
    json!({
        "type": "indicator",
        "spec_version": "2.1",
        "id": format!("indicator--{}", Uuid::from_u128(0x4000_8000_0000_0000_0000 + number)),
        "created": "2026-01-01T00:00:00.000Z",
        "modified": "2026-01-01T00:00:00.000Z",
        "name": "n",
        "pattern": pattern,
        "pattern_type": "stix",
        "valid_from": "2026-01-01T00:00:00.000Z",
        "valid_until": "2126-01-01T00:00:00.000Z",
    })
}

fn place(sandbox: &Sandbox) -> Uuid {
    sandbox.settings().workspaces[0]
}

/// So many live ones of another product, one that is over and one that is revoked; and the live ones
/// of a third.
async fn scene(count: u128, settings: &[(&str, &str)]) -> Scene {
    let scene = Scene::set(settings).await;
    let put =
        |source: &str, object: Value| scene.sandbox.put(place(&scene.sandbox), source, object);
    for number in 0..count {
        let pattern = match number % 2 {
            0 => format!("[ipv4-addr:value = '198.51.100.{number}']"),
            _ => format!("[url:value = 'http://x.example/{number}']"),
        };
        put(OTHER, object(number, &pattern));
        put("third", object(number, &pattern));
    }
    let (mut over, mut revoked) =
        (object(9_001, "[url:value = 'o']"), object(9_002, "[url:value = 'r']"));
    over["valid_until"] = json!("2026-02-01T00:00:00Z");
    (revoked["revoked"], revoked["valid_until"]) = (json!(true), over["valid_until"].clone());
    put(OTHER, over);
    put(OTHER, revoked);
    scene
}

fn cleanup(scene: &Scene, options: &[&str]) -> (Option<i32>, Cleaning) {
    let mut arguments = vec!["cleanup", "--json", "--sourcesystem", OTHER];
    arguments.extend(options);
    let output = scene.relay.command(&arguments);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let cleaning = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code(), cleaning)
}

fn of(scene: &Scene, source: &str) -> Vec<Value> {
    let all = held(&scene.sandbox).into_iter().filter(|held| held.sourcesystem == source);
    all.map(|held| held.json).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_product_left_is_listed_and_ended_only_when_told_so() {
    let scene = scene(250, &[]).await;
    let before = of(&scene, OTHER);
    let third = of(&scene, "third");
    let (code, listed) = cleanup(&scene, &[]);
    assert_eq!((code, listed.live.count, listed.over, listed.ended), (Some(0), 250, 2, None));
    let kinds: Vec<(&str, u64)> =
        listed.kinds.iter().map(|(kind, n)| (kind.as_str(), *n)).collect();
    assert_eq!(kinds, [("ipv4-addr:value", 125), ("url:value", 125)]);
    assert_eq!(of(&scene, OTHER), before);
    assert!(scene.sandbox.requests().is_empty());

    let (code, done) = cleanup(&scene, &["--apply"]);
    assert_eq!((code, done.ended, done.rejected.count), (Some(0), Some(250), 0), "{done:#?}");
    let sizes: Vec<usize> = scene.sandbox.requests().iter().map(|one| one.objects).collect();
    assert_eq!(sizes, [100, 100, 50]);
    let after = of(&scene, OTHER);
    assert_eq!(after.len(), 252);
    for (was, is) in before.iter().zip(&after) {
        assert!(!is_live(is), "{is}");
        for (member, value) in was.as_object().unwrap() {
            if !["modified", "valid_until"].contains(&member.as_str()) {
                assert_eq!(is[member], *value, "{member}");
            }
        }
    }
    assert_eq!(of(&scene, "third"), third, "nobody named it");
    let (code, again) = cleanup(&scene, &["--apply"]);
    assert_eq!((code, again.live.count, again.over, again.ended), (Some(0), 0, 252, Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_is_asked_for_and_needs_neither_relay_nor_ledger() {
    let mut scene = scene(3, &[]).await;
    scene.relay.stop();
    // As before the first start of the relay.
    let empty = tempfile::tempdir().unwrap();
    scene.relay.set("MSR_LEDGER__DATA_DIR", empty.path().to_str().unwrap());
    scene.sandbox.script([Fault::ServerError, Fault::Throttled { seconds: Some(0), header: None }]);
    let (code, done) = cleanup(&scene, &["--apply", "--revoke", "--target", "sandbox"]);
    assert_eq!((code, done.ended), (Some(0), Some(3)), "{done:#?}");
    let revoked = of(&scene, OTHER).iter().filter(|one| one["revoked"] == true).count();
    assert_eq!(revoked, 4);
    assert!(!empty.path().join("ledger.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sentinel_does_not_take_is_named_and_stops_nothing() {
    let scene = scene(8, &[]).await;
    let bad = object(3, "")["id"].as_str().unwrap().to_owned();
    scene.sandbox.poison([bad.clone()]);
    let (code, done) = cleanup(&scene, &["--apply"]);
    assert_eq!((code, done.ended, done.rejected.count), (Some(1), Some(7), 1), "{done:#?}");
    assert_eq!(done.rejected.examples[0].id, bad);
    assert_eq!(of(&scene, OTHER).iter().filter(|one| is_live(one)).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_targets_own_source_is_refused() {
    let scene = Scene::set(&[]).await;
    for source in ["misp-sentinel-relay", " "] {
        let output = scene.relay.command(&["cleanup", "--apply", "--sourcesystem", source]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
    let output = scene.relay.command(&["cleanup", "--sourcesystem", "misp-sentinel-relay"]);
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("verify --repair"), "{words}");
    assert!(scene.sandbox.managed().is_empty());
}

/// The relay's own quota holds for both together.
#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_quota_of_the_credential() {
    let quota = [
        ("MSR_DELIVERY__QUOTA_REQUESTS", "10"),
        ("MSR_DELIVERY__QUOTA_WINDOW", "2s"),
        ("MSR_DELIVERY__MAX_OBJECTS", "1"),
    ];
    let scene = scene(8, &quota).await;
    let (code, done) = cleanup(&scene, &["--apply"]);
    assert_eq!((code, done.ended), (Some(0), Some(8)), "{done:#?}");
    let times: Vec<_> = scene.sandbox.requests().iter().map(|one| one.arrived).collect();
    assert_eq!(times.len(), 8);
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] > Duration::from_millis(150), "{:?}", pair[1] - pair[0]);
    }
}
