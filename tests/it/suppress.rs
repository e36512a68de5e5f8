//! Tests values that are withheld although attributes claim them: suppressed values, false positives, and
//! what is too old.

use std::time::Duration;

use serde_json::Value;

use super::support::event::{
    of_another_event, publication, tagged, tagged_publication, then, to_ids_off,
};
use super::support::ledger::{Relay, TARGET};
use super::support::program::program;
use super::support::sandbox::eventually;
use super::support::scene::Scene;
use super::support::sentinel::Sentinel;

const FALSE_POSITIVE: &str = "false-positive:confirmed=\"true\"";

fn pattern(value: &str) -> String {
    format!("[domain-name:value = '{value}']")
}

fn two() -> Vec<u8> {
    publication(then(), &[(1, "a.example", &[]), (2, "b.example", &[])])
}

/// The standard output of a command that ends well.
fn told(scene: &Scene, arguments: &[&str]) -> String {
    let output = scene.relay.command(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_withheld_in_any_spelling_with_and_without_a_relay() {
    let mut scene = Scene::set(&[]).await;
    scene.publisher.send(&two()).await;
    scene.settle().await;
    assert!(scene.is_live(&pattern("a.example")) && scene.is_live(&pattern("b.example")));
    let withheld = ["suppress", "A[.]Example.", "--for", "30d", "--reason", "our own"];
    let words = told(&scene, &withheld);
    assert!(words.contains("1 claim counts for nothing, 1 indicator ends"), "{words}");
    assert!(!words.contains("No relay"), "{words}");
    eventually(&scene.sandbox, |_| !scene.is_live(&pattern("a.example"))).await;
    // Neither another publication nor another event brings it back.
    let again = publication(then() + 1, &[(1, "a.example", &[]), (2, "b.example", &[])]);
    scene.publisher.send(&of_another_event(&again)).await;
    scene.publisher.send(&again).await;
    scene.settle().await;
    assert!(!scene.is_live(&pattern("a.example")));
    let listed: Value = serde_json::from_str(&told(&scene, &["suppressed", "--json"])).unwrap();
    assert_eq!(listed[0]["value"], "A[.]Example.");
    assert_eq!((&listed[0]["reason"], &listed[0]["claims"]), (&"our own".into(), &2.into()));
    assert!(told(&scene, &["suppressed"]).contains("2 claims: our own"));
    assert!(told(&scene, &["ledger", "check"]).contains("wanted-is-what-claims-give"));

    assert_eq!(scene.relay.stop().0, Some(0));
    const NO_RELAY: &str = "No relay is running: its next start sends that.";
    let words = told(&scene, &["unsuppress", "a.example"]);
    assert!(words.contains("2 claims and 1 indicator come back"), "{words}");
    assert!(words.contains(NO_RELAY), "{words}");
    assert_eq!(told(&scene, &["suppressed"]), "Nothing is suppressed.\n");
    let words = told(&scene, &["suppress", "b.example"]);
    assert!(words.contains("1 indicator ends.") && words.contains(NO_RELAY), "{words}");
    scene.relay.restart(&scene.publisher).await;
    eventually(&scene.sandbox, |_| scene.is_live(&pattern("a.example"))).await;
    eventually(&scene.sandbox, |_| !scene.is_live(&pattern("b.example"))).await;
    told(&scene, &["unsuppress", "B.EXAMPLE"]);
    eventually(&scene.sandbox, |_| scene.is_live(&pattern("b.example"))).await;
    told(&scene, &["ledger", "check"]);
    let again = scene.relay.command(&["unsuppress", "b.example"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8(again.stderr).unwrap().contains("b.example is not suppressed"));
}

#[tokio::test]
async fn the_end_of_a_suppression_lets_the_value_count_again() {
    let relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    relay.hear(&two()).await;
    let now = misp_sentinel_relay::ledger::Ledger::now();
    let done =
        relay.ledger.suppress(&relay.views, "a.example", "", Some(now + 1_000), now).await.unwrap();
    assert_eq!(
        (done.before.len(), done.claims, done.indicators),
        (0, 1, 0),
        "nothing was sent yet"
    );
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().keys().eq(["b.example"]));
    let mut upkeep = relay.upkeep();
    while upkeep.step(&relay.ledger, &relay.views, now + 999).await.unwrap() {}
    assert_eq!(relay.ledger.suppressed().await.unwrap().len(), 1);
    while upkeep.step(&relay.ledger, &relay.views, now + 1_000).await.unwrap() {}
    assert_eq!(relay.ledger.suppressed().await.unwrap(), []);
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().keys().eq(["a.example", "b.example"]));
}

#[tokio::test]
async fn a_later_suppression_of_a_value_replaces_the_one_before() {
    let relay = Relay::start().await;
    let suppress = async |value: &str, until| {
        relay.ledger.suppress(&relay.views, value, "x", until, 7).await.unwrap()
    };
    suppress("198.51.100.7/32", Some(10)).await;
    let before = suppress("198.51.100.7", None).await.before;
    assert_eq!(before.len(), 1);
    assert_eq!((before[0].until, before[0].reason.as_str()), (Some(10), "x"));
    let all = relay.ledger.suppressed().await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].value.as_str(), all[0].until), ("198.51.100.7", None));
}

/// Longer than MISP's clock and ours may differ: a publication of now is newer.
const LONG_AGO: Duration = Duration::from_secs(300);

#[tokio::test]
async fn a_false_positive_is_of_the_value_on_an_attribute_and_of_the_event_on_an_event() {
    let relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    relay.hear(&two()).await;
    relay.hear(&of_another_event(&two())).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().keys().eq(["a.example", "b.example"]));
    relay.heard_ago(&tagged(1, FALSE_POSITIVE, true), LONG_AGO).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().keys().eq(["b.example"]), "the other event claims it too");
    let marked = tagged_publication(then() + 1, &[FALSE_POSITIVE], &[(2, "b.example", &[])]);
    relay.hear(&of_another_event(&marked)).await;
    sentinel.accept_all(&relay).await;
    assert_eq!(sentinel.live()["b.example"].len(), 1, "claimed by the event without the tag");
    relay.hear(&publication(then() + 100_000, &[(1, "a.example", &[])])).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().keys().eq(["a.example"]), "published without the tag");
}

#[tokio::test]
async fn a_false_positive_stays_one_when_its_to_ids_goes_too() {
    let relay = Relay::start().await;
    let mut sentinel = Sentinel::default();
    relay.hear(&two()).await;
    relay.hear(&of_another_event(&two())).await;
    relay.heard_ago(&tagged(1, FALSE_POSITIVE, true), LONG_AGO).await;
    relay.hear(&to_ids_off(1, "a.example", then() + 1)).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().keys().eq(["b.example"]), "the other event still claims a.example");
    // Without the mark, switching to_ids off is of the one attribute.
    relay.hear(&to_ids_off(2, "b.example", then() + 1)).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().keys().eq(["b.example"]));
    relay.hear(&publication(then() + 100_000, &[(1, "a.example", &[])])).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().keys().eq(["a.example", "b.example"]), "published without the tag");
}

#[tokio::test]
async fn what_is_too_old_ends_with_its_age() {
    let mut relay = Relay::start_with(&[("MSR_POLICY__MAX_AGE", "30d")]).await;
    let mut sentinel = Sentinel::default();
    let old = then() - 40 * 86_400;
    relay.hear(&publication(old, &[(1, "a.example", &[])])).await;
    relay.hear(&of_another_event(&publication(then(), &[(2, "b.example", &[])]))).await;
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().keys().eq(["b.example"]));
    let until = |sentinel: &Sentinel| {
        let until = sentinel.of("b.example")["valid_until"].as_str().unwrap().to_owned();
        until.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp()
    };
    assert_eq!(until(&sentinel), then_of(&sentinel) + 30 * 86_400);
    relay.reconfigure(&[]).await;
    sentinel.accept_all_of(&relay, TARGET).await;
    assert!(sentinel.live().keys().eq(["a.example", "b.example"]), "300 days by its type");
    relay.reconfigure(&[("MSR_POLICY__MAX_AGE", "1h")]).await;
    sentinel.accept_all_of(&relay, TARGET).await;
    assert!(sentinel.live().is_empty());
}

fn then_of(sentinel: &Sentinel) -> i64 {
    let from = sentinel.of("b.example")["valid_from"].as_str().unwrap();
    from.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp()
}

#[tokio::test]
async fn a_narrower_suppression_leaves_the_broader_one_as_it_is() {
    let relay = Relay::start().await;
    relay.hear(&two()).await;
    let now = misp_sentinel_relay::ledger::Ledger::now();
    relay.ledger.suppress(&relay.views, "a.example", "", None, now).await.unwrap();
    let narrow = "http://a.example";
    let done = relay.ledger.suppress(&relay.views, narrow, "", Some(now + 1), now).await.unwrap();
    assert_eq!(done.before, []);
    assert_eq!(relay.ledger.suppressed().await.unwrap().len(), 2);
    let done = relay.ledger.unsuppress(&relay.views, "http://A.example", now).await.unwrap();
    assert_eq!(done.before.len(), 1);
    let mut sentinel = Sentinel::default();
    sentinel.accept_all(&relay).await;
    assert!(sentinel.live().keys().eq(["b.example"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_feed_published_is_told_as_published() {
    let scene = Scene::set(&[]).await;
    scene.publisher.send(&two()).await;
    scene.settle().await;
    // The frame of a first publication is made before MISP stores when it was.
    let words = told(&scene, &["explain", "a.example"]);
    assert!(!words.contains("not published"), "{words}");
    assert!(words.contains("published, at a time that the feed did not tell"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suppression_tells_what_is_stored_and_what_it_replaces() {
    let mut scene = Scene::set(&[]).await;
    scene.publisher.send(&two()).await;
    scene.settle().await;
    let first = ["suppress", "A[.]Example.", "--for", "30d", "--reason", "our own"];
    let words = told(&scene, &first);
    assert!(words.starts_with("A[.]Example. (as a.example) is withheld until 2"), "{words}");
    let note = |scene: &Scene| {
        let output = scene.relay.command(&["explain", "a.example"]);
        let words = String::from_utf8(output.stderr).unwrap();
        words.lines().find(|line| line.contains("is suppressed")).unwrap().to_owned()
    };
    let with_reason = note(&scene);
    assert!(with_reason.contains(" until ") && with_reason.ends_with(": our own"), "{with_reason}");
    for is_running in [true, false] {
        let words = told(&scene, &["suppress", "a.example"]);
        assert!(words.starts_with("a.example is withheld until `unsuppress`"), "{words}");
        if is_running {
            let replaced = "This replaces an earlier suppression: A[.]Example. until 2";
            assert!(words.contains(replaced) && words.contains(": our own"), "{words}");
            assert!(note(&scene).ends_with(" UTC"), "{}", note(&scene));
            assert!(scene.relay.log().contains("An earlier suppression is replaced"));
            assert_eq!(scene.relay.stop().0, Some(0));
        } else {
            let replaced = "This replaces an earlier suppression: a.example until `unsuppress`.";
            assert!(words.contains(replaced), "{words}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suppression_tells_every_form_that_claims_have_in_their_own_case() {
    let scene = Scene::set(&[]).await;
    for (value, forms) in [
        ("hxxp://Evil[.]example/Path", " (as http://evil.example/Path)"),
        ("hxxp://Evil[.]example", " (as http://evil.example and http://evil.example/)"),
        ("http://evil.example", " (also as http://evil.example/)"),
        ("a.example", ""),
    ] {
        let words = told(&scene, &["suppress", value]);
        assert!(words.starts_with(&format!("{value}{forms} is withheld until")), "{words}");
    }
}

#[test]
fn a_time_of_less_than_a_second_is_wrong_usage() {
    for arguments in [
        ["suppress", "a.example", "--for", "0s"],
        ["suppress", "a.example", "--for", "1us"],
        ["suppress", "a.example", "--for", "999ms"],
        ["resync", "--detach", "--since", "0s"],
    ] {
        let output = program().args(arguments).output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(words.contains("at least 1s"), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_suppressed_is_not_told_as_taken_back() {
    let scene = Scene::set(&[]).await;
    let output = scene.relay.command(&["unsuppress", "a.example"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!scene.relay.log().contains("no longer suppressed"), "{}", scene.relay.log());
    assert!(scene.relay.log().contains("is not suppressed. Nothing was changed"));
}
