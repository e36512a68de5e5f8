//! Tests the list of tenants that misp2sentinel's Azure Function uses.

use super::*;

const FIRST: &str = "aaaaaaaa-2222-4333-8444-555555555555";
const SECOND: &str = "bbbbbbbb-2222-4333-8444-555555555555";

/// Without a target of its own.
fn least() -> String {
    LEAST.split("[target.soc]").next().unwrap().to_owned()
}

fn entry(tenant: &str, workspace: &str) -> String {
    format!(
        r#"{{"tenantId": "{tenant}.example", "id": "app-{tenant}", "secret": "{CANARY}-{tenant}", "workspaceId": "{workspace}"}}"#
    )
}

/// Targets in two tenants need their own.
const OF_FIRST: (&str, &str) = ("MSR_TARGET__TENANT_AAAAAAAA__POLICY__TLP_MAX", "green");
const OF_SECOND: (&str, &str) = ("MSR_TARGET__TENANT_BBBBBBBB__POLICY__TLP_MAX", "amber");

fn of(list: &str) -> Result<Config, Mistakes> {
    load(&least(), &[("MSR_TENANTS", list)])
}

#[test]
fn each_entry_is_a_target_whose_name_stays_in_any_order() {
    let entries = [entry("a", FIRST), entry("b", SECOND)];
    let both = |list: &str| load(&least(), &[("MSR_TENANTS", list), OF_FIRST, OF_SECOND]).unwrap();
    let config = both(&format!("[{}]", entries.join(",")));
    let other = both(&format!("\n[{},\n{}]\n", entries[1], entries[0]));
    for config in [config, other] {
        let [a, b] = &config.targets[..] else { panic!("{:?}", config.targets) };
        assert_eq!([&*a.name, &*b.name], ["tenant-aaaaaaaa", "tenant-bbbbbbbb"]);
        assert_eq!(a.workspace_id.to_string(), FIRST);
        assert_eq!((&*b.credential.tenant_id, &*b.credential.client_id), ("b.example", "app-b"));
        let Proof::ClientSecret(secret) = &b.credential.proof else { panic!() };
        assert_eq!(secret.expose(), format!("{CANARY}-b"));
        assert!(a.enabled && a.sourcesystem == "misp-sentinel-relay");
        assert!(!format!("{config:?}").contains(CANARY));
    }
    assert_eq!(of("").unwrap_err().list()[0].key, "target");
}

#[test]
fn a_section_of_the_same_name_lays_over_an_entry_and_others_stand_beside() {
    let own = format!(
        "tenants_file = 'TENANTS'\n{LEAST}\n[target.tenant-bbbbbbbb]\nenabled = false\nsourcesystem = \"own\"\n
         [target.tenant-bbbbbbbb.policy]\ntlp_max = \"green\"\n"
    );
    let list = file(&format!("[{}, {}]", entry("a", FIRST), entry("b", SECOND)));
    let environment = [OF_FIRST, ("MSR_TARGET__SOC__POLICY__TLP_MAX", "amber+strict")];
    let own = own.replace("TENANTS", &list.path().display().to_string());
    let config = load(&own, &environment).unwrap();
    let names: Vec<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["soc", "tenant-aaaaaaaa", "tenant-bbbbbbbb"]);
    let b = &config.targets[2];
    assert_eq!((b.enabled, &*b.sourcesystem, b.policy.tlp_max), (false, "own", Tlp::Green));
    assert_eq!(b.credential.client_id, "app-b");
    let referred = load(
        &least(),
        &[
            ("MSR_TENANTS", "env:TENANTS_OF_THE_FUNCTION"),
            ("TENANTS_OF_THE_FUNCTION", &format!("[{}]", entry("a", FIRST))),
        ],
    );
    assert_eq!(referred.unwrap().targets[0].name, "tenant-aaaaaaaa");
}

#[test]
fn a_list_in_a_vault_is_looked_up_later_and_so_are_its_targets() {
    let own = "[target.tenant-bbbbbbbb]\nenabled = false\n";
    let address = "vault:https://kv.vault.azure.net/secrets/tenants";
    let config = load(&format!("{}{own}", least()), &[("MSR_TENANTS", address)]).unwrap();
    assert!(config.has_unread_tenants && config.targets.is_empty());
    assert_eq!(config.lookups.len(), 1);
}

#[test]
fn mistakes_are_named_by_position_and_tell_no_secret() {
    let a = entry("a", FIRST);
    for (list, words) in [
        (format!("[{a}, {{\"id\": \"{CANARY}\"}}]"), "entry 2 lacks tenantId, secret, workspaceId"),
        (format!("[{a}, {}]", entry("b", "soc")), "workspaceId of entry 2 is no uuid"),
        (format!("[{a}, {a}]"), "entries 1 and 2 are the same workspace"),
        (format!("[\"{CANARY}\"]"), "entry 1 is no object of strings"),
        (format!("[{a} {CANARY}]"), "no JSON list: line 1, column"),
        (format!("\"{CANARY}\""), "no JSON list"),
        (
            "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/tenants/)".into(),
            "Key Vault",
        ),
    ] {
        let mistakes = of(&list).unwrap_err();
        let text = mistakes.to_string();
        assert!(text.contains(words) && !text.contains(CANARY), "{words}: {text}");
        assert!(mistakes.list().iter().any(|mistake| mistake.key == "tenants"), "{text}");
    }
}
