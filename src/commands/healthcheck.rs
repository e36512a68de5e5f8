//! The command `healthcheck` asks the admin listener of the running relay whether it is well. Container
//! images without a shell need it as their health check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::StatusCode;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::ConfigSource;
use crate::http;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct HealthOptions {
    /// Ask whether the relay is ready, not only whether it lives
    #[arg(long)]
    pub ready: bool,

    /// Only check that this address accepts a connection (for the sandbox and the demo's feed)
    #[arg(long, value_name = "ADDRESS", conflicts_with = "ready")]
    pub connect: Option<SocketAddr>,
}

/// How long an answer may take. It is below Docker's usual 5 s, so that our error is shown and not Docker's.
const PATIENCE: Duration = Duration::from_secs(3);

/// Succeeds if the relay lives, is ready, or accepts a connection, as `options` ask.
///
/// # Errors
/// Nothing listens, nothing answers within 3 s, or the answer is not success.
pub(super) async fn healthcheck(
    settings: &ConfigSource,
    options: HealthOptions,
) -> anyhow::Result<()> {
    match options.connect {
        Some(address) => connect(address).await,
        None => {
            let path = if options.ready { "/readyz" } else { "/livez" };
            ask(settings.admin_listen()?, path).await
        }
    }
}

async fn ask(listen: SocketAddr, path: &str) -> anyhow::Result<()> {
    let address = reachable(listen);
    let client = http::LOCAL.client_with(|builder| builder.timeout(PATIENCE))?;
    let answer = client.get(format!("http://{address}{path}")).send().await;
    if answer.as_ref().is_err_and(reqwest::Error::is_timeout) {
        bail!("{address} did not answer within 3 s");
    }
    let answer = answer.map_err(reqwest::Error::without_url);
    let answer = answer.with_context(|| format!("connect to the admin listener {address}"))?;
    let status = answer.status();
    if status != StatusCode::OK {
        let body = answer.text().await.unwrap_or_default();
        bail!("{path} of {address} answered: {status} {}", body.trim());
    }
    Ok(())
}

async fn connect(address: SocketAddr) -> anyhow::Result<()> {
    let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
    let connected = connected.with_context(|| format!("{address} did not answer within 3 s"))?;
    connected.map(drop).with_context(|| format!("connect to {address}"))
}

/// Returns the address at which a listener is reached: over loopback if it listens on all interfaces.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let loopback: IpAddr =
        if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let ip = if listen.ip().is_unspecified() { loopback } else { listen.ip() };
    SocketAddr::new(ip, listen.port())
}
