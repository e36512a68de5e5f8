//! A webhook listener, MISP's recorded requests, and a client that sends raw bytes to it.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use misp_sentinel_relay::config::{Secret, Webhook};
use misp_sentinel_relay::intake::Inbox;
use misp_sentinel_relay::intake::webhook::{self, Listener, SourceWebhook};
use misp_sentinel_relay::notice::{Gap, Notice, Receipt, What};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::sandbox::PATIENCE;

pub(crate) const SECRET: &str = "canary-0123456789";
pub(crate) const HEADER: &str = "X-Relay-Secret: canary-0123456789\r\n";

pub(crate) fn config() -> Webhook {
    Webhook {
        section: "misp.webhook".to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        path: "/misp-hook".to_owned(),
        secret_header: "X-Relay-Secret".to_owned(),
        secret: Secret::new(SECRET),
        max_body: 128 << 20,
        max_total: 256 << 20,
        answer_within: PATIENCE,
        confirm_within: Duration::from_secs(60),
        tls: None,
    }
}

/// A listener in a task, and its stop.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn listen(config: Webhook, inbox: Inbox) -> Listening {
    let socket = TcpListener::bind(config.listen).unwrap();
    let address = socket.local_addr().unwrap();
    let stop = CancellationToken::new();
    let listener = Listener { socket, tls: config.tls.clone(), patience: config.answer_within };
    let webhooks = vec![SourceWebhook { config, inbox, span: tracing::Span::none() }];
    let task = tokio::spawn(webhook::serve(listener, webhooks, stop.clone()));
    Listening { address, stop, task }
}

/// The ledger's end of the inbox, in the test's hands.
pub(crate) struct FakeLedger(pub(crate) mpsc::Receiver<Notice>);

impl FakeLedger {
    pub(crate) async fn next(&mut self) -> Notice {
        timeout(PATIENCE * 6, self.0.recv()).await.expect("no notice came").unwrap()
    }

    pub(crate) async fn gap(&mut self) -> Gap {
        let what = self.next().await.what;
        let What::Gap(gap) = what else { panic!("{what:?}") };
        gap
    }

    /// Takes one announcement, gives the receipt and returns the document.
    pub(crate) async fn announced(&mut self, receipt: Receipt) -> Vec<u8> {
        let notice = self.next().await;
        let What::Announced(body) = notice.what else { panic!("{:?}", notice.what) };
        notice.done.unwrap().send(receipt).unwrap();
        body.to_vec()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

pub(crate) fn inbox() -> (Inbox, FakeLedger) {
    let (inbox, reader) = Inbox::new(256 << 20);
    (inbox, FakeLedger(reader))
}

/// A recorded request: what MISP wrote, byte for byte.
pub(crate) struct Recorded {
    /// With the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// `file` within the recordings, without `.gz`.
pub(crate) fn recorded(file: &str) -> Recorded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|_| {
        let zipped = std::fs::read(format!("{}.gz", path.display())).unwrap();
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(&zipped[..]).read_to_end(&mut bytes).unwrap();
        bytes
    });
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    Recorded { head, body: bytes[end..].to_vec() }
}

impl Recorded {
    /// With a line of the module's "Headers" field, as MISP appends it.
    pub(crate) fn with(mut self, header: &str) -> Self {
        self.head.insert_str(self.head.len() - 2, header);
        self
    }

    pub(crate) fn path(&self) -> String {
        let target = self.head.split(' ').nth(1).unwrap();
        target.split('?').next().unwrap().to_owned()
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Headers and body.
    pub(crate) text: String,
    /// `100 Continue` came first.
    pub(crate) continued: bool,
}

/// A connection as curl uses it: with `Expect`, the body waits for `100 Continue`.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    /// The listener may have answered and closed already.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.ok();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        // An answer to 66 MB takes seconds in a debug build.
        timeout(PATIENCE * 6, self.0.read_line(&mut line)).await.expect("no answer").unwrap();
        line
    }

    async fn status(&mut self) -> u16 {
        let line = self.line().await;
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {line:?}"));
        status.parse().unwrap()
    }

    async fn rest(&mut self, status: u16, continued: bool) -> Reply {
        let mut text = String::new();
        let mut length = 0;
        loop {
            let line = self.line().await;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            let end = line == "\r\n";
            text.push_str(&line);
            if end {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        text.push_str(std::str::from_utf8(&body).unwrap());
        Reply { status, text, continued }
    }

    /// Waits for `100 Continue`: the body is about to be read.
    pub(crate) async fn is_continued(&mut self) {
        assert_eq!(self.status().await, 100);
        assert_eq!(self.line().await, "\r\n");
    }

    pub(crate) async fn reply(&mut self) -> Reply {
        let status = self.status().await;
        self.rest(status, false).await
    }

    pub(crate) async fn send(&mut self, request: &Recorded) -> Reply {
        self.write(request.head.as_bytes()).await;
        if !request.head.contains("Expect: 100-continue") {
            self.write(&request.body).await;
            return self.reply().await;
        }
        let status = self.status().await;
        if status != 100 {
            return self.rest(status, false).await;
        }
        assert_eq!(self.line().await, "\r\n");
        self.write(&request.body).await;
        let status = self.status().await;
        self.rest(status, true).await
    }

    /// The other side closes.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("still open").ok();
        assert_eq!(rest, b"", "{}", String::from_utf8_lossy(&rest));
    }
}

/// One request on a connection of its own.
pub(crate) async fn send(address: SocketAddr, request: &Recorded) -> Reply {
    Client::connect(address).await.send(request).await
}
