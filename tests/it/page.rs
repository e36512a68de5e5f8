//! Tests the page for people over HTTP: who may look, what is shown, and that text of strangers stays text.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use misp_sentinel_relay::config::{Admin, Secret};
use misp_sentinel_relay::http::LOCAL;
use misp_sentinel_relay::pure::policy::Tlp;
use reqwest::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, LOCATION, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use reqwest::{Client, RequestBuilder, Response, StatusCode};

use super::admin::{Served, serve_http_as};
use super::support::event::{
    EVENT, attribute_uuid, of_another_event, tagged, tagged_publication, then, to_ids_off,
};
use super::support::ledger::Relay;
use super::support::relay::ageless;

const TOKEN: &str = "sixteen letters!";

/// A relay whose admin listener is served, and a client that follows no redirection.
struct Setup {
    relay: Relay,
    address: SocketAddr,
    client: Client,
    _served: Served,
}

impl Setup {
    async fn with(change: impl FnOnce(&mut Admin)) -> Self {
        let relay = Relay::start_with(&ageless()).await;
        let mut settings = relay.config.admin.clone();
        change(&mut settings);
        let (address, served) = serve_http_as(&relay, &settings);
        let follow = reqwest::redirect::Policy::none();
        let client = LOCAL.client_with(|builder| builder.redirect(follow)).unwrap();
        Self { relay, address, client, _served: served }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("http://{}{path}", self.address))
    }

    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    async fn search(&self, what: &str) -> String {
        let mut url = reqwest::Url::parse(&format!("http://{}/search", self.address)).unwrap();
        url.query_pairs_mut().append_pair("q", what);
        let answer = self.client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{what}");
        answer.text().await.unwrap()
    }

    /// Publishes an event with this title.
    async fn publish(&self, title: &str, tags: &[&str], attribute: (usize, &str, &[&str])) {
        let frame = String::from_utf8(tagged_publication(then(), tags, &[attribute])).unwrap();
        let title = serde_json::to_string(title).unwrap();
        let frame = frame.replace(r#""info":"x""#, &format!(r#""info":{title}"#));
        self.relay.hear(frame.as_bytes()).await;
    }
}

fn header(answer: &Response, name: impl reqwest::header::AsHeaderName) -> String {
    let value = answer.headers().get(name).map(|value| value.to_str().unwrap());
    value.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn every_answer_tells_browsers_to_take_nothing_from_elsewhere_and_to_keep_nothing() {
    let setup = Setup::with(|_| {}).await;
    for path in ["/", "/?paused", "/search", "/search?q=x", "/status", "/nothing", "/style.css"] {
        let answer = setup.get(path).send().await.unwrap();
        let policy = header(&answer, CONTENT_SECURITY_POLICY);
        for directive in [
            "default-src 'none'",
            "style-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.split("; ").any(|one| one == directive), "{path}: {policy}");
        }
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(header(&answer, X_CONTENT_TYPE_OPTIONS), "nosniff", "{path}");
        assert_eq!(header(&answer, REFERRER_POLICY), "no-referrer", "{path}");
        let kept = if path == "/style.css" { "max-age=3600" } else { "no-store" };
        assert_eq!(header(&answer, CACHE_CONTROL), kept, "{path}");
    }
}

/// A web site whose name points to 127.0.0.1 sends its own name.
#[tokio::test]
async fn a_foreign_name_is_refused_where_people_look() {
    let setup = Setup::with(|admin| admin.hosts = vec!["relay.example.org".to_owned()]).await;
    let ask = async |path: &str, host: &str| {
        setup.get(path).header(HOST, host).send().await.unwrap().status()
    };
    for path in ["/", "/search?q=x", "/status"] {
        assert_eq!(ask(path, "evil.example").await, StatusCode::MISDIRECTED_REQUEST, "{path}");
        for ours in ["localhost:9477", "127.0.0.1", "[::1]:9477", "relay.example.org"] {
            assert_eq!(ask(path, ours).await, 200, "{path} {ours}");
        }
    }
    // Prometheus and probes come by the name of a service.
    for path in ["/metrics", "/livez", "/readyz"] {
        assert_eq!(ask(path, "misp-sentinel-relay").await, 200, "{path}");
    }
    let signing_in = setup.client.post(format!("http://{}/sign-in", setup.address));
    let refused = signing_in.header(HOST, "evil.example").body("token=x").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::MISDIRECTED_REQUEST);
}

/// Another site cannot read the answers, but each search would have MISP asked.
#[tokio::test]
async fn another_site_cannot_ask_through_somebodys_browser() {
    let setup = Setup::with(|_| {}).await;
    for (site, dest, status) in [
        ("cross-site", "image", 403),
        ("cross-site", "empty", 403),
        ("cross-site", "iframe", 403),
        ("cross-site", "document", 200),
        ("same-origin", "document", 200),
        ("none", "document", 200),
    ] {
        for path in ["/", "/search?q=x", "/status"] {
            let asked = setup.get(path).header("sec-fetch-site", site);
            let answer = asked.header("sec-fetch-dest", dest).send().await.unwrap();
            assert_eq!(answer.status(), status, "{path} {site} {dest}");
        }
    }
}

#[tokio::test]
async fn with_a_token_nobody_looks_without_it_but_probes() {
    let setup = Setup::with(|admin| admin.token = Secret::new(TOKEN)).await;
    for path in ["/", "/search", "/search?q=x", "/status", "/metrics"] {
        let answer = setup.get(path).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        assert_eq!(header(&answer, "www-authenticate"), "Bearer");
        let wrong = setup.get(path).bearer_auth("sixteen letters?").send().await.unwrap();
        assert_eq!(wrong.status(), 401, "{path}");
        let right = setup.get(path).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(right.status(), 200, "{path}");
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(setup.get(path).send().await.unwrap().status(), 200, "{path}");
    }
}

#[tokio::test]
async fn people_sign_in_with_the_token_once() {
    let setup = Setup::with(|admin| admin.token = Secret::new(TOKEN)).await;
    let form = setup.get("/").header(ACCEPT, "text/html").send().await.unwrap();
    assert_eq!(form.status(), 401);
    let form = form.text().await.unwrap();
    assert!(form.contains(r#"<form action="sign-in" method="post">"#), "{form}");

    let sign_in = async |token: &str| {
        let address = format!("http://{}/sign-in", setup.address);
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let body = format!("token={token}");
        setup.client.post(address).header(kind.0, kind.1).body(body).send().await.unwrap()
    };
    let wrong = sign_in("sixteen+letters").await;
    assert_eq!(
        (wrong.status(), header(&wrong, SET_COOKIE)),
        (StatusCode::UNAUTHORIZED, String::new())
    );
    let right = sign_in("sixteen+letters%21").await;
    assert_eq!(
        (right.status(), header(&right, LOCATION)),
        (StatusCode::SEE_OTHER, "./".to_owned())
    );
    let cookie = header(&right, SET_COOKIE);
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert!(!cookie.contains("letters"), "the token itself: {cookie}");
    for path in ["/", "/search", "/status"] {
        let seen = setup.get(path).header(COOKIE, cookie).send().await.unwrap();
        assert_eq!(seen.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn text_of_strangers_stays_text() {
    let setup = Setup::with(|_| {}).await;
    let title = "<script>alert(1)</script><img src=x onerror=alert(2)> \u{202e}gnp.exe\u{0}\r\nSet-Cookie: a=b";
    setup.publish(title, &["tlp:clear"], (1, "evil.example", &[])).await;
    for page in [setup.page("/").await, setup.search("evil.example").await] {
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
        assert!(!page.contains('\u{202e}') && !page.contains('\0'), "{page}");
        assert!(page.contains(r"\u{202e}gnp.exe"), "{page}");
    }
    let asked = r#""><script>alert(1)</script>"#;
    let page = setup.search(asked).await;
    assert!(page.contains("&quot;&gt;&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script"), "{page}");
    let long = setup.get(&format!("/search?q={}", "a".repeat(2_000))).send().await.unwrap();
    assert_eq!(long.status(), 400);
}

#[tokio::test]
async fn a_search_tells_the_story_of_values_events_and_attributes() {
    let setup = Setup::with(|_| {}).await;
    setup.publish("A campaign", &["tlp:green"], (1, "evil.example", &[])).await;
    for what in ["evil.example", "EVIL[.]example", EVENT, &attribute_uuid(1)] {
        let page = setup.search(what).await;
        for told in [
            "Not in Sentinel yet: it waits for soc",
            "A campaign",
            "evil.example",
            &attribute_uuid(1),
            "admits it",
            "pending",
        ] {
            assert!(page.contains(told), "{what}: {told}\n{page}");
        }
    }
    let unknown = setup.search("nobody.example").await;
    assert!(unknown.contains("nothing is known of"), "{unknown}");
    assert!(unknown.contains("soc: 403") || unknown.contains("degraded"), "{unknown}");
}

#[tokio::test]
async fn a_withdrawal_stands_out_in_the_timeline() {
    let setup = Setup::with(|_| {}).await;
    setup.publish("A campaign", &["tlp:green"], (1, "evil.example", &[])).await;
    assert!(!setup.page("/").await.contains("− withdrawal"));
    setup.relay.hear(&to_ids_off(1, "evil.example", then() + 60)).await;
    let page = setup.page("/").await;
    assert_eq!(page.matches("− withdrawal").count(), 1, "{page}");
    assert!(page.contains("“A campaign”"), "{page}");
}

/// What is above `admin.show_tlp` is shown neither by its title nor by its value.
#[tokio::test]
async fn what_is_marked_too_strictly_is_not_named() {
    let hidden = |page: &str| !page.contains("Secret title") && !page.contains("evil.example");
    for (event_tags, attribute_tags) in [
        (&["tlp:amber"][..], &[][..]),
        (&[], &["tlp:amber+strict"]),
        (&["tlp:clear"], &["TLP:RED"]),
        // A level that nobody knows.
        (&["tlp:ultraviolet"], &[]),
    ] {
        let setup = Setup::with(|_| {}).await;
        setup.publish("Secret title", event_tags, (1, "evil.example", attribute_tags)).await;
        let overview = setup.page("/").await;
        assert!(hidden(&overview), "{event_tags:?} {attribute_tags:?}\n{overview}");
        assert!(overview.contains(EVENT) && overview.contains("title hidden (TLP"), "{overview}");
        for what in [EVENT, &attribute_uuid(1)] {
            let found = setup.search(what).await;
            assert!(hidden(&found), "{event_tags:?} {attribute_tags:?}\n{found}");
            assert!(found.contains("is not shown"), "{found}");
        }
    }
}

#[tokio::test]
async fn the_operator_decides_up_to_which_level_things_are_named() {
    let setup = Setup::with(|admin| admin.show_tlp = Tlp::Amber).await;
    setup.publish("Amber title", &["tlp:amber"], (1, "evil.example", &[])).await;
    assert!(setup.page("/").await.contains("Amber title"));
    assert!(setup.search(EVENT).await.contains("Amber title"));
    // A tag that was put on since counts.
    setup.relay.hear(&tagged(1, "tlp:red", true)).await;
    assert!(!setup.page("/").await.contains("Amber title"));
    assert!(!setup.search(EVENT).await.contains("Amber title"));
}

/// The titles of other events that claim the same are of levels that are not known there.
#[tokio::test]
async fn the_story_of_one_event_does_not_name_another() {
    let setup = Setup::with(|_| {}).await;
    setup.publish("Open title", &["tlp:clear"], (1, "evil.example", &[])).await;
    let red = tagged_publication(then(), &["tlp:red"], &[(1, "evil.example", &[][..])]);
    let red = String::from_utf8(of_another_event(&red)).unwrap();
    setup.relay.hear(red.replace(r#""info":"x""#, r#""info":"Red title""#).as_bytes()).await;
    let found = setup.search("evil.example").await;
    assert!(found.contains("Open title"), "{found}");
    assert!(!found.contains("Red title"), "{found}");
}

#[tokio::test]
async fn the_overview_tells_what_is_degraded_and_the_command_that_helps() {
    let setup = Setup::with(|_| {}).await;
    let page = setup.page("/").await;
    for told in [
        "soc: 403: it lacks a role",
        "not connected: refused: is Plugin.ZeroMQ_enable on?",
        "<code>misp-sentinel-relay check</code>",
        "The relay was started then, and remembers no figures from before.",
        "Withdrawn since 00:00 UTC, and not back since: <strong>0 indicators",
        "In Sentinel / wanted",
        "Nothing waits",
        "Search for a value, an event or an attribute",
        r#"<meta http-equiv="refresh" content="5">"#,
        r#"<html lang="en">"#,
        r#"<th scope="col""#,
        "<caption>",
    ] {
        assert!(page.contains(told), "{told}\n{page}");
    }
    assert!(!setup.page("/?paused").await.contains("http-equiv"));
}

/// Many lookers cost no more than one.
#[tokio::test]
async fn a_status_is_shared_for_a_second() {
    // On a busy machine the second may be over before both have been asked for: then it is tried again, with a relay
    // that nobody has asked yet.
    for _ in 0..60 {
        let setup = Setup::with(|_| {}).await;
        let began = Instant::now();
        let first = setup.page("/status").await;
        setup.publish("x", &[], (1, "evil.example", &[])).await;
        let second = setup.page("/status").await;
        if began.elapsed() < Duration::from_millis(900) {
            assert_eq!(first, second, "the ledger was counted anew");
            let deadline = Instant::now() + Duration::from_secs(30);
            while setup.page("/status").await == first {
                assert!(Instant::now() < deadline, "an old status for ever");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            return;
        }
    }
    panic!("no two answers within a second");
}
