//! Tests targets with policies of their own. Each target holds what its own policy admits, nothing is sent
//! twice, and what one target no longer wants is withdrawn from that target alone.

use std::collections::BTreeMap;

use misp_sentinel_relay::sandbox::{HeldObject, Sandbox, Settings};
use uuid::Uuid;

use super::support::event::{deletion, publication, tagged, then};
use super::support::publisher::Publisher;
use super::support::relay::Relay;
use super::support::sandbox::{eventually, start_with};
use super::support::scene::is_live;

const TLP: &str = "MSR_TARGET__SANDBOX_2__POLICY__TLP_MAX";

/// One relay, the targets `sandbox` and `sandbox-2`.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) publisher: Publisher,
    pub(crate) relay: Relay,
}

impl Stage {
    pub(crate) async fn set(settings: &[(&str, &str)]) -> Self {
        let mut of_sandbox = Settings { quota_requests: 0, ..Settings::default() };
        of_sandbox.workspaces.push(Uuid::from_u128(0x77));
        let sandbox = start_with(of_sandbox).await;
        let publisher = Publisher::bind();
        let relay = Relay::start(&sandbox, &publisher, settings).await;
        Self { sandbox, publisher, relay }
    }

    pub(crate) async fn restart(&mut self, settings: &[(&str, &str)]) {
        assert_eq!(self.relay.stop().0, Some(0));
        for (key, value) in settings {
            self.relay.set(key, value);
        }
        self.relay.restart(&self.publisher).await;
    }

    /// Waits until both targets hold these values live.
    async fn live(&self, first: &[&str], second: &[&str]) {
        let both = |sandbox: &Sandbox| {
            live(sandbox, 0).into_keys().eq(first.iter().copied())
                && live(sandbox, 1).into_keys().eq(second.iter().copied())
        };
        eventually(&self.sandbox, both).await;
        self.check();
    }

    /// All invariants of the ledger hold.
    pub(crate) fn check(&self) {
        let checked = self.relay.command(&["ledger", "check"]);
        let told = String::from_utf8(checked.stdout).unwrap();
        assert!(checked.status.success(), "{told}");
        assert!(!told.contains("left out"), "{told}");
    }

    /// How often a target was sent each of its objects, by value.
    fn writes(&self, target: usize) -> BTreeMap<String, usize> {
        held(&self.sandbox, target).into_iter().map(|one| (value(&one), one.writes)).collect()
    }
}

pub(crate) fn held(sandbox: &Sandbox, target: usize) -> Vec<HeldObject> {
    sandbox.objects(sandbox.settings().workspaces[target])
}

/// Live values, each with its id.
fn live(sandbox: &Sandbox, target: usize) -> BTreeMap<String, String> {
    let live = held(sandbox, target).into_iter().filter(|one| is_live(&one.json));
    live.map(|one| (value(&one), one.id)).collect()
}

fn value(one: &HeldObject) -> String {
    one.json["pattern"].as_str().unwrap().split('\'').nth_back(1).unwrap().to_owned()
}

fn counts<const N: usize>(of: [(&str, usize); N]) -> BTreeMap<String, usize> {
    of.into_iter().map(|(value, writes)| (value.to_owned(), writes)).collect()
}

const BOTH: [&str; 2] = ["amber.example", "plain.example"];

fn two(timestamp: i64) -> Vec<u8> {
    publication(timestamp, &[(1, BOTH[0], &["tlp:amber"]), (2, BOTH[1], &[])])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_target_holds_what_its_own_policy_admits() {
    let stage = Stage::set(&[(TLP, "green")]).await;
    stage.publisher.send(&two(then())).await;
    stage.live(&BOTH, &BOTH[1..]).await;
    stage.publisher.send(&tagged(2, "tlp:amber", true)).await;
    stage.live(&BOTH, &[]).await;
    stage.publisher.send(&deletion(then())).await;
    stage.live(&[], &[]).await;
    assert_eq!(stage.writes(1), counts([(BOTH[1], 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_of_one_target_is_applied_to_it_alone_in_both_directions() {
    let mut stage = Stage::set(&[(TLP, "green")]).await;
    stage.publisher.send(&two(then())).await;
    stage.live(&BOTH, &BOTH[1..]).await;
    stage.restart(&[(TLP, "amber")]).await;
    stage.live(&BOTH, &BOTH).await;
    stage.restart(&[(TLP, "green")]).await;
    stage.live(&BOTH, &BOTH[1..]).await;
    assert_eq!(stage.writes(0), counts([(BOTH[0], 1), (BOTH[1], 1)]));
    assert_eq!(stage.writes(1), counts([(BOTH[0], 2), (BOTH[1], 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_moves_between_views_is_sent_only_what_differs() {
    let mut stage = Stage::set(&[]).await;
    stage.publisher.send(&two(then())).await;
    stage.live(&BOTH, &BOTH).await;
    stage.restart(&[(TLP, "green")]).await;
    stage.live(&BOTH, &BOTH[1..]).await;
    let status = stage.relay.command(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let views = |at: usize| status["ledger"]["targets"][at]["view"].as_str().unwrap().to_owned();
    assert_eq!([views(0), views(1)], ["default", "sandbox-2"]);
    // Now both have the same one again, which is named after the first.
    stage.restart(&[("MSR_TARGET__SANDBOX__POLICY__TLP_MAX", "green")]).await;
    stage.live(&BOTH[1..], &BOTH[1..]).await;
    assert_eq!(stage.relay.stop().0, Some(0));
    assert_eq!(stage.relay.unset("MSR_TARGET__SANDBOX_2__POLICY").len(), 1);
    stage.relay.restart(&stage.publisher).await;
    stage.live(&BOTH[1..], &BOTH).await;
    stage.publisher.send(&deletion(then())).await;
    stage.live(&[], &[]).await;
    assert_eq!(stage.writes(0), counts([(BOTH[0], 2), (BOTH[1], 2)]));
    assert_eq!(stage.writes(1), counts([(BOTH[0], 4), (BOTH[1], 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_a_view_of_its_own_may_go_and_come_back() {
    let mut stage = Stage::set(&[(TLP, "green")]).await;
    stage.publisher.send(&two(then())).await;
    stage.live(&BOTH, &BOTH[1..]).await;
    assert_eq!(stage.relay.stop().0, Some(0));
    let second = stage.relay.unset("MSR_TARGET__SANDBOX_2");
    stage.relay.restart(&stage.publisher).await;
    let third = publication(then() + 1, &[(2, BOTH[1], &[]), (3, "third.example", &[])]);
    stage.publisher.send(&third).await;
    stage.live(&["plain.example", "third.example"], &BOTH[1..]).await;
    stage.publisher.send(&publication(then() + 2, &[(3, "third.example", &[])])).await;
    stage.live(&["third.example"], &BOTH[1..]).await;
    let back: Vec<(&str, &str)> =
        second.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    stage.restart(&back).await;
    stage.live(&["third.example"], &["third.example"]).await;
    assert_eq!(stage.writes(1), counts([(BOTH[1], 2), ("third.example", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_used_up_in_one_view_comes_back_in_no_other() {
    let hold = ("MSR_TARGET__SANDBOX_2__POLICY__TAGS_EXCLUDE", "hold");
    let revoke = ("MSR_INDICATOR__WITHDRAW", "revoke");
    let options = ("MSR_DELIVERY__MAX_IN_FLIGHT", "1");
    let mut stage = Stage::set(&[hold, options]).await;
    stage.restart(&[revoke]).await;
    stage.publisher.send(&publication(then(), &[(1, BOTH[0], &[])])).await;
    stage.live(&BOTH[..1], &BOTH[..1]).await;
    let first = live(&stage.sandbox, 1)[BOTH[0]].clone();
    stage.publisher.send(&tagged(1, "hold", true)).await;
    stage.live(&BOTH[..1], &[]).await;
    // Taken off again it is as if it had never been put on.
    stage.publisher.send(&tagged(1, "hold", false)).await;
    stage.live(&BOTH[..1], &BOTH[..1]).await;
    let next = live(&stage.sandbox, 1)[BOTH[0]].clone();
    assert_ne!(first, next, "it was revoked");
    assert_eq!(live(&stage.sandbox, 0)[BOTH[0]], first);
    assert_eq!(stage.relay.stop().0, Some(0));
    stage.relay.unset("MSR_TARGET__SANDBOX_2__POLICY");
    stage.relay.restart(&stage.publisher).await;
    eventually(&stage.sandbox, |sandbox| live(sandbox, 0).values().eq([&next])).await;
    stage.live(&BOTH[..1], &BOTH[..1]).await;
    assert_eq!(live(&stage.sandbox, 1)[BOTH[0]], next);
    let writes: Vec<usize> = held(&stage.sandbox, 1).iter().map(|one| one.writes).collect();
    assert_eq!(writes.iter().sum::<usize>(), 3, "live, revoked, live under the next id");
}
