//! Tests that what compose, Quadlet and Kubernetes give the relay is a configuration without mistakes. Only the
//! files that they mount are missing here.

use std::fs;
use std::path::Path;

use misp_sentinel_relay::config;

const UUID: &str = "11111111-2222-4333-8444-555555555555";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The keys that are wrong.
fn wrong(text: &str, environment: Vec<(String, String)>) -> Vec<String> {
    assert!(environment.len() >= 3, "{environment:?}");
    let file = super::file(text);
    let mistakes = config::load(Some(file.path()), environment.into_iter()).unwrap_err();
    mistakes.list().iter().map(|mistake| mistake.key.clone()).collect()
}

/// What a compose file gives the relay, with the operator's own values filled in.
fn of_compose(file: &str) -> Vec<(String, String)> {
    let text = read(file);
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with("MSR_"));
    lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), filled_in(name, value)))
        .collect()
}

fn filled_in(name: &str, value: &str) -> String {
    match value.strip_prefix("${") {
        Some(variable) if variable.contains(":-") => {
            let (_, default) = variable.split_once(":-").unwrap();
            default.trim_end_matches('}').to_owned()
        }
        Some(_) if name.ends_with("_URL") => "https://misp.example.org".to_owned(),
        Some(_) => UUID.to_owned(),
        // Compose wants words such as true in quotes.
        None => value.trim_matches('"').to_owned(),
    }
}

#[test]
fn the_compose_files_give_a_configuration_without_mistakes() {
    assert_eq!(wrong("", of_compose("docker/compose.yaml")), ["azure.ca_file"]);
    let mounted =
        ["misp.key_file", "misp.zeromq.password_file", "target.sentinel.client_secret_file"];
    let mut environment = of_compose("docker/compose.misp.yaml");
    assert_eq!(wrong("", environment.clone()), mounted);
    environment.extend(of_compose("docker/compose.metrics.yaml"));
    environment.push(("MSR_TARGET__SENTINEL__MODE".to_owned(), "dry-run".to_owned()));
    assert_eq!(wrong("", environment), mounted);
}

#[test]
fn the_quadlet_file_gives_a_configuration_without_mistakes() {
    let text = read("docker/quadlet/misp-sentinel-relay.container");
    let given = text.lines().filter_map(|line| line.strip_prefix("Environment="));
    let given = given.map(|line| line.split_once('=').unwrap());
    // Its comment asks for these in the environment file.
    let own = [
        ("MSR_MISP__PUBLIC_URL", "https://misp.example.org"),
        ("MSR_TARGET__SENTINEL__WORKSPACE_ID", UUID),
        ("MSR_TARGET__SENTINEL__TENANT_ID", UUID),
        ("MSR_TARGET__SENTINEL__CLIENT_ID", UUID),
    ];
    let all = given.chain(own).map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mounted =
        ["misp.key_file", "misp.zeromq.password_file", "target.sentinel.client_secret_file"];
    assert_eq!(wrong("", all.collect()), mounted);
}

/// A labelled pod of AKS has these variables.
#[test]
fn the_kubernetes_files_give_a_configuration_without_mistakes() {
    let pod = [
        ("AZURE_TENANT_ID", UUID),
        ("AZURE_CLIENT_ID", UUID),
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/tokens/azure-identity-token"),
    ];
    let pod = pod.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mounted = ["misp.key_file", "misp.zeromq.password_file"];
    let example = read("deploy/kubernetes/example/config.toml");
    assert_eq!(wrong(&example, pod.to_vec()), mounted);
    // The base must not start as it is.
    let base = read("deploy/kubernetes/base/config.toml");
    assert_eq!(
        wrong(&base, pod.to_vec()),
        [&mounted[..], &["target.sentinel.workspace_id"]].concat()
    );
}
