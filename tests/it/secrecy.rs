//! Tests that no value above `admin.show_tlp` comes onto the page in Sentinel's own words, and none above TLP:GREEN into
//! the log by them or by a command.

use std::time::{Duration, Instant};

use misp_sentinel_relay::http::LOCAL;
use misp_sentinel_relay::sandbox::Fault;
use serde_json::Value;

use super::support::event::{tagged_publication, then};
use super::support::scene::Scene;

/// How long the relay may take to call the target degraded.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an attacker calls a host whose name must not be shown.
const SECRET: &str = "secret-victim.evil.example";

/// The pages and the log of a relay whose target refuses everything and quotes the value, once they call it degraded.
async fn pages(show_tlp: &str, tag: &str) -> ([String; 2], String) {
    let settings = [("MSR_ADMIN__SHOW_TLP", show_tlp), ("MSR_POLICY__TLP_MAX", "red")];
    let scene = Scene::set(&settings).await;
    let message = format!("Error for Property=pattern: {SECRET} is not allowed here");
    let body = serde_json::json!({"error": {"code": "BadRequest", "message": message}});
    scene.sandbox.always(Some(Fault::Answer { status: 400, body: body.to_string() }));
    let names: Vec<String> = (0..4).map(|number| format!("{number}.{SECRET}")).collect();
    let attributes = names.iter().enumerate();
    let attributes: Vec<_> =
        attributes.map(|(number, name)| (number + 1, name.as_str(), &[][..])).collect();
    scene.publisher.send(&tagged_publication(then(), &[tag], &attributes)).await;
    let address = scene.relay.page_address(1).await;
    let client = LOCAL.client_with(|builder| builder).unwrap();
    let page = async |path: &str| {
        let answer = client.get(format!("{address}{path}")).send().await.unwrap();
        answer.text().await.unwrap()
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let overview = page("/").await;
        if overview.contains("the way to Sentinel") {
            return ([overview, page("/search").await], scene.relay.log());
        }
        assert!(Instant::now() < deadline, "never degraded:\n{overview}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_a_refusal_do_not_name_a_value_that_is_too_secret() {
    for show_tlp in ["green", "amber+strict"] {
        let ([overview, search], log) = pages(show_tlp, "tlp:red").await;
        assert!(!overview.contains(SECRET) && !search.contains(SECRET), "{overview}");
        // What is wrong and what helps are there: in the verdict and in the row of the target.
        let told =
            "every request is refused, whatever it holds: HTTP 400 (its words may hold values";
        assert_eq!(overview.matches(told).count(), 2, "{overview}");
        assert!(!log.contains(SECRET) && log.contains(told), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_see_everything_reads_sentinels_words() {
    let ([overview, _], log) = pages("red", "tlp:green").await;
    assert!(overview.contains(&format!("{SECRET} is not allowed here")), "{overview}");
    assert!(log.contains(&format!("{SECRET} is not allowed here")), "{log}");
}

/// The lines of the log with this name that say one thing.
fn lines(log: &str, event: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["event"] == event).collect()
}

/// One value of an event is refused, with words that quote it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_object_is_logged_with_words_only_where_its_value_may_be_named() {
    for (tag, is_told) in [("tlp:green", true), ("tlp:amber", false)] {
        let scene = Scene::set(&[]).await;
        scene.sandbox.reject_where(|object| {
            let pattern = object["pattern"].as_str()?;
            pattern.contains(SECRET).then(|| format!("the pattern {pattern} is not valid"))
        });
        let attributes = [(1, SECRET, &[][..]), (2, "open.example", &[])];
        scene.publisher.send(&tagged_publication(then(), &[tag], &attributes)).await;
        scene.logged("object_rejected").await;
        let log = scene.relay.log();
        let rejected = lines(&log, "object_rejected");
        assert!(rejected.iter().all(|line| line["object"].is_string()), "{log}");
        assert_eq!(rejected.iter().any(|line| line["words"].is_string()), is_told, "{log}");
        assert_eq!(log.contains(SECRET), is_told, "{log}");
        // Whoever may ask the relay gets the words.
        let told = scene.relay.command(&["status"]);
        assert!(String::from_utf8_lossy(&told.stdout).contains(SECRET), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suppressed_value_is_logged_only_where_it_may_be_named() {
    for (tag, is_told) in [("tlp:green", true), ("tlp:amber+strict", false)] {
        let scene = Scene::set(&[]).await;
        let frame = tagged_publication(then(), &[tag], &[(1, SECRET, &[])]);
        scene.publisher.send(&frame).await;
        scene.settle().await;
        for command in [&["suppress", SECRET, "--reason", "a mistake"][..], &["unsuppress", SECRET]]
        {
            let told = scene.relay.command(command);
            assert!(told.status.success(), "{told:?}");
            assert!(String::from_utf8_lossy(&told.stdout).contains(SECRET), "{told:?}");
        }
        let log = scene.relay.log();
        let asked = lines(&log, "operator_suppress");
        assert_eq!(asked.len(), 2, "{log}");
        assert!(asked.iter().all(|line| line["claims"] == 1), "{log}");
        assert_eq!(log.contains(SECRET), is_told, "{log}");
    }
}

/// What nothing claims has no level that is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_nothing_claims_is_not_logged() {
    let scene = Scene::set(&[]).await;
    assert!(scene.relay.command(&["suppress", SECRET, "--for", "30d"]).status.success());
    scene.logged("operator_suppress").await;
    assert!(!scene.relay.log().contains(SECRET), "{}", scene.relay.log());
}
