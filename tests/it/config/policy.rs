//! Tests the section `[policy]`: the meaning of tags, the mode without a key, and what is required for
//! targets in several tenants.

use misp_sentinel_relay::pure::policy::Mark;
use uuid::Uuid;

use super::*;

const OTHER_TENANT: [(&str, &str); 4] = [
    ("target.client.workspace_id", "'aaaaaaaa-2222-4333-8444-555555555555'"),
    ("target.client.tenant_id", "'client.onmicrosoft.com'"),
    ("target.client.client_id", "'c'"),
    ("target.client.client_secret", "'s'"),
];

fn both(more: &[(&str, &str)]) -> Result<Config, Mistakes> {
    with(&[&OTHER_TENANT, more].concat())
}

#[test]
fn targets_in_several_tenants_need_a_tlp_max_each() {
    let missing = problems(both(&[]));
    let keys: Vec<&str> = missing.keys().map(String::as_str).collect();
    assert_eq!(keys, ["target.client.policy.tlp_max", "target.soc.policy.tlp_max"], "{missing:?}");
    for text in missing.values() {
        assert!(text.contains("2 tenants") && text.contains("AMBER+STRICT"), "{text}");
    }
    let own = ("target.soc.policy.tlp_max", "'amber+strict'");
    let one = problems(both(&[own]));
    assert_eq!(one.keys().collect::<Vec<_>>(), ["target.client.policy.tlp_max"]);
    // That of all is nobody's decision.
    assert_eq!(problems(both(&[("policy.tlp_max", "'green'")])).len(), 2);
    let decided = both(&[own, ("target.client.policy.tlp_max", "'green'")]).unwrap();
    let of =
        |name: &str| decided.targets.iter().find(|one| one.name == name).unwrap().policy.tlp_max;
    assert_eq!((of("client"), of("soc")), (Tlp::Green, Tlp::AmberStrict));
}

#[test]
fn one_tenant_and_targets_that_are_off_need_none() {
    let same = ("target.client.tenant_id", "'Example.onmicrosoft.com'");
    assert!(both(&[same]).is_ok(), "names of tenants have no case");
    assert!(both(&[("target.client.enabled", "false")]).is_ok());
    let lines = format!(
        "{LEAST}[target.azure]\ncredential = 'managed-identity'\nworkspace_id = \"aaaaaaaa-2222-4333-8444-555555555555\"\n"
    );
    let machine = problems(load(&lines, &[]));
    assert_eq!(machine.len(), 2, "nobody knows whether the machine is of that tenant: {machine:?}");
}

#[test]
fn tags_have_a_table_and_a_target_its_own() {
    let own = format!(
        "{LEAST}[target.soc.policy.tlp_tags]\n'x:*' = 'ex:chr'\n\
         [policy.tlp_tags]\n'tool:TLP Stealer' = 'none'\n'internal:*' = 'Amber+Strict'\n"
    );
    let config = load(&own, &[]).unwrap();
    let table = &config.policy.tlp_tags;
    assert_eq!(table["tool:TLP Stealer"], None);
    assert_eq!(table["internal:*"], Some(Mark::Level(Tlp::AmberStrict)));
    let of_target = &config.targets[0].policy.tlp_tags;
    assert_eq!((of_target.len(), of_target["x:*"]), (1, Some(Mark::HidesSource)));
    let variable = ("MSR_POLICY__TLP_TAGS", r#"{"a:b": "white"}"#);
    let config = load(LEAST, &[variable]).unwrap();
    assert_eq!(config.policy.tlp_tags["a:b"], Some(Mark::Level(Tlp::Clear)));
    assert_eq!(config.targets[0].policy, config.policy);
    for (value, words) in [(r#"{"a": "purple"}"#, "purple"), (r#"{"a": 3}"#, "3"), ("[", "JSON")] {
        let wrong = problems(load(LEAST, &[("MSR_POLICY__TLP_TAGS", value)]));
        let text = &wrong["policy.tlp_tags"];
        assert!(text.contains(words) && text.contains("ex:chr or none"), "{text}");
    }
}

#[test]
fn untagged_may_stay_unmarked() {
    let of = |value: &str| with(&[("policy.tlp_untagged", value)]).unwrap().policy.tlp_untagged;
    assert_eq!(of("'unmarked'"), Untagged::Unmarked);
    assert_eq!(of("'green'"), Untagged::Counts(Tlp::Green));
    let default = with(&[]).unwrap().policy.tlp_untagged;
    assert_eq!(default, Untagged::Counts(Tlp::Clear));
}

#[test]
fn without_a_key_the_policy_knows_that_the_feed_is_all() {
    let organisation = "55f6ea5e-2c60-40e5-964f-47a8950d210f";
    let listed = ("policy.org_without_key", "['55f6ea5e-2c60-40e5-964f-47a8950d210f']");
    let config = with(&[listed]).unwrap();
    assert!(config.policy.is_feed_only && config.targets[0].policy.is_feed_only);
    assert_eq!(config.policy.org_without_key, [Uuid::parse_str(organisation).unwrap()]);
    let with_key = with(&[listed, ("misp.key", misp::KEY)]).unwrap();
    assert!(!with_key.policy.is_feed_only);
    let key = file("0123456789012345678901234567890123456789");
    let in_file = [("MSR_MISP__KEY_FILE", key.path().to_str().unwrap())];
    assert!(!load(LEAST, &in_file).unwrap().policy.is_feed_only);
    assert!(problem("policy.org_without_key", "['CIRCL']").contains("no uuid"));
}

#[test]
fn lists_of_shared_hosts_need_a_key() {
    let names = ("policy.shared_host_lists", "['Top 1000 *']");
    let missing = problems(with(&[names]));
    assert!(missing["misp.key"].contains("policy.shared_host_lists"), "{missing:?}");
    let config = with(&[names, ("misp.key", misp::KEY)]).unwrap();
    assert_eq!(config.targets[0].policy.shared_host_lists, ["Top 1000 *"]);
}

/// What is told of the table, for each of its lines.
fn told_of_marks(config: &Config) -> Vec<String> {
    let warnings = config::warnings(config).into_iter();
    warnings.filter(|warning| warning.contains("tlp_tags")).collect()
}

#[test]
fn a_line_that_makes_a_tlp_tag_less_strict_is_told() {
    let told = |table: &str| {
        told_of_marks(&load(&format!("{LEAST}[policy.tlp_tags]\n{table}\n"), &[]).unwrap())
    };
    for (line, words) in [
        ("'tlp:red' = 'white'", ["\"tlp:red\"", "tlp:red counts as tlp:clear"]),
        ("'TLP:Amber' = 'none'", ["\"TLP:Amber\"", "tlp:amber counts as no marking"]),
        ("'tlp:amber+*' = 'amber'", ["\"tlp:amber+*\"", "tlp:amber+strict counts as tlp:amber"]),
        ("'tlp:ex:chr' = 'none'", ["\"tlp:ex:chr\"", "tlp:ex:chr counts as no marking"]),
        ("'tlp:red' = 'ex:chr'", ["\"tlp:red\"", "tlp:red counts as tlp:ex:chr"]),
        ("'TLP RED' = 'green'", ["\"TLP RED\"", "TLP RED counts as tlp:green"]),
        ("'TLP RED*' = 'green'", ["\"TLP RED*\"", "TLP RED counts as tlp:green"]),
        ("'TLP AMB*' = 'clear'", ["\"TLP AMB*\"", "counts as tlp:clear"]),
        ("'?TLP:red' = 'none'", ["\"?TLP:red\"", "counts as no marking"]),
        ("'tlp=\"*' = 'clear'", ["\"tlp=\\\"*\"", "red counts as tlp:clear"]),
        ("'*:TLP *' = 'amber'", ["\"*:TLP *\"", "TLP red counts as tlp:amber"]),
        (
            "'ais-marking:*' = 'none'",
            ["\"ais-marking:*\"", "ais-marking:TLPMarking=\"RED\" counts as no marking"],
        ),
        (
            "'iep:traffic*' = 'green'",
            ["\"iep:traffic*\"", "iep:traffic-light-protocol=\"RED\" counts as tlp:green"],
        ),
    ] {
        let [warning] = &told(line)[..] else { panic!("{line}: {:?}", told(line)) };
        assert!(warning.starts_with("policy.tlp_tags"), "{warning}");
        assert!(words.iter().all(|words| warning.contains(words)), "{line}: {warning}");
    }
    // A wildcard tells of each level that it takes strictness from, and of no other.
    assert_eq!(told("'tlp:*' = 'green'").len(), 4, "{:?}", told("'tlp:*' = 'green'"));
    // More strict, as strict, and what no tag of the protocol is.
    for line in [
        "'tlp:green' = 'red'",
        "'TLP RED' = 'red'",
        "'tool:TLP Stealer' = 'none'",
        "'tlp:unclear' = 'amber'",
        "'internal:*' = 'clear'",
        "'tlp:white' = 'none'",
        "'tlp:*' = 'red'\n'tlp:ex:chr' = 'ex:chr'",
        "'tlp:*' = 'red'",
        "'tlp:ex:chr' = 'red'",
        "'TLP *' = 'red'",
        "'TLP Stealer*' = 'none'",
        "'TLP *' = 'none'\n'*TLP*' = 'red'",
    ] {
        assert_eq!(told(line), [""; 0], "{line}");
    }
}

#[test]
fn a_targets_own_line_is_told_by_its_key() {
    let own = format!("{LEAST}[target.soc.policy.tlp_tags]\n'tlp:red' = 'green'\n");
    let [warning] = &told_of_marks(&load(&own, &[]).unwrap())[..] else { panic!() };
    assert!(warning.starts_with("target.soc.policy.tlp_tags"), "{warning}");
}

#[test]
fn an_empty_tag_is_none() {
    for table in [r#"{"": "red"}"#, r#"{"  ": "red"}"#] {
        let wrong = problems(load(LEAST, &[("MSR_POLICY__TLP_TAGS", table)]));
        assert!(wrong["policy.tlp_tags"].contains("an empty tag"), "{wrong:?}");
    }
    for (section, value) in [("confidence", "50"), ("kill_chain", "'x'"), ("threat_types", "'x'")] {
        for tag in ["", " "] {
            let own = format!("{LEAST}[indicator.{section}]\n'{tag}' = {value}\n");
            let told = load(&own, &[]).expect_err(section).to_string();
            assert!(told.contains("an empty tag"), "{section}: {told}");
        }
    }
}

#[test]
fn one_tag_has_one_line_whatever_its_case() {
    for section in ["policy", "target.soc.policy"] {
        let lines = "'TLP:Red' = 'red'\n'tlp:red' = 'green'\n";
        let wrong = problems(load(&format!("{LEAST}[{section}.tlp_tags]\n{lines}"), &[]));
        let text = &wrong[&format!("{section}.tlp_tags")];
        assert!(text.contains("\"TLP:Red\"") && text.contains("\"tlp:red\""), "{text}");
        assert!(text.contains("differ only in case"), "{text}");
    }
}

#[test]
fn white_space_around_a_word_of_a_list_is_a_mistake() {
    const LISTS: [&str; 14] = [
        "tags_exclude",
        "tags_include",
        "orgs_include",
        "orgs_exclude",
        "types_include",
        "types_exclude",
        "categories_include",
        "categories_exclude",
        "sharing_groups",
        "false_positive_tags",
        "never",
        "shared_host_lists",
        "labels_ignore",
        "confidence_from",
    ];
    for list in LISTS {
        let sections = match list {
            "labels_ignore" | "confidence_from" => &["indicator"][..],
            _ => &["policy", "target.soc.policy"][..],
        };
        for key in sections.iter().map(|section| format!("{section}.{list}")) {
            let told = problem(&key, "['*', 'my:secret ']");
            let end = "\"my:secret \" has white space at its end";
            assert!(told.contains(end), "{key}: {told}");
            let told = problem(&key, "[\"\\tmy:secret\"]");
            assert!(told.contains("has white space at its beginning"), "{key}: {told}");
        }
    }
    // Blanks around a comma of the environment are none of a word.
    let config = load(LEAST, &[("MSR_POLICY__TAGS_EXCLUDE", "a , b")]).unwrap();
    assert_eq!(config.policy.tags_exclude, ["a", "b"]);
}

#[test]
fn white_space_around_a_tag_of_a_table_is_a_mistake() {
    for (section, value) in [
        ("policy.tlp_tags", "'red'"),
        ("target.soc.policy.tlp_tags", "'red'"),
        ("indicator.confidence", "50"),
        ("indicator.kill_chain", "'delivery'"),
        ("indicator.threat_types", "'phishing'"),
    ] {
        for (tag, place) in [("x:y ", "end"), (" x:y", "beginning")] {
            let own = format!("{LEAST}[{section}]\n'{tag}' = {value}\n");
            let told = load(&own, &[]).expect_err(section).to_string();
            let words = format!("{tag:?} has white space at its {place}");
            assert!(told.contains(&words), "{section}: {told}");
        }
    }
}

#[test]
fn a_type_or_category_that_misp_does_not_have_is_a_mistake() {
    for section in ["policy", "target.soc.policy"] {
        for (list, value, hint) in [
            ("types_include", "domian", "did you mean domain?"),
            ("types_exclude", "ip-dts", "did you mean ip-dst?"),
            ("types_exclude", "domian*", "did you mean domain?"),
            ("types_include", "zzzzzzzzzzzz", "docs/reference/mapping.md"),
            ("categories_include", "Network activty", "did you mean Network activity?"),
            ("categories_exclude", "payload delivry", "did you mean Payload delivery?"),
            ("categories_exclude", "zzzzzzzzzzzz", "Network activity, Payload delivery"),
        ] {
            let told = problem(&format!("{section}.{list}"), &format!("['{value}']"));
            assert!(told.contains(&format!("{value:?} is no ")), "{told}");
            assert!(told.contains(hint), "{told}");
        }
        // Names with wildcards, in any case, and of types that are never converted.
        for (list, value) in [
            ("types_include", "['ip-*', 'Domain', 'comment', '*|ip', '*']"),
            ("categories_exclude", "['network ACTIVITY', 'Payload*', '*']"),
        ] {
            assert!(with(&[(&format!("{section}.{list}"), value)]).is_ok(), "{list}");
        }
    }
}
