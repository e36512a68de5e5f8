//! Asks a ZeroMQ peer who it is before a library connects, on a connection of its own: the libraries
//! hide a refused connection behind their own retries, and a wrong mechanism behind a lost one.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::socket::SocketError;

/// Who answered.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The address that answered, of all that the host name has.
    pub(crate) address: SocketAddr,
    pub(crate) mechanism: Mechanism,
}

/// How the peer wants a client to sign in (ZMTP 3.1, "Security Mechanisms").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Null,
    Plain,
    Other(String),
}

/// Signature, major and minor version: as much of a ZMTP 3.1 greeting as makes the peer send its own,
/// and too little to begin a session.
const OPENING: [u8; 12] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];

/// A greeting is 64 octets; the mechanism stands after signature and version, padded with zeros.
const GREETING_LENGTH: usize = 64;
const MECHANISM_START: usize = 12;
const MECHANISM_END: usize = 32;

/// Connects to `tcp://host:port` and reads the peer's greeting. Never ends while the peer is mute.
///
/// # Errors
/// [`SocketError`] where nobody or something else than ZeroMQ answers.
pub(crate) async fn ask(endpoint: &str) -> Result<Peer, SocketError> {
    let host_and_port =
        endpoint.strip_prefix("tcp://").ok_or_else(|| SocketError::Address(endpoint.to_owned()))?;
    let mut stream = TcpStream::connect(host_and_port).await.map_err(SocketError::Unreachable)?;
    let address = stream.peer_addr().map_err(SocketError::Unreachable)?;
    stream.write_all(&OPENING).await.map_err(SocketError::Unreachable)?;
    let mut greeting = [0; GREETING_LENGTH];
    let (first, rest) = greeting.split_at_mut(1);
    stream.read_exact(first).await.map_err(SocketError::Unreachable)?;
    if first != [0xff] {
        return Err(SocketError::NotZeroMq);
    }
    stream.read_exact(rest).await.map_err(SocketError::Unreachable)?;
    Ok(Peer { address, mechanism: mechanism(&greeting) })
}

fn mechanism(greeting: &[u8; GREETING_LENGTH]) -> Mechanism {
    let name = greeting.get(MECHANISM_START..MECHANISM_END).unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    match name {
        b"NULL" => Mechanism::Null,
        b"PLAIN" => Mechanism::Plain,
        other => Mechanism::Other(String::from_utf8_lossy(other).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mechanism_is_read_from_a_greeting() {
        let greeting = |name: &[u8]| {
            let mut greeting = [0; GREETING_LENGTH];
            greeting[..OPENING.len()].copy_from_slice(&OPENING);
            greeting[MECHANISM_START..MECHANISM_START + name.len()].copy_from_slice(name);
            greeting
        };
        assert_eq!(mechanism(&greeting(b"NULL")), Mechanism::Null);
        assert_eq!(mechanism(&greeting(b"PLAIN")), Mechanism::Plain);
        assert_eq!(mechanism(&greeting(b"CURVE")), Mechanism::Other("CURVE".to_owned()));
    }
}
