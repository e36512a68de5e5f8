//! A server in place of MISP's web server. It sends exactly the bytes that a test gives it, with network
//! faults in between.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use misp_sentinel_relay::config::{self, Rest};
use misp_sentinel_relay::misp_api::MispClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

pub(crate) const KEY: &str = "0123456789abcdefghijABCDEFGHIJ0123456789";

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// e.g. `POST /events/restSearch HTTP/1.1`
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What goes back on the connection, before it is closed.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Bytes(Vec<u8>),
    Pause(Duration),
    /// Nothing more, and the connection stays.
    Hang,
    Reset,
}

pub(crate) type Reaction = Vec<Part>;

pub(crate) struct FakeRest {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: AbortHandle,
}

impl Drop for FakeRest {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeRest {
    /// `react` gets each request and its number, from 0.
    pub(crate) async fn start(
        react: impl Fn(usize, &Request) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (react, seen) = (Arc::new(react), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (react, seen) = (Arc::clone(&react), Arc::clone(&seen));
                connections.spawn(async move { answer(stream, &*react, &seen).await });
            }
        });
        Self { url, requests, task: task.abort_handle() }
    }

    /// Always the same.
    pub(crate) async fn saying(answer: Vec<u8>) -> Self {
        Self::start(move |_, _| vec![Part::Bytes(answer.clone())]).await
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn client(&self) -> MispClient {
        MispClient::new(&settings(&self.url)).unwrap()
    }

    pub(crate) fn client_with(&self, change: impl FnOnce(&mut Rest)) -> MispClient {
        let mut settings = settings(&self.url);
        change(&mut settings);
        MispClient::new(&settings).unwrap()
    }
}

async fn answer(
    mut stream: TcpStream,
    react: &(dyn Fn(usize, &Request) -> Reaction + Send + Sync),
    seen: &Mutex<Vec<Request>>,
) {
    let Some(request) = receive(&mut stream).await else { return };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    for part in react(number, &request) {
        match part {
            // The client may have gone.
            Part::Bytes(bytes) => match stream.write_all(&bytes).await {
                Ok(()) => stream.flush().await.unwrap(),
                Err(_) => return,
            },
            Part::Pause(time) => tokio::time::sleep(time).await,
            Part::Hang => std::future::pending().await,
            Part::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
        }
    }
    stream.shutdown().await.ok();
}

async fn receive(stream: &mut TcpStream) -> Option<Request> {
    let mut received = Vec::new();
    let head = loop {
        if let Some(end) = find(&received, b"\r\n\r\n") {
            break String::from_utf8(received[..end].to_vec()).unwrap();
        }
        if stream.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
    };
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = received[head.len() + 4..].to_vec();
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request { line, headers, body })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// As configured, with waits of milliseconds.
pub(crate) fn settings(url: &str) -> Rest {
    let environment = [
        ("MSR_MISP__URL", url),
        ("MSR_MISP__PUBLIC_URL", "https://misp.example.org"),
        ("MSR_MISP__KEY", KEY),
        ("MSR_MISP__PROXY", "none"),
        ("MSR_MISP__REST__CONNECT_TIMEOUT", "2s"),
        ("MSR_MISP__REST__REQUEST_TIMEOUT", "5s"),
        ("MSR_MISP__REST__REQUESTS_PER_SECOND", "10000"),
        ("MSR_MISP__REST__BACKOFF_MIN", "1ms"),
        ("MSR_MISP__REST__BACKOFF_MAX", "10ms"),
        ("MSR_TARGET__SOC__MODE", "dry-run"),
    ];
    let empty = tempfile::NamedTempFile::new().unwrap();
    let environment = environment.iter().map(|(key, value)| ((*key).into(), (*value).into()));
    config::load(Some(empty.path()), environment).unwrap().sources.remove(0).rest.unwrap()
}

/// An answer of MISP as recorded, head and body: a search's, or another's.
pub(crate) fn recorded(name: &str) -> Vec<u8> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let file = format!("{name}.response.http");
    let read = |kind: &str| std::fs::read(folder.join(kind).join(&file));
    read("rest").or_else(|_| read("rest-api")).unwrap()
}

/// The events of a recorded restSearch answer, as JSON values.
pub(crate) fn events(name: &str) -> Vec<serde_json::Value> {
    let answer: serde_json::Value = serde_json::from_slice(&body(&recorded(name))).unwrap();
    answer["response"].as_array().unwrap().clone()
}

pub(crate) fn body(answer: &[u8]) -> Vec<u8> {
    answer[find(answer, b"\r\n\r\n").unwrap() + 4..].to_vec()
}

/// An answer with status 200.
pub(crate) fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    response("200 OK", headers, body)
}

/// `headers`: whole lines, each with its line break.
pub(crate) fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nDate: Tue, 24 Nov 2026 05:55:36 GMT\r\n{headers}\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
