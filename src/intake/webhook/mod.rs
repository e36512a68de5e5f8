//! The intake from MISP's workflow webhook module (trigger `event-publish`), which announces a publication
//! before MISP saves it. A request is answered only after the ledger has stored its body, since MISP never
//! sends a body twice.

mod answer;
mod body;
mod desks;
mod request;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures::future::Either;
use tokio_util::sync::CancellationToken;

pub use answer::STATUSES;
pub use desks::SourceWebhook;
pub use request::INTAKE;
pub use tls::{TlsError, load};

use crate::config::TlsFiles;
use crate::log_event::LogEvent;
use crate::metrics;
use desks::Desks;

/// The most bytes of request line, headers, and the start of a body that is read with them.
const READ_AHEAD: usize = 64 * 1024;

/// A bound socket, and what belongs to it whichever source a request is for.
#[derive(Debug)]
pub struct Listener {
    pub socket: TcpListener,
    /// The certificate chain and key. `None`: no TLS.
    pub tls: Option<TlsFiles>,
    /// The longest silence of a connection.
    pub patience: Duration,
}

/// Listens for these webhooks, each with a path of its own, until `stop`. Then answers the open requests for at most
/// the listener's patience.
///
/// A connection that is silent for that time is closed: in the handshake, in the headers and (with 408) in the body.
/// The same happens to a body that comes too slowly. A whole body may take 15 times as long.
///
/// # Errors
/// The certificate or its key cannot be used ([`TlsError`]), or the listener fails.
pub async fn serve(
    listener: Listener,
    webhooks: Vec<SourceWebhook>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Listener { socket, tls, patience } = listener;
    if let Some(ends) = tls.as_ref().and_then(tls::ends) {
        metrics::webhook_certificate_ends(ends);
    }
    let tls = tls.as_ref().map(load).transpose()?;
    let address = socket.local_addr().context("listen for the webhook")?;
    let desks = Arc::new(Desks::new(webhooks));
    let app = Router::new()
        .fallback(desks::answer)
        .with_state(Arc::clone(&desks))
        .into_make_service_with_connect_info::<SocketAddr>();

    let handle = Handle::new();
    let server = server(socket, patience, Arc::clone(&desks)).context("listen for the webhook")?;
    let server = server.handle(handle.clone());
    desks.tell_begin(address, tls.is_some());
    let serving = match tls {
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(tls));
            let server = server.acceptor(acceptor.handshake_timeout(patience));
            Either::Left(server.serve(app))
        }
        None => Either::Right(server.serve(app)),
    };
    // This branch never ends: `serving` does, once the open requests are answered or their time is over.
    let stopping = async {
        stop.cancelled().await;
        handle.graceful_shutdown(Some(patience));
        std::future::pending::<()>().await;
    };
    let served = tokio::select! {
        ended = serving => ended.context("serve the webhook"),
        () = stopping => Ok(()),
        () = desks.offer_kept_gaps() => Ok(()),
    };
    desks.tell_lost_gaps();
    served
}

fn server(
    socket: TcpListener,
    patience: Duration,
    desks: Arc<Desks>,
) -> std::io::Result<axum_server::Server<SocketAddr>> {
    // Each stage has its own bound (handshake, headers, body), so that silent peers do not pile up.
    let mut server = axum_server::from_tcp(socket)?
        .http1_only()
        .first_request_timeout(patience)
        .accept_error_handler(move |peer: Option<&SocketAddr>, error| {
            // Nobody has shown the secret yet here, so these lines share the bound of the strangers.
            let Some(more) = desks.strangers.passes(Instant::now()) else { return };
            let peer = peer.map(tracing::field::display);
            tracing::warn!(
                event = LogEvent::WebhookConnectionFailed.word(),
                peer,
                %error,
                untold = more,
                "A connection to the webhook failed before its request"
            );
        });
    server.http_builder().http1().header_read_timeout(patience).max_buf_size(READ_AHEAD);
    Ok(server)
}
