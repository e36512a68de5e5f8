//! Tests the configuration of credentials: the keys of each kind, and the mistakes for missing and unused
//! keys.

use std::path::PathBuf;

use misp_sentinel_relay::config::ManagedIdentity;

use super::*;

/// The least configuration, with these lines in place of the client secret's.
fn of_kind(lines: &str) -> String {
    let head = LEAST.split("tenant_id").next().unwrap();
    format!("{head}{lines}\n")
}

fn credential(lines: &str, environment: &[(&str, &str)]) -> Credential {
    let config = load(&of_kind(lines), environment).unwrap();
    config.targets.into_iter().next().unwrap().credential
}

#[test]
fn each_kind_takes_its_own_fields() {
    let app = "tenant_id = 't'\nclient_id = 'c'";
    let certificate = format!(
        "credential = 'certificate'\n{app}\ncertificate_file = '/run/app.pfx'\n\
         certificate_password = 'hush'"
    );
    let Credential { tenant_id, client_id, proof } = credential(&certificate, &[]);
    let Proof::Certificate { file, password } = proof else { panic!() };
    assert_eq!((tenant_id.as_str(), client_id.as_str()), ("t", "c"));
    assert_eq!((file, password.expose()), (PathBuf::from("/run/app.pfx"), "hush"));

    let federated = format!(
        "credential = 'federated-managed-identity'\n{app}\nmanaged_identity = 'client:abc-1'\n\
         cloud = 'us-government'"
    );
    let Credential { client_id, proof, .. } = credential(&federated, &[]);
    let Proof::FederatedManagedIdentity { identity, audience } = proof else { panic!() };
    assert_eq!(client_id, "c");
    assert_eq!(identity, ManagedIdentity::ClientId("abc-1".to_owned()));
    assert_eq!(audience, "api://AzureADTokenExchangeUSGov");

    let system = federated.replace("client:abc-1", "");
    let warnings = config::warnings(&load(&of_kind(&system), &[]).unwrap());
    assert!(warnings.iter().any(|warning| warning.contains("user-assigned")), "{warnings:?}");

    let cli = credential("credential = 'azure-cli'", &[]);
    assert_eq!((cli.tenant_id.as_str(), cli.proof), ("", Proof::AzureCli));
}

#[test]
fn managed_identities_are_named_by_the_kind_of_their_id() {
    let resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/n";
    let cases = [
        (String::new(), ManagedIdentity::SystemAssigned),
        ("client:11-aa".to_owned(), ManagedIdentity::ClientId("11-aa".to_owned())),
        ("object:22-bb".to_owned(), ManagedIdentity::ObjectId("22-bb".to_owned())),
        (format!("resource:{resource}"), ManagedIdentity::ResourceId(resource.to_owned())),
    ];
    for (text, expected) in cases {
        let lines = format!("credential = 'managed-identity'\nmanaged_identity = '{text}'");
        assert_eq!(credential(&lines, &[]), Credential::of_machine(expected));
    }
    for (text, hint) in [("11-aa", "client:11-aa"), ("resource:n", "resource:/subscriptions/")] {
        let lines = format!("credential = 'managed-identity'\nmanaged_identity = '{text}'");
        let problems = problems(load(&of_kind(&lines), &[]));
        assert!(problems["target.soc.managed_identity"].contains(hint), "{problems:?}");
    }
}

#[test]
fn workload_identity_is_what_the_pod_says_unless_the_target_says_otherwise() {
    let pod = [
        ("AZURE_TENANT_ID", "pod-tenant"),
        ("AZURE_CLIENT_ID", "pod-client"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
    ];
    let expected = |client: &str| Credential {
        tenant_id: "pod-tenant".to_owned(),
        client_id: client.to_owned(),
        proof: Proof::WorkloadIdentity { token_file: "/var/run/token".into() },
    };
    assert_eq!(credential("credential = 'workload-identity'", &pod), expected("pod-client"));
    let own = "credential = 'workload-identity'\nclient_id = 'own'";
    assert_eq!(credential(own, &pod), expected("own"));

    let outside = problems(load(&of_kind("credential = 'workload-identity'"), &[]));
    let keys: Vec<&str> = outside.keys().map(String::as_str).collect();
    let missing = ["client_id", "federated_token_file", "tenant_id"];
    assert_eq!(keys, missing.map(|key| format!("target.soc.{key}")));
    assert!(outside["target.soc.tenant_id"].contains("azure.workload.identity/use"), "{outside:?}");
}

#[test]
fn what_a_kind_needs_is_asked_for_by_name() {
    for (kind, needs) in [
        ("certificate", &["certificate_file", "client_id", "tenant_id"][..]),
        ("federated-managed-identity", &["client_id", "tenant_id"]),
    ] {
        let problems = problems(load(&of_kind(&format!("credential = '{kind}'")), &[]));
        let keys: Vec<&str> = problems.keys().map(String::as_str).collect();
        let expected: Vec<String> = needs.iter().map(|key| format!("target.soc.{key}")).collect();
        assert_eq!(keys, expected, "{problems:?}");
    }
}

#[test]
fn a_key_of_another_kind_is_a_mistake_unless_it_is_empty() {
    let lines = "credential = 'managed-identity'\ntenant_id = ''\nclient_id = 'c'\n\
                 client_secret_file = '/run/secret'";
    std::fs::metadata("/run/secret").unwrap_err();
    let text = load(&of_kind(lines), &[]).unwrap_err().to_string();
    assert!(text.contains("target.soc.client_id: credential = \"managed-identity\" does not use"));
    assert!(text.contains("managed_identity = \"client:ID\""), "{text}");
    assert!(text.contains("target.soc.client_secret_file: credential ="), "{text}");
    assert!(text.contains("set target.soc.credential to client-secret"), "{text}");
    assert!(!text.contains("target.soc.tenant_id"), "{text}");

    let near = problems(load(&of_kind("credential = 'manged-identity'"), &[]));
    assert!(near["target.soc.credential"].contains("did you mean managed-identity?"), "{near:?}");
    assert_eq!(near.len(), 1, "nothing is said of fields whose kind is unknown: {near:?}");
}

#[test]
fn a_secret_may_lie_in_a_variable_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "from-a-file\n").unwrap();
    let app = "tenant_id = 't'\nclient_id = 'c'";
    for reference in [format!("file:{}", path.display()), format!("file://{}", path.display())] {
        let own = of_kind(&format!("{app}\nclient_secret = '{reference}'"));
        assert_eq!(secret_of(&load(&own, &[]).unwrap().targets[0]), "from-a-file");
    }
    let own = of_kind(&format!("{app}\nclient_secret = 'env:ENTRA_SECRET'"));
    let config = load(&own, &[("ENTRA_SECRET", "from-a-variable")]).unwrap();
    assert_eq!(secret_of(&config.targets[0]), "from-a-variable");

    let problems = problems(load(&own, &[]));
    assert!(problems["target.soc.client_secret"].contains("no variable ENTRA_SECRET"));
    assert_eq!(problems.len(), 1, "{problems:?}");
    let gone = of_kind(&format!("{app}\nclient_secret = 'file:/no/file'"));
    let text = load(&gone, &[]).unwrap_err().to_string();
    assert!(text.contains("target.soc.client_secret") && text.contains("/no/file"), "{text}");
}

#[test]
fn a_secret_in_a_vault_is_named_and_not_looked_up() {
    let address = "https://kv-soc.vault.azure.net/secrets/entra";
    let lines = format!("tenant_id = 't'\nclient_id = 'c'\nclient_secret = 'vault:{address}'");
    let own = of_kind(&lines)
        .replace("[misp]", "[misp]\nkey = 'vault:https://k.vault.azure.net/secrets/a/1'");
    let config = load(
        &own,
        &[
            ("MSR_MISP__WEBHOOK__LISTEN", "127.0.0.1:1"),
            ("MSR_MISP__WEBHOOK__SECRET", "vault:https://k.vault.azure.net/secrets/b"),
        ],
    )
    .unwrap();
    let lookups: Vec<&str> = config.lookups.iter().map(String::as_str).collect();
    assert_eq!(
        lookups,
        ["https://k.vault.azure.net/secrets/a/1", "https://k.vault.azure.net/secrets/b", address]
    );
    assert_eq!(config.vault.credential, Credential::of_machine(ManagedIdentity::SystemAssigned));
    assert_eq!(secret_of(&config.targets[0]), "");
    assert!(config.sources[0].rest.is_some() && config.sources[0].webhook.is_some());
    assert!(config::warnings(&config).iter().all(|warning| !warning.contains("40 letters")));
}

#[test]
fn addresses_and_credentials_of_vaults_are_checked() {
    let lines = |secret: &str| {
        of_kind(&format!("tenant_id = 't'\nclient_id = 'c'\nclient_secret = '{secret}'"))
    };
    for wrong in [
        "vault:http://kv.vault.azure.net/secrets/a",
        "vault:https://kv.vault.azure.net/keys/a",
        "vault:https://kv.vault.azure.net/secrets/",
        "vault:https://kv.vault.azure.net/secrets/a/1/2",
        "vault:https://localhost/secrets/a",
        "vault:entra",
    ] {
        let problems = problems(load(&lines(wrong), &[]));
        let told = &problems["target.soc.client_secret"];
        assert!(told.contains("vault:https://NAME.vault.azure.net/secrets/SECRET"), "{told}");
    }
    let good = lines("vault:https://kv.vault.azure.net/secrets/a");
    let needed = [("MSR_AZURE__VAULT__CREDENTIAL", "client-secret")];
    let problems_of = problems(load(&good, &needed));
    let keys: Vec<&str> = problems_of.keys().map(String::as_str).collect();
    let expected = ["client_id", "client_secret", "tenant_id"];
    assert_eq!(keys, expected.map(|key| format!("azure.vault.{key}")));
    let circle = [
        ("MSR_AZURE__VAULT__CREDENTIAL", "client-secret"),
        ("MSR_AZURE__VAULT__TENANT_ID", "t"),
        ("MSR_AZURE__VAULT__CLIENT_ID", "c"),
        ("MSR_AZURE__VAULT__CLIENT_SECRET", "vault:https://kv.vault.azure.net/secrets/b"),
    ];
    let problems = problems(load(&good, &circle));
    assert!(problems["azure.vault.credential"].contains("cannot be opened"), "{problems:?}");
    let hint = load(&lines("@Microsoft.KeyVault(SecretUri=x)"), &[]).unwrap_err().to_string();
    assert!(hint.contains("vault:https://NAME.vault.azure.net/secrets/SECRET"), "{hint}");
}
