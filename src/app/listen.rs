//! Binds the sockets that MISP, operators and Prometheus connect to. If that fails, it says which setting named the
//! address, and what to do.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use thiserror::Error;

use crate::config;

/// A socket cannot be bound.
#[derive(Debug, Error)]
#[error("cannot listen on {key} = {address}: {}\n  hint: {}", why(.error), hint(.key, .address, .error))]
pub(super) struct ListenError {
    /// The setting that names the address.
    key: String,
    address: SocketAddr,
    error: io::Error,
}

/// Listens on an address. `key` is the setting that names it.
///
/// # Errors
/// The port is in use, or this process may not listen there.
pub(super) fn listen(key: &str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).map_err(|error| ListenError { key: key.to_owned(), address, error })
}

fn why(error: &io::Error) -> String {
    const WORDS: [(ErrorKind, &str); 3] = [
        (ErrorKind::AddrInUse, "another program listens there"),
        (ErrorKind::AddrNotAvailable, "this machine has no such address"),
        (ErrorKind::PermissionDenied, "this user may not listen on that port"),
    ];
    let known = WORDS.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| error.to_string(), |(_, words)| (*words).to_owned())
}

fn hint(key: &str, address: &SocketAddr, error: &io::Error) -> String {
    let (port, variable) = (address.port(), config::variable(key));
    if error.kind() == ErrorKind::AddrInUse {
        return format!(
            "`ss -ltnp 'sport = :{port}'`, as root, names that program; stop it, or set {key} ({variable}) to another port"
        );
    }
    if error.kind() == ErrorKind::PermissionDenied {
        return format!("set {key} ({variable}) to a port above 1023");
    }
    format!("set {key} ({variable}) to an address of this machine and a free port")
}
