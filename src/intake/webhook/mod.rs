//! MISP's workflow webhook module (trigger `event-publish`): it announces a publication before MISP
//! saves it. A body is answered only after the ledger has it; MISP never sends one twice.

mod answer;
mod body;
mod gaps;
mod request;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures::future::Either;
use tokio_util::sync::CancellationToken;

pub use tls::{TlsError, load};

use crate::config::Webhook;
use crate::intake::Inbox;
use gaps::Gaps;
use request::Desk;

/// The word for this intake in gaps, metrics and status.
pub const INTAKE: &str = "webhook";

/// Request line and headers, and what is read ahead of a body, bytes.
const READ_AHEAD: usize = 64 * 1024;

/// Listens until `stop`, then answers what is in hand for at most `answer_within`.
///
/// A connection that is silent for `answer_within` is closed, in the handshake, in the headers and
/// (with 408) in the body alike; a body may take 15 times as long in all.
///
/// # Errors
/// The certificate or its key cannot be used ([`TlsError`]), or the listener fails.
pub async fn serve(
    config: Webhook,
    listener: TcpListener,
    inbox: Inbox,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let tls = config.tls.as_ref().map(load).transpose()?;
    let patience = config.answer_within;
    let address = listener.local_addr().context("listen for the webhook")?;
    let gaps = Arc::new(Gaps::new(inbox.clone()));
    let app = Router::new()
        .fallback(request::answer)
        .with_state(Arc::new(Desk::new(config, inbox, Arc::clone(&gaps))))
        .into_make_service_with_connect_info::<SocketAddr>();

    let handle = Handle::new();
    let server = server(listener, patience).context("listen for the webhook")?;
    let server = server.handle(handle.clone());
    tracing::info!(%address, tls = tls.is_some(), "the webhook listens");
    let serving = match tls {
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(tls));
            let server = server.acceptor(acceptor.handshake_timeout(patience));
            Either::Left(server.serve(app))
        }
        None => Either::Right(server.serve(app)),
    };
    let stopping = async {
        stop.cancelled().await;
        handle.graceful_shutdown(Some(patience));
        std::future::pending::<()>().await;
    };
    let served = tokio::select! {
        ended = serving => ended.context("serve the webhook"),
        () = stopping => Ok(()),
        () = gaps.offer_kept() => Ok(()),
    };
    gaps.offer_last();
    served
}

fn server(
    listener: TcpListener,
    patience: Duration,
) -> std::io::Result<axum_server::Server<SocketAddr>> {
    let mut server = axum_server::from_tcp(listener)?
        .http1_only()
        .first_request_timeout(patience)
        .accept_error_handler(|peer: Option<&SocketAddr>, error| {
            let peer = peer.map(tracing::field::display);
            tracing::warn!(peer, %error, "a connection to the webhook failed before its request");
        });
    server.http_builder().http1().header_read_timeout(patience).max_buf_size(READ_AHEAD);
    Ok(server)
}
