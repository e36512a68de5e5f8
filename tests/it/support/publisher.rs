//! A stand-in for MISP's `mispzmq.py`: a real libzmq publisher on loopback. It also loads MISP's recorded
//! frames.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// A ZeroMQ publisher that can be stopped and started again on its port.
///
/// ```ignore
/// let mut publisher = Publisher::bind();          // or Publisher::bind_plain("misp", "secret")
/// // start a relay on publisher.endpoint()
/// publisher.wait_for_subscriptions(2).await;      // both its sockets will receive what follows
/// publisher.send(b"misp_json_self {\"uptime\":1}").await;
/// publisher.stop();                               // as a kill: connections close, frames are lost
/// publisher.start();                              // the same port
/// ```
pub(crate) struct Publisher {
    port: u16,
    credentials: Option<(String, String)>,
    running: Option<Running>,
}

struct Running {
    socket: Mutex<zmq::Socket>,
    // Dropped after the socket, and blocks until the port is free.
    context: zmq::Context,
    doorkeeper: Option<Doorkeeper>,
}

impl Publisher {
    /// Starts on a free port, without credentials.
    pub(crate) fn bind() -> Self {
        Self::unbound(None).started()
    }

    /// Starts on a free port; subscribers need this username and password (ZMTP PLAIN).
    pub(crate) fn bind_plain(username: &str, password: &str) -> Self {
        Self::unbound(Some((username.to_owned(), password.to_owned()))).started()
    }

    /// Has a port that nothing listens on, until [`Publisher::start`].
    pub(crate) fn absent() -> Self {
        let mut publisher = Self::bind();
        publisher.stop();
        publisher
    }

    fn unbound(credentials: Option<(String, String)>) -> Self {
        Self { port: 0, credentials, running: None }
    }

    fn started(mut self) -> Self {
        self.start();
        self
    }

    /// What the relay is configured with: `tcp://127.0.0.1:PORT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// Starts, on the same port as before.
    pub(crate) fn start(&mut self) {
        let context = zmq::Context::new();
        let socket = context.socket(zmq::XPUB).unwrap();
        socket.set_xpub_verbose(true).unwrap();
        socket.set_linger(0).unwrap();
        // As much as the tests send at once: what is lost is then the subscriber's loss.
        socket.set_sndhwm(100_000).unwrap();
        let doorkeeper = self.credentials.clone().map(|(username, password)| {
            socket.set_plain_server(true).unwrap();
            Doorkeeper::start(&context, username, password)
        });
        let address = match self.port {
            0 => "tcp://127.0.0.1:*".to_owned(),
            _ => self.endpoint(),
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Err(error) = socket.bind(&address) {
            assert!(Instant::now() < deadline, "{address}: {error}");
            socket.poll(zmq::POLLERR, 5).unwrap();
        }
        let bound = socket.get_last_endpoint().unwrap().unwrap();
        self.port = bound.rsplit(':').next().unwrap().parse().unwrap();
        self.running = Some(Running { socket: Mutex::new(socket), context, doorkeeper });
    }

    /// Asks for another password from the next start on.
    pub(crate) fn set_password(&mut self, password: &str) {
        let (_, held) = self.credentials.as_mut().unwrap();
        password.clone_into(held);
    }

    /// Stops as if killed: connections close, queued frames are lost, the port is free on return.
    pub(crate) fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        let Running { socket, context, doorkeeper } = running;
        drop(doorkeeper);
        drop(socket);
        drop(context);
    }

    /// Whether anybody could subscribe.
    pub(crate) fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// Sends one frame, `topic SPACE json`, to all whose subscription has arrived.
    pub(crate) async fn send(&self, frame: &[u8]) {
        self.socket().lock().await.send(frame, 0).unwrap();
    }

    /// Sends MISP's heartbeat.
    pub(crate) async fn send_heartbeat(&self, uptime: i64) {
        self.send(format!(r#"misp_json_self {{"status":"alive","uptime":{uptime}}}"#).as_bytes())
            .await;
    }

    /// Waits for as many new subscriptions; a relay makes two per endpoint. Once they are there, what
    /// is sent reaches their sockets.
    pub(crate) async fn wait_for_subscriptions(&self, count: usize) {
        let waiting = async {
            let mut seen = 0;
            while seen < count {
                match self.socket().lock().await.recv_bytes(zmq::DONTWAIT) {
                    Ok(message) => seen += usize::from(message.first() == Some(&1)),
                    Err(zmq::Error::EAGAIN) => tokio::time::sleep(Duration::from_millis(1)).await,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting)
            .await
            .unwrap_or_else(|_| panic!("no {count} subscriptions within 10 s"));
    }

    fn socket(&self) -> &Mutex<zmq::Socket> {
        &self.running.as_ref().expect("the publisher is stopped").socket
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Answers libzmq's question whether a client may enter (ZAP, RFC 27).
struct Doorkeeper {
    closed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Doorkeeper {
    fn start(context: &zmq::Context, username: String, password: String) -> Self {
        let closed = Arc::new(AtomicBool::new(false));
        let door = context.socket(zmq::REP).unwrap();
        door.bind("inproc://zeromq.zap.01").unwrap();
        let is_closed = Arc::clone(&closed);
        let thread = std::thread::spawn(move || {
            while !is_closed.load(Ordering::Relaxed) {
                if door.poll(zmq::POLLIN, 10).unwrap() > 0 {
                    answer(&door, username.as_bytes(), password.as_bytes());
                }
            }
        });
        Self { closed, thread: Some(thread) }
    }
}

impl Drop for Doorkeeper {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(door: &zmq::Socket, username: &[u8], password: &[u8]) {
    let request = door.recv_multipart(0).unwrap();
    let [version, id, _domain, _address, _identity, mechanism, given @ ..] = request.as_slice()
    else {
        panic!("no ZAP request: {request:?}");
    };
    let may_enter = mechanism == b"PLAIN" && given == [username, password];
    let (code, text): (&[u8], &[u8]) =
        if may_enter { (b"200", b"OK") } else { (b"400", b"wrong username or password") };
    let reply: [&[u8]; 6] = [version, id, code, text, b"", b""];
    door.send_multipart(reply, 0).unwrap();
}

/// One recorded frame.
pub(crate) struct Recorded {
    /// File name without `.gz`, e.g. `000332_misp_json.bin`.
    pub(crate) name: String,
    /// `topic SPACE json`, as it was on the wire.
    pub(crate) frame: Vec<u8>,
}

impl Recorded {
    /// What stands before the first space.
    pub(crate) fn topic(&self) -> &str {
        let end = self.frame.iter().position(|byte| *byte == b' ').unwrap();
        std::str::from_utf8(&self.frame[..end]).unwrap()
    }

    /// What stands after it.
    pub(crate) fn json(&self) -> &[u8] {
        &self.frame[self.topic().len() + 1..]
    }
}

/// All frames of a recording (`zmq`, `zmq-more`, `zmq-variants`), in their order.
pub(crate) fn recorded_frames(recording: &str) -> Vec<Recorded> {
    let mut names: Vec<_> = fs::read_dir(folder(recording))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".bin") || name.ends_with(".bin.gz"))
        .collect();
    names.sort();
    names.iter().map(|name| recorded_frame(recording, name)).collect()
}

/// One frame by its file name, with or without `.gz`, e.g. `("zmq", "010630_misp_json.bin")`.
pub(crate) fn recorded_frame(recording: &str, name: &str) -> Recorded {
    let name = name.trim_end_matches(".gz");
    let plain = folder(recording).join(name);
    let frame = fs::read(&plain).unwrap_or_else(|_| {
        let zipped = fs::File::open(folder(recording).join(format!("{name}.gz"))).unwrap();
        let mut frame = Vec::new();
        flate2::read::GzDecoder::new(zipped).read_to_end(&mut frame).unwrap();
        frame
    });
    Recorded { name: name.to_owned(), frame }
}

fn folder(recording: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(recording)
}
