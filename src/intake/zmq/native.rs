//! A subscriber by the `zeromq` crate, for publishers without credentials.

use std::fmt;
use std::net::SocketAddr;

use axum::body::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use zeromq::{
    Socket as _, SocketEvent, SocketOptions, SocketRecv, SubSocket, ZmqError, ZmqMessage,
};

use super::socket::SocketError;
use crate::config::ZeroMq;

/// A connected subscriber. The crate's own reconnecting, which backs off to 30 s and can hang in a
/// handshake, never comes to act: the monitor's word ends the socket first.
pub(crate) struct NativeSocket {
    socket: SubSocket,
    events: mpsc::Receiver<SocketEvent>,
}

/// A small frame is a slice of a read buffer of up to this size. It is copied out, since as long as
/// it waits for the ledger it would hold the whole buffer, of which the inbox does not know.
const READ_BUFFER: usize = 64 * 1024;

impl NativeSocket {
    pub(crate) async fn connect(
        address: SocketAddr,
        prefix: &'static str,
        config: &ZeroMq,
    ) -> Result<Self, SocketError> {
        let mut options = SocketOptions::default();
        options.connect_timeout(config.connect_timeout);
        let mut socket = SubSocket::with_options(options);
        let events = socket.monitor();
        socket.subscribe(prefix).await.map_err(broken)?;
        socket.connect(&format!("tcp://{address}")).await.map_err(broken)?;
        Ok(Self { socket, events })
    }

    pub(crate) async fn next(&mut self) -> Result<Bytes, SocketError> {
        loop {
            tokio::select! {
                message = self.socket.recv() => return message.map(frame).map_err(broken),
                event = self.events.next() => {
                    if matches!(event, None | Some(SocketEvent::Disconnected(_))) {
                        return Err(SocketError::Closed);
                    }
                }
            }
        }
    }
}

/// MISP sends one frame a message; of anything else the first is read.
fn frame(message: ZmqMessage) -> Bytes {
    let frame = message.into_vecdeque().pop_front().unwrap_or_default();
    if frame.len() < READ_BUFFER { Bytes::copy_from_slice(&frame) } else { frame }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn broken(error: ZmqError) -> SocketError {
    SocketError::Broken(error.to_string())
}

impl fmt::Debug for NativeSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeSocket").finish_non_exhaustive()
    }
}
