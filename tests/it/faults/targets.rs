//! Tests several targets: one with a fault must not stop another, and targets may be added, removed, moved or
//! given another policy.

use std::io::Write;
use std::time::Duration;

use misp_sentinel_relay::sandbox::{Fault, Sandbox, Settings};
use tempfile::NamedTempFile;
use uuid::Uuid;

use super::{Event, Scene, assert_written, live_patterns};
use crate::support::publisher::Publisher;
use crate::support::relay::{Relay, held};
use crate::support::sandbox::{eventually, start, start_with};
use crate::support::scene::is_live;

/// A relay's second target `other`, whose token comes from `entra` and whose objects go to
/// `endpoint`.
fn other(entra: &Sandbox, endpoint: &str, workspace: Uuid) -> Vec<(String, String)> {
    let account = &entra.settings().accounts[0];
    [
        ("WORKSPACE_ID", workspace.to_string().as_str()),
        ("TENANT_ID", &account.tenant_id),
        ("CLIENT_ID", &account.client_id),
        ("CLIENT_SECRET", account.client_secret.expose()),
        ("AUTHORITY", &entra.base_url()),
        ("ENDPOINT", endpoint),
    ]
    .map(|(key, value)| (format!("MSR_TARGET__OTHER__{key}"), value.to_owned()))
    .to_vec()
}

async fn scene(sandbox: Sandbox, settings: &[(String, String)]) -> Scene {
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    Scene::with(sandbox, &settings).await
}

/// The authorities of two sandboxes in one file.
fn authorities(sandboxes: [&Sandbox; 2]) -> (NamedTempFile, (String, String)) {
    let mut file = NamedTempFile::new().unwrap();
    for sandbox in sandboxes {
        file.write_all(sandbox.ca_pem().as_bytes()).unwrap();
    }
    let path = file.path().display().to_string();
    (file, ("MSR_AZURE__CA_FILE".to_owned(), path))
}

async fn two_workspaces() -> (Sandbox, [Uuid; 2]) {
    let mut settings = Settings { quota_requests: 0, ..Settings::default() };
    let both = [settings.workspaces[0], Uuid::from_u128(0x77)];
    settings.workspaces = both.to_vec();
    (start_with(settings).await, both)
}

#[tokio::test(flavor = "multi_thread")]
async fn target_that_is_down_stops_no_other() {
    let (first, mut second) = (start().await, start().await);
    let mut settings = other(&second, &second.base_url(), second.settings().workspaces[0]);
    let (_file, authorities) = authorities([&first, &second]);
    settings.push(authorities);
    second.stop().await;
    let scene = scene(first, &settings).await;
    scene.publish(&Event::new(1, 0..1_000)).await;
    scene.holds(1_000).await;
    second.restart().await.unwrap();
    eventually(&second, |sandbox| held(sandbox).len() == 1_000).await;
    scene.assert_written(1);
    assert_written(&held(&second), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_workspace_of_one_target_stops_no_other() {
    let sandbox = start().await;
    let settings = other(&sandbox, &sandbox.base_url(), Uuid::from_u128(0x99));
    let scene = scene(sandbox, &settings).await;
    scene.publish(&Event::new(1, 0..1_000)).await;
    scene.holds(1_000).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let unknown = scene.statuses().iter().filter(|status| **status == 404).count();
    assert!(unknown <= 8, "{unknown}");
    scene.assert_written(1);
}

/// The tokens of the first sandbox are worth nothing in the second: 401 without end, while another
/// target of the same credential goes on.
#[tokio::test(flavor = "multi_thread")]
async fn target_that_refuses_the_credential_stops_no_other_of_it() {
    let (first, second) = (start().await, start().await);
    let mut settings = other(&first, &second.base_url(), second.settings().workspaces[0]);
    let (_file, authorities) = authorities([&first, &second]);
    settings.push(authorities);
    let scene = scene(first, &settings).await;
    let begun = std::time::Instant::now();
    scene.publish(&Event::new(1, 0..1_000)).await;
    scene.holds(1_000).await;
    for number in 2..12 {
        scene.publish(&Event::new(number, 0..1)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.holds(1_010).await;
    scene.assert_written(1);
    // A few at first, then one each 100 to 200 ms, each with a token of its own.
    let refused = second.requests().len();
    let most = 8 + usize::try_from(begun.elapsed().as_millis() / 100).unwrap();
    assert!((2..=most).contains(&refused), "{refused} of {most}");
    let sign_ins = scene.sandbox.sign_ins();
    assert!(sign_ins <= refused + 3, "{sign_ins} for {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn target_that_hangs_stops_no_other_of_its_credential() {
    let sandbox = start().await;
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://localhost:{}", mute.local_addr().unwrap().port());
    let mut settings = other(&sandbox, &endpoint, Uuid::from_u128(0x99));
    settings.push(("MSR_DELIVERY__REQUEST_TIMEOUT".into(), "30s".into()));
    settings.push(("MSR_DELIVERY__GRACE".into(), "100ms".into()));
    let scene = scene(sandbox, &settings).await;
    scene.publish(&Event::new(1, 0..2_000)).await;
    scene.holds(2_000).await;
    scene.assert_written(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_run_writes_what_it_would_send() {
    let (sandbox, [_, second]) = two_workspaces().await;
    let file = NamedTempFile::new().unwrap();
    let settings = [
        ("MSR_TARGET__SANDBOX_2__MODE", "dry-run"),
        ("MSR_TARGET__SANDBOX_2__DRY_RUN_FILE", file.path().to_str().unwrap()),
    ];
    let scene = Scene::with(sandbox, &settings).await;
    let event = Event::new(1, 0..150);
    scene.publish(&event).await;
    scene.holds(150).await;
    scene.publish(&event.only(0..149)).await;
    scene.holds(149).await;
    let lines = || std::fs::read_to_string(file.path()).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while lines().lines().count() < 3 {
        assert!(std::time::Instant::now() < deadline, "{}", lines());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut sizes: Vec<usize> = lines()
        .lines()
        .map(|line| {
            let request: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(request["sourcesystem"], "misp-sentinel-relay");
            request["stixobjects"].as_array().unwrap().len()
        })
        .collect();
    // Two requests are written at the same time.
    sizes[..2].sort();
    assert_eq!(sizes, [50, 100, 1]);
    assert!(scene.sandbox.objects(second).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn target_added_later_is_filled_and_one_that_was_away_is_brought_up_to_date() {
    let (sandbox, [_, second]) = two_workspaces().await;
    let publisher = Publisher::bind();
    let mut relay =
        Relay::start(&sandbox, &publisher, &[("MSR_TARGET__SANDBOX_2__ENABLED", "true")]).await;
    relay.stop();
    let all: Vec<(String, String)> = relay.unset("MSR_TARGET__SANDBOX_2__");
    relay.restart(&publisher).await;
    let mut scene = Scene { sandbox, publisher, relay };
    let event = Event::new(1, 0..250);
    scene.publish(&event).await;
    scene.holds(250).await;
    scene.relay.stop();

    all.iter().for_each(|(key, value)| scene.relay.set(key, value));
    scene.restart().await;
    eventually(&scene.sandbox, |sandbox| sandbox.objects(second).len() == 250).await;
    scene.assert_written(1);
    assert_written(&scene.sandbox.objects(second), 1);
    scene.relay.stop();

    // Away while something is withdrawn and something added.
    let all = scene.relay.unset("MSR_TARGET__SANDBOX_2__");
    scene.restart().await;
    scene.publish(&event.only(1..260)).await;
    scene.holds(259).await;
    scene.relay.stop();
    assert_eq!(scene.sandbox.objects(second).len(), 250);

    all.iter().for_each(|(key, value)| scene.relay.set(key, value));
    scene.restart().await;
    eventually(&scene.sandbox, |sandbox| {
        sandbox.objects(second).iter().map(|one| one.writes).sum::<usize>() == 261
    })
    .await;
    let held = scene.sandbox.objects(second);
    assert_eq!(held.len(), 260);
    let over = held.iter().filter(|one| !is_live(&one.json));
    let over: Vec<_> = over.map(|one| one.json["pattern"].as_str().unwrap()).collect();
    assert_eq!(over, [event.pattern(0)]);
    assert_eq!(scene.sandbox.objects(scene.sandbox.settings().workspaces[0]).len(), 260);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sourcesystem_needs_a_word_of_the_operator() {
    let mut scene = Scene::start(&[]).await;
    scene.publish(&Event::new(1, 0..10)).await;
    scene.holds(10).await;
    scene.relay.stop();
    scene.relay.set("MSR_TARGET__SANDBOX__SOURCESYSTEM", "another");
    let refused = scene.relay.command(&["run"]);
    assert_ne!(refused.status.code(), Some(0));
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("--rehome") && words.contains("another"), "{words}");
    assert_eq!(held(&scene.sandbox).len(), 10);

    scene.relay.options(&["--rehome"]);
    scene.restart().await;
    eventually(&scene.sandbox, |sandbox| held(sandbox).len() == 20).await;
    assert!(held(&scene.sandbox).iter().all(|one| one.writes == 1));
    scene.relay.stop();
    scene.relay.options(&[]);
    scene.restart().await;
    assert_eq!(scene.status().await.queue, [0; 3]);
    assert_eq!(held(&scene.sandbox).len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_namespace_makes_every_indicator_a_new_one_and_needs_a_word_too() {
    let mut scene = Scene::start(&[]).await;
    let event = Event::new(1, 0..10);
    scene.publish(&event).await;
    scene.holds(10).await;
    scene.relay.stop();
    scene.relay.set("MSR_INDICATOR__NAMESPACE", "0e4d2a5a-4f0c-4f7b-9d54-8f1f1f3f9a11");
    let refused = scene.relay.command(&["run"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--rehome"));

    scene.relay.options(&["--rehome"]);
    scene.restart().await;
    eventually(&scene.sandbox, |sandbox| held(sandbox).len() == 20).await;
    // Published again, and edited: the new ids are the only ones that are written.
    scene.commit(&event).await;
    scene.publish(&event.only(0..9).commented("edited")).await;
    eventually(&scene.sandbox, |sandbox| {
        held(sandbox).iter().map(|one| one.writes).sum::<usize>() == 30
    })
    .await;
    let written_once = held(&scene.sandbox).iter().filter(|one| one.writes == 1).count();
    assert_eq!(written_once, 10, "those under the old namespace");
}

#[tokio::test(flavor = "multi_thread")]
async fn stricter_policy_withdraws_at_the_start_before_anything_else_leaves() {
    let mut scene = Scene::start(&[]).await;
    let amber = Event::new(1, 0..250).tagged("tlp:amber");
    scene.publish(&amber).await;
    scene.publish(&Event::new(2, 0..10)).await;
    scene.holds(260).await;
    // Still in the queue when the policy changes: must not leave.
    scene.sandbox.always(Some(Fault::Forbidden));
    scene.commit(&Event::new(3, 0..10).tagged("tlp:amber")).await;
    scene.commit(&Event::new(4, 0..10)).await;
    scene.relay.stop();
    scene.sandbox.heal();

    scene.relay.set("MSR_POLICY__TLP_MAX", "green");
    scene.restart().await;
    scene.holds(20).await;
    let patterns = held(&scene.sandbox);
    assert_eq!(patterns.len(), 270, "nothing of event 3 has left");

    scene.relay.stop();
    scene.relay.set("MSR_POLICY__TLP_MAX", "amber");
    scene.restart().await;
    scene.holds(280).await;
    assert_eq!(scene.status().await.queue, [0; 3]);
    assert_eq!(live_patterns(&scene.sandbox).len(), 280);
}
