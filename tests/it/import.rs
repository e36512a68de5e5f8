//! Tests what `import-config` makes of misp2sentinel's settings. Names and values are those of its README and
//! its default config.py. The expected keys follow from config.toml.example.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use toml::{Table, Value};

use super::support::program::program;

/// The default of April 2026, filled in.
const CURRENT: &str = r#"
# Code for supporting storage of secrets in key vault
#import os
ms_auth = {
    'tenant': 'contoso.onmicrosoft.com',
    'client_id': '6a2a1b1c-0d0e-4f00-8111-222233334444',
    'client_secret': 'the-secret-VALUE~of-the-app',
    'new_upload_api': True,
    'scope': 'https://management.azure.com/.default',
    'workspace_id': '7b3b2c2d-1e1f-4a11-9222-333344445555',
    # Only needed for delete-from-azure.py
    'subscription_id': '<subscription_id>',
    'resourceGroupName': '<resource_group_name>',
    'workspaceName': '<workspace_name>',
}
ms_api_version = "2024-02-01-preview"
ms_max_indicators_request = 100     # Max 100 indicators per request
ms_max_requests_minute = 100        # Max 100 requests per minute
misp_key = 'aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789abcd'
misp_domain = 'https://misp.example.org'
misp_verifycert = False
misp_event_filters = {
    "published": 1,
    "tags": [ "workflow:state=\"complete\"", "!internal%"],
    "enforceWarninglist": True,
    "includeEventTags": True,
    "publish_timestamp": "14d",
    "eventinfo": "%botnet%",
}
misp_event_limit_per_page = 50
ignore_localtags = True
default_confidence = 60
days_to_expire = 40
days_to_expire_start = "current_date" # or "valid_from"
days_to_expire_mapping = {          # Per-type overrides
    "ipv4-addr": 180,
    "url": 365,
}
days_to_expire_ignore_misp_last_seen = False
log_file = "/tmp/misp2sentinel.log"
verbose_log = True
write_parsed_indicators = False
write_parsed_eventid = False
sentinel_write_response = False
dry_run = True
misp_flatten_attributes = True
misp_remove_eventreports = True
remove_pipe_from_misp_attribute = True
sourcesystem = "MISP"
ms_useragent = "MISP-1.0"
ms_check_if_exist_in_sentinel = False
timeframe_toids_change = "1d"
"#;

/// The names of the Graph API's time.
const GRAPH: &str = r#"
graph_auth = {
    'tenant': '<tenant>',
    'client_id': '<client_id>',
    'client_secret': '<client_secret>',
    'graph_api': True,
    'scope': 'https://graph.microsoft.com/.default',
}
targetProduct = "Azure Sentinel"
action = "alert"
passiveOnly = False
ms_target_product = 'Azure Sentinel'
ms_action = 'alert'
ms_passiveonly = False
defaultConfidenceLevel = 50
network_ignore_direction = True
write_post_json = False
misp_key = '<misp_api_key>'
misp_domain = '<misp_url>'
misp_event_filters = { "published": 1, "publish_timestamp": 1700000000 }
days_to_expire = 50
days_to_expire_start = "valid_from"
"#;

const CONSTANTS: &str = r#"
SENTINEL_DEFAULT_THREATTYPE = "WatchList"
SENTINEL_DEFAULT_TLP = "tlp:white"
MISP_TAGS_IGNORE = ["misp-galaxy:", "Threat-Report"]
MISP_ALLOWED_TAXONOMIES = ["tlp", "type"]
MISP_CONFIDENCE = {"prefix": "misp:confidence-level", "matches": {"usually-confident": 80}}
UPLOAD_INDICATOR_MISP_ACCEPTED_TYPES = list(MISP_ACTIONABLE_TYPES) + ['x']
TLP_MARKING_OBJECT_DEFINITION = {"tlp:white": "marking-definition--x"}
"#;

fn relay(arguments: &[&str]) -> Output {
    let mut command = program();
    command.args(arguments).output().unwrap()
}

fn import(texts: &[&str]) -> (String, Table) {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<String> = texts
        .iter()
        .enumerate()
        .map(|(at, text)| {
            let path = folder.path().join(format!("config{at}.py"));
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        })
        .collect();
    let arguments: Vec<&str> =
        std::iter::once("import-config").chain(paths.iter().map(String::as_str)).collect();
    let output = relay(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let table = text.parse().unwrap();
    (text, table)
}

fn at<'t>(table: &'t Table, path: &str) -> &'t Value {
    let mut parts = path.split('/');
    let first = &table[parts.next().unwrap()];
    parts.fold(first, |value, part| &value[part])
}

/// Names of assignments that stand at the beginning of a line, and keys of `ms_auth`.
fn names(text: &str) -> BTreeSet<String> {
    let assigned = text.lines().filter_map(|line| line.split_once(" = "));
    let assigned = assigned.map(|(name, _)| name.trim()).filter(|name| !name.starts_with('#'));
    let keys = text.lines().filter_map(|line| line.trim().strip_prefix('\'')?.split_once("': "));
    let keys = keys.map(|(key, _)| key);
    let filters = text.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\": "));
    let filters = filters.map(|(key, _)| key);
    assigned.chain(keys).chain(filters).map(str::to_owned).collect()
}

#[test]
fn the_default_config_becomes_a_valid_one_that_says_the_same() {
    let (text, table) = import(&[CURRENT]);
    for (path, expected) in [
        ("misp/url", Value::from("https://misp.example.org")),
        ("misp/key", "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789abcd".into()),
        ("misp/verify_tls", false.into()),
        ("misp/window", "14d".into()),
        ("misp/search/eventinfo", "%botnet%".into()),
        ("misp/rest/page_events", 50.into()),
        ("policy/tags_include", vec!["workflow:state=\"complete\""].into()),
        ("policy/tags_exclude", vec!["internal*"].into()),
        ("policy/warninglists", "enforce".into()),
        ("indicator/default_confidence", 60.into()),
        ("indicator/identity", "attribute".into()),
        ("expiry/default_days", 40.into()),
        ("expiry/from", "first_seen_by_relay".into()),
        ("expiry/last_seen_is_expiry", true.into()),
        ("expiry/days/ipv4-addr", 180.into()),
        ("expiry/days/url", 365.into()),
        ("delivery/max_objects", 100.into()),
        ("delivery/quota_requests", 99.into()),
        ("target/sentinel/tenant_id", "contoso.onmicrosoft.com".into()),
        ("target/sentinel/client_secret", "the-secret-VALUE~of-the-app".into()),
        ("target/sentinel/workspace_id", "7b3b2c2d-1e1f-4a11-9222-333344445555".into()),
        ("target/sentinel/sourcesystem", "MISP".into()),
        ("target/sentinel/mode", "dry-run".into()),
        ("log/level", "debug".into()),
    ] {
        assert_eq!(at(&table, path), &expected, "{path}\n{text}");
    }
    // As the relay reads it, together with what it asks for besides.
    let file = tempfile::NamedTempFile::new().unwrap();
    let whole =
        text.replacen("[misp]\n", "[misp]\nzeromq.endpoints = [\"tcp://misp-core:50000\"]\n", 1);
    std::fs::write(file.path(), whole).unwrap();
    let checked = relay(&["check-config", "--config", file.path().to_str().unwrap()]);
    assert!(checked.status.success(), "{}\n{text}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn no_name_is_dropped_silently() {
    for (python, least) in [(CURRENT, 42), (GRAPH, 20), (CONSTANTS, 7)] {
        let (text, _) = import(&[python]);
        let names = names(python);
        assert!(names.len() >= least, "{}: {names:?}", names.len());
        for name in names {
            assert!(text.contains(&name), "{name} is not told of:\n{text}");
        }
    }
}

#[test]
fn names_of_the_graph_api_are_translated_or_told_to_be_gone() {
    let (text, table) = import(&[GRAPH]);
    assert_eq!(at(&table, "indicator/default_confidence"), &Value::from(50));
    assert!(text.contains("better 51"), "{text}");
    assert_eq!(at(&table, "expiry/from"), &Value::from("timestamp"));
    assert_eq!(at(&table, "policy/warninglists"), &Value::from("off"));
    assert_eq!(at(&table, "misp/search/publish_timestamp"), &Value::from(1_700_000_000));
    // Placeholders are no values.
    for path in
        ["misp/key", "misp/url", "target/sentinel/tenant_id", "target/sentinel/client_secret"]
    {
        assert_eq!(at(&table, path), &Value::from(""), "{path}");
    }
    assert!(!text.contains("scope = "), "{text}");
    for name in ["targetProduct", "passiveOnly", "ms_action", "network_ignore_direction"] {
        let line = text.lines().find(|line| line.starts_with(&format!("# {name} (line ")));
        assert!(line.unwrap().contains("Graph API only"), "{name}");
    }
}

#[test]
fn an_edited_constants_file_may_be_named_as_well() {
    let (text, table) = import(&[CURRENT, CONSTANTS]);
    assert_eq!(at(&table, "policy/tlp_untagged"), &Value::from("clear"));
    assert_eq!(at(&table, "indicator/default_threat_type"), &Value::from("WatchList"));
    assert_eq!(
        at(&table, "indicator/labels_ignore"),
        &vec!["misp-galaxy:*", "Threat-Report*"].into()
    );
    assert_eq!(at(&table, "indicator/labels_taxonomies"), &vec!["tlp", "type"].into());
    let level = "misp:confidence-level=\"usually-confident\"";
    assert_eq!(at(&table, "indicator/confidence")[level], Value::from(80));
    assert!(text.contains("UPLOAD_INDICATOR_MISP_ACCEPTED_TYPES, line 7: the types"), "{text}");
}

#[test]
fn what_running_the_file_would_tell_is_asked_for_and_nothing_runs() {
    let mark = tempfile::tempdir().unwrap();
    let mark = mark.path().join("ran");
    let python = format!(
        "import os\nopen({:?}, 'w').write('x')\nmispurl = os.getenv('mispurl')\nmisp_domain = mispurl\n\
         misp_key = client.get_secret('MISP-Key').value\nif x:\n    misp_verifycert = True\n\
         ms_auth = {{}}\nms_auth['client_secret'] = secret.value\nmisp_event_filters = load()\n\
         mystery = 7\n",
        mark.to_str().unwrap()
    );
    let (text, table) = import(&[&python]);
    assert!(!mark.exists());
    assert_eq!(at(&table, "misp/url"), &Value::from(""));
    assert!(
        text.contains("the environment variable mispurl; the relay's is MSR_MISP__URL"),
        "{text}"
    );
    assert_eq!(at(&table, "misp/key"), &Value::from(""));
    assert!(text.contains("# misp_key, line 5: made by running the file"), "{text}");
    assert!(text.contains("misp_verifycert, line 7; it stands under a condition there"), "{text}");
    assert_eq!(at(&table, "target/sentinel/client_secret"), &Value::from(""));
    assert!(text.contains("# misp_event_filters, line 10: not a dictionary"), "{text}");
    assert!(
        text.contains("# mystery, line 11: no setting of misp2sentinel that is known here"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_no_python_is_refused_with_its_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "misp_key = 'x'\nmisp_domain = = 'y'\n").unwrap();
    let output = relay(&["import-config", file.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("line 2 is no Python"), "{error}");
    assert!(output.stdout.is_empty());
}

#[test]
fn tags_that_policy_cannot_say_stay_with_misp() {
    let of = |tags: &str| import(&[&format!("misp_event_filters = {{'tags': {tags}}}\n")]).1;
    let said = of("{'OR': ['a', 'b'], 'NOT': ['c']}");
    assert_eq!(at(&said, "policy/tags_include"), &vec!["a", "b"].into());
    assert_eq!(at(&said, "policy/tags_exclude"), &vec!["c"].into());
    for both in
        ["{'AND': ['a'], 'OR': ['b', 'c']}", "{'OR': ['b'], 'AND': ['a']}", "{'AND': ['a', 'b']}"]
    {
        let said = of(both);
        assert!(said["policy"].get("tags_include").is_none(), "{both}");
        assert!(at(&said, "misp/search/tags").get("AND").is_some(), "{both}");
    }
}

#[test]
fn secrets_can_go_to_a_file_that_nobody_else_reads() {
    let folder = tempfile::tempdir().unwrap();
    let [python, toml] = ["config.py", "relay.toml"].map(|name| folder.path().join(name));
    std::fs::write(&python, CURRENT).unwrap();
    let [python, toml] = [&python, &toml].map(|path| path.to_str().unwrap());
    let printed = relay(&["import-config", python]);
    let told = String::from_utf8(printed.stderr).unwrap();
    assert!(told.contains("still to be set") && told.contains("it holds secrets; --out"), "{told}");

    let written = relay(&["import-config", python, "--out", toml]);
    let told = String::from_utf8(written.stderr).unwrap();
    assert!(written.status.success() && written.stdout.is_empty(), "{told}");
    assert!(told.contains("still to be set") && !told.contains("--out"), "{told}");
    assert_eq!(std::fs::read(toml).unwrap(), printed.stdout);
    assert_eq!(std::fs::metadata(toml).unwrap().permissions().mode() & 0o777, 0o600);

    let again = relay(&["import-config", python, "--out", toml]);
    assert_eq!(again.status.code(), Some(1), "it is never overwritten");
}
