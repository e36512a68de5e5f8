//! The seam between the relay and the two ZeroMQ libraries: connect once, read frames, end. What
//! comes after an end is decided by the caller; no library reconnects here.

use std::io;
use std::time::Duration;

use axum::body::Bytes;
use thiserror::Error;
use tokio::time::timeout;

use super::greeting::{self, Mechanism};
use super::native::NativeSocket;
#[cfg(feature = "plain")]
use super::plain::PlainSocket;
use crate::config::ZeroMq;

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
    #[cfg(feature = "plain")]
    CredentialsRefused,
    #[error("the publisher wants the ZeroMQ mechanism {0}, which MISP does not have")]
    Mechanism(String),
    #[error(
        "this build cannot sign in to ZeroMQ: use one with the cargo feature \"plain\", or empty \
         misp.zeromq.username"
    )]
    #[cfg(not(feature = "plain"))]
    PlainNotBuilt,
    #[error("MISP's ZeroMQ closed the connection")]
    Closed,
    #[error("the ZeroMQ connection broke: {0}")]
    Broken(String),
}

/// A connected socket with one subscription.
#[derive(Debug)]
pub(crate) enum Socket {
    /// The `zeromq` crate: no credentials.
    Native(Box<NativeSocket>),
    /// libzmq: ZMTP PLAIN.
    #[cfg(feature = "plain")]
    Plain(PlainSocket),
}

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
        #[cfg(not(feature = "plain"))]
        if config.credentials.is_some() {
            return Err(SocketError::PlainNotBuilt);
        }
        timeout(config.connect_timeout, Self::shake_hands(endpoint, prefix, config))
            .await
            .unwrap_or(Err(SocketError::Mute(config.connect_timeout)))
    }

    async fn shake_hands(
        endpoint: &str,
        prefix: &'static str,
        config: &ZeroMq,
    ) -> Result<Self, SocketError> {
        let peer = greeting::ask(endpoint).await?;
        match (peer.mechanism, &config.credentials) {
            (Mechanism::Null, None) => {
                let socket = NativeSocket::connect(peer.address, prefix, config).await?;
                Ok(Self::Native(Box::new(socket)))
            }
            #[cfg(feature = "plain")]
            (Mechanism::Plain, Some(credentials)) => {
                PlainSocket::connect(peer.address, prefix, credentials, config)
                    .await
                    .map(Self::Plain)
            }
            (Mechanism::Plain, _) => Err(SocketError::CredentialsWanted),
            (Mechanism::Null, Some(_)) => Err(SocketError::CredentialsUnwanted),
            (Mechanism::Other(name), _) => Err(SocketError::Mechanism(name)),
        }
    }

    /// The next frame. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The connection has ended; the socket is of no more use.
    pub(crate) async fn next(&mut self) -> Result<Bytes, SocketError> {
        match self {
            Self::Native(socket) => socket.next().await,
            #[cfg(feature = "plain")]
            Self::Plain(socket) => socket.next().await,
        }
    }
}
