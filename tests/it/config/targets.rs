//! Tests the configuration of targets: their names, clouds, credentials and policies.

use misp_sentinel_relay::config::Limits;
use misp_sentinel_relay::pure::stix::{Identity, Withdraw};

use super::*;

#[test]
fn a_target_may_live_in_the_environment_alone_and_names_keep_their_dash() {
    let config = with(&[
        ("target.soc-eu.workspace_id", "'aaaaaaaa-2222-4333-8444-555555555555'"),
        ("target.soc-eu.tenant_id", "'example.onmicrosoft.com'"),
        ("target.soc-eu.client_id", "'c'"),
        ("target.soc-eu.client_secret", "'s'"),
    ])
    .unwrap();
    let names: Vec<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["soc", "soc-eu"]);
    assert_eq!(config.targets[1].authority, "https://login.microsoftonline.com");
}

#[test]
fn a_target_lays_its_own_policy_over_the_common_one_key_by_key() {
    let own = format!(
        "[policy]\ntlp_max = \"amber\"\nnever = [\"a.example\"]\n{LEAST}
         [target.soc.policy]\nnever = []\nthreat_levels = [1]\n
         [target.soc-eu]\nenabled = false\n[target.soc-us]\nenabled = false\n
         [target.soc-us.policy]\n"
    );
    let environment = [
        ("MSR_TARGET__SOC__POLICY__TLP_MAX", "green"),
        ("MSR_TARGET__SOC_EU__POLICY__TAGS_EXCLUDE", "a:*, b"),
    ];
    let config = load(&own, &environment).unwrap();
    let [soc, eu, us] = &config.targets[..] else { panic!() };
    assert_eq!(soc.policy.tlp_max, Tlp::Green);
    assert_eq!((&soc.policy.threat_levels[..], soc.policy.never.len()), (&[1][..], 0));
    assert_eq!((eu.policy.tlp_max, &eu.policy.never[..]), (Tlp::Amber, &["a.example".into()][..]));
    assert_eq!(eu.policy.tags_exclude, ["a:*", "b"]);
    assert_eq!(us.policy, config.policy);
    assert_eq!(config.policy.tags_exclude, Vec::<String>::new());
}

#[test]
fn mistakes_in_a_targets_policy_are_told_beside_the_others() {
    let own = "[policy]\ntlp_max = \"ambre\"\n[target.soc.policy]\ntlp_mx = \"green\"\nanalysis = [7]\n[target.soc.policy.never]\n";
    let environment = [("MSR_TARGET__SOC__POLICY__TO_IDS", "perhaps")];
    let mistakes = load(&format!("{LEAST}{own}"), &environment).unwrap_err();
    let text = mistakes.to_string();
    let keys: Vec<&str> = mistakes.list().iter().map(|mistake| mistake.key.as_str()).collect();
    let expected = ["analysis", "never", "tlp_mx", "to_ids"];
    let expected = expected.map(|key| format!("target.soc.policy.{key}"));
    assert_eq!(keys, [&["policy.tlp_max".to_owned()][..], &expected[..]].concat(), "{text}");
    assert!(text.contains("did you mean target.soc.policy.tlp_max?"), "{text}");
    assert!(text.contains("MSR_TARGET__SOC__POLICY__TO_IDS"), "{text}");
}

#[test]
fn the_block_of_the_example_is_no_target_and_its_name_is_free() {
    let own = LEAST.replace("[target.soc]", "[target.sentinel]");
    let config = load(&own, &[]).unwrap();
    assert_eq!(config.targets.len(), 1);
    assert_eq!(config.targets[0].name, "sentinel");
}

#[test]
fn without_a_target_that_is_said() {
    let (own, _) = LEAST.split_once("[target.soc]").unwrap();
    assert!(problems(load(own, &[]))["target"].contains("[target.NAME]"));
    assert!(problem("target.soc.enabled", "false").contains("enabled = true"));
}

#[test]
fn two_targets_must_not_overwrite_each_other() {
    let second = |workspace: &str, source: &str| {
        with(&[
            ("target.two.workspace_id", &format!("'{workspace}'")),
            ("target.two.tenant_id", "'example.onmicrosoft.com'"),
            ("target.two.client_id", "'c'"),
            ("target.two.client_secret", "'s'"),
            ("target.two.sourcesystem", &format!("'{source}'")),
        ])
    };
    let same = "11111111-2222-4333-8444-555555555555";
    let text = problems(second(same, "misp-sentinel-relay"));
    assert!(text["target.two.workspace_id"].contains("as target soc"), "{text:?}");
    assert!(second(same, "other").is_ok());
    assert!(second("22222222-2222-4333-8444-555555555555", "misp-sentinel-relay").is_ok());
}

#[test]
fn dry_run_and_disabled_targets_need_no_credentials() {
    let own =
        LEAST.to_owned() + "[target.trial]\nmode = \"dry-run\"\n[target.later]\nenabled = false\n";
    let config = load(&own, &[]).unwrap();
    let trial = config.targets.iter().find(|target| target.name == "trial").unwrap();
    assert!(trial.mode == Mode::DryRun);
    assert_eq!(trial.dry_run_file, config.ledger.data_dir.join("dry-run-trial.ndjson"));
}

#[test]
fn a_name_for_a_target_is_plain() {
    let own = LEAST.replace("[target.soc]", "[target.SOC]");
    assert!(problems(load(&own, &[]))["target.SOC"].contains("a to z"));
}

#[test]
fn a_secret_id_in_place_of_the_secret_is_warned() {
    let id = "'66666666-7777-4888-9999-000000000001'";
    let config = with(&[("target.soc.client_secret", id)]).unwrap();
    assert!(config::warnings(&config).iter().any(|line| line.contains("Secret ID")));
}

#[test]
fn each_cloud_has_its_addresses_and_any_of_them_may_be_another() {
    let of = |lines: &[(&str, &str)]| {
        let config = with(lines).unwrap();
        let target = config.targets[0].clone();
        (target.authority, target.scope, target.endpoint, target.path)
    };
    let upload = "/workspaces/{workspace_id}/threat-intelligence-stix-objects:upload";
    for (cloud, authority, scope, endpoint) in [
        ("public", "microsoftonline.com", "azure.com", "azure.com"),
        ("us-government", "microsoftonline.us", "usgovcloudapi.net", "azure.us"),
        ("china", "chinacloudapi.cn", "chinacloudapi.cn", "azure.cn"),
    ] {
        let expected = (
            format!("https://login.{authority}"),
            format!("https://management.{scope}/.default"),
            format!("https://api.ti.sentinel.{endpoint}"),
            upload.to_owned(),
        );
        assert_eq!(of(&[("target.soc.cloud", &format!("'{cloud}'"))]), expected);
    }
    let own = of(&[
        ("target.soc.cloud", "'china'"),
        ("target.soc.endpoint", "'https://upload.example/'"),
        ("target.soc.path", "'/x/{workspace_id}'"),
    ]);
    assert_eq!(own.0, "https://login.chinacloudapi.cn");
    assert_eq!((own.2.as_str(), own.3.as_str()), ("https://upload.example", "/x/{workspace_id}"));
    assert!(problems(with(&[("target.soc.cloud", "'germany'")])).contains_key("target.soc.cloud"));
}

#[test]
fn a_target_lays_its_own_limits_identity_and_withdrawal_over_the_common_ones() {
    let own = format!(
        "[delivery]\nmax_objects = 50\n[indicator]\nidentity = \"attribute\"\n{LEAST}
         identity = \"observable\"\nwithdraw = \"revoke\"\n
         [target.soc.delivery]\nquota_requests = 20\nmax_bytes = \"64KiB\"\n
         [target.soc-eu]\nenabled = false\n[target.soc-eu.delivery]\n"
    );
    let config = load(&own, &[("MSR_TARGET__SOC_EU__DELIVERY__MAX_IN_FLIGHT", "2")]).unwrap();
    let [soc, eu] = &config.targets[..] else { panic!() };
    let common = config.delivery.limits;
    assert_eq!((common.max_objects, common.quota_requests), (50, 99));
    assert_eq!(soc.limits, Limits { quota_requests: 20, max_bytes: 64 << 10, ..common });
    assert_eq!(eu.limits, Limits { max_in_flight: 2, ..common });
    assert_eq!((soc.identity, soc.withdraw), (Identity::Observable, Withdraw::Revoke));
    assert_eq!((eu.identity, eu.withdraw), (Identity::Attribute, Withdraw::Expire));
    let wrong = format!(
        "{LEAST}identity = \"attributes\"\n[target.soc.delivery]\nmax_objects = 101\nquota = 3\n"
    );
    let mistakes = load(&wrong, &[]).unwrap_err().to_string();
    for words in ["did you mean attribute?", "1 to 100", "target.soc.delivery.quota"] {
        assert!(mistakes.contains(words), "{words}: {mistakes}");
    }
}

#[test]
fn each_upload_api_has_its_address_where_one_is_known() {
    let of = |lines: &[(&str, &str)]| {
        let target = with(lines).unwrap().targets[0].clone();
        [target.endpoint, target.path, target.api_version]
    };
    let new = "/workspaces/{workspace_id}/threat-intelligence-stix-objects:upload";
    assert_eq!(of(&[]), ["https://api.ti.sentinel.azure.com", new, "2024-02-01-preview"]);
    let api = "target.soc.api";
    let legacy = "https://sentinelus.azure-api.net";
    let second = "/workspaces/{workspace_id}/threatintelligenceindicators:upload";
    assert_eq!(of(&[(api, "'indicators-v2'")]), [legacy, second, "2022-07-01"]);
    let first = "/{workspace_id}/threatintelligence:upload-indicators";
    assert_eq!(of(&[(api, "'indicators-v1'")]), [legacy, first, ""]);
    let elsewhere = [(api, "'indicators-v2'"), ("target.soc.cloud", "'china'")];
    assert!(problems(with(&elsewhere)).contains_key("target.soc.endpoint"));
    let short = [(api, "'indicators-v1'"), ("delivery.quota_window", "'1s'")];
    assert!(problems(with(&short)).contains_key("delivery.quota_window"));
}

#[test]
fn a_workspace_has_all_its_names_on_the_management_plane_or_none() {
    assert_eq!(with(&[]).unwrap().targets[0].managed, None);
    let names = [
        ("target.soc.subscription_id", "'aaaaaaaa-2222-4333-8444-555555555555'"),
        ("target.soc.resource_group", "'rg_1.(x)'"),
        ("target.soc.workspace_name", "'soc-eu'"),
    ];
    for (cloud, address) in [
        ("public", "https://management.azure.com"),
        ("us-government", "https://management.usgovcloudapi.net"),
        ("china", "https://management.chinacloudapi.cn"),
    ] {
        let cloud = format!("'{cloud}'");
        let all: Vec<_> =
            names.iter().copied().chain([("target.soc.cloud", cloud.as_str())]).collect();
        let managed = with(&all).unwrap().targets[0].managed.clone().unwrap();
        assert_eq!(managed.management, address);
        assert_eq!((&*managed.resource_group, &*managed.workspace_name), ("rg_1.(x)", "soc-eu"));
    }
    for left_out in 0..3 {
        let mut some = names.to_vec();
        let (missing, _) = some.remove(left_out);
        let mistakes = with(&some).unwrap_err();
        assert_eq!(mistakes.list().len(), 1, "{mistakes}");
        assert_eq!(mistakes.list()[0].key, missing);
    }
    let wrong = [
        ("target.soc.subscription_id", "'soc'"),
        ("target.soc.resource_group", "'a/b'"),
        ("target.soc.workspace_name", "'x y'"),
        ("target.soc.management", "'http://management.example'"),
        ("azure.management.page", "0"),
    ];
    let mistakes = with(&wrong).unwrap_err();
    let keys: Vec<&str> = mistakes.list().iter().map(|mistake| mistake.key.as_str()).collect();
    for (key, _) in wrong {
        assert!(keys.contains(&key), "{key}: {mistakes}");
    }
    assert_eq!(keys.len(), wrong.len(), "{mistakes}");
}

#[test]
fn deletions_need_the_management_plane() {
    for key in ["indicator.withdraw", "target.soc.withdraw"] {
        let mistakes = with(&[(key, "'delete'")]).unwrap_err();
        assert_eq!(mistakes.list().len(), 1, "{mistakes}");
        assert_eq!(mistakes.list()[0].key, "target.soc.workspace_name");
        let all = [
            (key, "'delete'"),
            ("target.soc.subscription_id", "'aaaaaaaa-2222-4333-8444-555555555555'"),
            ("target.soc.resource_group", "'rg'"),
            ("target.soc.workspace_name", "'soc-eu'"),
        ];
        assert_eq!(with(&all).unwrap().targets[0].withdraw, Withdraw::Delete);
    }
    let elsewhere = [("target.soc.withdraw", "'delete'"), ("target.soc.enabled", "false")];
    let text = with(&elsewhere).unwrap_err().to_string();
    assert!(!text.contains("workspace_name"), "{text}");
}
