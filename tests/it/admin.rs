//! Tests what operators and Prometheus see: the admin listener, the control socket and the commands over it.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use metrics_exporter_prometheus::PrometheusBuilder;
use misp_sentinel_relay::admin::control::{self, SOCKET};
use misp_sentinel_relay::admin::{
    Desk, Means, RunningRelay, Services, SourceServices, Status, http,
};
use misp_sentinel_relay::commands;
use misp_sentinel_relay::compare::Readback;
use misp_sentinel_relay::config::Admin;
use misp_sentinel_relay::deliver::Health;
use misp_sentinel_relay::http::LOCAL;
use misp_sentinel_relay::intake::zmq::EndpointStatus;
use misp_sentinel_relay::ledger::{Lane, Ledger, Moment, RejectedObject, Settlement};
use misp_sentinel_relay::notice::What;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::ledger::{Relay, TARGET};
use crate::support::relay::ageless;
use crate::support::sandbox::PATIENCE;
use crate::support::webhook::{Client, Reply, recorded};

pub(crate) fn services(relay: &Relay) -> Services {
    let endpoint = EndpointStatus {
        endpoint: "tcp://misp-core:50000".to_owned(),
        error: Some("refused: is Plugin.ZeroMQ_enable on?".to_owned()),
        ..EndpointStatus::default()
    };
    let health = Health::default();
    health.update(TARGET, |one| one.degrade(&"403: it lacks a role".to_owned().into()));
    let running = RunningRelay { started: SystemTime::now(), health };
    let source = SourceServices {
        name: "misp".to_owned(),
        section: "misp".to_owned(),
        means: Means { webhook: true, rest: false },
        misp: None,
        webhook: Some("127.0.0.1:8443/misp".to_owned()),
        rest: None,
        endpoints: Some(watch::Sender::new(vec![endpoint]).subscribe()),
    };
    Services {
        ledger: relay.ledger.clone(),
        views: Arc::clone(&relay.views),
        sources: [source].into(),
        targets: relay.config.targets.clone().into(),
        readback: Arc::new(Readback::new(Vec::new(), Duration::ZERO)),
        relay: Some(running),
        long_read: Arc::new(Semaphore::new(1)),
    }
}

pub(crate) struct Served {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Served {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }
}

fn serve_http(relay: &Relay) -> (SocketAddr, Served) {
    serve_http_as(relay, &relay.config.admin)
}

/// Serves the admin listener with these settings.
pub(crate) fn serve_http_as(relay: &Relay, settings: &Admin) -> (SocketAddr, Served) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || metrics::counter!("relay_test_total").increment(7));
    let stop = CancellationToken::new();
    let (services, recorded) = (services(relay), recorder.handle());
    let explain = commands::answered_by_relay().explain;
    let desk = Desk::new(settings, services, recorded, explain);
    let serving = http::serve(listener, desk, stop.clone());
    (address, Served { stop, task: tokio::spawn(serving) })
}

fn serve_control(relay: &Relay) -> Served {
    let control = control::bind(&relay.config.ledger.data_dir).unwrap();
    let stop = CancellationToken::new();
    let serving = control.serve(commands::routes(), services(relay), stop.clone());
    let task = tokio::spawn(serving);
    Served { stop, task }
}

async fn get(address: SocketAddr, path: &str) -> Reply {
    let mut client = Client::connect(address).await;
    client.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
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
    assert_eq!(running.endpoints().next().unwrap().endpoint, "tcp://misp-core:50000");
    assert_eq!(status.ledger.targets[0].target, TARGET);
    assert_eq!(get(address, "/").await.status, 200);
    assert_eq!(get(address, "/nothing").await.status, 404);
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

/// Asks as `curl --unix-socket` does. `None`: nobody listens.
async fn ask(relay: &Relay, method: Method, path: &str, body: &Value) -> Option<(u16, Value)> {
    let socket = relay.config.ledger.data_dir.join(SOCKET);
    let client = LOCAL.client_with(|builder| builder.unix_socket(socket)).unwrap();
    let asked = client.request(method, format!("http://relay{path}")).json(body).send().await;
    let answer = match asked {
        Err(error) if error.is_connect() => return None,
        asked => asked.unwrap(),
    };
    let status = answer.status().as_u16();
    Some((status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()))
}

async fn asked_status(relay: &Relay) -> Option<Status> {
    let (code, status) = ask(relay, Method::GET, "/status", &json!({})).await?;
    assert_eq!(code, 200);
    Some(serde_json::from_value(status).unwrap())
}

#[tokio::test]
async fn the_socket_tells_the_status_and_what_is_degraded() {
    let relay = Relay::start().await;
    let served = serve_control(&relay);
    let status = asked_status(&relay).await.unwrap();
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
    assert!(asked_status(&relay).await.is_none());
}

/// Publishes an event of which Sentinel rejects one object.
async fn reject_one(relay: &Relay) {
    relay.publish(recorded("webhook/0002_POST.http").body).await;
    let now = Ledger::now();
    let ledger = &relay.ledger;
    let mut picked = Vec::new();
    for lane in Lane::ALL {
        for change in ledger.open_changes(TARGET, lane, -1, 10).await.unwrap() {
            picked
                .extend(ledger.pending("view", TARGET, change.change, None, now, 1).await.unwrap());
        }
    }
    picked.truncate(1);
    let sent = ledger.mark_sending(TARGET, &picked, Moment::by_our_clock(now)).await.unwrap();
    let words = "Invalid pattern".to_owned();
    let rejected = [RejectedObject { object: sent[0].object, words }];
    ledger.settle(TARGET, &[Settlement::Rejected(&rejected)], now, now).await.unwrap();
    assert_eq!(ledger.status().await.unwrap().targets[0].rejected, 1);
}

#[tokio::test]
async fn rejected_objects_are_put_back_by_the_running_relay() {
    let relay = Relay::start_with(&ageless()).await;
    let served = serve_control(&relay);
    reject_one(&relay).await;
    let status = asked_status(&relay).await.unwrap();
    assert_eq!(status.ledger.targets[0].refusals[0].words, "Invalid pattern");
    assert!(
        status.degraded.iter().any(|line| line.contains("retry-rejected --target soc")),
        "{status:#?}"
    );

    let retry = async |body| ask(&relay, Method::POST, "/retry-rejected", &body).await.unwrap();
    let (code, unknown) = retry(json!({"target": "sco"})).await;
    assert_eq!(code, 422);
    let error = unknown["error"].as_str().unwrap();
    assert!(error.contains("\"sco\"") && error.contains("there is: soc"), "{error}");
    assert_eq!(retry(json!({"target": TARGET})).await, (200, json!(1)));
    assert_eq!(retry(json!({})).await, (200, json!(0)));
    assert_eq!(asked_status(&relay).await.unwrap().ledger.targets[0].rejected, 0);
    served.stop().await;
}

#[tokio::test]
async fn one_bad_client_harms_only_itself() {
    let relay = Relay::start().await;
    let served = serve_control(&relay);
    let path = relay.config.ledger.data_dir.join(SOCKET);
    let _mute = UnixStream::connect(&path).await.unwrap();
    let mut stranger = UnixStream::connect(&path).await.unwrap();
    stranger.write_all(b"\x16\x03\x01 no HTTP\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stranger.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    for (method, path, body, code, words) in [
        (Method::POST, "/format-disk", json!({}), 404, "POST /format-disk is no command"),
        (Method::POST, "/suppress", json!({"reason": "no value"}), 400, "missing field `value`"),
        (Method::POST, "/suppress", json!({"value": "  "}), 422, "no value to withhold"),
        // A misspelt member must not widen what is asked, nor seconds end at once.
        (Method::POST, "/release", json!({"events": "all"}), 400, "unknown field `events`"),
        (Method::POST, "/suppress", json!({"value": "a", "until": 1_795_993_486}), 422, "is over"),
        (Method::PUT, "/status", json!({}), 405, "/status takes no PUT"),
    ] {
        let (status, answer) = ask(&relay, method, path, &body).await.unwrap();
        assert_eq!(status, code, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(words), "{answer}");
    }
    assert!(asked_status(&relay).await.is_some());
    served.stop().await;
}

/// The page of the control API names each path with its method. What changes anything takes POST.
#[tokio::test]
async fn what_changes_anything_takes_a_post() {
    let relay = Relay::start().await;
    let served = serve_control(&relay);
    let socket = relay.config.ledger.data_dir.join(SOCKET);
    let client = LOCAL.client_with(|builder| builder.unix_socket(socket)).unwrap();
    let page = include_str!("../../docs/reference/control-api.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let routes: Vec<(&str, &str)> = rows.filter_map(|(route, _)| route.split_once(' ')).collect();
    assert_eq!(routes.len(), 22, "{routes:?}");
    for (method, path) in routes {
        let answer = client.get(format!("http://relay{path}")).send().await.unwrap();
        let expected = match method {
            "GET" => StatusCode::OK,
            _ => StatusCode::METHOD_NOT_ALLOWED,
        };
        assert_eq!(answer.status(), expected, "{method} {path}");
    }
    served.stop().await;
}

/// Half of what was asked would be worse than all of it.
#[tokio::test]
async fn a_request_goes_on_although_its_client_hangs_up() {
    let relay = Relay::start().await;
    let served = serve_control(&relay);
    let path = relay.config.ledger.data_dir.join(SOCKET);
    for number in 0..20 {
        let body = json!({"value": format!("host-{number}.example")}).to_string();
        let request = format!(
            "POST /suppress HTTP/1.1\r\nHost: relay\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        // As long as the request is on its way, nobody can tell that the client is gone.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while relay.ledger.suppressed().await.unwrap().len() < 20 {
        assert!(Instant::now() < deadline, "{:?}", relay.ledger.suppressed().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    served.stop().await;
}

/// The last line of a long answer says whether it is whole.
#[tokio::test]
async fn a_long_answer_says_how_it_ended() {
    let relay = Relay::start().await;
    relay.publish(recorded("webhook/0002_POST.http").body).await;
    let served = serve_control(&relay);
    let socket = relay.config.ledger.data_dir.join(SOCKET);
    let client = LOCAL.client_with(|builder| builder.unix_socket(socket)).unwrap();
    let lines = async |path: &str, body: Value| {
        let answer = client.post(format!("http://relay{path}")).json(&body).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        let text = answer.text().await.unwrap();
        let line = |line| serde_json::from_str(line).unwrap();
        text.lines().map(line).collect::<Vec<Value>>()
    };
    let rows = lines("/ledger/export", json!({})).await;
    assert!(rows.len() > 5 && rows[0]["table"].is_string(), "{rows:?}");
    assert_eq!(rows.last(), Some(&json!({"end": "done"})));
    let told = lines("/explain", json!({"what": "nobody.example"})).await;
    let last = told.last().unwrap();
    assert_eq!(last["end"], "failed");
    assert!(last["error"].as_str().unwrap().contains("nothing is known of"), "{last}");
    served.stop().await;
}

#[tokio::test]
async fn the_socket_is_private_replaces_a_dead_one_and_goes_with_the_relay() {
    let relay = Relay::start().await;
    let path = relay.config.ledger.data_dir.join(SOCKET);
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a dead relay's socket");
    assert!(asked_status(&relay).await.is_none());

    let served = serve_control(&relay);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(asked_status(&relay).await.is_some());
    let error = control::bind(&relay.config.ledger.data_dir).unwrap_err().to_string();
    assert!(error.contains("another relay listens"), "{error}");
    assert!(asked_status(&relay).await.is_some());
    served.stop().await;
    assert!(!path.exists());
}
