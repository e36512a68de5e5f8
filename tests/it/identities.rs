//! Tests a target with an identity and a withdrawal setting of its own, beside a target with the common
//! settings.

use std::collections::BTreeSet;

use misp_sentinel_relay::sandbox::Sandbox;

use super::support::event::{
    EVENT, attribute_uuid, of_another_event, publication, then, to_ids_off,
};
use super::support::relay::Relay;
use super::support::sandbox::eventually;
use super::support::scene::is_live;
use super::views::{Stage, held};

const IDENTITY: &str = "MSR_TARGET__SANDBOX_2__IDENTITY";
const WITHDRAW: &str = "MSR_TARGET__SANDBOX_2__WITHDRAW";
const ONE_AT_A_TIME: (&str, &str) = ("MSR_DELIVERY__MAX_IN_FLIGHT", "1");
const SAME: &str = "same.example";
const OTHER: &str = "other.example";

/// Live patterns, each with its id.
fn live(sandbox: &Sandbox, target: usize) -> BTreeSet<(String, String)> {
    let live = held(sandbox, target).into_iter().filter(|one| is_live(&one.json));
    live.map(|one| (one.json["pattern"].as_str().unwrap().to_owned(), one.id)).collect()
}

fn values(sandbox: &Sandbox, target: usize) -> Vec<String> {
    live(sandbox, target).into_iter().map(|(pattern, _)| pattern).collect()
}

fn pattern(value: &str) -> String {
    format!("[domain-name:value = '{value}']")
}

fn patterns(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| pattern(value)).collect()
}

/// What a target that goes by attributes holds.
fn by_attribute(of: &[(usize, &str)]) -> BTreeSet<(String, String)> {
    of.iter()
        .map(|(number, value)| (pattern(value), format!("indicator--{}", attribute_uuid(*number))))
        .collect()
}

fn writes(sandbox: &Sandbox, target: usize) -> usize {
    held(sandbox, target).iter().map(|one| one.writes).sum()
}

async fn reach(stage: &Stage, first: &[&str], second: &[(usize, &str)]) {
    let reached = |sandbox: &Sandbox| {
        values(sandbox, 0) == patterns(first) && live(sandbox, 1) == by_attribute(second)
    };
    eventually(&stage.sandbox, reached).await;
    stage.check();
}

fn three(timestamp: i64, third: &str) -> Vec<u8> {
    publication(timestamp, &[(1, SAME, &[]), (2, SAME, &[]), (3, third, &[])])
}

fn explained(relay: &Relay, what: &str) -> String {
    let output = relay.command(&["explain", what]);
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_may_have_an_indicator_for_each_attribute() {
    let mut stage = Stage::set(&[(IDENTITY, "attribute"), ONE_AT_A_TIME]).await;
    stage.publisher.send(&three(then(), OTHER)).await;
    reach(&stage, &[OTHER, SAME], &[(1, SAME), (2, SAME), (3, OTHER)]).await;
    // The id that Sentinel shows in an alert leads to what it stands for, in each form of ids.
    for at in [0, 1] {
        for (pattern, id) in live(&stage.sandbox, at) {
            let told = explained(&stage.relay, &id);
            assert!(told.contains(&pattern) && told.contains(&id), "{id}: {told}");
        }
    }
    let unknown = explained(&stage.relay, &format!("indicator--{EVENT}"));
    assert!(unknown.contains("nothing is known of"), "{unknown}");
    // One attribute of two goes: its own indicator ends, that of the value is still claimed.
    stage.publisher.send(&to_ids_off(1, SAME, then())).await;
    reach(&stage, &[OTHER, SAME], &[(2, SAME), (3, OTHER)]).await;
    let told = explained(&stage.relay, &attribute_uuid(2));
    assert!(told.contains(&attribute_uuid(2)) && told.contains("sandbox-2"), "{told}");
    // A value is edited: another pattern under the same id.
    stage.publisher.send(&three(then() + 100_200, "third.example")).await;
    reach(&stage, &[SAME, "third.example"], &[(1, SAME), (2, SAME), (3, "third.example")]).await;
    // Two; `SAME` with its new time, the end of `OTHER`, the third value.
    assert_eq!(writes(&stage.sandbox, 0), 5);
    // Three, the end of one; its return, the second with its new time, an end, the third value.
    assert_eq!(writes(&stage.sandbox, 1), 8);
    stage.restart(&[]).await;
    stage.publisher.send(&publication(then() + 100_300, &[(2, SAME, &[])])).await;
    reach(&stage, &[SAME], &[(2, SAME)]).await;
    let told = explained(&stage.relay, &format!("indicator--{}", attribute_uuid(3)));
    assert!(told.contains("nothing claims what it stood for any more"), "{told}");
    let told = explained(&stage.relay, "third.example");
    assert!(told.contains("nothing claims") && told.contains(&attribute_uuid(3)), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_may_revoke_while_another_lets_expire() {
    let mut stage = Stage::set(&[ONE_AT_A_TIME]).await;
    stage.restart(&[(WITHDRAW, "revoke")]).await;
    stage.publisher.send(&three(then(), OTHER)).await;
    let both = |sandbox: &Sandbox| {
        [0, 1].into_iter().all(|at| values(sandbox, at) == patterns(&[OTHER, SAME]))
    };
    eventually(&stage.sandbox, both).await;
    let before = [live(&stage.sandbox, 0), live(&stage.sandbox, 1)];
    assert_eq!(before[0], before[1]);
    stage.publisher.send(&to_ids_off(3, OTHER, then())).await;
    let gone =
        |sandbox: &Sandbox| [0, 1].into_iter().all(|at| values(sandbox, at) == patterns(&[SAME]));
    eventually(&stage.sandbox, gone).await;
    let ended = |at: usize| held(&stage.sandbox, at).into_iter().find(|one| !is_live(&one.json));
    assert_eq!(ended(0).unwrap().json.get("revoked"), None);
    assert_eq!(ended(1).unwrap().json["revoked"], true);
    // It returns: under its id where it expired, under another where that is used up.
    stage.publisher.send(&three(then() + 100_200, OTHER)).await;
    eventually(&stage.sandbox, both).await;
    assert_eq!(live(&stage.sandbox, 0), before[0]);
    assert!(before[1].difference(&live(&stage.sandbox, 1)).count() == 1);
    stage.check();
    // Another way to withdraw sends nothing anew, beside what follows from an id that is used up.
    let sent = [0, 1].map(|at| writes(&stage.sandbox, at));
    stage.restart(&[(WITHDRAW, "expire")]).await;
    let last = publication(then(), &[(4, "last.example", &[])]);
    stage.publisher.send(&of_another_event(&last)).await;
    let last = |sandbox: &Sandbox| {
        [0, 1].into_iter().all(|at| values(sandbox, at).contains(&pattern("last.example")))
    };
    eventually(&stage.sandbox, last).await;
    stage.check();
    // The used-up id ends for all who see the view that both have now: an end, and the next id.
    assert_eq!([0, 1].map(|at| writes(&stage.sandbox, at)), [sent[0] + 3, sent[1] + 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_identity_of_one_target_is_its_own_move() {
    let mut stage = Stage::set(&[ONE_AT_A_TIME]).await;
    stage.publisher.send(&three(then(), OTHER)).await;
    let both = |sandbox: &Sandbox| {
        [0, 1].into_iter().all(|at| values(sandbox, at) == patterns(&[OTHER, SAME]))
    };
    eventually(&stage.sandbox, both).await;
    assert_eq!(stage.relay.stop().0, Some(0));
    stage.relay.set(IDENTITY, "attribute");
    let refused = stage.relay.command(&["run"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(
        told.contains("target.sandbox-2.identity was observable and is now attribute"),
        "{told}"
    );
    assert!(told.contains("--rehome") && !refused.status.success(), "{told}");
    stage.relay.options(&["--rehome"]);
    stage.relay.restart(&stage.publisher).await;
    // What was sent before stays until its valid_until.
    let moved = |sandbox: &Sandbox| {
        live(sandbox, 1).is_superset(&by_attribute(&[(1, SAME), (2, SAME), (3, OTHER)]))
    };
    eventually(&stage.sandbox, moved).await;
    assert_eq!(writes(&stage.sandbox, 0), 2, "the other target is left alone");
    assert_eq!(writes(&stage.sandbox, 1), 5);
    stage.check();
    let status = stage.relay.command(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["ledger"]["targets"][1]["view"], "sandbox-2/attribute");
}
