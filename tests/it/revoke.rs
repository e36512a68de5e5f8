//! Tests `withdraw = "revoke"`: a revoked indicator never comes back under its id, whatever happens in
//! between.

use std::collections::{BTreeMap, BTreeSet};

use misp_sentinel_relay::ledger::{Ledger, Moment, Pending, Sending, Settlement};
use misp_sentinel_relay::sandbox::Fault;
use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::support::ledger::{Relay, TARGET, VIEW};
use super::support::sandbox::SOURCE;
use super::support::scene::{Scene, is_live};
use super::support::sentinel::Sentinel;

const EVENT: &str = "00000001-0000-4000-8000-000000000002";
const NAMESPACE: &str = "8c500619-d1c3-41e9-8c16-d5239cb5451c";
const VALUE: &str = "a.example";
const REVOKE: (&str, &str) = ("MSR_INDICATOR__WITHDRAW", "revoke");

fn attribute_uuid(number: usize) -> String {
    format!("{number:08x}-0000-4000-9000-000000000002")
}

/// The event with these attributes: number and domain.
fn publication(timestamp: i64, attributes: &BTreeMap<usize, &str>) -> Vec<u8> {
    let attributes: Vec<String> = attributes
        .iter()
        .map(|(number, value)| {
            let uuid = attribute_uuid(*number);
            format!(
                r#"{{"id":"{number}","event_id":"7","uuid":"{uuid}","type":"domain","category":"Network activity","value":"{value}","to_ids":true,"deleted":false,"timestamp":"{timestamp}"}}"#
            )
        })
        .collect();
    format!(
        r#"misp_json {{"Event":{{"id":"7","uuid":"{EVENT}","info":"x","distribution":"3","timestamp":"{timestamp}","Attribute":[{}],"Object":[]}}}}"#,
        attributes.join(",")
    )
    .into_bytes()
}

fn one(timestamp: i64) -> Vec<u8> {
    publication(timestamp, &BTreeMap::from([(1, VALUE)]))
}

fn none(timestamp: i64) -> Vec<u8> {
    publication(timestamp, &BTreeMap::new())
}

/// Some days ago, so that nothing has expired.
fn then() -> i64 {
    Ledger::now() / 1_000 - 100_000
}

/// As docs/explanation/identity-and-generations.md says it.
fn id(generation: usize) -> String {
    let name = match generation {
        0 => format!("domain-name:value = {VALUE}"),
        n => format!("generation {n} of domain-name:value = {VALUE}"),
    };
    let namespace: Uuid = NAMESPACE.parse().unwrap();
    format!("indicator--{}", Uuid::new_v5(&namespace, name.as_bytes()))
}

/// A scene whose relay was started once before with an empty ledger, under `expire`.
async fn scene(settings: &[(&str, &str)]) -> Scene {
    let mut scene = Scene::set(settings).await;
    assert_eq!(scene.relay.stop().0, Some(0));
    scene.relay.set(REVOKE.0, REVOKE.1);
    scene.relay.restart(&scene.publisher).await;
    scene
}

/// Each id with whether each of its versions was revoked, in the order of arrival.
fn told(received: &[Value]) -> Vec<(String, bool)> {
    let of = |one: &Value| (one["id"].as_str().unwrap().to_owned(), one["revoked"] == true);
    received.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observable_that_returns_gets_another_id_each_time_also_across_kills() {
    let mut scene = scene(&[]).await;
    let t = then();
    let mut expected = Vec::new();
    for round in 0..4 {
        let generation = round / 2;
        let withdrawn = round % 2 == 1;
        let at = t + i64::try_from(round).unwrap();
        let frame = if withdrawn { none(at) } else { one(at) };
        // The kill comes before anything of it has left.
        scene.sandbox.always(Some(Fault::ServerError));
        scene.publisher.send(&frame).await;
        scene.commit().await;
        scene.relay.kill();
        scene.sandbox.always(None);
        scene.relay.restart(&scene.publisher).await;
        scene.settle().await;
        expected.push((id(generation), withdrawn));
        let mut told = told(&scene.received());
        // 500: the outcome is unknown, so the same bytes went more than once.
        told.dedup();
        assert_eq!(told, expected);
    }
    let received = scene.received();
    for pair in received.chunk_by(|a, b| a["id"] == b["id"]) {
        let (mut live, mut revoked) = (pair[0].clone(), pair.last().unwrap().clone());
        assert_eq!(revoked.as_object_mut().unwrap().remove("revoked"), Some(Value::Bool(true)));
        assert!(revoked["modified"].as_str() > live["modified"].as_str());
        assert!(
            revoked["valid_until"].as_str() < live["valid_until"].as_str(),
            "a rule asks only that"
        );
        for object in [&mut live, &mut revoked] {
            for member in ["modified", "valid_until"] {
                object.as_object_mut().unwrap().remove(member);
            }
        }
        assert_eq!(live, revoked, "all else as delivered");
    }
    let checked = scene.relay.command(&["ledger", "check"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_ledger_does_not_start_unless_told_so() {
    let mut scene = Scene::set(&[]).await;
    assert_eq!(scene.relay.stop().0, Some(0));
    for name in ["SUBSCRIPTION_ID", "RESOURCE_GROUP", "WORKSPACE_NAME"] {
        scene.relay.unset(&format!("MSR_TARGET__SANDBOX__{name}"));
    }
    scene.relay.set(REVOKE.0, REVOKE.1);
    let folder = tempfile::tempdir().unwrap();
    scene.relay.set("MSR_LEDGER__DATA_DIR", folder.path().to_str().unwrap());
    for _ in 0..2 {
        let refused = scene.relay.command(&["run"]);
        let words = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{words}");
        assert!(words.contains("--accept-duplicates") && words.contains("\"hint\":"), "{words}");
    }
    scene.relay.options(&["--accept-duplicates"]);
    scene.relay.restart(&scene.publisher).await;
    scene.publisher.send(&one(then())).await;
    scene.settle().await;
    assert_eq!(told(&scene.received()), [(id(0), false)]);
    assert_eq!(scene.relay.stop().0, Some(0));
    // From now on it knows.
    scene.relay.options(&[]);
    scene.relay.restart(&scene.publisher).await;
    scene.publisher.send(&none(then() + 1)).await;
    scene.settle().await;
    assert_eq!(told(&scene.received()), [(id(0), false), (id(0), true)]);
}

/// With the workspace's names nobody has to accept duplicates.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_ledger_reads_back_which_ids_are_used_up() {
    let mut scene = scene(&[("MSR_AZURE__MANAGEMENT__RETRIES", "0")]).await;
    let t = then();
    // Of `b` the id is in use, of VALUE two are used up.
    let b = BTreeMap::from([(2, "b.example")]);
    let both = BTreeMap::from([(1, VALUE), (2, "b.example")]);
    for (at, attributes) in [&both, &b, &both, &b].into_iter().enumerate() {
        scene.publisher.send(&publication(t + i64::try_from(at).unwrap(), attributes)).await;
        scene.settle().await;
    }
    assert_eq!(scene.relay.stop().0, Some(0));
    let folder = tempfile::tempdir().unwrap();
    scene.relay.set("MSR_LEDGER__DATA_DIR", folder.path().to_str().unwrap());

    scene.sandbox.script_management([Fault::ServerError]);
    let refused = scene.relay.command(&["run"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{words}");
    assert!(words.contains("read back which ids") && words.contains("HTTP 500"), "{words}");

    // The first revocation is lost to Sentinel; the second one tells.
    let place = scene.sandbox.settings().workspaces[0];
    assert!(scene.sandbox.remove(place, SOURCE, &id(0)));
    let sent = scene.received().len();
    scene.relay.restart(&scene.publisher).await;
    scene.publisher.send(&publication(t + 9, &both)).await;
    scene.settle().await;
    let dead = [id(0), id(1)];
    let now: Vec<(String, bool)> = told(&scene.received()[sent..]);
    assert!(now.iter().all(|(id, _)| !dead.contains(id)), "{now:?}");
    assert!(now.contains(&(id(2), false)), "{now:?}");
    let live = scene.live();
    assert_eq!(live.len(), 2, "{live:?}");
    let checked = scene.relay.command(&["ledger", "check"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    // A later generation that lives says as much of those before it.
    assert_eq!(scene.relay.stop().0, Some(0));
    assert!(scene.sandbox.remove(place, SOURCE, &id(1)));
    let folder = tempfile::tempdir().unwrap();
    scene.relay.set("MSR_LEDGER__DATA_DIR", folder.path().to_str().unwrap());
    let sent = scene.received().len();
    scene.relay.restart(&scene.publisher).await;
    scene.publisher.send(&publication(t + 10, &both)).await;
    scene.settle().await;
    let now: Vec<(String, bool)> = told(&scene.received()[sent..]);
    assert!(now.contains(&(id(2), false)), "{now:?}");
    assert_eq!(scene.live().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_way_of_withdrawing_sends_nothing_anew() {
    let mut relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    let t = then();
    let both = BTreeMap::from([(1, VALUE), (2, "b.example")]);
    relay.hear(&publication(t, &both)).await;
    relay.hear(&publication(t + 1, &BTreeMap::from([(2, "b.example")]))).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(sentinel.writes, 1, "what was never sent needs no withdrawal");
    relay.hear(&publication(t + 2, &both)).await;
    sentinel.accept_all(&relay).await;
    relay.hear(&publication(t + 3, &BTreeMap::from([(2, "b.example")]))).await;
    sentinel.accept_all(&relay).await;
    let writes = sentinel.writes;
    for settings in [&[REVOKE][..], &[], &[REVOKE]] {
        relay.reconfigure(settings).await;
        sentinel.accept_all(&relay).await;
        assert_eq!(sentinel.writes, writes);
    }
    // What expired comes back under its id, what was revoked does not, whatever is set now.
    relay.hear(&publication(t + 4, &both)).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(sentinel.of(VALUE)["id"], id(0));
    relay.hear(&publication(t + 5, &BTreeMap::new())).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(sentinel.of(VALUE)["revoked"], true);
    relay.reconfigure(&[]).await;
    relay.hear(&publication(t + 6, &both)).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().contains_key(VALUE));
    let live: Vec<_> = sentinel.all().filter(|one| is_live(one)).map(|one| &one["id"]).collect();
    assert!(live.contains(&&Value::String(id(1))), "{live:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_down_gets_its_revocation_and_the_same_ids_as_the_others() {
    let mut relay = Relay::start_with(&[REVOKE]).await;
    relay.retarget(&[TARGET, "other"]).await;
    let (mut first, mut other) = (Sentinel::default(), Sentinel::default());
    let t = then();
    // Both hold the first; the second one is down until the third has come.
    relay.hear(&one(t)).await;
    first.accept_all(&relay).await;
    other.accept_all_of(&relay, "other").await;
    for (at, frame) in [none(t + 1), one(t + 2), none(t + 3), one(t + 4)].iter().enumerate() {
        relay.hear(frame).await;
        first.accept_all(&relay).await;
        assert_eq!(first.live().contains_key(VALUE), at % 2 == 1);
    }
    other.accept_all_of(&relay, "other").await;
    let held = |sentinel: &Sentinel| {
        let held = sentinel.all().map(|one| (one["id"].as_str().unwrap().to_owned(), is_live(one)));
        held.collect::<BTreeMap<_, _>>()
    };
    let all = BTreeMap::from([(id(0), false), (id(1), false), (id(2), true)]);
    assert_eq!(held(&first), all);
    // It was never sent the second, so it needs no revocation of it.
    assert_eq!(held(&other), BTreeMap::from([(id(0), false), (id(2), true)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_never_left_costs_no_id() {
    let relay = Relay::start_with(&[REVOKE]).await;
    let mut sentinel = Sentinel::default();
    let t = then();
    relay.hear(&one(t)).await;
    sentinel.accept_all(&relay).await;
    for at in [1, 3] {
        relay.hear(&none(t + at)).await;
        if at == 3 {
            // Sent, and surely not processed.
            let now = Ledger::now();
            let pending = relay.ledger.pending(VIEW, TARGET, 0, None, now, 9).await.unwrap();
            let sent = relay
                .ledger
                .mark_sending(TARGET, &pending, Moment::by_our_clock(now))
                .await
                .unwrap();
            assert!(sent[0].json.contains("\"revoked\":true"));
            let returned = [Settlement::Returned(&sent)];
            relay.ledger.settle(TARGET, &returned, now, now).await.unwrap();
        }
        relay.hear(&one(t + at + 1)).await;
        sentinel.accept_all(&relay).await;
        assert_eq!(sentinel.all().map(|one| one["id"].clone()).collect::<Vec<_>>(), [id(0)]);
    }
    assert!(sentinel.live().contains_key(VALUE));
}

/// Sentinel with answers that get lost, and what MISP says meanwhile.
struct World {
    relay: Relay,
    held: BTreeMap<String, Value>,
    /// Attributes and their values as last published.
    published: BTreeMap<usize, &'static str>,
    timestamp: i64,
    state: u64,
}

const VALUES: [&str; 3] = ["a.example", "b.example", "c.example"];
const ATTRIBUTES: usize = 3;

impl World {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) % bound
    }

    async fn publish(&mut self) {
        self.timestamp += 1;
        self.published.clear();
        for number in 1..=ATTRIBUTES {
            let choice = usize::try_from(self.below(5)).unwrap();
            if let Some(value) = VALUES.get(choice) {
                self.published.insert(number, value);
            }
        }
        self.relay.hear(&publication(self.timestamp, &self.published)).await;
    }

    /// What waits; under ids of attributes withdrawals go first, as the sender has it.
    async fn pending(&self) -> Vec<Pending> {
        let all =
            self.relay.ledger.pending(VIEW, TARGET, 0, None, Ledger::now(), 1_000).await.unwrap();
        let withdrawals: Vec<Pending> =
            all.iter().filter(|one| one.version == 0).cloned().collect();
        if withdrawals.is_empty() { all } else { withdrawals }
    }

    fn process(&mut self, sent: &[Sending]) {
        for one in sent {
            let object: Value = serde_json::from_str(&one.json).unwrap();
            let id = object["id"].as_str().unwrap().to_owned();
            let before = self.held.insert(id, object.clone());
            let was_revoked = before.is_some_and(|before| before["revoked"] == true);
            assert!(!was_revoked || object["revoked"] == true, "back from revocation: {object:#}");
        }
    }

    async fn deliver(&mut self, outcome: u64) -> bool {
        let pending = self.pending().await;
        let now = Ledger::now();
        let sent = self
            .relay
            .ledger
            .mark_sending(TARGET, &pending, Moment::by_our_clock(now))
            .await
            .unwrap();
        let objects: Vec<Uuid> = sent.iter().map(|one| one.object).collect();
        let settlement = match outcome {
            // The answer is lost, or the request was.
            0 => {
                self.process(&sent);
                return true;
            }
            1 => return true,
            2 => Settlement::Returned(&sent),
            _ => {
                self.process(&sent);
                Settlement::Accepted(&objects)
            }
        };
        self.relay.ledger.settle(TARGET, &[settlement], now, now).await.unwrap();
        !sent.is_empty()
    }

    async fn check(&self) {
        let (findings, mut told) = mpsc::channel(100);
        self.relay.ledger.check(&self.relay.views, Ledger::now(), findings).await.unwrap();
        while let Some(finding) = told.recv().await {
            assert!(finding.holds() && finding.left_out.is_none(), "{finding:#?}");
        }
    }

    /// The live values, each under one id; under ids of attributes, one for each claim.
    fn live(&self) -> Vec<String> {
        let live = self.held.values().filter(|object| is_live(object));
        let value = |object: &Value| {
            object["pattern"].as_str().unwrap().split('\'').nth(1).unwrap().to_owned()
        };
        let mut values: Vec<String> = live.map(value).collect();
        values.sort_unstable();
        values
    }
}

async fn walk(seed: u64, identity: &str) {
    let settings = [("MSR_INDICATOR__IDENTITY", identity), REVOKE];
    let relay = Relay::start_with(&settings).await;
    let mut world = World {
        relay,
        held: BTreeMap::new(),
        published: BTreeMap::new(),
        timestamp: then(),
        state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
    };
    world.relay.reconfigure(&settings).await;
    for _ in 0..40 {
        match world.below(10) {
            0..4 => world.publish().await,
            4..8 => {
                let outcome = world.below(6);
                world.deliver(outcome).await;
            }
            8 => world.relay.crash().await,
            _ => {
                let revoke = world.below(3) > 0;
                let settings = if revoke { &settings[..] } else { &settings[..1] };
                world.relay.reconfigure(settings).await;
            }
        }
        world.check().await;
    }
    while world.deliver(5).await {}
    let expected: Vec<String> = world.published.values().map(|value| (*value).into()).collect();
    let mut expected: Vec<String> = match identity {
        "observable" => expected.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
        _ => expected,
    };
    expected.sort_unstable();
    assert_eq!(world.live(), expected, "seed {seed}, {identity}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_of_events_brings_a_revoked_id_back() {
    let seeds = std::env::var("REVOKE_SEEDS").map_or(10, |seeds| seeds.parse().unwrap());
    for seed in 1..=seeds {
        for identity in ["observable", "attribute"] {
            walk(seed, identity).await;
        }
    }
}
