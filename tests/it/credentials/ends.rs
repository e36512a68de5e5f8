//! Tests that the metrics tell when what the relay relies on ends: a secret of a vault and the webhook's certificate.

use std::time::{Duration, Instant};

use misp_sentinel_relay::http::LOCAL;
use rcgen::{CertificateParams, KeyPair};

use super::rotation::{Stage, key};
use super::vault::{HOST, VAULT, access, address, with_vault};
use super::*;

/// 2099-01-01 and 2098-01-01, Unix seconds.
const SECRET_ENDS: i64 = 4_070_908_800;
const CERTIFICATE_ENDS: i64 = 4_039_372_800;

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_tell_when_a_vaults_secret_and_the_webhooks_certificate_end() {
    let (sandbox, proxy) = with_vault().await;
    sandbox.keep_secret(VAULT, "entra", Secret::new("sandbox-secret"), &[]);
    sandbox.end_secret(VAULT, "entra", SECRET_ENDS);
    let folder = tempfile::tempdir().unwrap();
    let own = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2098, 1, 1);
    let certificate = params.self_signed(&own).unwrap();
    let [chain, pem] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&chain, certificate.pem()).unwrap();
    std::fs::write(&pem, own.serialize_pem()).unwrap();
    let mut settings = access(&sandbox, &proxy);
    settings.extend([
        (key("CLIENT_SECRET"), address("entra")),
        ("MSR_MISP__WEBHOOK__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("MSR_MISP__WEBHOOK__SECRET".to_owned(), "a-secret-of-the-webhook-of-32-signs".to_owned()),
        ("MSR_MISP__WEBHOOK__TLS_CERTIFICATE".to_owned(), chain.display().to_string()),
        ("MSR_MISP__WEBHOOK__TLS_KEY".to_owned(), pem.display().to_string()),
    ]);
    let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let stage = Stage::set(sandbox, &settings).await;
    let page = stage.relay.page_address(1).await;
    let client = LOCAL.client_with(|builder| builder).unwrap();
    let lines = [
        format!(
            "misp_sentinel_relay_vault_secret_expiry_timestamp_seconds{{secret=\"{HOST}/secrets/entra\"}} {SECRET_ENDS}"
        ),
        format!(
            "misp_sentinel_relay_webhook_certificate_expiry_timestamp_seconds {CERTIFICATE_ENDS}"
        ),
    ];
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = client.get(format!("{page}/metrics")).send().await.unwrap();
        let text = answer.text().await.unwrap();
        if lines.iter().all(|line| text.lines().any(|one| one == line)) {
            return;
        }
        assert!(Instant::now() < deadline, "{lines:#?} not in:\n{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
