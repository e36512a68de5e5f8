//! Tests that no value above `admin.show_tlp` comes onto the page in Sentinel's own words.

use std::time::{Duration, Instant};

use misp_sentinel_relay::http::LOCAL;
use misp_sentinel_relay::sandbox::Fault;

use super::support::event::{tagged_publication, then};
use super::support::scene::Scene;

/// How long the relay may take to call the target degraded.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an attacker calls a host whose name must not be shown.
const SECRET: &str = "secret-victim.evil.example";

/// The pages of a relay whose target refuses everything and quotes the value, once they call it degraded.
async fn pages(show_tlp: &str) -> [String; 2] {
    let settings = [("MSR_ADMIN__SHOW_TLP", show_tlp), ("MSR_POLICY__TLP_MAX", "red")];
    let scene = Scene::set(&settings).await;
    let message = format!("Error for Property=pattern: {SECRET} is not allowed here");
    let body = serde_json::json!({"error": {"code": "BadRequest", "message": message}});
    scene.sandbox.always(Some(Fault::Answer { status: 400, body: body.to_string() }));
    let names: Vec<String> = (0..4).map(|number| format!("{number}.{SECRET}")).collect();
    let attributes = names.iter().enumerate();
    let attributes: Vec<_> =
        attributes.map(|(number, name)| (number + 1, name.as_str(), &[][..])).collect();
    scene.publisher.send(&tagged_publication(then(), &["tlp:red"], &attributes)).await;
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
            return [overview, page("/search").await];
        }
        assert!(Instant::now() < deadline, "never degraded:\n{overview}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_a_refusal_do_not_name_a_value_that_is_too_secret() {
    for show_tlp in ["green", "amber+strict"] {
        let [overview, search] = pages(show_tlp).await;
        assert!(!overview.contains(SECRET) && !search.contains(SECRET), "{overview}");
        // What is wrong and what helps are there: in the verdict and in the row of the target.
        let told =
            "every request is refused, whatever it holds: HTTP 400 (its words may hold values";
        assert_eq!(overview.matches(told).count(), 2, "{overview}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_see_everything_reads_sentinels_words() {
    let [overview, _] = pages("red").await;
    assert!(overview.contains(&format!("{SECRET} is not allowed here")), "{overview}");
}
