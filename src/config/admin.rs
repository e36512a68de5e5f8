//! The listener for operators and Prometheus: its address, who may look, and what is shown.

use std::net::SocketAddr;

use super::mistake::Problem;
use super::reader::Reader;
use super::secret::Secret;
use super::section::section;
use crate::pure::policy::Tlp;

section! {
    /// The listener for operators and Prometheus.
    #[derive(Debug, Clone)]
    pub struct Admin at "admin" {
        listen: SocketAddr = listen,
        /// The names besides `localhost` under which browsers reach the page.
        hosts: Vec<String> = |reader, key| reader.names(key, "a list of host names", host),
        /// The token that whoever looks must show. Empty: none is needed.
        token: Secret = Reader::secret,
        /// The strictest level of what the page names by its title or value.
        show_tlp: Tlp = |reader, key| reader.word(key, Tlp::Clear),
    }
}

/// Reads the address of the listener.
pub(super) fn listen(reader: &mut Reader, key: &str) -> SocketAddr {
    let listen = reader.address(key);
    if listen.is_none() {
        reader.missing(key, "health and metrics need an address");
    }
    listen.unwrap_or(([127, 0, 0, 1], 0).into())
}

/// Refuses what is no bare name: a browser's `Host` is compared with it without the port.
fn host(name: &str) -> Result<(), Problem> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !name.is_empty() && name.chars().all(is_part) {
        return Ok(());
    }
    let problem = Problem::new(format!("{name:?} is no host name"));
    Err(problem.hint("without scheme, port and path, e.g. relay.example.org"))
}
