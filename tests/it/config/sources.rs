//! Tests the configuration of several MISPs.

use super::*;

const TWO: &str = r#"
[source.own]
url = "https://misp.example.org"
key = "0123456789abcdefghijABCDEFGHIJ0123456789"
[source.own.zeromq]
endpoints = ["tcp://misp-core:50000"]
[source.own.search]
tags = ["!internal"]
[source.sector]
public_url = "https://misp.sector.example"
window = "90d"
[source.sector.zeromq]
endpoints = ["tcp://sector:50000"]
silence = "90s"
[source.sector.webhook]
listen = "127.0.0.1:8443"
secret = "a-secret-of-the-sectors-webhook"
[target.soc]
workspace_id = "11111111-2222-4333-8444-555555555555"
tenant_id = "example.onmicrosoft.com"
client_id = "66666666-7777-4888-9999-000000000000"
client_secret = "s3cret-value"
"#;

/// The settings of two sources, and these.
fn two(more: &str) -> Result<Config, Mistakes> {
    load(&format!("{more}\n{TWO}"), &[])
}

/// The only mistake.
fn mistake(result: Result<Config, Mistakes>) -> (String, String) {
    let all = problems(result);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.into_iter().next().unwrap()
}

#[test]
fn each_source_has_the_keys_of_misp_and_their_defaults() {
    let config = two("").unwrap();
    let [own, sector] = &config.sources[..] else { panic!("{:?}", config.sources) };
    assert_eq!([&*own.name, &*sector.name], ["own", "sector"]);
    assert_eq!([&*own.section, &*sector.section], ["source.own", "source.sector"]);
    assert_eq!(own.zeromq.silence, Duration::from_secs(60));
    assert_eq!(sector.zeromq.silence, Duration::from_secs(90));
    assert_eq!((own.window, sector.window), (None, Some(Duration::from_secs(90 * 86_400))));
    assert_eq!(own.public_url, "https://misp.example.org");
    assert_eq!(sector.public_url, "https://misp.sector.example");
    assert_eq!(own.search.len(), 1);
    assert!(own.rest.is_some() && sector.rest.is_none() && sector.webhook.is_some());
    assert_eq!(sector.webhook.as_ref().unwrap().path, "/misp");
}

#[test]
fn the_environment_names_a_source_like_a_target() {
    let settings = [
        ("MSR_SOURCE__OWN_MISP__PUBLIC_URL", "https://misp.example.org"),
        ("MSR_SOURCE__OWN_MISP__ZEROMQ__ENDPOINTS", "tcp://misp-core:50000"),
        ("MSR_SOURCE__OWN_MISP__ZEROMQ__MAX_FRAME", "1MiB"),
        ("MSR_SOURCE__OWN_MISP__ON_UNPUBLISH", "withdraw"),
    ];
    let target = TWO.split("[target").nth(1).unwrap();
    let config = load(&format!("[target{target}"), &settings).unwrap();
    let [source] = &config.sources[..] else { panic!("{:?}", config.sources) };
    assert_eq!((&*source.name, source.zeromq.max_frame), ("own-misp", 1 << 20));
    assert_eq!(source.on_unpublish, OnUnpublish::Withdraw);
}

#[test]
fn both_forms_at_once_are_a_mistake() {
    let (key, words) = mistake(two("[misp]\nurl = \"https://third.example.org\""));
    assert_eq!(key, "misp.url");
    assert!(words.contains("[source.NAME]") && words.contains("hint: "), "{words}");
    assert!(words.contains("(move misp.url)"), "{words}");
    let environment = [("MSR_MISP__ON_UNPUBLISH", "withdraw"), ("MSR_MISP__KEY", "secret")];
    let (key, words) = mistake(load(TWO, &environment));
    assert_eq!(key, "misp.key");
    assert!(words.contains("(unset MSR_MISP__KEY, unset MSR_MISP__ON_UNPUBLISH)"), "{words}");
}

#[test]
fn a_mistake_is_told_with_the_key_that_the_operator_wrote() {
    let text = TWO.replace("silence = \"90s\"", "silence = \"90\"");
    let (key, words) = mistake(load(&text, &[]));
    assert_eq!(key, "source.sector.zeromq.silence");
    assert!(words.contains("\"90s\""), "{words}");
    let text = TWO.replace("secret = \"a-secret-of-the-sectors-webhook\"\n", "");
    let (key, words) = mistake(load(&text, &[]));
    assert_eq!(key, "source.sector.webhook.secret");
    assert!(words.contains("MSR_SOURCE__SECTOR__WEBHOOK__SECRET"), "{words}");
    let text = TWO.replace("window = \"90d\"", "windows = \"90d\"");
    let (key, words) = mistake(load(&text, &[]));
    assert_eq!(key, "source.sector.windows");
    assert!(words.contains("did you mean source.sector.window?"), "{words}");
    let text = TWO.replace("[source.sector", "[source.Sector");
    assert_eq!(mistake(load(&text, &[])).0, "source.Sector");
}

#[test]
fn numbers_of_sharing_groups_are_a_mistake_with_several_sources() {
    let (key, words) = mistake(two("[policy]\nsharing_groups = [\"7\", \"Sector group\"]"));
    assert_eq!(key, "policy.sharing_groups");
    assert!(words.contains("7, Sector group") && words.contains("uuids"), "{words}");
    let own = "[target.soc.policy]\nsharing_groups = [\"8\"]";
    assert_eq!(mistake(two(own)).0, "target.soc.policy.sharing_groups");
    assert!(with(&[("policy.sharing_groups", "['7']")]).is_ok(), "one MISP has one numbering");
}

/// A webhook of the source `own` on this address, with these settings more.
fn second_webhook(listen: &str, more: &str) -> String {
    format!(
        "[source.own.webhook]\nlisten = \"{listen}\"\nsecret = \"another-secret-of-a-webhook\"\n{more}"
    )
}

#[test]
fn webhooks_share_an_address_and_have_a_path_each() {
    let config = two(&second_webhook("127.0.0.1:8443", "path = \"/own\"")).unwrap();
    let places = config.sources.iter().filter_map(|source| source.webhook.as_ref());
    let places: Vec<String> = places.map(|webhook| webhook.place()).collect();
    assert_eq!(places, ["127.0.0.1:8443/own", "127.0.0.1:8443/misp"]);
    let (key, words) = mistake(two(&second_webhook("127.0.0.1:8443", "")));
    assert_eq!(key, "source.sector.webhook.path");
    assert!(words.contains("source.own.webhook.path is the same, at the same address"), "{words}");
    assert!(words.contains("a path of their own each"), "{words}");
    // One that is switched off listens nowhere.
    let text = TWO.replace("[source.sector]\n", "[source.sector]\nenabled = false\n");
    load(&format!("{}\n{text}", second_webhook("127.0.0.1:8443", "")), &[]).unwrap();
}

#[test]
fn one_port_at_two_addresses_is_a_mistake() {
    let (key, words) = mistake(two(&second_webhook("0.0.0.0:8443", "path = \"/own\"")));
    assert_eq!(key, "source.sector.webhook.listen");
    assert!(words.contains("source.own.webhook.listen has the same port"), "{words}");
    assert!(words.contains("the same address in both"), "{words}");
}

#[test]
fn what_belongs_to_a_shared_listener_is_the_same_in_all_sources() {
    let differs = |more: &str| {
        let more = format!("path = \"/own\"\n{more}");
        mistake(two(&second_webhook("127.0.0.1:8443", &more)))
    };
    // Told at the key that is set, and not at a default.
    let (key, words) = differs("answer_within = \"5s\"");
    assert_eq!(key, "source.own.webhook.answer_within");
    assert!(words.contains("differs from source.sector.webhook.answer_within"), "{words}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let files = format!("tls_certificate = {file:?}\ntls_key = {file:?}");
    let more = format!("path = \"/own\"\n{files}");
    let all = problems(two(&second_webhook("127.0.0.1:8443", &more)));
    let keys: Vec<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(keys, ["source.own.webhook.tls_certificate", "source.own.webhook.tls_key"]);
    assert!(all.values().all(|words| words.contains("both share one listener")), "{all:?}");
    // The bounds on bodies are those of the path.
    let more = "path = \"/own\"\nmax_body = \"1MiB\"\nsecret_header = \"X-Own\"";
    two(&second_webhook("127.0.0.1:8443", more)).unwrap();
}

#[test]
fn a_source_may_be_switched_off_but_not_all() {
    let config = two("").unwrap();
    assert_eq!(config.enabled_sources().count(), 2);
    let off = |source: &str| format!("[source.{source}]\n");
    let text = TWO.replace(&off("sector"), "[source.sector]\nenabled = false\n");
    let config = load(&text, &[]).unwrap();
    assert_eq!(config.enabled_sources().map(|one| &*one.name).collect::<Vec<_>>(), ["own"]);
    let told = config::warnings(&config);
    assert!(told.iter().any(|line| line.contains("`forget-source sector`")), "{told:?}");
    let text = text.replace(&off("own"), "[source.own]\nenabled = false\n");
    assert_eq!(mistake(load(&text, &[])).0, "source");
}

#[test]
fn a_policy_names_sources_that_exist() {
    let known = "[target.soc.policy]\nsources = [\"sector\"]\nwarninglists_from = [\"own\"]";
    let config = two(known).unwrap();
    assert_eq!(config.targets[0].policy.sources, ["sector"]);
    let (key, words) = mistake(two("[target.soc.policy]\nsources = [\"sectors\"]"));
    assert_eq!(key, "target.soc.policy.sources");
    assert!(words.contains("own, sector"), "{words}");
    assert_eq!(
        mistake(two("[policy]\nwarninglists_from = [\"misp\"]")).0,
        "policy.warninglists_from"
    );
}

#[test]
fn without_a_key_only_the_source_that_lacks_it_is_feed_only() {
    let config = two("").unwrap();
    assert!(!config.policy.is_feed_only);
    assert_eq!(config.policy.feed_only, ["sector"]);
}
