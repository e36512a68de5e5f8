//! The intake from MISP's workflow webhook module (trigger `event-publish`), which announces a publication
//! before MISP saves it. A request is answered only after the ledger has stored its body, since MISP never
//! sends a body twice.

mod answer;
mod body;
mod request;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::middleware::Next;
use axum::{Router, middleware};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures::future::Either;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

pub use answer::STATUSES;
pub use tls::{TlsError, load};

use crate::config::Webhook;
use crate::intake::Inbox;
use crate::intake::kept_gaps::KeptGaps;
use crate::intake::once_a_minute::OnceAMinute;
use crate::log_event::LogEvent;
use crate::metrics;
use request::Desk;

/// The word for this intake in gaps, metrics and status.
pub const INTAKE: &str = "webhook";

/// The most bytes of request line, headers, and the start of a body that is read with them.
const READ_AHEAD: usize = 64 * 1024;

/// The most gaps that are kept with their events while the inbox is full.
const MAX_KEPT: usize = 1_024;

/// Listens until `stop`, then answers the open requests for at most `answer_within`.
///
/// A connection that is silent for `answer_within` is closed: in the handshake, in the headers and (with
/// 408) in the body. The same happens to a body that comes too slowly. A whole body may take 15 times as
/// long.
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
    if let Some(ends) = config.tls.as_ref().and_then(tls::ends) {
        metrics::webhook_certificate_ends(ends);
    }
    let patience = config.answer_within;
    let address = listener.local_addr().context("listen for the webhook")?;
    let gaps = Arc::new(KeptGaps::new(INTAKE, inbox.clone(), MAX_KEPT));
    let strangers = Arc::new(OnceAMinute::default());
    // The server answers in tasks of its own, whose lines are to name the source as well.
    let span = Span::current();
    let app = Router::new()
        .fallback(request::answer)
        .layer(middleware::from_fn(move |asked, next: Next| {
            next.run(asked).instrument(span.clone())
        }))
        .with_state(Arc::new(Desk::new(config, inbox, Arc::clone(&gaps), Arc::clone(&strangers))))
        .into_make_service_with_connect_info::<SocketAddr>();

    let handle = Handle::new();
    let server = server(listener, patience, strangers).context("listen for the webhook")?;
    let server = server.handle(handle.clone());
    tracing::info!(
        event = LogEvent::WebhookListens.word(),
        %address,
        tls = tls.is_some(),
        "The webhook listens"
    );
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
        () = gaps.offer_kept() => Ok(()),
    };
    // A gap that the ledger does not know is lost with this process.
    let lost = gaps.offer_all();
    if lost > 0 {
        tracing::error!(
            event = LogEvent::WebhookGapsLost.word(),
            gaps = lost,
            "The ledger took no gaps of the webhook until the end. Publish these events again in MISP"
        );
    }
    served
}

fn server(
    listener: TcpListener,
    patience: Duration,
    strangers: Arc<OnceAMinute>,
) -> std::io::Result<axum_server::Server<SocketAddr>> {
    // Each stage has its own bound (handshake, headers, body), so that silent peers do not pile up.
    let mut server = axum_server::from_tcp(listener)?
        .http1_only()
        .first_request_timeout(patience)
        .accept_error_handler(move |peer: Option<&SocketAddr>, error| {
            // Nobody has shown the secret yet here, so these lines share the bound of the strangers.
            let Some(more) = strangers.passes(Instant::now()) else { return };
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
