//! Tests the configuration: its layers, its types, the rules across keys, and that every mistake is reported
//! at once.

mod credentials;
mod deployed;
mod misp;
mod policy;
mod sources;
mod targets;
mod tenants;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use misp_sentinel_relay::config::{
    self, Config, Credential, Mistakes, Mode, OnUnpublish, Proof, SettingOrigin, Target,
};
use misp_sentinel_relay::pure::policy::{Tlp, Untagged};

const CANARY: &str = "canary-3f9c";

/// The least that a relay needs.
const LEAST: &str = r#"
[misp]
url = "https://misp.example.org"
[misp.zeromq]
endpoints = ["tcp://misp-core:50000"]
[target.soc]
workspace_id = "11111111-2222-4333-8444-555555555555"
tenant_id = "example.onmicrosoft.com"
client_id = "66666666-7777-4888-9999-000000000000"
client_secret = "s3cret-value"
"#;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let file = file(text);
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    config::load(Some(file.path()), environment)
}

/// Loads `text` after the least configuration, with the keys of its sections added.
fn with(lines: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let mut table: toml::Table = LEAST.parse().unwrap();
    for (path, value) in lines {
        let mut here = &mut table;
        let (sections, key) = path.rsplit_once('.').unwrap_or(("", path));
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            let next = here.entry(section).or_insert_with(|| toml::Table::new().into());
            here = next.as_table_mut().unwrap();
        }
        let parsed: toml::Table = format!("value = {value}").parse().unwrap();
        here.insert(key.to_owned(), parsed["value"].clone());
    }
    let environment = flat("", &table).into_iter();
    let file = file("");
    config::load(Some(file.path()), environment)
}

/// The same by environment variables: TOML's arrays are one of the forms that lists take there.
fn flat(prefix: &str, table: &toml::Table) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        if let Some(inner) = value.as_table() {
            variables.extend(flat(&path, inner));
            continue;
        }
        let text = value.as_array().map_or_else(
            || word(value),
            |items| format!("[{}]", items.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        );
        variables.push((config::variable(&path), text));
    }
    variables
}

/// The client secret of a target that has one.
fn secret_of(target: &Target) -> &str {
    let Proof::ClientSecret(secret) = &target.credential.proof else {
        panic!("{:?}", target.credential)
    };
    secret.expose()
}

fn quoted(item: &toml::Value) -> String {
    item.as_str().map_or_else(|| word(item), |text| format!("{text:?}"))
}

/// A scalar as one writes it in a shell.
fn word(value: &toml::Value) -> String {
    let text = value.as_str().map(str::to_owned);
    let number = || value.as_integer().map(|number| number.to_string());
    text.or_else(number).or_else(|| value.as_bool().map(|flag| flag.to_string())).unwrap()
}

fn problems(result: Result<Config, Mistakes>) -> BTreeMap<String, String> {
    let mistakes = result.expect_err("a mistake");
    mistakes.list().iter().map(|m| (m.key.clone(), m.to_string())).collect()
}

/// The one mistake that changing one key of a sound configuration makes.
fn problem(path: &str, value: &str) -> String {
    let problems = problems(with(&[(path, value)]));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.into_values().next().unwrap()
}

#[test]
fn the_example_gives_what_the_least_configuration_leaves_out() {
    let config = load(LEAST, &[]).unwrap();
    assert_eq!(config.sources[0].name, "misp");
    assert_eq!(config.sources[0].zeromq.endpoints, ["tcp://misp-core:50000"]);
    assert_eq!(config.sources[0].zeromq.silence, Duration::from_secs(60));
    assert_eq!(config.sources[0].zeromq.max_frame, 64 << 20);
    assert!(config.sources[0].zeromq.credentials.is_none());
    assert!(config.sources[0].webhook.is_none());
    assert_eq!(config.rendering.public_urls.of("misp"), Some("https://misp.example.org"));
    assert!(config.admin.listen.ip().is_loopback());
    // Without a key one thing cannot be had that the defaults ask for.
    let [lists] = &config::warnings(&config)[..] else { panic!() };
    assert!(lists.contains("policy.warninglists needs misp.key"), "{lists}");
    let with_key = with(&[("misp.key", misp::KEY)]).unwrap();
    assert_eq!(config::warnings(&with_key), Vec::<String>::new());
    let off = with(&[("policy.warninglists", "'off'")]).unwrap();
    assert_eq!(config::warnings(&off), Vec::<String>::new());
}

#[test]
fn the_example_gives_policy_and_expiry() {
    let config = load(LEAST, &[]).unwrap();
    assert_eq!(config.policy.tlp_max, Tlp::AmberStrict);
    assert_eq!(config.policy.tlp_untagged, Untagged::Counts(Tlp::Clear));
    assert!(config.policy.to_ids);
    assert_eq!(config.policy.withdraw_at, 3);
    assert_eq!(config.policy.false_positive_tags, ["false-positive:confirmed=\"true\""]);
    assert_eq!(config.policy.max_age, None);
    assert_eq!(config.rendering.false_positive_points, 10);
    assert_eq!(config.rendering.default_confidence, 51);
    assert_eq!(config.rendering.expiry.default_days, 50);
    assert_eq!(config.rendering.expiry.days["ipv4-addr"], 150);
    assert_eq!(config.rendering.expiry.days["url"], 400);
}

#[test]
fn the_example_gives_what_tags_and_types_mean() {
    let config = load(LEAST, &[]).unwrap();
    assert!(!config.policy.allow_non_routable);
    assert!(config.policy.switches.types.is_empty());
    let tags = &config.rendering.tags;
    assert_eq!(tags.confidence_from[0], "misp:confidence-level");
    assert_eq!(tags.confidence["misp:confidence-level=\"usually-confident\""], 75);
    assert_eq!(tags.kill_chain["kill-chain:Command and Control"], "command-and-control");
    assert!(tags.category_phases && tags.threat_level_labels && tags.threat_types.is_empty());
    assert_eq!(tags.default_threat_type, "malicious-activity");
    assert_eq!(config.rendering.labels_ignore.len(), 7);
}

#[test]
fn attribute_types_are_switched_in_the_file_and_in_the_environment() {
    let own = format!("[convert.types]\n\"filename\" = true\n\"hassh*\" = true\n{LEAST}");
    let types = |own: &str, environment: &[(&str, &str)]| {
        load(own, environment).unwrap().policy.switches.types.into_iter().collect::<Vec<_>>()
    };
    let pair = |name: &str, on| (name.to_owned(), on);
    assert_eq!(types(&own, &[]), [pair("filename", true), pair("hassh*", true)]);
    // The table is one value; a variable for a type comes on top.
    let json = ("MSR_CONVERT__TYPES", r#"{"filename|md5": false}"#);
    assert_eq!(types(&own, &[json]), [pair("filename|md5", false)]);
    let named = [("MSR_CONVERT__TYPES__AS", "false"), ("MSR_CONVERT__TYPES__NAMED_PIPE", "true")];
    let expected =
        [pair("AS", false), pair("filename", true), pair("hassh*", true), pair("named pipe", true)];
    assert_eq!(types(&own, &named), expected);
}

#[test]
fn roles_are_switched_in_the_file_and_in_the_environment() {
    // With and without quotes, as TOML reads dots.
    let own = format!(
        "[convert.roles]\n\"ddos.ip-dst\" = true\nvictim.domain = true\n\
         intelmq_event.destination.ip = true\n\"netflow.*\" = false\n{LEAST}"
    );
    let roles = |own: &str, environment: &[(&str, &str)]| {
        load(own, environment).unwrap().policy.switches.roles.into_iter().collect::<Vec<_>>()
    };
    let pair = |name: &str, on| (name.to_owned(), on);
    let expected = [
        pair("ddos.ip-dst", true),
        pair("intelmq_event.destination.ip", true),
        pair("netflow.*", false),
        pair("victim.domain", true),
    ];
    assert_eq!(roles(&own, &[]), expected);
    let json = ("MSR_CONVERT__ROLES", r#"{"dns-record.*": true}"#);
    assert_eq!(roles(&own, &[json]), [pair("dns-record.*", true)]);
    for (switch, problem) in [
        ("\"netflow.ip-dst\" = true", "no role that is off by default"),
        ("\"ddos.ip-dst\" = 1", "neither true nor false"),
    ] {
        let own = format!("[convert.roles]\n{switch}\n{LEAST}");
        let text = load(&own, &[]).unwrap_err().to_string();
        assert!(text.contains(problem), "{text}");
    }
}

#[test]
fn a_switch_without_effect_is_a_mistake() {
    for (types, problem) in [
        ("\"file name\" = true", "no attribute type of MISP"),
        ("\"comment\" = true", "is never converted: context"),
        ("\"target-*\" = true", "is never converted: victim"),
        ("\"md5\" = \"yes\"", "neither true nor false"),
    ] {
        let own = format!("[convert.types]\n{types}\n{LEAST}");
        let text = load(&own, &[]).unwrap_err().to_string();
        assert!(text.contains(problem), "{text}");
    }
    for name in ["MSR_CONVERT__TYPES__COMMENT", "MSR_CONVERT__TYPES__NONSENSE"] {
        let text = load(LEAST, &[(name, "true")]).unwrap_err().to_string();
        assert!(text.contains("no type that is converted"), "{text}");
    }
}

#[test]
fn tables_of_tags_are_added_to_and_checked() {
    let own = format!(
        "[indicator]\nconfidence_from = ['house:trust']\n\
         [indicator.confidence]\n'house:trust=\"v1.0\"' = 80\n\
         [indicator.kill_chain]\n'kill-chain:Delivery' = ''\n\
         [indicator.threat_types]\n'house:bot' = 'Botnet'\n{LEAST}"
    );
    let tags = load(&own, &[]).unwrap().rendering.tags;
    assert_eq!(tags.confidence["house:trust=\"v1.0\""], 80);
    assert_eq!(tags.confidence.len(), 6 + 5 + 5 + 7 + 1);
    assert_eq!(tags.kill_chain["kill-chain:Delivery"], "");
    assert_eq!(tags.threat_types["house:bot"], "Botnet");
    let own = format!(
        "[indicator.confidence]\n'a:b' = 101\n[indicator.threat_types]\n'a:b' = ''\n{LEAST}"
    );
    let text = load(&own, &[]).unwrap_err().to_string();
    assert!(text.contains("out of range") && text.contains("no threat type"), "{text}");
}

#[test]
fn the_example_gives_delivery_and_the_public_cloud() {
    let config = load(LEAST, &[]).unwrap();
    assert_eq!(config.delivery.limits.max_objects, 100);
    assert_eq!(config.delivery.limits.quota_requests, 99);
    assert_eq!(config.delivery.quota_window, Duration::from_secs(60));
    assert_eq!(config.delivery.linger, Duration::from_millis(200));
    assert_eq!(config.delivery.limits.max_in_flight, 4);
    let [target] = config.targets.as_slice() else { panic!("{:?}", config.targets) };
    assert_eq!(target.name, "soc");
    assert!(target.enabled && target.mode == Mode::Live);
    assert_eq!(target.sourcesystem, "misp-sentinel-relay");
    assert_eq!(target.endpoint, "https://api.ti.sentinel.azure.com");
    assert_eq!(target.api_version, "2024-02-01-preview");
    assert_eq!(secret_of(target), "s3cret-value");
}

#[test]
fn environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let own = format!("[delivery]\nlinger = \"1s\"\ngrace = \"3s\"\n{LEAST}");
    let environment = [
        ("MSR_DELIVERY__LINGER", "0s"),
        ("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://a:1, tcp://b:2"),
        ("MSR_POLICY__THREAT_LEVELS", "[1, 2]"),
        ("MSR_POLICY__TO_IDS", "false"),
        ("MSR_EXPIRY__DAYS__IPV4_ADDR", "7"),
        ("MSR_EXPIRY__DAYS__EMAIL_ADDR", "8"),
        ("MSR_TARGET__SOC__SOURCESYSTEM", "soc-feed"),
        ("PATH", "/usr/bin"),
    ];
    let config = load(&own, &environment).unwrap();
    assert_eq!(config.delivery.linger, Duration::ZERO);
    assert_eq!(config.delivery.grace, Duration::from_secs(3));
    assert_eq!(config.delivery.limits.max_objects, 100);
    assert_eq!(config.sources[0].zeromq.endpoints, ["tcp://a:1", "tcp://b:2"]);
    assert_eq!(config.policy.threat_levels, [1, 2]);
    assert!(!config.policy.to_ids);
    assert_eq!(config.rendering.expiry.days["ipv4-addr"], 7);
    assert_eq!(config.rendering.expiry.days["email-addr"], 8);
    assert_eq!(config.rendering.expiry.days["domain-name"], 300);
    assert_eq!(config.targets[0].sourcesystem, "soc-feed");
}

#[test]
fn every_mistake_is_told_at_once_with_its_place_and_a_hint() {
    let own = r#"
        [misp.zeromq]
        endpoints = ["misp-core:50000"]
        silence = "60"
        max_frame = "64 MegaBananas"
        silense = "5s"
        [policy]
        tlp_max = "ambre"
        analysis = [0, 7]
        [delivery]
        max_objects = 500
        [target.soc]
        enabled = "yes"
        endpoint = "http://api.ti.sentinel.azure.com"
    "#;
    let environment = [("MSR_DELIVERY__QUOTA_REQUESTS", "200"), ("MSR_LOG__LEVL", "debug")];
    let mistakes = load(own, &environment).unwrap_err();
    let text = mistakes.to_string();
    let keys: Vec<&str> = mistakes.list().iter().map(|mistake| mistake.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "delivery.max_objects",
            "delivery.quota_requests",
            "log.levl",
            "misp.public_url",
            "misp.zeromq.endpoints",
            "misp.zeromq.max_frame",
            "misp.zeromq.silence",
            "misp.zeromq.silense",
            "policy.analysis",
            "policy.tlp_max",
            "target",
            "target.soc.enabled",
            "target.soc.endpoint",
        ],
        "{text}"
    );
    let has = |part: &str| assert!(text.contains(part), "no {part:?} in\n{text}");
    has("13 mistakes");
    has("did you mean misp.zeromq.silence?");
    has("did you mean amber?");
    has("did you mean log.level?");
    has("add the unit, e.g. \"60s\"");
    has("environment variable MSR_DELIVERY__QUOTA_REQUESTS");
    has("delivery.max_objects = 500: out of range");
    has("allowed: a whole number from 1 to 100");
    has("7 is out of range");
}

#[test]
fn what_must_be_set_is_asked_for_by_name() {
    let problems = problems(load("[target.soc]\n", &[]));
    let keys: Vec<&str> = problems.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "misp.public_url",
            "misp.zeromq.endpoints",
            "target.soc.client_id",
            "target.soc.client_secret",
            "target.soc.tenant_id",
            "target.soc.workspace_id",
        ]
    );
    assert!(problems["target.soc.client_secret"].contains("MSR_TARGET__SOC__CLIENT_SECRET"));
}

#[test]
fn a_syntax_error_has_its_line_and_column_and_does_not_quote_the_line() {
    let own = format!("[misp]\nname = \"misp\"\n  [target.soc\nclient_secret = \"{CANARY}\"\n");
    let mistakes = load(&own, &[]).unwrap_err();
    assert_eq!(mistakes.list()[0].key, "line 3, column 14");
    let own = format!("[target.soc]\nclient_secret = \"{CANARY}\nclient_id = \"x\"\n");
    let text = load(&own, &[]).unwrap_err().to_string();
    assert!(text.contains("line 2, column"), "{text}");
    assert!(!text.contains(CANARY), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_a_mistake() {
    let missing = Path::new("/nonexistent/relay.toml");
    let text = config::load(Some(missing), std::iter::empty()).unwrap_err().to_string();
    assert!(text.contains("/nonexistent/relay.toml"), "{text}");
}

#[test]
fn the_environment_names_the_file_unless_the_command_line_does() {
    let named = file(LEAST);
    let path = named.path().display().to_string();
    let environment = || [("MSR_CONFIG".to_owned(), path.clone())].into_iter();
    assert!(config::load(None, environment()).is_ok());
    let other = file("[misp]\nname = \"\"\n");
    let mistakes = config::load(Some(other.path()), environment()).unwrap_err();
    let name = mistakes.list().iter().find(|mistake| mistake.key == "misp.name").unwrap();
    assert_eq!(name.origin, SettingOrigin::File(other.path().to_path_buf()));
}

#[test]
fn secrets_come_from_files_without_their_last_line_break() {
    let secret = file("from-a-file\n");
    let path = format!("'{}'", secret.path().display());
    let own =
        LEAST.replace("client_secret = \"s3cret-value\"", &format!("client_secret_file = {path}"));
    assert_eq!(secret_of(&load(&own, &[]).unwrap().targets[0]), "from-a-file");

    let both = problem("target.soc.client_secret_file", &path);
    assert!(both.contains("target.soc.client_secret: set together with"), "{both}");
    let variables = [
        ("MSR_TARGET__SOC__CLIENT_SECRET", "from-a-variable"),
        ("MSR_TARGET__SOC__CLIENT_SECRET_FILE", secret.path().to_str().unwrap()),
    ];
    let both = problems(load(&own, &variables)).remove("target.soc.client_secret").unwrap();
    assert!(both.contains("set together with"), "{both}");
    // One in the environment wins over the other one in the configuration.
    let [variable, named] = variables;
    assert_eq!(secret_of(&load(&own, &[variable]).unwrap().targets[0]), "from-a-variable");
    assert_eq!(secret_of(&load(LEAST, &[named]).unwrap().targets[0]), "from-a-file");

    let gone = LEAST.replace("client_secret = \"s3cret-value\"", "client_secret_file = '/no/file'");
    let problems = problems(load(&gone, &[]));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems["target.soc.client_secret_file"].contains("/no/file"));
}

#[test]
fn no_output_holds_a_secret() {
    let own = format!(
        r#"{LEAST}
        client_secrt = "{CANARY}"
        [misp.webhook]
        listen = "127.0.0.1:0"
        secret = "{CANARY}"
        [azure]
        proxy = "http://user:{CANARY}@proxy:3128"
        "#
    );
    let own = own.replace("endpoints = [", &format!("password = \"{CANARY}\"\nendpoints = ["));
    let own = own.replace("[misp]\n", &format!("[misp]\nkey = \"{CANARY} x\"\n"));
    let environment = [("MSR_TARGET__SOC__CLIENT_ID__SECRET", CANARY), ("MSR_SECRET", CANARY)];
    let mistakes = load(&own, &environment).unwrap_err();
    assert!(mistakes.list().len() >= 5, "{mistakes}");
    assert!(!format!("{mistakes} {mistakes:?} {mistakes:#?}").contains(CANARY), "{mistakes}");

    let long = format!("{CANARY}{CANARY}{CANARY}");
    let config = with(&[
        ("target.soc.client_secret", &format!("'{long}'")),
        ("misp.key", &format!("'{long}'")),
        ("misp.zeromq.username", "'feed'"),
        ("misp.zeromq.password", &format!("'{long}'")),
        ("misp.webhook.listen", "'127.0.0.1:0'"),
        ("misp.webhook.secret", &format!("'{long}'")),
    ])
    .unwrap();
    assert_eq!(config.sources[0].webhook.as_ref().unwrap().secret.expose(), long);
    assert!(!format!("{config:?} {config:#?}").contains(CANARY));
}

#[test]
fn a_secret_of_the_wrong_type_is_told_without_its_value() {
    let own = LEAST.replace("\"s3cret-value\"", "42424242");
    let problems = problems(load(&own, &[]));
    assert!(problems["target.soc.client_secret"].contains("of type integer"));
    assert!(!problems["target.soc.client_secret"].contains("42424242"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn rules_of_one_key() {
    let cases = [
        ("misp.zeromq.endpoints", "['tcp://misp']", "not the address"),
        ("misp.zeromq.endpoints", "['tcp://user:pw@misp:50000']", "not the address"),
        ("misp.zeromq.password", "'pw'", "misp.zeromq.password is set"),
        ("misp.zeromq.silence", "'0s'", "out of range"),
        ("misp.public_url", "'ftp://misp'", "neither http nor https"),
        ("misp.webhook.path", "'misp'", "begins with /"),
        ("misp.webhook.secret_header", "'a b'", "no name of a header"),
        ("misp.webhook.tls_key", "'/key.pem'", "tls_key is set"),
        ("misp.key", "'Bearer abcdef'", "without \"Bearer\""),
        ("misp.key", "'with\u{e4}'", "characters that no key has"),
        ("misp.proxy", "'http://user:pw@proxy:3128'", "HTTPS_PROXY"),
        ("misp.on_unpublish", "'kepe'", "did you mean keep?"),
        ("misp.rest.retries", "-1", "out of range"),
        ("misp.rest.page_events", "0", "from 1 to 10000"),
        ("misp.rest.confirm_after", "['2s', '1']", "add the unit, e.g. \"1s\""),
        ("misp.rest.confirm_after", "[5]", "of type integer"),
        ("misp.rest.max_event", "'2GiB'", "out of range"),
        ("misp.resync.schedule", "'daily'", "no schedule"),
        ("misp.resync.schedule", "'0 0 30 2 *'", "no such day"),
        ("misp.search", "'tags'", "a JSON object"),
        ("guard.percent", "101", "from 0 to 100"),
        ("guard.window", "'0s'", "out of range"),
        ("policy.distributions", "[5]", "out of range"),
        ("policy.threat_levels", "['high']", "is no number"),
        ("policy.to_ids", "'maybe'", "neither true nor false"),
        ("misp.window", "'30'", "add the unit, e.g. \"30d\""),
        ("policy.max_age", "'180'", "add the unit, e.g. \"180d\""),
        ("target.soc.policy.max_age", "'180'", "add the unit, e.g. \"180d\""),
        ("ledger.tombstones", "'30'", "add the unit, e.g. \"30d\""),
        ("misp.rest.catch_up_every", "'5'", "add the unit, e.g. \"5m\""),
        ("policy.sharing_groups", "[7]", "of type integer"),
        ("sightings.false_positive_points", "101", "from 0 to 100"),
        ("sightings.withdraw_at", "-1", "out of range"),
        ("indicator.namespace", "'misp'", "no uuid"),
        ("indicator.default_confidence", "101", "out of range"),
        ("indicator.default_threat_type", "\" \"", "an indicator without a threat type"),
        ("indicator.identity", "'value'", "observable, attribute"),
        ("indicator.withdraw", "'remove'", "expire, revoke, delete"),
        ("expiry.renew", "true", "first_seen_by_relay"),
        ("expiry.days.url", "-1", "out of range"),
        ("delivery.max_objects", "101", "from 1 to 100"),
        ("delivery.quota_requests", "100", "from 0 to 99"),
        ("delivery.quota_window", "'59s'", "too short for https://api.ti.sentinel.azure.com"),
        ("delivery.backoff_min", "'2m'", "larger than delivery.backoff_max"),
        ("misp.zeromq.max_frame", "'65MiB'", "larger than misp.zeromq.max_waiting"),
        ("azure.ca_file", "'/no/ca.pem'", "cannot read"),
        ("target.soc.sourcesystem", "'microsoft sentinel'", "reserved"),
        ("target.soc.workspace_id", "'my workspace'", "no uuid"),
        ("target.soc.authority", "'http://127.0.0.1:1'", "not https"),
        ("target.soc.scope", "'https://management.azure.com'", "ends with /.default"),
        ("target.soc.path", "'/upload'", "{workspace_id}"),
        ("target.soc.client_secret", "'@Microsoft.KeyVault(SecretUri=x)'", "Key Vault reference"),
        ("target.soc.client_id", "'@Microsoft.KeyVault(SecretUri=x)'", "Key Vault reference"),
        ("admin.listen", "'localhost'", "an IP address and a port"),
        ("log.level", "'verbose'", "names no level"),
        ("log.format", "'jason'", "did you mean json?"),
    ];
    for (key, value, expected) in cases {
        let text = problem(key, value);
        assert!(text.contains(expected), "{key} = {value}: {text}");
    }
    let long = format!("'{}'", "x".repeat(257));
    assert!(problem("target.soc.sourcesystem", &long).contains("too long"));
}

#[test]
fn stand_ins_may_use_a_short_window_and_that_is_warned() {
    let lines =
        [("target.soc.endpoint", "'https://127.0.0.1:9443'"), ("delivery.quota_window", "'60ms'")];
    let config = with(&lines).unwrap();
    assert!(config::warnings(&config)[0].contains("quota_window"));
    let off = with(&[("delivery.quota_requests", "0")]).unwrap();
    assert!(config::warnings(&off)[0].contains("quota_requests"));
}

#[test]
fn a_section_given_a_value_is_told_as_such() {
    let text = problems(load(&format!("ledger = 3\n{LEAST}"), &[]));
    assert!(text["ledger"].contains("this is a section: [ledger]"), "{text:?}");
    assert!(load(&format!("[expiry.days]\n{LEAST}"), &[]).is_ok());
    let unknown = problems(load(&format!("[polcy]\n{LEAST}"), &[]));
    assert!(unknown["polcy"].contains("unknown key"));
}

#[test]
fn rules_for_convert_need_neither_intake_nor_target() {
    let own = file("[policy]\ntlp_max = 'green'\n[target.soc]\nclient_secret_file = '/no/file'\n");
    let rules = config::load_rules(Some(own.path()), std::iter::empty()).unwrap();
    assert_eq!(rules.policy.tlp_max, Tlp::Green);
    assert_eq!(rules.rendering.public_urls.of(""), Some("https://misp.example.org"));
    let own = file("[policy]\ntlp_max = 'greem'\n");
    let mistakes = config::load_rules(Some(own.path()), std::iter::empty()).unwrap_err();
    assert_eq!(mistakes.list().len(), 1);
}

#[test]
fn white_space_around_what_identifies_is_told_as_such() {
    let uuid = "11111111-2222-4333-8444-555555555555";
    let told = problem("target.soc.workspace_id", &format!("'{uuid} '"));
    assert!(told.contains("has white space at its end"), "{told}");
    let told = problem("target.soc.workspace_id", &format!("' {uuid}'"));
    assert!(told.contains("has white space at its beginning"), "{told}");
    let told = problem("misp.key", "' 0123456789abcdefghijABCDEFGHIJ0123456789'");
    assert!(told.contains("has white space at its beginning"), "{told}");
    let told = problem("target.soc.tenant_id", "'contoso.onmicrosoft.com '");
    assert!(told.contains("has white space at its end"), "{told}");
    for key in ["target.soc.client_id", "target.soc.sourcesystem"] {
        let told = problem(key, &format!("'{uuid} '"));
        assert!(told.contains("has white space at its end"), "{key}: {told}");
        let told = problem(key, &format!("' {uuid}'"));
        assert!(told.contains("has white space at its beginning"), "{key}: {told}");
    }
}

#[test]
fn a_value_that_is_wrong_without_white_space_too_is_told_with_both() {
    let told = load(LEAST, &[("MSR_INDICATOR__IDENTITY", "observble ")]).unwrap_err().to_string();
    for words in ["not one of the words", "has white space at its end", "did you mean observable"] {
        assert!(told.contains(words), "no {words:?} in {told}");
    }
    let told = load(LEAST, &[("MSR_INDICATOR__IDENTITY", "observable ")]).unwrap_err().to_string();
    assert!(told.contains("has white space at its end"), "{told}");
    assert!(!told.contains("not one of the words"), "{told}");
}

#[test]
fn a_key_in_a_file_may_end_in_line_breaks_and_in_nothing_else_unseen() {
    const KEY: &str = "0123456789abcdefghijABCDEFGHIJ0123456789";
    let of = |text: &str| {
        let key = file(text);
        load(LEAST, &[("MSR_MISP__KEY_FILE", key.path().to_str().unwrap())])
    };
    for end in ["", "\n", "\r\n", "\n\n"] {
        let config = of(&format!("{KEY}{end}")).unwrap();
        assert_eq!(config.sources[0].rest.as_ref().unwrap().key.expose(), KEY);
    }
    let told = problems(of(&format!("{KEY} \n")));
    assert!(told["misp.key"].contains("has white space at its end"), "{told:?}");
    assert!(!told["misp.key"].contains(KEY));
    let told = problems(of(&format!("\u{feff}{KEY}\n")));
    assert!(told["misp.key"].contains("byte order mark at its beginning"), "{told:?}");
}

#[test]
fn a_relative_path_that_leads_nowhere_names_the_folder_that_it_starts_from() {
    let here = std::env::current_dir().unwrap();
    let found = |key: &str| problems(with(&[(key, "'no/such.file'")]))[key].clone();
    for key in ["misp.key_file", "azure.ca_file"] {
        let told = found(key);
        assert!(told.contains(&format!("starts from {}", here.display())), "{told}");
    }
    let absolute = problem("azure.ca_file", "'/no/ca.pem'");
    assert!(!absolute.contains("starts from"), "{absolute}");
}

#[test]
fn a_mistyped_role_is_a_mistake_whether_it_is_switched_on_or_off() {
    for (role, meant) in [
        ("ddos.ip-dts", Some("ddos.ip-dst")),
        ("emial.to", Some("email.to")),
        ("dns-rcord.*", Some("dns-record")),
        ("vitcim.domain", Some("victim.domain")),
        ("ddos", None),
    ] {
        for on in ["true", "false"] {
            let own = format!("[convert.roles]\n\"{role}\" = {on}\n{LEAST}");
            let text = load(&own, &[]).expect_err(role).to_string();
            let hint = meant
                .map_or("template.relation".to_owned(), |meant| format!("did you mean {meant}"));
            assert!(text.contains(&hint), "{text}");
        }
    }
    // Roles that are on by default, and of templates that are nobody else's.
    for role in
        ["ddos.ip-src", "netflow.ip-src", "our-own.address", "email.from", "dns-record.a-record"]
    {
        let own = format!("[convert.roles]\n\"{role}\" = false\n{LEAST}");
        assert!(load(&own, &[]).is_ok(), "{role}");
    }
}

#[test]
fn a_number_in_place_of_a_time_is_told_to_need_a_unit() {
    for (key, hint) in [("max_age", "\"180d\""), ("tombstones", "\"180d\"")] {
        let section = if key == "max_age" { "policy" } else { "ledger" };
        let own = format!("{LEAST}[{section}]\n{key} = 180\n");
        let wrong = problems(load(&own, &[]));
        let told = &wrong[&format!("{section}.{key}")];
        assert!(told.contains("is of type integer"), "{told}");
        assert!(told.contains(&format!("add the unit, e.g. {hint}")), "{told}");
    }
}
