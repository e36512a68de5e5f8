//! Tests the stand-in for Azure: its limits, its rules, and its faults on the network.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use misp_sentinel_relay::config::Api;
use misp_sentinel_relay::deliver::outcome::UploadOutcome;
use misp_sentinel_relay::sandbox::{Fault, Settings, serve_until};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use uuid::Uuid;

use crate::support::sandbox::{
    PATIENCE, SOURCE, Uploader, all_well, azure, indicator, start, start_with, target,
};

#[tokio::test]
async fn quota_counts_in_any_window_and_refused_requests_do_not_count() {
    let window = Duration::from_millis(400);
    let quota = Settings { quota_requests: 5, quota_window: window, ..Settings::default() };
    let sandbox = start_with(Settings { retry_after: true, ..quota }).await;
    let uploader = Uploader::new(&sandbox);
    let one = [indicator(1)];
    let second = Some(Duration::from_secs(1));
    let mut admitted = Vec::new();
    for _ in 0..60 {
        let outcome = uploader.send(&one).await;
        let request = sandbox.requests().pop().unwrap();
        if outcome == all_well() {
            admitted.push(request.arrived);
        } else {
            assert_eq!(outcome, UploadOutcome::Throttled { wait: second });
            assert_eq!(request.status, Some(429));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(admitted.len() >= 10, "a client that goes on asking is let in again");
    // Arrival is noted before the body is read and the quota asked: on a busy machine, long before.
    let late = window / 4;
    for six in admitted.windows(6) {
        assert!(six[5] - six[0] > window - late, "{:?}", six[5] - six[0]);
    }
}

#[tokio::test]
async fn throttled_body_is_the_documented_one() {
    let quota = Settings { quota_requests: 1, ..Settings::default() };
    let sandbox = start_with(quota).await;
    let uploader = Uploader::new(&sandbox);
    let token = uploader.tokens.token().await.unwrap();
    uploader.post(&token, &[indicator(1)]).await.unwrap();
    let reply = uploader.post(&token, &[indicator(1)]).await.unwrap();
    assert_eq!((reply.status, reply.retry_after), (429, None));
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["statusCode"], 429);
    let message = body["message"].as_str().unwrap();
    let seconds = message.strip_prefix("Rate limit is exceeded. Try again in ").unwrap();
    let seconds: u64 = seconds.strip_suffix(" seconds.").unwrap().parse().unwrap();
    assert!((50..=60).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn rules_for_the_whole_request_hold() {
    let sandbox = start().await;
    let uploader = Uploader::new(&sandbox);
    let token = uploader.tokens.token().await.unwrap();
    let post = |body: String| {
        let request = uploader.client.send(&token, body.into());
        async { request.await.unwrap().status }
    };
    let one = indicator(1);
    assert_eq!(post("{".to_owned()).await, 400);
    let reserved = format!(r#"{{"sourcesystem":"Microsoft Sentinel","stixobjects":[{one}]}}"#);
    assert_eq!(post(reserved).await, 400);
    let many: Vec<String> = (0..101).map(indicator).collect();
    assert_eq!(uploader.post(&token, &many).await.unwrap().status, 400);
    let none_good = vec!["{}".to_owned()];
    assert_eq!(uploader.post(&token, &none_good).await.unwrap().status, 400);
    assert_eq!(uploader.post(&token, &many[..100]).await.unwrap().status, 200);
    assert_eq!(sandbox.objects(uploader.workspace).len(), 100);
}

#[tokio::test]
async fn address_and_token_are_checked() {
    let sandbox = start().await;
    let objects = [indicator(1)];
    let mut foreign = target(&sandbox);
    foreign.workspace_id = Uuid::from_u128(9);
    let mut old = target(&sandbox);
    old.api_version = "2022-07-01".to_owned();
    let mut misspelled = target(&sandbox);
    misspelled.path = "/workspaces/{workspace_id}/threatintelligence-stix-objects:upload".into();
    for (target, status) in [(foreign, 404), (old, 400), (misspelled, 404)] {
        let uploader = Uploader::of(&target, &azure(&sandbox), PATIENCE);
        let token = uploader.tokens.token().await.unwrap();
        assert_eq!(uploader.post(&token, &objects).await.unwrap().status, status);
    }
    let uploader = Uploader::new(&sandbox);
    let stranger = misp_sentinel_relay::config::Secret::new("made-up");
    assert_eq!(uploader.post(&stranger, &objects).await.unwrap().status, 401);
    let token = uploader.tokens.token().await.unwrap();
    sandbox.invalidate_tokens();
    assert_eq!(uploader.post(&token, &objects).await.unwrap().status, 401);
}

#[tokio::test]
async fn same_id_of_another_source_is_another_object_and_the_newest_stays() {
    let sandbox = start().await;
    let uploader = Uploader::new(&sandbox);
    assert_eq!(uploader.send(&[indicator(1)]).await, all_well());
    let changed = indicator(1).replace("2999-11-01", "2026-12-01");
    assert_eq!(uploader.send(std::slice::from_ref(&changed)).await, all_well());
    let token = uploader.tokens.token().await.unwrap();
    let body =
        misp_sentinel_relay::deliver::upload::body(Api::StixObjects, "other", &[indicator(1)]);
    assert_eq!(uploader.client.send(&token, body).await.unwrap().status, 200);
    let held = sandbox.objects(uploader.workspace);
    let newest: serde_json::Value = serde_json::from_str(&changed).unwrap();
    let summary: Vec<_> =
        held.iter().map(|held| (held.sourcesystem.as_str(), held.writes)).collect();
    assert_eq!(summary, [(SOURCE, 2), ("other", 1)]);
    assert_eq!(held[0].json, newest);
}

#[tokio::test]
async fn delayed_request_is_answered_late() {
    let sandbox = start().await;
    let uploader = Uploader::new(&sandbox);
    let delay = Duration::from_millis(80);
    sandbox.always(Some(Fault::Late(delay)));
    let begun = std::time::Instant::now();
    assert_eq!(uploader.send(&[indicator(1)]).await, all_well());
    assert!(begun.elapsed() >= delay);
    sandbox.always(Some(Fault::BadRequest));
    for _ in 0..3 {
        let outcome = uploader.send(&[indicator(1)]).await;
        assert!(matches!(outcome, UploadOutcome::BadRequest { .. }), "{outcome:?}");
    }
}

/// One request over a bare socket, to see what the kernel says.
#[tokio::test(flavor = "multi_thread")]
async fn reset_is_one_of_tcp() {
    let sandbox = start().await;
    let uploader = Uploader::new(&sandbox);
    let token = uploader.tokens.token().await.unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(sandbox.ca_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    for fault in [Fault::ResetBefore, Fault::ResetAfter] {
        sandbox.script([fault]);
        let body =
            misp_sentinel_relay::deliver::upload::body(Api::StixObjects, SOURCE, &[indicator(1)]);
        let head = format!(
            "POST {}?{} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Length: {}\r\n\r\n",
            uploader.client.url().path(),
            uploader.client.url().query().unwrap(),
            token.expose(),
            body.len(),
        );
        let request = [head.as_bytes(), &body].concat();
        let (address, config) = (sandbox.address(), Arc::clone(&config));
        let outcome =
            tokio::task::spawn_blocking(move || exchange(address, config, &request)).await.unwrap();
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

fn exchange(
    address: std::net::SocketAddr,
    config: Arc<ClientConfig>,
    request: &[u8],
) -> io::Result<Vec<u8>> {
    use std::io::{Read as _, Write as _};
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = ClientConnection::new(config, name).unwrap();
    let mut tcp = std::net::TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

#[tokio::test]
async fn pages_show_what_it_holds() {
    let sandbox = start().await;
    let uploader = Uploader::new(&sandbox);
    let withdrawn = indicator(2).replace("2999-11-01T", "2026-11-02T");
    assert_eq!(uploader.send(&[indicator(1), withdrawn]).await, all_well());
    let http = misp_sentinel_relay::azure::http::client(&azure(&sandbox)).unwrap();
    let get = |path: &str| {
        let request = http.get(format!("{}{path}", sandbox.base_url()));
        async { request.send().await.unwrap().text().await.unwrap() }
    };
    let objects: serde_json::Value = serde_json::from_str(&get("/objects").await).unwrap();
    assert_eq!(objects.as_array().unwrap().len(), 2);
    assert_eq!(objects[0]["workspace"], uploader.workspace.to_string());
    assert_eq!(objects[0]["writes"], 1);
    let page = get("/").await;
    let row = format!("<td>{}<td>2<td>1<td>0<td>0<td>1<td>2", uploader.workspace);
    assert!(page.contains(&row), "{page}");
    assert!(page.contains("[ipv4-addr:value = '198.51.100.1']"), "{page}");
}

#[tokio::test]
async fn serving_tells_how_to_use_it_and_ends_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let settings = Settings { ca_file: Some(ca_file.clone()), ..Settings::default() };
    let workspace = settings.workspaces[0];
    let mut out = Vec::new();
    serve_until(settings, &mut out, async {}).await.unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains(&format!("MSR_AZURE__CA_FILE={}", ca_file.display())), "{out}");
    assert!(out.contains(&format!("MSR_TARGET__SANDBOX__WORKSPACE_ID={workspace}")), "{out}");
    assert!(out.contains("MSR_TARGET__SANDBOX__AUTHORITY=https://127.0.0.1:"), "{out}");
    assert!(std::fs::read_to_string(ca_file).unwrap().contains("BEGIN CERTIFICATE"));
}

#[tokio::test]
async fn an_account_without_a_role_is_told_so_and_names_the_workspace() {
    let mut settings = Settings { quota_requests: 0, ..Settings::default() };
    let (own, other) = (settings.workspaces[0], Uuid::from_u128(0x77));
    settings.workspaces.push(other);
    settings.accounts[0].workspaces = vec![own];
    let sandbox = start_with(settings).await;
    assert_eq!(Uploader::new(&sandbox).send(&[indicator(1)]).await, all_well());
    let mut target = target(&sandbox);
    target.workspace_id = other;
    let refused = Uploader::of(&target, &azure(&sandbox), PATIENCE).send(&[indicator(1)]).await;
    let UploadOutcome::Forbidden { why } = refused else { panic!("{refused:?}") };
    assert!(why.to_string().contains(&other.to_string()), "{why}");
    assert_eq!((sandbox.count(own), sandbox.count(other)), (1, 0));
}
