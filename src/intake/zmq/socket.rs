//! A subscriber of one publisher: connect once, read frames, end. What comes after an end is decided
//! by the caller; nothing reconnects here.

use std::io;
use std::time::Duration;

use axum::body::Bytes;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wire::{self, Frames, Mechanism, Piece};
use crate::config::{Plain, ZeroMq};

/// Why there is no connection, in words for the operator.
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

/// What a publisher sent.
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
    stream: BufReader<TcpStream>,
    frames: Frames,
}

/// What is read at once.
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
        let mut stream = reach(endpoint).await?;
        let mechanism = greet(&mut stream).await?;
        let (name, credentials) = agreed(mechanism, config.credentials.as_ref())?;
        let stream = BufReader::with_capacity(READ_BUFFER, stream);
        let mut socket = Self { stream, frames: Frames::new(config.max_frame) };
        socket.send(&wire::rest_of_greeting(name)).await?;
        match credentials {
            None => socket.send(&wire::command("READY", &wire::metadata())).await?,
            Some(credentials) => socket.sign_in(credentials).await?,
        }
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
        self.stream.get_mut().write_all(bytes).await.map_err(broken)
    }

    /// The data of the next command of the handshake, which must have this name.
    async fn command(&mut self, wanted: &[u8]) -> Result<Vec<u8>, SocketError> {
        let Piece::Command(command) = self.piece().await? else {
            return Err(SocketError::NotZeroMq);
        };
        if let Some(status) = wire::refusal(&command) {
            return Err(refused(status));
        }
        match wire::named(&command) {
            Some((name, data)) if name == wanted => Ok(data.to_vec()),
            _ => Err(SocketError::NotZeroMq),
        }
    }

    /// The next frame. Dropping the future loses nothing.
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

    /// A publisher's only question after the handshake is whether anybody is there.
    fn obey(&self, command: &[u8]) -> Result<(), SocketError> {
        /// The time that the publisher waits stands before what it wants to hear again.
        const WAITED: usize = 2;
        let Some((b"PING", data)) = wire::named(command) else { return Ok(()) };
        let pong = wire::command("PONG", data.get(WAITED..).unwrap_or_default());
        match self.stream.get_ref().try_write(&pong) {
            Ok(written) if written == pong.len() => Ok(()),
            // So few bytes always fit, unless nothing is taken any more.
            Ok(_) => Err(SocketError::Closed),
            Err(error) => Err(broken(error)),
        }
    }

    async fn piece(&mut self) -> Result<Piece, SocketError> {
        loop {
            let mut input = self.stream.fill_buf().await.map_err(broken)?;
            let there = input.len();
            if there == 0 {
                return Err(SocketError::Closed);
            }
            let taken = self.frames.take(&mut input);
            let used = there - input.len();
            self.stream.consume(used);
            if let Some(piece) = taken.map_err(|why| SocketError::Broken(why.to_string()))? {
                return Ok(piece);
            }
        }
    }
}

async fn reach(endpoint: &str) -> Result<TcpStream, SocketError> {
    let host_and_port =
        endpoint.strip_prefix("tcp://").ok_or_else(|| SocketError::Address(endpoint.to_owned()))?;
    TcpStream::connect(host_and_port).await.map_err(SocketError::Unreachable)
}

/// How the peer wants us to sign in.
async fn greet(stream: &mut TcpStream) -> Result<Mechanism, SocketError> {
    stream.write_all(&wire::OPENING).await.map_err(SocketError::Unreachable)?;
    let mut greeting = [0; wire::GREETING_LENGTH];
    let (first, rest) = greeting.split_at_mut(1);
    stream.read_exact(first).await.map_err(SocketError::Unreachable)?;
    if first != [0xff] {
        return Err(SocketError::NotZeroMq);
    }
    stream.read_exact(rest).await.map_err(SocketError::Unreachable)?;
    Ok(Mechanism::of(&greeting))
}

/// The mechanism's name, and what it asks for.
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

/// Username and password, each behind its length.
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

/// Whether a peer that is ready is a publisher.
fn publishes(ready: &[u8]) -> Result<(), SocketError> {
    match wire::property(ready, b"socket-type") {
        Some(b"PUB" | b"XPUB") => Ok(()),
        _ => Err(SocketError::NotZeroMq),
    }
}

/// 400 means the credentials (RFC 27).
fn refused(status: &[u8]) -> SocketError {
    match status {
        b"400" => SocketError::CredentialsRefused,
        _ => SocketError::Broken(format!("refused: {:?}", String::from_utf8_lossy(status))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn broken(error: io::Error) -> SocketError {
    match matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) {
        true => SocketError::Closed,
        false => SocketError::Broken(error.to_string()),
    }
}
