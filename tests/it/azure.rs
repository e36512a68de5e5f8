//! Tests the relay's HTTP requests to Azure against the sandbox: sign-in, upload, and how each answer is
//! read.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use misp_sentinel_relay::azure::http::{self, HttpError};
use misp_sentinel_relay::azure::token::{SignIn, SignInError, TokenSource};
use misp_sentinel_relay::config::{Api, Azure, Credential, Proof, Secret};
use misp_sentinel_relay::deliver::outcome::UploadOutcome;
use misp_sentinel_relay::deliver::upload;
use misp_sentinel_relay::sandbox::{Fault, Sandbox, Settings, SignInFault};

use crate::support::proxy::Proxy;
use crate::support::sandbox::{
    METADATA, PATIENCE, Uploader, all_well, azure, eventually, id, indicator, start, start_with,
    target,
};

const UNKNOWN: &str = "11111111-1111-4111-8111-111111111111";

const SHORT: Duration = Duration::from_millis(200);

fn tokens(sandbox: &Sandbox, change: impl FnOnce(&mut Credential)) -> TokenSource {
    let mut sign_in = SignIn::of(&target(sandbox));
    change(&mut sign_in.credential);
    let azure = azure(sandbox);
    TokenSource::new(sign_in, http::client(&azure).unwrap(), &azure).unwrap()
}

#[tokio::test]
async fn token_is_fetched_once_and_renewed_on_demand() {
    let sandbox = start().await;
    let tokens = tokens(&sandbox, |_| {});
    let first = tokens.token().await.unwrap();
    assert_eq!(tokens.token().await.unwrap(), first);
    assert_eq!(sandbox.sign_ins(), 1);
    tokens.renew().unwrap();
    let second = tokens.token().await.unwrap();
    assert_ne!(second, first);
    assert_eq!(sandbox.sign_ins(), 2);
    assert!(!format!("{tokens:?}").contains(second.expose()));
    assert!(!format!("{tokens:?}").contains("sandbox-secret"));
}

#[tokio::test]
async fn short_lived_token_is_renewed_before_its_end_and_used_while_entra_is_away() {
    let settings = Settings { token_lifetime: Duration::from_secs(8), ..Settings::default() };
    let sandbox = start_with(settings).await;
    let azure = Azure { sign_in_pause: PATIENCE, ..azure(&sandbox) };
    let Uploader { tokens, .. } = Uploader::of(&target(&sandbox), &azure, PATIENCE);
    let first = tokens.token().await.unwrap();
    assert_eq!(tokens.token().await.unwrap(), first, "used while it lasts");
    assert_eq!(sandbox.sign_ins(), 1);
    tokio::time::sleep(Duration::from_millis(4_100)).await;
    sandbox.script_sign_ins([SignInFault::Unavailable]);
    assert_eq!(tokens.token().await.unwrap(), first, "still good, renewal failed");
    assert_eq!(tokens.token().await.unwrap(), first, "still good, renewal paused");
    assert_eq!(sandbox.sign_ins(), 2);
    assert!(
        tokens.standing().trouble.unwrap().contains("cannot be renewed"),
        "{:?}",
        tokens.standing().trouble
    );
}

#[tokio::test]
async fn wrong_secret_is_named_and_the_sign_in_is_not_repeated() {
    let sandbox = start().await;
    let tokens = tokens(&sandbox, |credential| {
        credential.proof = Proof::ClientSecret(Secret::new("the-secret-id"));
    });
    let error = tokens.token().await.unwrap_err();
    let SignInError::Refused(refusal) = &error else { panic!("{error}") };
    assert_eq!(refusal.code, "AADSTS7000215");
    assert_eq!((refusal.status, refusal.error.as_str()), (401, "invalid_client"));
    assert!(refusal.description.contains("Trace ID"), "{refusal}");
    assert!(error.to_string().contains("use the secret's value"), "{error}");
    assert!(!format!("{error:?} {error}").contains("the-secret-id"), "{error:?}");
    assert_eq!(sandbox.sign_ins(), 1);
}

#[tokio::test]
async fn unknown_application_and_tenant_are_named() {
    let sandbox = start().await;
    for (tenant, client, code) in
        [(None, Some(UNKNOWN), "AADSTS700016"), (Some(UNKNOWN), None, "AADSTS90002")]
    {
        let tokens = tokens(&sandbox, |credential| {
            let Credential { tenant_id, client_id, .. } = credential;
            *tenant_id = tenant.unwrap_or(tenant_id).to_owned();
            *client_id = client.unwrap_or(client_id).to_owned();
        });
        let error = tokens.token().await.unwrap_err();
        let SignInError::Refused(refusal) = &error else { panic!("{error}") };
        assert_eq!(refusal.code, code);
        assert!(refusal.remedy.contains(UNKNOWN), "{refusal}");
    }
}

#[tokio::test]
async fn silent_and_failing_entra_is_unreachable_within_the_deadline() {
    let sandbox = start().await;
    let source = |timeout| {
        let azure = Azure { token_timeout: timeout, ..azure(&sandbox) };
        let http = http::client(&azure).unwrap();
        TokenSource::new(SignIn::of(&target(&sandbox)), http, &azure).unwrap()
    };
    sandbox.script_sign_ins([SignInFault::NeverAnswers]);
    let begun = Instant::now();
    let error = source(SHORT).token().await.unwrap_err();
    assert!(matches!(error, SignInError::Unreachable(_)), "{error}");
    assert!(begun.elapsed() < PATIENCE);

    let body = r#"{"error":"temporarily_unavailable","error_description":"AADSTS90033: wait"}"#;
    sandbox.script_sign_ins([
        SignInFault::Unavailable,
        SignInFault::Reset,
        SignInFault::Answer { status: 400, body: body.to_owned() },
        SignInFault::Answer { status: 425, body: String::new() },
        SignInFault::Answer { status: 200, body: "<html>WLAN</html>".to_owned() },
        SignInFault::Answer { status: 200, body: r#"{"expires_in":3599}"#.to_owned() },
    ]);
    let before = sandbox.sign_ins();
    for _ in 0..6 {
        let error = source(PATIENCE).token().await.unwrap_err();
        assert!(matches!(error, SignInError::Unreachable(_)), "{error}");
    }
    assert_eq!(sandbox.sign_ins(), before + 6, "no hidden retries");
    source(PATIENCE).token().await.unwrap();
}

#[tokio::test]
async fn authority_without_tls_is_a_settings_error() {
    let sandbox = start().await;
    let mut sign_in = SignIn::of(&target(&sandbox));
    sign_in.authority = "http://localhost:1".to_owned();
    let azure = azure(&sandbox);
    let http = http::client(&azure).unwrap();
    let error = TokenSource::new(sign_in, http.clone(), &azure).unwrap_err();
    assert!(matches!(&error, SignInError::Settings(why) if why.contains("HTTPS")), "{error}");

    let mut plain = target(&sandbox);
    plain.endpoint = "http://localhost:1".to_owned();
    assert!(upload::Client::new(http, &azure, &plain, PATIENCE).is_err());
}

#[tokio::test]
async fn foreign_authority_is_refused_with_the_remedy() {
    let sandbox = start().await;
    let other = start().await;
    let way = azure(&other);
    let uploader = Uploader::of(&target(&sandbox), &way, PATIENCE);
    let error = uploader.tokens.token().await.unwrap_err();
    assert!(matches!(error, SignInError::Unreachable(_)), "{error}");
    assert!(error.to_string().contains("azure.ca_file"), "{error}");

    let failed = uploader.post(&Secret::new("t"), &[indicator(1)]).await.unwrap_err();
    assert!(!failed.ambiguous, "nothing was sent");
    assert!(failed.why.to_string().contains("azure.ca_file"), "{}", failed.why);
    assert!(sandbox.requests().is_empty());
}

#[tokio::test]
async fn unusable_ca_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let way = |ca_file: PathBuf| Azure {
        ca_file: Some(ca_file),
        proxy: None,
        connect_timeout: PATIENCE,
        token_timeout: PATIENCE,
        sign_in_pause: Duration::from_millis(20),
        metadata_endpoint: METADATA.to_owned(),
    };
    let missing = folder.path().join("missing.pem");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate here").unwrap();
    for file in [missing, empty] {
        let error = http::client(&way(file.clone())).unwrap_err();
        assert!(matches!(error, HttpError::CaFile { .. }), "{error}");
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}

/// In a process of its own, since the environment belongs to the whole process.
#[test]
fn machine_without_authorities_is_told_what_to_do() {
    if std::env::var_os("INSIDE").is_some() {
        let way = Azure {
            ca_file: None,
            proxy: None,
            connect_timeout: PATIENCE,
            token_timeout: PATIENCE,
            sign_in_pause: Duration::from_millis(20),
            metadata_endpoint: METADATA.to_owned(),
        };
        let error = http::client(&way).unwrap_err();
        assert!(matches!(error, HttpError::NoAuthorities { .. }), "{error}");
        for hint in ["SSL_CERT_FILE", "ca-certificates", "azure.ca_file", "/nowhere/ca.pem"] {
            assert!(error.to_string().contains(hint), "{hint} in: {error}");
        }
        return;
    }
    let name = "azure::machine_without_authorities_is_told_what_to_do";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env("INSIDE", "1")
        .env("SSL_CERT_FILE", "/nowhere/ca.pem")
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

/// As above: the sandbox's authority by `SSL_CERT_FILE` alone.
#[test]
fn authority_from_the_environment_is_enough() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Ok(url) = std::env::var("INSIDE_URL") {
        let way = Azure {
            ca_file: None,
            proxy: None,
            connect_timeout: PATIENCE,
            token_timeout: PATIENCE,
            sign_in_pause: Duration::from_millis(20),
            metadata_endpoint: METADATA.to_owned(),
        };
        let http = http::client(&way).unwrap();
        let page = runtime.block_on(async { http.get(url).send().await.unwrap().status() });
        assert_eq!(page, 200);
        return;
    }
    let sandbox = runtime.block_on(start());
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "azure::authority_from_the_environment_is_enough"])
        .env("INSIDE_URL", sandbox.base_url())
        .env("SSL_CERT_FILE", sandbox.ca_file())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

#[test]
fn proxy_of_an_unknown_kind_is_refused_without_its_password() {
    let way = |proxy: &str| Azure {
        ca_file: None,
        proxy: Some(proxy.to_owned()),
        connect_timeout: PATIENCE,
        token_timeout: PATIENCE,
        sign_in_pause: Duration::from_millis(20),
        metadata_endpoint: METADATA.to_owned(),
    };
    for address in ["socks5://u:hush@proxy:1080", "proxy.example:3128", "http://u:hush@:::"] {
        let error = http::client(&way(address)).unwrap_err();
        assert!(matches!(error, HttpError::Proxy { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
}

#[tokio::test]
async fn proxy_carries_sign_in_and_upload() {
    // A name that only the proxy can find, and that no NO_PROXY names.
    let names = vec!["sentinel.sandbox.example".to_owned()];
    let sandbox = start_with(Settings { names, ..Settings::default() }).await;
    let address = sandbox.address();
    let mut proxy = Proxy::to(address).await;
    let mut way = azure(&sandbox);
    way.proxy = Some(format!("http://u:p@{}", proxy.address));
    let mut far = target(&sandbox);
    far.authority = format!("https://sentinel.sandbox.example:{}", address.port());
    far.endpoint.clone_from(&far.authority);
    let uploader = Uploader::of(&far, &way, PATIENCE);
    assert_eq!(uploader.send(&[indicator(1)]).await, all_well());
    let head = proxy.asked.recv().await.unwrap();
    assert!(head.starts_with("CONNECT sentinel.sandbox.example:"), "{head}");
    assert!(head.to_lowercase().contains("proxy-authorization: basic dtpw"), "{head}");
}

#[tokio::test]
async fn upload_arrives_as_it_was_written() {
    let sandbox = start().await;
    let uploader = Uploader::new(&sandbox);
    let objects: Vec<String> = (0..100).map(indicator).collect();
    assert_eq!(uploader.send(&objects).await, all_well());
    assert_eq!(uploader.send(&objects[..1]).await, all_well());
    let held = sandbox.objects(uploader.workspace);
    assert_eq!(held.len(), 100);
    for object in &held {
        let n = (0..100).find(|n| id(*n) == object.id).unwrap();
        let sent: serde_json::Value = serde_json::from_str(&indicator(n)).unwrap();
        assert_eq!(object.json, sent);
        assert_eq!(object.sourcesystem, "misp-sentinel-relay");
        assert_eq!(object.writes, if n == 0 { 2 } else { 1 });
    }
    let requests = sandbox.requests();
    assert_eq!(requests.iter().map(|r| r.objects).collect::<Vec<_>>(), [100, 1]);
    assert_eq!(
        requests[0].bytes,
        upload::body(Api::StixObjects, "misp-sentinel-relay", &objects).len()
    );
}

#[tokio::test]
async fn each_fault_is_read_as_what_it_is() {
    let sandbox = start().await;
    let uploader = Uploader::with_timeout(&sandbox, SHORT);
    let one = [indicator(1)];
    let seconds = |n| Some(Duration::from_secs(n));

    sandbox.script([
        Fault::Throttled { seconds: Some(17), header: Some(5) },
        Fault::Throttled { seconds: Some(17), header: None },
        Fault::Throttled { seconds: None, header: None },
        Fault::ServerError,
        Fault::BadRequest,
        Fault::Forbidden,
        Fault::ForbiddenPage,
        Fault::UnknownWorkspace,
        Fault::TooLarge,
        Fault::Answer { status: 307, body: String::new() },
        Fault::NeverAnswers,
    ]);
    for wait in [seconds(5), seconds(17), None] {
        assert_eq!(uploader.send(&one).await, UploadOutcome::Throttled { wait });
    }
    let outcome = uploader.send(&one).await;
    let UploadOutcome::Transient { why, ambiguous: true, .. } = &outcome else {
        panic!("{outcome:?}")
    };
    assert!(why.to_string().contains("activityId"), "{why}");
    let outcome = uploader.send(&one).await;
    assert!(matches!(outcome, UploadOutcome::BadRequest { .. }), "{outcome:?}");
    for words in ["required permission", "permission to view this directory"] {
        let outcome = uploader.send(&one).await;
        let UploadOutcome::Forbidden { why } = &outcome else { panic!("{outcome:?}") };
        assert!(
            why.to_string().contains(words) && why.to_string().contains("Sentinel Contributor"),
            "{why}"
        );
    }
    let outcome = uploader.send(&one).await;
    assert!(matches!(outcome, UploadOutcome::Misconfigured { .. }), "{outcome:?}");
    let outcome = uploader.send(&one).await;
    assert!(matches!(outcome, UploadOutcome::TooLarge { .. }), "{outcome:?}");
    let outcome = uploader.send(&one).await;
    assert!(matches!(outcome, UploadOutcome::Misconfigured { .. }), "{outcome:?}");
    let begun = Instant::now();
    let outcome = uploader.send(&one).await;
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < PATIENCE);
    let UploadOutcome::Transient { why, ambiguous: true, .. } = &outcome else {
        panic!("{outcome:?}")
    };
    assert!(why.to_string().contains("timed out"), "{why}");

    assert!(sandbox.objects(uploader.workspace).is_empty());
    assert_eq!(uploader.send(&one).await, all_well());
}

#[tokio::test]
async fn endless_answer_is_cut_and_the_next_request_goes_well() {
    let sandbox = start().await;
    let uploader = Uploader::new(&sandbox);
    let body = "x".repeat(3 << 20);
    sandbox.script([Fault::Answer { status: 400, body }]);
    let token = uploader.tokens.token().await.unwrap();
    let reply = uploader.post(&token, &[indicator(1)]).await.unwrap();
    assert_eq!((reply.status, reply.body.len()), (400, 1 << 20));
    assert_eq!(uploader.send(&[indicator(1)]).await, all_well());
}

#[tokio::test]
async fn sandbox_that_goes_down_breaks_off_what_is_in_hand() {
    let mut sandbox = start().await;
    let uploader = Uploader::new(&sandbox);
    sandbox.script([Fault::NeverAnswers]);
    let objects = [indicator(1)];
    let sending = uploader.send(&objects);
    let stopping = async {
        eventually(&sandbox, |sandbox| sandbox.requests().iter().any(|r| r.bytes > 0)).await;
        sandbox.stop().await;
    };
    let (outcome, ()) = tokio::join!(sending, stopping);
    assert!(matches!(outcome, UploadOutcome::Transient { ambiguous: true, .. }), "{outcome:?}");
}

#[tokio::test]
async fn resets_are_ambiguous_whether_processed_or_not() {
    let sandbox = start().await;
    let uploader = Uploader::new(&sandbox);
    sandbox.script([Fault::ResetBefore, Fault::ResetAfter]);
    for (n, held) in [(1, 0), (2, 1)] {
        let outcome = uploader.send(&[indicator(n)]).await;
        assert!(matches!(outcome, UploadOutcome::Transient { ambiguous: true, .. }), "{outcome:?}");
        assert_eq!(sandbox.objects(uploader.workspace).len(), held);
    }
    assert_eq!(sandbox.requests().len(), 2, "no hidden retries");
}

#[tokio::test]
async fn token_refused_once_is_mended_by_a_renewal() {
    let sandbox = start().await;
    let uploader = Uploader::new(&sandbox);
    sandbox.script([Fault::TokenRefused]);
    for _ in 0..2 {
        let outcome = uploader.send(&[indicator(1)]).await;
        assert!(matches!(outcome, UploadOutcome::Unauthorized { .. }), "{outcome:?}");
    }
    uploader.tokens.renew().unwrap();
    assert_eq!(uploader.send(&[indicator(1)]).await, all_well());
}

#[tokio::test]
async fn rejected_records_keep_their_place_and_words() {
    let sandbox = start().await;
    let uploader = Uploader::new(&sandbox);
    sandbox.reject_where(|object| (object["id"] == id(2).as_str()).then(|| "I say no".to_owned()));
    let broken = indicator(4).replace(r#""pattern_type":"stix","#, "");
    let objects = [indicator(1), indicator(2), indicator(3), broken];
    let missing =
        "Error for Property=pattern_type: Required property is missing. Actual value: NULL.";
    let rejected = vec![(1, "I say no".to_owned()), (3, missing.to_owned())];
    let stray = Vec::new();
    assert_eq!(uploader.send(&objects).await, UploadOutcome::Accepted { rejected, stray });
    let held = sandbox.objects(uploader.workspace);
    assert_eq!(held.iter().map(|held| held.id.clone()).collect::<Vec<_>>(), [id(1), id(3)]);
}

#[tokio::test]
async fn poisoned_request_is_refused_whole() {
    let sandbox = start().await;
    let uploader = Uploader::new(&sandbox);
    sandbox.poison([id(7)]);
    let objects: Vec<String> = (0..100).map(indicator).collect();
    let outcome = uploader.send(&objects).await;
    assert!(matches!(outcome, UploadOutcome::BadRequest { .. }), "{outcome:?}");
    assert_eq!(uploader.send(&objects[..7]).await, all_well());
    assert_eq!(sandbox.objects(uploader.workspace).len(), 7);
    sandbox.heal();
    assert_eq!(uploader.send(&objects).await, all_well());
}

#[tokio::test]
async fn sandbox_that_is_down_was_surely_not_reached() {
    let mut sandbox = start().await;
    let uploader = Uploader::new(&sandbox);
    assert_eq!(uploader.send(&[indicator(1)]).await, all_well());
    sandbox.stop().await;
    // The pooled connection may fail first, which is ambiguous; a new one is refused.
    let mut outcome = uploader.send(&[indicator(2)]).await;
    if matches!(outcome, UploadOutcome::Transient { ambiguous: true, .. }) {
        outcome = uploader.send(&[indicator(2)]).await;
    }
    let UploadOutcome::Transient { why, ambiguous: false, .. } = &outcome else {
        panic!("{outcome:?}")
    };
    assert!(why.to_string().contains("refused"), "{why}");
    sandbox.restart().await.unwrap();
    assert_eq!(uploader.send(&[indicator(2)]).await, all_well());
    assert_eq!(sandbox.objects(uploader.workspace).len(), 2, "what it held is kept");
}
