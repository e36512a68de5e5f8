//! What operators and Prometheus get to see: the admin listener, the control socket, the commands.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use metrics_exporter_prometheus::PrometheusBuilder;
use misp_sentinel_relay::admin::control::{self, Request, Response};
use misp_sentinel_relay::admin::{EndpointStatus, Overview, Status, TargetHealth, commands, http};
use misp_sentinel_relay::ledger::{Lane, Ledger, Moment, Settlement};
use misp_sentinel_relay::notice::What;
use misp_sentinel_relay::readback::Readback;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::ledger::{Relay, TARGET, config};
use crate::support::relay::ageless;
use crate::support::sandbox::PATIENCE;
use crate::support::webhook::{Client, Reply, recorded};

fn overview(relay: &Relay) -> Overview {
    let endpoint = EndpointStatus {
        endpoint: "tcp://misp-core:50000".to_owned(),
        error: Some("refused: is Plugin.ZeroMQ_enable on?".to_owned()),
        ..EndpointStatus::default()
    };
    let target = TargetHealth {
        target: TARGET.to_owned(),
        mode: "live".to_owned(),
        degraded: Some("403: it lacks a role".to_owned()),
        ..TargetHealth::default()
    };
    Overview {
        source: "misp".to_owned(),
        rest: None,
        configured: Arc::from([]),
        ledger: relay.ledger.clone(),
        views: Arc::clone(&relay.views),
        started: SystemTime::now(),
        webhook: Some("127.0.0.1:8443".parse().unwrap()),
        endpoints: Arc::new(move || vec![endpoint.clone()]),
        readback: Arc::new(Readback::new(Vec::new(), Duration::ZERO)),
        targets: Arc::new(move || vec![target.clone()]),
    }
}

struct Served {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Served {
    async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }
}

fn serve_http(relay: &Relay) -> (SocketAddr, Served) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || metrics::counter!("relay_test_total").increment(7));
    let stop = CancellationToken::new();
    let serving = http::serve(listener, overview(relay), recorder.handle(), stop.clone());
    (address, Served { stop, task: tokio::spawn(serving) })
}

async fn serve_control(relay: &Relay) -> Served {
    let control = control::bind(&relay.config.ledger.data_dir).await.unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(control.serve(overview(relay), stop.clone()));
    Served { stop, task }
}

async fn get(address: SocketAddr, path: &str) -> Reply {
    let mut client = Client::connect(address).await;
    client.write(format!("GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n").as_bytes()).await;
    client.reply().await
}

fn body(reply: &Reply) -> &str {
    reply.text.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn probes_metrics_and_status_are_served() {
    let relay = Relay::start().await;
    let (address, served) = serve_http(&relay);
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(address, path).await.status, 200, "{path}");
    }
    let metrics = get(address, "/metrics").await;
    assert!(metrics.text.contains("text/plain; version=0.0.4"), "{}", metrics.text);
    assert!(body(&metrics).contains("relay_test_total 7"), "{}", metrics.text);
    let reply = get(address, "/status").await;
    let status: Status = serde_json::from_str(body(&reply)).unwrap();
    let running = status.relay.unwrap();
    assert_eq!(running.process_id, std::process::id());
    assert_eq!(running.endpoints[0].endpoint, "tcp://misp-core:50000");
    assert_eq!(status.ledger.targets[0].target, TARGET);
    assert_eq!(get(address, "/").await.status, 404);
    served.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn not_ready_while_the_ledger_cannot_be_written() {
    let relay = Relay::start().await;
    let (address, _served) = serve_http(&relay);
    relay.ledger.close().await;
    let announced = What::Announced(recorded("webhook/0002_POST.http").body.into());
    relay.inbox.offer_and_wait(announced, Instant::now()).unwrap().await.unwrap();
    let reply = get(address, "/readyz").await;
    assert_eq!(reply.status, 503);
    assert!(reply.text.contains("the ledger cannot be written"), "{}", reply.text);
    assert_eq!(get(address, "/livez").await.status, 200);
    assert_eq!(get(address, "/status").await.status, 503);
}

async fn ask(relay: &Relay, request: &Request) -> Option<Response> {
    control::ask(&relay.config.ledger.data_dir, request).await.unwrap()
}

async fn asked_status(relay: &Relay) -> Status {
    match ask(relay, &Request::Status).await {
        Some(Response::Status { status }) => *status,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_socket_tells_the_status_and_what_is_degraded() {
    let relay = Relay::start().await;
    let served = serve_control(&relay).await;
    let status = asked_status(&relay).await;
    assert!(status.relay.is_some());
    for words in [
        "tcp://misp-core:50000: not connected: refused: is Plugin.ZeroMQ_enable on?",
        "soc: 403: it lacks a role",
        "rest: misp.key is not set",
    ] {
        assert!(status.degraded.iter().any(|line| line.starts_with(words)), "{status:#?}");
    }
    assert!(status.without_rest.iter().any(|line| line.contains("confirmed by ZeroMQ only")));
    served.stop().await;
    assert_eq!(ask(&relay, &Request::Status).await, None);
}

/// Publishes an event of which Sentinel rejects one object.
async fn reject_one(relay: &Relay) {
    relay.publish(recorded("webhook/0002_POST.http").body).await;
    let now = Ledger::now();
    let ledger = &relay.ledger;
    let mut picked = Vec::new();
    for lane in Lane::ALL {
        for change in ledger.open_changes(TARGET, lane, -1, 10).await.unwrap() {
            picked.extend(
                ledger.pending("view", TARGET, change.change, None, (now, 1)).await.unwrap(),
            );
        }
    }
    picked.truncate(1);
    let sent = ledger.mark_sending(TARGET, &picked, Moment::by_our_clock(now)).await.unwrap();
    let rejected = [(sent[0].object, "Invalid pattern".to_owned())];
    ledger.settle(TARGET, &[Settlement::Rejected(&rejected)], now, now).await.unwrap();
    assert_eq!(ledger.status().await.unwrap().targets[0].rejected, 1);
}

#[tokio::test]
async fn rejected_objects_are_put_back_by_the_running_relay() {
    let relay = Relay::start_with(&ageless()).await;
    let served = serve_control(&relay).await;
    reject_one(&relay).await;
    let status = asked_status(&relay).await;
    assert_eq!(status.ledger.targets[0].refusals[0].words, "Invalid pattern");
    assert!(
        status.degraded.iter().any(|line| line.contains("retry-rejected --target soc")),
        "{status:#?}"
    );

    let retry = |target: Option<&str>| Request::RetryRejected { target: target.map(str::to_owned) };
    let unknown = ask(&relay, &retry(Some("sco"))).await.unwrap();
    let Response::Failed { error } = unknown else { panic!("{unknown:?}") };
    assert!(error.contains("\"sco\"") && error.contains("there is: soc"), "{error}");
    assert_eq!(ask(&relay, &retry(Some(TARGET))).await, Some(Response::Retried { objects: 1 }));
    assert_eq!(ask(&relay, &retry(None)).await, Some(Response::Retried { objects: 0 }));
    assert_eq!(asked_status(&relay).await.ledger.targets[0].rejected, 0);
    served.stop().await;
}

#[tokio::test]
async fn one_bad_client_harms_only_itself() {
    let relay = Relay::start().await;
    let served = serve_control(&relay).await;
    let path = relay.config.ledger.data_dir.join(control::SOCKET);
    let _mute = UnixStream::connect(&path).await.unwrap();
    for (line, words) in [
        ("{\"command\":\"format-disk\"}\n".to_owned(), "format-disk"),
        ("\n".to_owned(), "no request"),
        ("x".repeat(5_000), "4 KiB"),
    ] {
        let mut stream = BufReader::new(UnixStream::connect(&path).await.unwrap());
        stream.get_mut().write_all(line.as_bytes()).await.ok();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_line(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("{\"answer\":\"failed\"") && answer.contains(words), "{answer}");
    }
    // Several requests on one connection, as the clients may send them by hand.
    let mut stream = BufReader::new(UnixStream::connect(&path).await.unwrap());
    for line in ["{\"command\":\"status\"}\n", "{\"command\":\"retry-rejected\",\"target\":null}\n"]
    {
        stream.get_mut().write_all(line.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_line(&mut answer)).await.unwrap().unwrap();
        assert!(!answer.contains("\"failed\""), "{answer}");
    }
    served.stop().await;
}

#[tokio::test]
async fn the_socket_is_private_replaces_a_dead_one_and_goes_with_the_relay() {
    let relay = Relay::start().await;
    let path = relay.config.ledger.data_dir.join(control::SOCKET);
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a dead relay's socket");
    assert_eq!(ask(&relay, &Request::Status).await, None);

    let served = serve_control(&relay).await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    asked_status(&relay).await;
    let error = control::bind(&relay.config.ledger.data_dir).await.unwrap_err().to_string();
    assert!(error.contains("another relay listens"), "{error}");
    asked_status(&relay).await;
    served.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn without_a_relay_the_commands_open_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    let error = commands::retry_rejected(&config, None).await.unwrap_err().to_string();
    assert!(error.contains("there is no ledger") && error.contains("hint"), "{error}");
    assert_eq!(commands::status(&config, false).await.unwrap(), 3, "no relay is running");
    assert!(!folder.path().join("ledger.db").exists(), "asking makes no ledger");

    let ledger = Ledger::open(&config.ledger).await.unwrap();
    for error in [
        commands::status(&config, true).await.unwrap_err().to_string(),
        commands::retry_rejected(&config, None).await.unwrap_err().to_string(),
    ] {
        let process = format!("a relay (process {})", std::process::id());
        assert!(error.contains(&process) && error.contains("relay.sock"), "{error}");
    }
    ledger.close().await;
    drop(ledger);
    // A process that another test is just starting may hold a copy of the lock for a moment.
    let deadline = Instant::now() + Duration::from_secs(5);
    while commands::status(&config, true).await.is_err() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    commands::status(&config, false).await.unwrap();
    commands::retry_rejected(&config, Some(TARGET)).await.unwrap();
    let error = commands::retry_rejected(&config, Some("sco")).await.unwrap_err().to_string();
    assert!(error.contains("\"sco\"") && error.contains("there is: soc"), "{error}");
}
