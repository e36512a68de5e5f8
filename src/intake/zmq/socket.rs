//! A socket that is subscribed to one publisher: it connects once, reads frames, and ends with the
//! connection. It never reconnects; the caller (`endpoint`) decides what comes after the end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::wire::{self, Frames, Mechanism, Piece};
use crate::config::{Plain, ZeroMq};

/// The reason why there is no connection, in words for the operator.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    #[error("{0:?} is no ZeroMQ address: write tcp://host:port")]
    Address(String),
    #[error("cannot reach MISP's ZeroMQ: {0}")]
    Unreachable(#[source] io::Error),
    #[error(
        "MISP's ZeroMQ did not answer within {0:?}: compare the port with Plugin.ZeroMQ_port, and \
         see that MISP's publisher runs and no firewall is between"
    )]
    Mute(Duration),
    #[error("what answers there is no ZeroMQ publisher: compare the port with Plugin.ZeroMQ_port")]
    NotZeroMq,
    #[error(
        "what answers there speaks version {0} of ZeroMQ's protocol, which is too old: MISP's \
         publisher needs libzmq 4 or newer, which speaks version 3"
    )]
    TooOld(u8),
    #[error(
        "MISP's ZeroMQ asks for a username and password: set misp.zeromq.username and \
         misp.zeromq.password to Plugin.ZeroMQ_username and Plugin.ZeroMQ_password"
    )]
    CredentialsWanted,
    #[error(
        "MISP's ZeroMQ takes no username and password: empty misp.zeromq.username and \
         misp.zeromq.password, or set Plugin.ZeroMQ_username and Plugin.ZeroMQ_password in MISP"
    )]
    CredentialsUnwanted,
    #[error(
        "MISP refused the ZeroMQ username or password: \
         compare misp.zeromq.username/password with Plugin.ZeroMQ_username/password"
    )]
    CredentialsRefused,
    #[error("the publisher wants the ZeroMQ mechanism {0}, which MISP does not have")]
    Mechanism(String),
    #[error("MISP's ZeroMQ closed the connection")]
    Closed,
    #[error("the ZeroMQ connection broke: {0}")]
    Broken(String),
}

/// Something that a publisher sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Frame(Bytes),
    /// The beginning of a frame that is larger than `max_frame`, and the size of the whole.
    TooLarge {
        start: Bytes,
        size: u64,
    },
}

/// A connected socket with one subscription.
#[derive(Debug)]
pub(crate) struct Socket {
    // The stream is never replaced. A silent reconnect would hide that frames were missed, and the caller
    // could note no gap.
    stream: BufReader<TcpStream>,
    frames: Frames,
}

/// The most bytes that are read at once.
const READ_BUFFER: usize = 64 << 10;

impl Socket {
    /// Connects, shakes hands and subscribes, all within `connect_timeout`.
    ///
    /// # Errors
    /// [`SocketError`] names what is wrong and the remedy.
    pub(crate) async fn connect(
        endpoint: &str,
        prefix: &'static str,
        config: &ZeroMq,
    ) -> Result<Self, SocketError> {
        timeout(config.connect_timeout, Self::shake_hands(endpoint, prefix, config))
            .await
            .unwrap_or(Err(SocketError::Mute(config.connect_timeout)))
    }

    async fn shake_hands(
        endpoint: &str,
        prefix: &'static str,
        config: &ZeroMq,
    ) -> Result<Self, SocketError> {
        let mut stream = reach(endpoint, config.connect_timeout).await?;
        let mechanism = greet(&mut stream).await?;
        let (name, credentials) = agreed(mechanism, config.credentials.as_ref())?;
        // `greet` reads exactly the greeting, so no byte is lost when the buffer takes over.
        let stream = BufReader::with_capacity(READ_BUFFER, stream);
        let mut socket = Self { stream, frames: Frames::new(config.max_frame) };
        socket.send(&wire::rest_of_greeting(name)).await?;
        match credentials {
            None => socket.send(&wire::command("READY", &wire::metadata())).await?,
            Some(credentials) => socket.sign_in(credentials).await?,
        }
        // A publisher sends messages only to a subscriber, so every piece up to here is a command.
        let ready = socket.command(b"READY").await?;
        publishes(&ready)?;
        socket.send(&wire::subscription(prefix)).await?;
        Ok(socket)
    }

    async fn sign_in(&mut self, credentials: &Plain) -> Result<(), SocketError> {
        self.send(&wire::command("HELLO", &hello(credentials)?)).await?;
        self.command(b"WELCOME").await?;
        self.send(&wire::command("INITIATE", &wire::metadata())).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), SocketError> {
        // Only reads are buffered. A write goes out at once.
        self.stream.get_mut().write_all(bytes).await.map_err(broken)
    }

    /// Returns the data of the next command of the handshake, which must have this name.
    async fn command(&mut self, wanted: &[u8]) -> Result<Vec<u8>, SocketError> {
        let Piece::Command(command) = self.piece().await? else {
            return Err(SocketError::NotZeroMq);
        };
        // This comes first, since libzmq misspells its refusal, which then has no readable name.
        if let Some(status) = wire::refusal(&command) {
            return Err(refused(status));
        }
        match wire::named(&command) {
            Some((name, data)) if name == wanted => Ok(data.to_vec()),
            _ => Err(SocketError::NotZeroMq),
        }
    }

    /// Returns the next frame. Dropping the future loses nothing, so it can stand in a `select`.
    ///
    /// # Errors
    /// The connection has ended; the socket is of no more use.
    pub(crate) async fn next(&mut self) -> Result<Received, SocketError> {
        loop {
            match self.piece().await? {
                Piece::Message(frame) => return Ok(Received::Frame(frame)),
                Piece::TooLarge { start, size } => return Ok(Received::TooLarge { start, size }),
                Piece::Command(command) => self.obey(&command)?,
            }
        }
    }

    /// Answers a command. After the handshake a publisher sends only PING.
    fn obey(&self, command: &[u8]) -> Result<(), SocketError> {
        /// The bytes of the time that the publisher waits. The context that a PONG repeats follows them.
        const WAITED: usize = 2;
        let Some((b"PING", data)) = wire::named(command) else { return Ok(()) };
        let pong = wire::command("PONG", data.get(WAITED..).unwrap_or_default());
        // This must not wait: `next` may be dropped in a `select`, and half a PONG would break the stream.
        match self.stream.get_ref().try_write(&pong) {
            Ok(written) if written == pong.len() => Ok(()),
            // So few bytes always fit, unless nothing is taken any more.
            Ok(_) => Err(SocketError::Closed),
            Err(error) => Err(broken(error)),
        }
    }

    async fn piece(&mut self) -> Result<Piece, SocketError> {
        loop {
            // The only wait of this loop. Nothing is taken yet, so dropping the future here loses no byte.
            let mut input = self.stream.fill_buf().await.map_err(broken)?;
            let there = input.len();
            if there == 0 {
                return Err(SocketError::Closed);
            }
            let taken = self.frames.take(&mut input);
            let used = there - input.len();
            // `input` now begins at the next piece, which stays in the buffer.
            self.stream.consume(used);
            if let Some(piece) = taken.map_err(|why| SocketError::Broken(why.to_string()))? {
                return Ok(piece);
            }
        }
    }
}

async fn reach(endpoint: &str, within: Duration) -> Result<TcpStream, SocketError> {
    let host_and_port =
        endpoint.strip_prefix("tcp://").ok_or_else(|| SocketError::Address(endpoint.to_owned()))?;
    let addresses = lookup_host(host_and_port).await.map_err(SocketError::Unreachable)?;
    reach_one_of(&addresses.collect::<Vec<_>>(), within).await
}

/// Connects to one of the addresses of a name. Each address gets an equal share of the time, so that one at
/// which nobody answers leaves time for the others.
async fn reach_one_of(
    addresses: &[SocketAddr],
    within: Duration,
) -> Result<TcpStream, SocketError> {
    // `max` prevents a division by zero where the name has no address.
    let share = within / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let nowhere = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut fault = SocketError::Unreachable(nowhere);
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => fault = SocketError::Unreachable(error),
            Err(_) => fault = SocketError::Mute(within),
        }
    }
    Err(fault)
}

/// Reads how the peer wants us to sign in. The first bytes already tell a peer that is no ZeroMQ or too old,
/// since such a peer may never send a whole greeting.
async fn greet(stream: &mut TcpStream) -> Result<Mechanism, SocketError> {
    stream.write_all(&wire::OPENING).await.map_err(SocketError::Unreachable)?;
    let mut greeting = [0; wire::GREETING_LENGTH];
    // Each part is judged as soon as it is there: another protocol may wait for us after a few bytes.
    let (signature, rest) = greeting.split_at_mut(wire::SIGNATURE_LENGTH);
    let (first, others) = signature.split_at_mut(1);
    stream.read_exact(first).await.map_err(SocketError::Unreachable)?;
    require(first == [wire::SIGNATURE_START])?;
    stream.read_exact(others).await.map_err(SocketError::Unreachable)?;
    require(others.ends_with(&[wire::SIGNATURE_END]))?;
    let (version, rest) = rest.split_at_mut(1);
    stream.read_exact(version).await.map_err(SocketError::Unreachable)?;
    if let [version @ ..wire::VERSION] = *version {
        return Err(SocketError::TooOld(version));
    }
    stream.read_exact(rest).await.map_err(SocketError::Unreachable)?;
    Ok(Mechanism::of(&greeting))
}

fn require(is_zeromq: bool) -> Result<(), SocketError> {
    if is_zeromq { Ok(()) } else { Err(SocketError::NotZeroMq) }
}

/// Returns the mechanism's name and the credentials that it asks for.
fn agreed(
    mechanism: Mechanism,
    credentials: Option<&Plain>,
) -> Result<(&'static str, Option<&Plain>), SocketError> {
    match (mechanism, credentials) {
        (Mechanism::Null, None) => Ok(("NULL", None)),
        (Mechanism::Plain, Some(credentials)) => Ok(("PLAIN", Some(credentials))),
        (Mechanism::Plain, None) => Err(SocketError::CredentialsWanted),
        (Mechanism::Null, Some(_)) => Err(SocketError::CredentialsUnwanted),
        (Mechanism::Other(name), _) => Err(SocketError::Mechanism(name)),
    }
}

/// Returns the data of HELLO: username and password, each behind its length of one byte (RFC 24).
fn hello(credentials: &Plain) -> Result<Vec<u8>, SocketError> {
    let (username, password) = (&credentials.username, credentials.password.expose());
    let mut data = Vec::new();
    for text in [username.as_str(), password] {
        let too_long = || {
            SocketError::Broken("ZeroMQ takes at most 255 bytes of username or password".to_owned())
        };
        data.push(u8::try_from(text.len()).map_err(|_| too_long())?);
        data.extend_from_slice(text.as_bytes());
    }
    Ok(data)
}

/// Checks in the metadata of READY that the peer is a publisher.
fn publishes(ready: &[u8]) -> Result<(), SocketError> {
    match wire::property(ready, b"socket-type") {
        Some(b"PUB" | b"XPUB") => Ok(()),
        _ => Err(SocketError::NotZeroMq),
    }
}

/// Returns the error for the status of a refusal. 400 means wrong credentials (RFC 27).
fn refused(status: &[u8]) -> SocketError {
    match status {
        b"400" => SocketError::CredentialsRefused,
        _ => SocketError::Broken(format!("refused: {:?}", String::from_utf8_lossy(status))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn broken(error: io::Error) -> SocketError {
    // To the operator a reset is the same as a close: the publisher has ended.
    if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) {
        SocketError::Closed
    } else {
        SocketError::Broken(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// A listener whose queue is full: the kernel answers no further connection.
    async fn black_hole() -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        let patience = Duration::from_millis(200);
        while let Ok(stream) = timeout(patience, TcpStream::connect(address)).await {
            waiting.push(stream.unwrap());
        }
        (listener, waiting)
    }

    #[tokio::test]
    async fn an_address_at_which_nobody_answers_leaves_time_for_the_next() {
        let (dead, _waiting) = black_hole().await;
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [dead.local_addr().unwrap(), alive.local_addr().unwrap()];
        let within = Duration::from_secs(2);
        let reached = timeout(within, reach_one_of(&addresses, within)).await.unwrap().unwrap();
        assert_eq!(reached.peer_addr().unwrap(), addresses[1]);
        let mute = reach_one_of(&addresses[..1], Duration::from_millis(200)).await.unwrap_err();
        assert!(matches!(mute, SocketError::Mute(_)), "{mute}");
        assert!(reach_one_of(&[], within).await.is_err());
    }
}
