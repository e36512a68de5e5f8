//! Tests secrets in key vaults over TLS. A proxy maps the real host names of vaults to the sandbox.

use std::collections::BTreeSet;
use std::io::Write as _;

use misp_sentinel_relay::azure::vault::look_up;
use misp_sentinel_relay::config::{self, Config, FoundSecrets};

use super::*;
use crate::support::proxy::Proxy;

pub(super) const VAULT: &str = "kv-soc";
pub(super) const HOST: &str = "kv-soc.vault.azure.net";

/// The application that opens the vault, with the same secret as the sandbox's first one.
const OPENER: &str = "0be00000-0000-4000-8000-00000000c11e";

/// A sandbox that is also a vault, and the proxy that leads there.
pub(super) async fn with_vault() -> (Sandbox, Proxy) {
    let names = vec![HOST.to_owned()];
    let mut settings = Settings { names, quota_requests: 0, ..Settings::default() };
    let mut opener = settings.accounts[0].clone();
    OPENER.clone_into(&mut opener.client_id);
    settings.accounts.push(opener);
    let sandbox = start_with(settings).await;
    let proxy = Proxy::to(sandbox.address()).await;
    (sandbox, proxy)
}

pub(super) fn address(name: &str) -> String {
    format!("vault:https://{HOST}/secrets/{name}")
}

/// How the vault is opened.
pub(super) fn access(sandbox: &Sandbox, proxy: &Proxy) -> Vec<(String, String)> {
    let tenant = application(sandbox).0;
    [
        ("MSR_AZURE__CA_FILE", sandbox.ca_file().display().to_string()),
        ("MSR_AZURE__PROXY", proxy.url()),
        ("MSR_AZURE__VAULT__CREDENTIAL", "client-secret".to_owned()),
        ("MSR_AZURE__VAULT__TENANT_ID", tenant),
        ("MSR_AZURE__VAULT__CLIENT_ID", OPENER.to_owned()),
        ("MSR_AZURE__VAULT__CLIENT_SECRET", "sandbox-secret".to_owned()),
        ("MSR_AZURE__VAULT__AUTHORITY", sandbox.base_url()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec()
}

/// A configuration that names these secrets of the vault.
fn load(sandbox: &Sandbox, proxy: &Proxy, key: &str, secret: &str) -> Config {
    load_with(key, secret, access(sandbox, proxy))
}

fn load_with(key: &str, secret: &str, environment: Vec<(String, String)>) -> Config {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[misp]\nurl = 'https://misp.example.org'\nkey = '{key}'\n[target.soc]\n\
         workspace_id = '11111111-2222-4333-8444-555555555555'\ntenant_id = 't'\n\
         client_id = 'c'\nclient_secret = '{secret}'\n"
    );
    file.write_all(text.as_bytes()).unwrap();
    config::load(Some(file.path()), environment.into_iter()).unwrap()
}

async fn why_not(sandbox: &Sandbox, proxy: &Proxy, address: &str) -> String {
    let config = load(sandbox, proxy, address, "s3cret");
    look_up(&config, FoundSecrets::default()).await.unwrap_err().to_string()
}

#[tokio::test]
async fn secrets_are_looked_up_once_with_one_sign_in_and_read_again() {
    let (sandbox, proxy) = with_vault().await;
    let old = sandbox.keep_secret(VAULT, "misp-key", Secret::new("first"), &[]);
    sandbox.keep_secret(VAULT, "misp-key", Secret::new("second"), &[]);
    sandbox.keep_secret(VAULT, "entra", Secret::new("third"), &[]);
    let config =
        load(&sandbox, &proxy, &format!("{}/{old}", address("misp-key")), &address("entra"));
    let addresses =
        [format!("https://{HOST}/secrets/entra"), format!("https://{HOST}/secrets/misp-key/{old}")];
    assert_eq!(config.lookups, BTreeSet::from(addresses.clone()));
    let found = look_up(&config, FoundSecrets::default()).await.unwrap();
    assert_eq!(found.secrets[&addresses[0]].expose(), "third");
    assert_eq!(found.secrets[&addresses[1]].expose(), "first", "the version that is named");
    assert_eq!((sandbox.sign_ins(), sandbox.vault_reads()), (1, 2));

    sandbox.keep_secret(VAULT, "entra", Secret::new("fourth"), &[]);
    let vault = found.vault.unwrap();
    assert_eq!(vault.read(&addresses[0]).await.unwrap().secret.expose(), "fourth");
    sandbox.invalidate_tokens();
    let read = vault.read(&addresses[0]).await.unwrap();
    assert_eq!(read.secret.expose(), "fourth", "after a 401");
    assert_eq!(sandbox.sign_ins(), 2);
}

#[tokio::test]
async fn reads_after_a_rotation_of_the_openers_secret_share_one_token() {
    let (sandbox, proxy) = with_vault().await;
    sandbox.keep_secret(VAULT, "entra", Secret::new("third"), &[]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "sandbox-secret").unwrap();
    let mut environment = access(&sandbox, &proxy);
    environment.retain(|(key, _)| key != "MSR_AZURE__VAULT__CLIENT_SECRET");
    let path = file.path().display().to_string();
    environment.push(("MSR_AZURE__VAULT__CLIENT_SECRET_FILE".to_owned(), path));
    environment.push(("MSR_AZURE__SIGN_IN_PAUSE".to_owned(), "20ms".to_owned()));
    let config = load_with(&address("entra"), "s3cret", environment);
    let vault = look_up(&config, FoundSecrets::default()).await.unwrap().vault.unwrap();

    sandbox.rotate_secret(OPENER, Secret::new("another-secret"));
    std::fs::write(&file, "another-secret").unwrap();
    sandbox.invalidate_tokens();
    let secret = format!("https://{HOST}/secrets/entra");
    assert_eq!(vault.read(&secret).await.unwrap().secret.expose(), "third");
    let before = sandbox.sign_ins();
    for _ in 0..3 {
        assert_eq!(vault.read(&secret).await.unwrap().secret.expose(), "third");
    }
    assert_eq!(sandbox.sign_ins(), before);
}

#[tokio::test]
async fn what_a_vault_refuses_is_named_with_its_remedy() {
    let (sandbox, proxy) = with_vault().await;
    sandbox.keep_secret(VAULT, "private", Secret::new("x"), &["somebody-else"]);
    let why = why_not(&sandbox, &proxy, &address("private")).await;
    assert!(why.contains("Key Vault Secrets User") && why.contains("403"), "{why}");
    assert!(why.contains(&address("private")), "{why}");
    let why = why_not(&sandbox, &proxy, &address("absent")).await;
    assert!(why.contains("404") && why.contains("check the secret's name"), "{why}");

    sandbox.rotate_secret(OPENER, Secret::new("another"));
    let why = why_not(&sandbox, &proxy, &address("private")).await;
    assert!(why.contains("AADSTS7000222") && why.contains("[azure.vault]"), "{why}");
    assert!(!why.contains("sandbox-secret"), "{why}");
}

/// The SDK compares the challenge with the host's name, so that no stranger gets a token for vaults.
#[tokio::test]
async fn challenge_of_a_stranger_gets_no_token() {
    let names = vec!["kv-soc.strangers.example".to_owned()];
    let sandbox = start_with(Settings { names, ..Settings::default() }).await;
    let proxy = Proxy::to(sandbox.address()).await;
    sandbox.keep_secret(VAULT, "misp-key", Secret::new("x"), &[]);
    sandbox.set_vault_resource(Some("https://vault.azure.net"));
    let stranger = "vault:https://kv-soc.strangers.example/secrets/misp-key";
    let why = why_not(&sandbox, &proxy, stranger).await;
    assert!(why.contains("doesn't match"), "{why}");
    assert_eq!(sandbox.sign_ins(), 0);
}

/// As in the example: without a key of `[azure.vault]`.
#[tokio::test]
async fn managed_identity_opens_the_vault_by_itself() {
    let (mut sandbox, proxy) = with_vault().await;
    let metadata = sandbox.serve_metadata().await.unwrap();
    let machine = identity(&sandbox, 1, true);
    sandbox.assign(machine.clone());
    sandbox.keep_secret(VAULT, "misp-key", Secret::new("k"), &[&machine.client_id]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[misp]\nurl = 'https://misp.example.org'\nkey = '{}'\n[azure]\nca_file = '{}'\n\
         proxy = '{}'\nmetadata_endpoint = 'http://{metadata}'\n[target.soc]\nmode = 'dry-run'\n",
        address("misp-key"),
        sandbox.ca_file().display(),
        proxy.url(),
    );
    std::fs::write(file.path(), text).unwrap();
    let config = config::load(Some(file.path()), std::iter::empty()).unwrap();
    let found = look_up(&config, FoundSecrets::default()).await.unwrap();
    let whole = config::ConfigSource::new(Some(file.path()), []).read(found).unwrap();
    assert!(whole.lookups.is_empty());
    assert_eq!(whole.sources[0].rest.as_ref().unwrap().key.expose(), "k");
    assert_eq!((sandbox.metadata_requests(), sandbox.sign_ins()), (1, 0));
}

#[tokio::test]
async fn the_end_of_a_secret_is_known_where_the_vault_says_it() {
    let (sandbox, proxy) = with_vault().await;
    sandbox.keep_secret(VAULT, "misp-key", Secret::new("first"), &[]);
    sandbox.keep_secret(VAULT, "entra", Secret::new("second"), &[]);
    sandbox.end_secret(VAULT, "entra", 1_893_456_000);
    let config = load(&sandbox, &proxy, &address("misp-key"), &address("entra"));
    let found = look_up(&config, FoundSecrets::default()).await.unwrap();
    // 2030-01-01T00:00:00Z
    let ends = chrono::DateTime::from_timestamp(1_893_456_000, 0).unwrap();
    assert_eq!(found.ends, [(format!("https://{HOST}/secrets/entra"), ends)].into());
}
