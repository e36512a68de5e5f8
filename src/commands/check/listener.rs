//! Ports that the relay listens at, or will.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::super::healthcheck::reachable;
use super::finding::Finding;

const PATIENCE: Duration = Duration::from_secs(3);

/// `key` is where the address stands, e.g. `misp.webhook.listen`.
pub(super) async fn look(
    step: &'static str,
    key: &str,
    address: SocketAddr,
    is_running: bool,
) -> Finding {
    let subject = address.to_string();
    if address.port() == 0 {
        return Finding::ok(step, &subject, "any free port");
    }
    let answers = timeout(PATIENCE, TcpStream::connect(reachable(address))).await;
    match (is_running, matches!(answers, Ok(Ok(_)))) {
        (true, true) => Finding::ok(step, &subject, "the relay listens"),
        (true, false) => Finding::error(
            step,
            &subject,
            "a relay runs, but nothing accepts a connection there",
            "restart the relay with this configuration",
        ),
        (false, true) => Finding::error(
            step,
            &subject,
            "another program listens there",
            format!("stop it, or choose another port in {key}"),
        ),
        (false, false) => match TcpListener::bind(address).await {
            Ok(_) => Finding::ok(step, &subject, "free; the relay will listen there"),
            Err(error) => Finding::error(
                step,
                &subject,
                format!("cannot listen there: {error}"),
                format!("set {key} to an address of this machine and a free port"),
            ),
        },
    }
}
