//! Tests the configuration of MISP: REST, webhook, search, and the links back to MISP.

use super::*;

pub(super) const KEY: &str = "'0123456789abcdefghijABCDEFGHIJ0123456789'";

#[test]
fn a_key_turns_rest_on_with_the_times_of_the_example() {
    let config = load(LEAST, &[]).unwrap();
    assert!(config.sources[0].rest.is_none());
    assert_eq!(
        (config.sources[0].on_unpublish, config.sources[0].window),
        (OnUnpublish::Keep, None)
    );
    assert_eq!(config.sources[0].resync.as_ref().unwrap().to_string(), "17 3 * * *");
    assert_eq!((config.guard.max, config.guard.percent), (25, 5));
    assert_eq!(config.guard.window, Duration::from_secs(86_400));

    let config = with(&[("misp.key", KEY)]).unwrap();
    let rest = config.sources[0].rest.as_ref().unwrap();
    assert_eq!(rest.url, "https://misp.example.org");
    assert_eq!(rest.key.expose(), KEY.trim_matches('\''));
    assert!(rest.verify_tls && rest.ca_file.is_none() && rest.proxy.is_none());
    assert_eq!(rest.request_timeout, Duration::from_secs(300));
    assert_eq!((rest.page_events, rest.page_attributes), (100, 50_000));
    assert_eq!((rest.max_event, rest.retries), (256 << 20, 3));
    let confirm = [500, 2_000, 10_000, 60_000].map(Duration::from_millis);
    assert_eq!(rest.confirm_after, confirm);
    assert_eq!(config::warnings(&config), Vec::<String>::new());
}

#[test]
fn rest_needs_an_address_and_times_that_fit() {
    let nowhere = [("misp.url", "''"), ("misp.public_url", "'https://m'")];
    let cases = [
        (nowhere.as_slice(), "misp.url", "misp.key is set"),
        (&[("misp.ca_file", "'/no/ca.pem'")], "misp.ca_file", "cannot read"),
        (&[("misp.rest.backoff_min", "'2m'")], "misp.rest.backoff_min", "larger than"),
        (&[("misp.rest.read_back_within", "'1s'")], "misp.rest.read_back_within", "larger than"),
        (&[("misp.rest.confirm_after", "['2s', '1s']")], "misp.rest.confirm_after", "later than"),
        (&[("misp.rest.confirm_after", "[]")], "misp.rest.confirm_after", "never be looked for"),
    ];
    for (lines, key, expected) in cases {
        let lines: Vec<_> = lines.iter().copied().chain([("misp.key", KEY)]).collect();
        let problems = problems(with(&lines));
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[key].contains(expected), "{problems:#?}");
    }
}

#[test]
fn with_a_key_the_webhook_needs_no_feed() {
    let lines = [
        ("misp.zeromq.endpoints", "[]"),
        ("misp.webhook.listen", "'127.0.0.1:0'"),
        ("misp.webhook.secret", "'sixteen letters!'"),
    ];
    assert!(problems(with(&lines))["misp.zeromq.endpoints"].contains("misp.key"));
    let lines: Vec<_> = lines.into_iter().chain([("misp.key", KEY)]).collect();
    let config = with(&lines).unwrap();
    assert!(config::warnings(&config)[0].contains("catch-up every 5m"));
}

#[test]
fn what_weakens_the_way_to_misp_is_told_loudly() {
    let warnings = |line| config::warnings(&with(&[("misp.key", KEY), line]).unwrap());
    let [unverified] = &warnings(("misp.verify_tls", "false"))[..] else { panic!() };
    assert!(unverified.contains("ANYONE") && unverified.contains("misp.ca_file"), "{unverified}");
    let [clear] = &warnings(("misp.url", "'http://misp.example.org'"))[..] else { panic!() };
    assert!(clear.contains("in the clear"), "{clear}");
    let [short] = &warnings(("misp.key", "'short'"))[..] else { panic!() };
    assert!(short.contains("40 letters and digits") && !short.contains("'short'"), "{short}");
}

#[test]
fn the_search_is_passed_on_as_it_stands() {
    let table = r#"
        tags = ["!internal", "tlp:green"]
        "x.y" = 1
        org = "CIRCL"
        [misp.search.category]
        NOT = { a = [true, 1.5] }
    "#;
    let own = format!("[misp.search]\n{table}\n{LEAST}");
    let own = own.replace("[misp]\n", &format!("[misp]\nkey = {KEY}\n"));
    let search = load(&own, &[]).unwrap().sources.remove(0).search;
    let expected = serde_json::json!({
        "tags": ["!internal", "tlp:green"], "x.y": 1, "org": "CIRCL",
        "category": {"NOT": {"a": [true, 1.5]}},
    });
    assert_eq!(serde_json::Value::Object(search), expected);

    let key = ("MSR_MISP__KEY", KEY.trim_matches('\''));
    let config = load(LEAST, &[key, ("MSR_MISP__SEARCH", r#"{"tags": "a"}"#)]).unwrap();
    assert_eq!(
        serde_json::Value::Object(config.sources[0].search.clone()),
        serde_json::json!({"tags": "a"})
    );
    let text = problems(load(LEAST, &[key, ("MSR_MISP__SEARCH", r#"{"page": 2}"#)]));
    assert!(text["misp.search"].contains("page is set by the relay itself"), "{text:?}");
    let text = problems(load(LEAST, &[("MSR_MISP__SEARCH", r#"{"tags": "a"}"#)]));
    assert!(text["misp.key"].contains("misp.search is set"), "{text:?}");
}

#[test]
fn the_webhook_needs_a_secret_worth_the_name() {
    let listen = ("misp.webhook.listen", "'0.0.0.0:8443'");
    assert!(problems(with(&[listen]))["misp.webhook.secret"].contains("required"));
    let short = ("misp.webhook.secret", "'fifteen letters'");
    assert!(problems(with(&[listen, short]))["misp.webhook.secret"].contains("at least 16"));
    let long = ("misp.webhook.secret", "'sixteen letters!'");
    let webhook = with(&[listen, long]).unwrap().sources.remove(0).webhook.unwrap();
    assert_eq!((webhook.max_body, webhook.max_total), (128 << 20, 256 << 20));
    assert_eq!(webhook.path, "/misp");
}

#[test]
fn links_need_an_address_that_browsers_reach() {
    let url = |text: &str| with(&[("misp.url", &format!("'{text}'"))]);
    assert!(problems(url("https://misp-core"))["misp.public_url"].contains("required"));
    let given = with(&[("misp.url", "'https://misp-core'"), ("misp.public_url", "'https://m/x/'")]);
    assert_eq!(given.unwrap().rendering.public_urls.of(""), Some("https://m/x"));
}
