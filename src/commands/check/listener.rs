//! Checks the ports on which the relay listens. If no relay runs, it tests whether each port is free.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::super::healthcheck::reachable;
use super::diagnosis::{Diagnosis, Subject};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Checks a listener, or whether the relay could listen there. `key` is the setting that holds the address,
/// e.g. `misp.webhook.listen`.
pub(super) async fn look(
    subject: Subject<'_>,
    key: &str,
    address: SocketAddr,
    is_running: bool,
) -> Diagnosis {
    if address.port() == 0 {
        return subject.ok("any free port");
    }
    let answers = timeout(PATIENCE, TcpStream::connect(reachable(address))).await;
    match (is_running, matches!(answers, Ok(Ok(_)))) {
        (true, true) => subject.ok("the relay listens"),
        (true, false) => {
            let seen = "a relay runs, but nothing accepts a connection there";
            subject.error(seen, "restart the relay with this configuration")
        }
        (false, true) => {
            let remedy = format!("stop it, or choose another port in {key}");
            subject.error("another program listens there", remedy)
        }
        (false, false) => match TcpListener::bind(address).await {
            Ok(_) => subject.ok("free; the relay will listen there"),
            Err(error) => {
                let remedy = format!("set {key} to an address of this machine and a free port");
                subject.error(format!("cannot listen there: {error}"), remedy)
            }
        },
    }
}
