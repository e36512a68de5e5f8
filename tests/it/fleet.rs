//! Tests targets that are added and removed. A new target is filled from the ledger alone, and a removed one
//! is forgotten only on command.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use misp_sentinel_relay::config::Secret;
use misp_sentinel_relay::http::LOCAL;
use misp_sentinel_relay::sandbox::{Account, Sandbox, Settings};
use serde_json::Value;
use uuid::Uuid;

use super::support::event::{attribute_uuid, publication, then};
use super::support::publisher::Publisher;
use super::support::relay::Relay;
use super::support::sandbox::{eventually, start_with};
use super::support::scene::is_live;
use super::views::{Stage, held};

const VALUES: [&str; 3] = ["a.example", "amber.example", "b.example"];

async fn set(targets: usize, settings: &[(&str, &str)]) -> Stage {
    let mut of_sandbox = Settings { quota_requests: 0, ..Settings::default() };
    of_sandbox.workspaces.extend((1..targets).map(|n| Uuid::from_u128(0x77 + n as u128)));
    let sandbox = start_with(of_sandbox).await;
    let publisher = Publisher::bind();
    let relay = Relay::start(&sandbox, &publisher, settings).await;
    Stage { sandbox, publisher, relay }
}

fn event() -> Vec<u8> {
    publication(then(), &[(1, VALUES[0], &[]), (2, VALUES[1], &["tlp:amber"]), (3, VALUES[2], &[])])
}

fn live(sandbox: &Sandbox, target: usize) -> BTreeSet<String> {
    let live = held(sandbox, target).into_iter().filter(|one| is_live(&one.json));
    live.map(|one| one.id).collect()
}

fn writes(sandbox: &Sandbox, target: usize) -> usize {
    held(sandbox, target).iter().map(|one| one.writes).sum()
}

fn without(relay: &mut Relay, targets: &[usize]) -> Vec<(String, String)> {
    let beginning = |number: &usize| format!("MSR_TARGET__SANDBOX_{number}");
    targets.iter().flat_map(|number| relay.unset(&beginning(number))).collect()
}

fn with(relay: &mut Relay, settings: &[(String, String)]) {
    settings.iter().for_each(|(key, value)| relay.set(key, value));
}

/// How a target stands in the ledger, by name.
fn mode(relay: &Relay, target: &str) -> Option<String> {
    let status = relay.command(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let targets = status["ledger"]["targets"].as_array().unwrap();
    let target = targets.iter().find(|one| one["target"] == target)?;
    Some(target["mode"].as_str().unwrap().to_owned())
}

/// Waits until `/metrics` has this line after so many starts.
async fn metric(relay: &Relay, starts: usize, line: &str) {
    let address = relay.page_address(starts).await;
    let client = LOCAL.client_with(|builder| builder).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = client.get(format!("{address}/metrics")).send().await.unwrap();
        let text = answer.text().await.unwrap();
        if text.lines().any(|one| one == line) {
            return;
        }
        assert!(Instant::now() < deadline, "no {line}:\n{text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether it was forgotten, and what it said.
fn forget(relay: &Relay, target: &str) -> (bool, String) {
    let output = relay.command(&["forget", target]);
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(told).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_added_later_is_filled_from_the_ledger_without_misp() {
    let mut stage = set(3, &[]).await;
    assert_eq!(stage.relay.stop().0, Some(0));
    let later = without(&mut stage.relay, &[2, 3]);
    assert!(["sandbox-2", "sandbox-3"].iter().all(|target| forget(&stage.relay, target).0));
    stage.relay.restart(&stage.publisher).await;
    stage.publisher.send(&event()).await;
    eventually(&stage.sandbox, |sandbox| live(sandbox, 0).len() == 3).await;
    assert_eq!(stage.relay.stop().0, Some(0));
    let Stage { sandbox, publisher, mut relay } = stage;
    // MISP and its feed are gone.
    drop(publisher);
    with(&mut relay, &later);
    relay.set("MSR_TARGET__SANDBOX_3__POLICY__TLP_MAX", "green");
    relay.set("MSR_TARGET__SANDBOX_3__IDENTITY", "attribute");
    relay.restart_alone().await;
    let own: BTreeSet<String> =
        [1, 3].map(|number| format!("indicator--{}", attribute_uuid(number))).into();
    eventually(&sandbox, |sandbox| live(sandbox, 1) == live(sandbox, 0) && live(sandbox, 2) == own)
        .await;
    assert_eq!([0, 1, 2].map(|at| writes(&sandbox, at)), [3, 3, 2]);
    let checked = relay.command(&["ledger", "check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_removed_is_forgotten_only_on_command() {
    let mut stage = set(3, &[("MSR_TARGET__SANDBOX_3__POLICY__TLP_MAX", "green")]).await;
    stage.publisher.send(&event()).await;
    let all = |sandbox: &Sandbox| [0, 1, 2].map(|at| live(sandbox, at).len()) == [3, 3, 2];
    eventually(&stage.sandbox, all).await;
    let (done, told) = forget(&stage.relay, "sandbox-2");
    assert!(!done && told.contains("sandbox-2 is configured"), "{told}");
    assert_eq!(stage.relay.stop().0, Some(0));
    let gone = without(&mut stage.relay, &[2, 3]);
    stage.relay.restart(&stage.publisher).await;
    assert_eq!(mode(&stage.relay, "sandbox-2").as_deref(), Some("absent"));
    let (done, told) = forget(&stage.relay, "nobody");
    assert!(!done && told.contains("not configured: sandbox-2, sandbox-3"), "{told}");
    // Back unforgotten: nothing is sent.
    assert_eq!(stage.relay.stop().0, Some(0));
    with(&mut stage.relay, &gone);
    stage.relay.restart(&stage.publisher).await;
    stage.publisher.send(&publication(then() + 1, &[(4, "marker.example", &[])])).await;
    eventually(&stage.sandbox, |sandbox| [0, 1, 2].map(|at| live(sandbox, at).len()) == [1, 1, 1])
        .await;
    let before = [1, 2].map(|at| writes(&stage.sandbox, at));
    assert_eq!(before, [3 + 3 + 1, 2 + 2 + 1], "sent, withdrawn, and the last one");
    assert_eq!(stage.relay.stop().0, Some(0));
    without(&mut stage.relay, &[2, 3]);
    // One by the relay, one on the ledger.
    stage.relay.restart(&stage.publisher).await;
    let (done, told) = forget(&stage.relay, "sandbox-2");
    assert!(done && told.contains("sandbox-2 is forgotten, and the 4 objects"), "{told}");
    metric(&stage.relay, 4, "misp_sentinel_relay_live_indicators{target=\"sandbox-2\"} 0").await;
    stage.check();
    assert_eq!(stage.relay.stop().0, Some(0));
    let (done, told) = forget(&stage.relay, "sandbox-3");
    assert!(done && told.contains("3 objects"), "{told}");
    assert!(!forget(&stage.relay, "sandbox").0);
    with(&mut stage.relay, &gone);
    stage.relay.restart(&stage.publisher).await;
    let anew = |sandbox: &Sandbox| [1, 2].map(|at| writes(sandbox, at)) == before.map(|n| n + 1);
    eventually(&stage.sandbox, anew).await;
    stage.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_azure_functions_list_of_tenants_fills_each_workspace_with_its_own_application() {
    let workspaces =
        [0xaaaa_aaaa_u128, 0xbbbb_bbbb].map(|n| Uuid::from_u128(n << 96 | 0x4000_8000 << 32 | 7));
    let account = |number: usize| Account {
        tenant_id: format!("tenant-{number}.example"),
        client_id: format!("app-{number}"),
        client_secret: Secret::new(format!("secret-{number}")),
        workspaces: vec![workspaces[number]],
    };
    let settings = Settings { quota_requests: 0, ..Settings::default() };
    let sandbox = start_with(Settings {
        accounts: vec![account(0), account(1)],
        workspaces: workspaces.to_vec(),
        ..settings
    })
    .await;
    let entries = [1, 0].map(|number| {
        serde_json::json!({
            "tenantId": format!("tenant-{number}.example"), "id": format!("app-{number}"),
            "secret": format!("secret-{number}"), "workspaceId": workspaces[number],
        })
    });
    let list = Value::from(entries.to_vec()).to_string();
    let publisher = Publisher::bind();
    // The two workspaces lie in two tenants.
    let each = [
        ("MSR_TARGET__SANDBOX__POLICY__TLP_MAX", "amber"),
        ("MSR_TARGET__SANDBOX_2__POLICY__TLP_MAX", "amber"),
    ];
    let mut relay = Relay::start(&sandbox, &publisher, &each).await;
    assert_eq!(relay.stop().0, Some(0));
    relay.unset("MSR_TARGET__");
    relay.set("MSR_TENANTS", &list);
    let url = sandbox.base_url();
    for target in ["TENANT_AAAAAAAA", "TENANT_BBBBBBBB"] {
        relay.set(&format!("MSR_TARGET__{target}__AUTHORITY"), &url);
        relay.set(&format!("MSR_TARGET__{target}__ENDPOINT"), &url);
        relay.set(&format!("MSR_TARGET__{target}__POLICY__TLP_MAX"), "amber");
    }
    relay.restart(&publisher).await;
    publisher.send(&event()).await;
    eventually(&sandbox, |sandbox| [0, 1].iter().all(|at| live(sandbox, *at).len() == 3)).await;
    let by: BTreeSet<_> =
        sandbox.requests().into_iter().map(|one| (one.workspace, one.client_id)).collect();
    let expected = [0, 1].map(|number| (Some(workspaces[number]), Some(format!("app-{number}"))));
    assert_eq!(by, expected.into());
    assert_eq!(mode(&relay, "tenant-aaaaaaaa").as_deref(), Some("live"));
    assert!(!relay.log().contains("secret-"));
}
