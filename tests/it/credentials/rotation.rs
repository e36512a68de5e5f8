//! Tests that the built relay uses a secret, certificate or token that was replaced while it runs. Also tests
//! managed identities that it finds through its environment.

use misp_sentinel_relay::misp_api;

use super::vault::{VAULT, access, address, with_vault};
use super::*;
use crate::support::event::{publication, then};
use crate::support::publisher::Publisher;
use crate::support::relay::{Relay, held};
use crate::support::rest::{FakeRest, KEY, Part, settings};
use crate::support::sandbox::eventually;

/// A relay between a publisher and a sandbox.
pub(super) struct Stage {
    pub(super) sandbox: Sandbox,
    publisher: Publisher,
    pub(super) relay: Relay,
}

impl Stage {
    pub(super) async fn set(sandbox: Sandbox, settings: &[(&str, &str)]) -> Self {
        let publisher = Publisher::bind();
        let relay = Relay::start(&sandbox, &publisher, settings).await;
        Self { sandbox, publisher, relay }
    }

    /// Publishes as many domains as that, all others before among them.
    pub(super) async fn publishes(&self, count: usize) {
        let names: Vec<String> = (0..count).map(|number| format!("d{number}.example")).collect();
        let attributes: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(number, name)| (number, name.as_str(), &[][..]))
            .collect();
        let edited = then() + i64::try_from(count).unwrap();
        self.publisher.send(&publication(edited, &attributes)).await;
    }

    pub(super) async fn arrives(&self, count: usize) {
        eventually(&self.sandbox, |sandbox| held(sandbox).len() == count).await;
    }

    pub(super) async fn delivers(&self, count: usize) {
        self.publishes(count).await;
        self.arrives(count).await;
    }
}

/// The target's key in the environment.
pub(super) fn key(leaf: &str) -> String {
    format!("MSR_TARGET__SANDBOX__{leaf}")
}

#[tokio::test(flavor = "multi_thread")]
async fn client_secret_in_a_file_changes_while_the_relay_runs() {
    let sandbox = start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "sandbox-secret\n").unwrap();
    let settings = [
        (key("CLIENT_SECRET"), String::new()),
        (key("CLIENT_SECRET_FILE"), file.display().to_string()),
    ];
    let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let stage = Stage::set(sandbox, &settings).await;
    stage.delivers(1).await;

    stage.sandbox.rotate_secret(&application(&stage.sandbox).1, Secret::new("the-next-one"));
    std::fs::write(&file, "the-next-one\n").unwrap();
    stage.sandbox.invalidate_tokens();
    stage.delivers(2).await;
    // The first, the refused one, and the one with the new secret.
    assert_eq!(stage.sandbox.sign_ins(), 3);
    let log = stage.relay.log();
    assert!(log.contains("secret_changed"), "{log}");
    assert!(!log.contains("degraded"), "no operator was needed");
    assert!(!log.contains("the-next-one") && !log.contains("sandbox-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn client_secret_in_a_vault_changes_while_the_relay_runs() {
    let (sandbox, proxy) = with_vault().await;
    let client_id = application(&sandbox).1;
    sandbox.keep_secret(VAULT, "entra", Secret::new("sandbox-secret"), &[]);
    let mut settings = access(&sandbox, &proxy);
    settings.push((key("CLIENT_SECRET"), address("entra")));
    let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let stage = Stage::set(sandbox, &settings).await;
    stage.delivers(1).await;
    assert_eq!(stage.sandbox.vault_reads(), 1);

    stage.sandbox.rotate_secret(&client_id, Secret::new("the-next-one"));
    stage.sandbox.keep_secret(VAULT, "entra", Secret::new("the-next-one"), &[]);
    stage.sandbox.invalidate_tokens();
    stage.delivers(2).await;
    assert_eq!(stage.sandbox.vault_reads(), 2, "once more, when refused");
    let checked = stage.relay.command(&["check-config"]);
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(told.contains("secrets/entra (looked up at start)"), "{told}");
    assert_eq!(stage.sandbox.vault_reads(), 2, "check-config asks nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_that_no_vault_gives_ends_the_start_with_the_reason() {
    let (sandbox, proxy) = with_vault().await;
    let publisher = Publisher::bind();
    let mut relay = Relay::start(&sandbox, &publisher, &[]).await;
    relay.kill();
    for (name, value) in access(&sandbox, &proxy) {
        relay.set(&name, &value);
    }
    relay.set(&key("CLIENT_SECRET"), &address("absent"));
    let output = relay.command(&["run"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("secrets/absent") && told.contains("check the secret's name"), "{told}");
    let output = relay.command(&["check"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("check the secret's name"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_changes_while_the_relay_runs() {
    let sandbox = start().await;
    let client_id = application(&sandbox).1;
    sandbox.register_certificate(&client_id, certificate_der("one.crt"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.pfx");
    std::fs::copy(certificate_file("one-modern.p12"), &file).unwrap();
    let settings = [
        (key("CREDENTIAL"), "certificate".to_owned()),
        (key("CLIENT_SECRET"), String::new()),
        (key("CERTIFICATE_FILE"), file.display().to_string()),
        (key("CERTIFICATE_PASSWORD"), "sandbox".to_owned()),
    ];
    let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let stage = Stage::set(sandbox, &settings).await;
    stage.delivers(1).await;

    stage.sandbox.forget_certificates(&client_id);
    stage.sandbox.register_certificate(&client_id, certificate_der("two.crt"));
    std::fs::copy(certificate_file("two.pem"), &file).unwrap();
    stage.sandbox.invalidate_tokens();
    stage.delivers(2).await;
    assert_eq!(stage.sandbox.sign_ins(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn managed_identity_of_a_machine_and_of_app_service() {
    for app_service in [false, true] {
        let mut sandbox = start().await;
        let metadata = format!("http://{}", sandbox.serve_metadata().await.unwrap());
        sandbox.assign(identity(&sandbox, 1, false));
        let named = format!("client:{}", identity(&sandbox, 1, false).client_id);
        let mut settings = vec![
            (key("CREDENTIAL"), "managed-identity".to_owned()),
            (key("MANAGED_IDENTITY"), named),
            (key("TENANT_ID"), String::new()),
            (key("CLIENT_ID"), String::new()),
            (key("CLIENT_SECRET"), String::new()),
            // The metadata service is never reached through a proxy.
            ("HTTP_PROXY".to_owned(), "http://127.0.0.1:1".to_owned()),
        ];
        settings.extend(match app_service {
            false => vec![("MSR_AZURE__METADATA_ENDPOINT".to_owned(), metadata)],
            true => vec![
                (
                    "IDENTITY_ENDPOINT".to_owned(),
                    format!("{metadata}/metadata/identity/oauth2/token"),
                ),
                ("IDENTITY_HEADER".to_owned(), "code".to_owned()),
            ],
        });
        let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let stage = Stage::set(sandbox, &settings).await;
        stage.delivers(1).await;
        stage.sandbox.invalidate_tokens();
        stage.delivers(2).await;
        let asked = (stage.sandbox.metadata_requests(), stage.sandbox.sign_ins());
        assert_eq!(asked, (2, 0), "app_service {app_service}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn projected_token_changes_while_the_relay_runs() {
    let sandbox = start().await;
    let (tenant, client) = application(&sandbox);
    let federated = Federated {
        issuer: "https://oidc.aks.example/1/".to_owned(),
        subject: "system:serviceaccount:soc:relay".to_owned(),
        audience: EXCHANGE.to_owned(),
    };
    sandbox.trust(&client, federated.clone());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("azure-identity-token");
    let lifetime = Duration::from_secs(3);
    std::fs::write(&file, sandbox.federated_token(federated.clone(), lifetime)).unwrap();
    // As the webhook of AKS puts them into a pod.
    let settings = [
        ("AZURE_TENANT_ID".to_owned(), tenant),
        ("AZURE_CLIENT_ID".to_owned(), client),
        ("AZURE_FEDERATED_TOKEN_FILE".to_owned(), file.display().to_string()),
        (key("CREDENTIAL"), "workload-identity".to_owned()),
        (key("TENANT_ID"), String::new()),
        (key("CLIENT_ID"), String::new()),
        (key("CLIENT_SECRET"), String::new()),
    ];
    let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let stage = Stage::set(sandbox, &settings).await;
    stage.delivers(1).await;
    tokio::time::sleep(lifetime).await;
    std::fs::write(&file, stage.sandbox.federated_token(federated, PATIENCE)).unwrap();
    stage.sandbox.invalidate_tokens();
    stage.delivers(2).await;
    assert_eq!(stage.sandbox.sign_ins(), 2);
    assert!(!stage.relay.log().contains("AADSTS"), "the old token was not shown again");
}

#[tokio::test]
async fn key_of_misp_changes_while_it_is_asked() {
    let next = KEY.replace('0', "9");
    let good = std::sync::Arc::new(std::sync::Mutex::new(KEY.to_owned()));
    let known = std::sync::Arc::clone(&good);
    let misp = FakeRest::start(move |_, request| {
        let (status, body) = match request.headers["authorization"] == *known.lock().unwrap() {
            true => ("200 OK", r#"{"version":"2.5.1"}"#),
            false => ("403 Forbidden", r#"{"message":"Authentication failed."}"#),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n");
        let text = format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        vec![Part::Bytes(text.into_bytes())]
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, KEY).unwrap();
    let mut settings = settings(&misp.url);
    settings.key = Secret::from_file(&file).unwrap();
    let client = misp_api::MispClient::new(&settings).unwrap();
    assert_eq!(client.version().await.unwrap(), "2.5.1");

    good.lock().unwrap().clone_from(&next);
    std::fs::write(&file, format!("{next}\n")).unwrap();
    assert_eq!(client.version().await.unwrap(), "2.5.1");
    assert_eq!(misp.requests().len(), 3, "refused once, then with the new key");
    assert_eq!(client.version().await.unwrap(), "2.5.1");
    assert_eq!(misp.requests().len(), 4);

    "nobody's".clone_into(&mut good.lock().unwrap());
    for asked in [5, 6] {
        let error = client.version().await.unwrap_err().to_string();
        assert!(!error.contains(&next), "{error}");
        assert_eq!(misp.requests().len(), asked, "a key that did not change is not tried twice");
    }
}
