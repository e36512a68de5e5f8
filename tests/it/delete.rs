//! Tests `withdraw = "delete"`: an indicator is first withdrawn by an upload, and later deleted over the
//! management plane.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use misp_sentinel_relay::ledger::{Deletion, Ledger, Moment, Settlement};
use misp_sentinel_relay::sandbox::Fault;

use super::support::ledger::{Relay, TARGET, VIEW};
use super::support::relay::held;
use super::support::sandbox::SOURCE;
use super::support::scene::Scene;

const EVENT: &str = "00000006-0000-4000-8000-000000000002";

const DELETE: [(&str, &str); 5] = [
    ("MSR_INDICATOR__WITHDRAW", "delete"),
    ("MSR_AZURE__MANAGEMENT__DELETE_AFTER", "100ms"),
    ("MSR_AZURE__MANAGEMENT__DELETE_PAUSE", "0s"),
    ("MSR_AZURE__MANAGEMENT__BACKOFF_MIN", "10ms"),
    ("MSR_AZURE__MANAGEMENT__RETRIES", "1"),
];

/// The event with these domains.
fn publication(timestamp: i64, values: &[&str]) -> Vec<u8> {
    let attributes: Vec<String> = values
        .iter()
        .map(|value| {
            let uuid = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, value.as_bytes());
            format!(
                r#"{{"id":"1","event_id":"7","uuid":"{uuid}","type":"domain","category":"Network activity","value":"{value}","to_ids":true,"deleted":false,"timestamp":"{timestamp}"}}"#
            )
        })
        .collect();
    format!(
        r#"misp_json {{"Event":{{"id":"7","uuid":"{EVENT}","info":"x","distribution":"3","timestamp":"{timestamp}","Attribute":[{}],"Object":[]}}}}"#,
        attributes.join(",")
    )
    .into_bytes()
}

fn then() -> i64 {
    Ledger::now() / 1_000 - 100_000
}

/// The domains that the sandbox holds of ours, live or over, without those of probes.
fn values(scene: &Scene) -> BTreeSet<String> {
    let own = held(&scene.sandbox).into_iter().filter(|held| held.sourcesystem == SOURCE);
    own.map(|held| held.json["pattern"].as_str().unwrap().split('\'').nth(1).unwrap().to_owned())
        .filter(|value| !value.ends_with(".probe.example"))
        .collect()
}

async fn until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !reached() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// How often the deletion of an id was asked for.
fn deletions(scene: &Scene, id: &str) -> usize {
    let all = scene.sandbox.managed();
    all.iter().filter(|asked| asked.method == "DELETE" && asked.what.ends_with(id)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_ends_at_once_and_is_deleted_later_and_may_come_back() {
    let mut scene = Scene::set(&DELETE).await;
    scene.publisher.send(&publication(then(), &["a.example", "b.example", "c.example"])).await;
    scene.settle().await;
    scene.sandbox.script_management(vec![Fault::ServerError; 4]);
    scene.publisher.send(&publication(then() + 1, &["a.example"])).await;
    scene.settle().await;
    assert_eq!(scene.live().len(), 1, "over at once");
    until("deleted", || values(&scene) == set(&["a.example"])).await;

    scene.publisher.send(&publication(then() + 2, &["a.example", "b.example"])).await;
    scene.settle().await;
    assert_eq!(values(&scene), set(&["a.example", "b.example"]));
    assert_eq!(scene.live().len(), 2);
    // A start does not delete it.
    scene.relay.kill();
    scene.relay.restart(&scene.publisher).await;
    scene.settle().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(scene.live().len(), 2);
    let checked = scene.relay.command(&["verify", "--json"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_without_effect_is_tried_again() {
    let scene = Scene::set(&DELETE).await;
    scene.publisher.send(&publication(then(), &["a.example"])).await;
    scene.settle().await;
    let place = scene.sandbox.settings().workspaces[0];
    let kept = held(&scene.sandbox)
        .into_iter()
        .find(|held| held.json["pattern"] == "[domain-name:value = 'a.example']")
        .unwrap();
    scene.publisher.send(&publication(then() + 1, &["b.example"])).await;
    until("deleted", || !values(&scene).contains("a.example")).await;
    let mut over = kept.json.clone();
    over["valid_until"] = "2026-01-01T00:00:00Z".into();
    scene.sandbox.put(place, SOURCE, over);
    let before = deletions(&scene, &kept.id);
    until("deleted again", || !values(&scene).contains("a.example")).await;
    assert_eq!(deletions(&scene, &kept.id), before + 1);
    // Not there any more: it is left in peace.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(deletions(&scene, &kept.id), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lives_there_is_not_deleted() {
    let mut settings = DELETE.to_vec();
    settings.push(("MSR_AZURE__MANAGEMENT__DELETE_AFTER", "700ms"));
    let scene = Scene::set(&settings).await;
    let place = scene.sandbox.settings().workspaces[0];
    scene.publisher.send(&publication(then(), &["a.example", "b.example"])).await;
    scene.settle().await;
    let all = held(&scene.sandbox);
    let live =
        all.iter().find(|held| held.json["pattern"].as_str().unwrap().contains("'a.")).unwrap();
    scene.publisher.send(&publication(then() + 1, &["b.example"])).await;
    until("withdrawn", || scene.live().len() == 1).await;
    scene.sandbox.put(place, SOURCE, live.json.clone());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!((values(&scene).len(), deletions(&scene, &live.id)), (2, 0));
    let mut over = live.json.clone();
    over["valid_until"] = "2026-01-01T00:00:00Z".into();
    scene.sandbox.put(place, SOURCE, over);
    until("deleted", || values(&scene) == set(&["b.example"])).await;
}

/// An upload that is accepted while a deletion of its id is on its way may have been overtaken.
#[tokio::test]
async fn what_was_accepted_beside_a_deletion_is_sent_once_more() {
    let relay = Relay::start().await;
    relay.hear(&publication(then(), &["a.example"])).await;
    let now = Ledger::now();
    let accept = async |at: i64| {
        let pending = relay.ledger.pending(VIEW, TARGET, 0, None, at, 10).await.unwrap();
        let sent =
            relay.ledger.mark_sending(TARGET, &pending, Moment::by_our_clock(at)).await.unwrap();
        let objects: Vec<_> = sent.iter().map(|one| one.object).collect();
        let accepted = [Settlement::Accepted(&objects)];
        relay.ledger.settle(TARGET, &accepted, at, at + 500).await.unwrap();
        sent.len()
    };
    let due = async |at: i64| relay.ledger.due_deletions(TARGET, at, at, 10).await.unwrap();
    assert_eq!(accept(now).await, 1);
    assert_eq!(due(now).await, [], "it lives");
    relay.hear(&publication(then() + 1, &[])).await;
    assert_eq!(due(now + 1).await, [], "its withdrawal was not sent");
    assert_eq!(accept(now + 1).await, 1);
    assert_eq!(due(now).await, [], "not yet");
    let [one] = due(now + 1).await[..] else { panic!() };

    assert!(relay.ledger.begin_deletion(TARGET, one.object).await.unwrap());
    relay.hear(&publication(then() + 2, &["a.example"])).await;
    assert!(!relay.ledger.begin_deletion(TARGET, one.object).await.unwrap(), "it is wanted");
    assert_eq!(accept(now + 2).await, 1);
    let later = Deletion::Later { at: now + 9, tried: true };
    relay.ledger.end_deletion(TARGET, &one, later, now + 3).await.unwrap();
    assert_eq!(relay.ledger.due_again(TARGET, now + 501, 10).await.unwrap().len(), 0);
    let again = relay.ledger.due_again(TARGET, now + 502, 10).await.unwrap();
    assert_eq!(again.iter().map(|one| one.object).collect::<Vec<_>>(), [one.object]);
    assert_ne!(again[0].version, 0);

    // The same, where the deletion ends before the answer to the upload comes.
    relay.hear(&publication(then() + 3, &[])).await;
    assert_eq!(accept(now + 600).await, 1);
    let [one] = due(now + 600).await[..] else { panic!() };
    assert!(relay.ledger.begin_deletion(TARGET, one.object).await.unwrap());
    relay.hear(&publication(then() + 4, &["a.example"])).await;
    let pending = relay.ledger.pending(VIEW, TARGET, 0, None, now + 601, 10).await.unwrap();
    relay.ledger.mark_sending(TARGET, &pending, Moment::by_our_clock(now + 601)).await.unwrap();
    relay.ledger.end_deletion(TARGET, &one, later, now + 602).await.unwrap();
    let accepted = [Settlement::Accepted(&[one.object])];
    relay.ledger.settle(TARGET, &accepted, now + 603, now + 1_100).await.unwrap();
    assert_eq!(relay.ledger.due_again(TARGET, now + 1_100, 10).await.unwrap().len(), 1);
}
