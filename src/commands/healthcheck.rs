//! Asks the admin listener of a running relay, so that an image without a shell can be checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Below Docker's usual 5 s, so that the reason is ours.
const PATIENCE: Duration = Duration::from_secs(3);

/// The start of an answer is enough: its status line.
const LONGEST: u64 = 8 * 1024;

/// Succeeds when `path` (`/livez` or `/readyz`) of the listener is answered with 200.
///
/// # Errors
/// Nothing listens, nothing answers within 3 s, or the answer is another one.
pub(super) async fn ask(listen: SocketAddr, path: &str) -> anyhow::Result<()> {
    let address = reachable(listen);
    let answer = timeout(PATIENCE, get(address, path))
        .await
        .with_context(|| format!("{address} did not answer within 3 s"))??;
    let mut lines = answer.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
        bail!("{path} of {address} answered: {status} {body}");
    }
    Ok(())
}

/// Succeeds when `address` accepts a connection.
///
/// # Errors
/// It does not, or not within 3 s.
pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<()> {
    let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
    connected
        .with_context(|| format!("{address} did not answer within 3 s"))?
        .with_context(|| format!("connect to {address}"))?;
    Ok(())
}

async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("connect to the admin listener {address}"))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("ask")?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).await.context("read the answer")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A listener on all interfaces is reached over loopback.
pub(crate) fn reachable(listen: SocketAddr) -> SocketAddr {
    let loopback: IpAddr =
        if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let ip = if listen.ip().is_unspecified() { loopback } else { listen.ip() };
    SocketAddr::new(ip, listen.port())
}
