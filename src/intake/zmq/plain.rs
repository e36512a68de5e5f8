//! A subscriber by libzmq, for publishers that ask for a username and password (ZMTP PLAIN). libzmq
//! blocks, so each socket has a thread that hands frames over.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::mpsc;
use zmq::{Context, DONTWAIT, Message, POLLIN, SocketEvent};

use super::Feed;
use super::socket::SocketError;
use crate::config::{Plain, ZeroMq};

/// A connected subscriber; dropping it ends its thread within [`LOOK_UP`].
#[derive(Debug)]
pub(crate) struct PlainSocket {
    steps: mpsc::Receiver<Step>,
}

/// What the thread has to tell.
#[derive(Debug)]
enum Step {
    Connected,
    Frame(Bytes),
    Ended(SocketError),
}

/// How often the thread looks whether anybody still listens.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Frames between the thread and its reader. Few: each may be as large as `max_frame`, and beyond
/// them libzmq stops reading, the kernel buffers and then the publisher's own queue hold on.
const HANDED_OVER: usize = 8;

/// Frames in libzmq: publications are large, all others are about a kilobyte.
const MAX_WAITING_PUBLICATIONS: i32 = 8;
const MAX_WAITING_OTHERS: i32 = 1_000;

const MONITOR: &str = "inproc://monitor";

impl PlainSocket {
    pub(crate) async fn connect(
        address: SocketAddr,
        prefix: &'static str,
        credentials: &Plain,
        config: &ZeroMq,
    ) -> Result<Self, SocketError> {
        let (tell, mut steps) = mpsc::channel(HANDED_OVER);
        let subscriber = Subscriber {
            address,
            prefix,
            credentials: credentials.clone(),
            connect_timeout: config.connect_timeout,
            max_frame: config.max_frame,
            tell,
        };
        std::thread::Builder::new()
            .name("zeromq-plain".to_owned())
            .spawn(move || subscriber.read())
            .map_err(thread_refused)?;
        match steps.recv().await {
            Some(Step::Connected) => Ok(Self { steps }),
            Some(Step::Ended(error)) => Err(error),
            Some(Step::Frame(_)) | None => Err(SocketError::Closed),
        }
    }

    pub(crate) async fn next(&mut self) -> Result<Bytes, SocketError> {
        loop {
            match self.steps.recv().await {
                Some(Step::Frame(frame)) => return Ok(frame),
                Some(Step::Connected) => {}
                Some(Step::Ended(error)) => return Err(error),
                None => return Err(SocketError::Closed),
            }
        }
    }
}

/// What the thread owns.
struct Subscriber {
    address: SocketAddr,
    prefix: &'static str,
    credentials: Plain,
    connect_timeout: Duration,
    max_frame: usize,
    tell: mpsc::Sender<Step>,
}

impl Subscriber {
    fn read(self) {
        let ended = self.read_until_ended().unwrap_or_else(|error| Some(broken(error)));
        if let Some(error) = ended {
            // Nobody listens any more: nothing is lost.
            drop(self.tell.blocking_send(Step::Ended(error)));
        }
    }

    /// `None` once nobody listens any more.
    fn read_until_ended(&self) -> zmq::Result<Option<SocketError>> {
        let context = Context::new();
        let socket = self.socket(&context)?;
        socket.monitor(MONITOR, i32::from(SocketEvent::ALL.to_raw()))?;
        let monitor = context.socket(zmq::PAIR)?;
        monitor.connect(MONITOR)?;
        socket.connect(&format!("tcp://{}", self.address))?;
        match self.follow(&monitor, None)? {
            Progress::Connected if self.tell.blocking_send(Step::Connected).is_ok() => {}
            Progress::Ended(error) => return Ok(Some(error)),
            Progress::Connected | Progress::Unwanted => return Ok(None),
        }
        match self.follow(&monitor, Some(&socket))? {
            Progress::Ended(error) => Ok(Some(error)),
            Progress::Connected | Progress::Unwanted => Ok(None),
        }
    }

    /// Follows the monitor to the end of the handshake, or, with the socket to read, to the end of
    /// the connection.
    fn follow(
        &self,
        monitor: &zmq::Socket,
        connected: Option<&zmq::Socket>,
    ) -> zmq::Result<Progress> {
        while !self.tell.is_closed() {
            wait(monitor, connected)?;
            let progress = next_progress(monitor)?;
            // Frames that came before a loss are still good.
            if let Some(socket) = connected
                && self.hand_over(socket)?.is_break()
            {
                return Ok(Progress::Unwanted);
            }
            if let Some(progress) = progress {
                return Ok(progress);
            }
        }
        Ok(Progress::Unwanted)
    }

    fn socket(&self, context: &Context) -> zmq::Result<zmq::Socket> {
        let milliseconds = i32::try_from(self.connect_timeout.as_millis()).unwrap_or(i32::MAX);
        let publications_only = self.prefix == Feed::Publications.prefix();
        let socket = context.socket(zmq::SUB)?;
        socket.set_ipv6(self.address.is_ipv6())?;
        socket.set_linger(0)?;
        socket.set_reconnect_ivl(-1)?;
        socket.set_connect_timeout(milliseconds)?;
        socket.set_handshake_ivl(milliseconds)?;
        socket.set_rcvhwm(if publications_only {
            MAX_WAITING_PUBLICATIONS
        } else {
            MAX_WAITING_OTHERS
        })?;
        // libzmq closes the connection at a larger frame, without its topic. Up to twice the limit
        // the frame is refused by name instead, and the connection stays.
        let max_frame = i64::try_from(self.max_frame).unwrap_or(i64::MAX);
        socket.set_maxmsgsize(max_frame.saturating_mul(2))?;
        socket.set_plain_username(Some(&self.credentials.username))?;
        socket.set_plain_password(Some(self.credentials.password.expose()))?;
        socket.set_subscribe(self.prefix.as_bytes())?;
        Ok(socket)
    }

    /// Hands over all frames that are there.
    fn hand_over(&self, socket: &zmq::Socket) -> zmq::Result<ControlFlow<()>> {
        loop {
            let message = match socket.recv_msg(DONTWAIT) {
                Ok(message) => message,
                Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => {
                    return Ok(ControlFlow::Continue(()));
                }
                Err(error) => return Err(error),
            };
            let frame = Bytes::from_owner(Frame(message));
            if self.tell.blocking_send(Step::Frame(frame)).is_err() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
}

/// How far a connection got.
enum Progress {
    Connected,
    Ended(SocketError),
    /// Nobody listens any more.
    Unwanted,
}

fn wait(monitor: &zmq::Socket, socket: Option<&zmq::Socket>) -> zmq::Result<()> {
    let sockets = [Some(monitor), socket];
    let mut items: Vec<_> =
        sockets.into_iter().flatten().map(|socket| socket.as_poll_item(POLLIN)).collect();
    match zmq::poll(&mut items, i64::try_from(LOOK_UP.as_millis()).unwrap_or(0)) {
        Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What the monitor's waiting events add up to.
fn next_progress(monitor: &zmq::Socket) -> zmq::Result<Option<Progress>> {
    while let Some(event) = event(monitor)? {
        let is = |kind: SocketEvent| kind.to_raw() == event;
        if is(SocketEvent::HANDSHAKE_SUCCEEDED) {
            return Ok(Some(Progress::Connected));
        }
        if is(SocketEvent::HANDSHAKE_FAILED_AUTH) {
            return Ok(Some(Progress::Ended(SocketError::CredentialsRefused)));
        }
        if is(SocketEvent::HANDSHAKE_FAILED_PROTOCOL) {
            let broken = SocketError::Broken("the handshake failed".to_owned());
            return Ok(Some(Progress::Ended(broken)));
        }
        if OVER.into_iter().any(is) {
            return Ok(Some(Progress::Ended(SocketError::Closed)));
        }
    }
    Ok(None)
}

/// After any of these libzmq, which must not reconnect, does nothing more.
const OVER: [SocketEvent; 4] = [
    SocketEvent::DISCONNECTED,
    SocketEvent::CLOSED,
    SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
    SocketEvent::MONITOR_STOPPED,
];

/// The next event of a socket monitor: its number stands in the first two octets of the first frame,
/// in the machine's order; the second frame is the address (`zmq_socket_monitor(3)`).
fn event(monitor: &zmq::Socket) -> zmq::Result<Option<u16>> {
    let message = match monitor.recv_msg(DONTWAIT) {
        Ok(message) => message,
        Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => return Ok(None),
        Err(error) => return Err(error),
    };
    if message.get_more() {
        monitor.recv_msg(0)?;
    }
    Ok(message.first_chunk::<2>().map(|number| u16::from_ne_bytes(*number)))
}

/// Lends libzmq's memory out as bytes.
struct Frame(Message);

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn thread_refused(error: io::Error) -> SocketError {
    SocketError::Broken(format!("no thread for it: {error}"))
}

fn broken(error: zmq::Error) -> SocketError {
    SocketError::Broken(error.to_string())
}
