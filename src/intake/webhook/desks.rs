//! The desks behind one listener: one for each source, at a path of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use tracing::{Instrument as _, Span};

use super::answer::{Said, WebhookAnswer};
use super::body;
use super::request::Desk;
use crate::config::Webhook;
use crate::intake::Inbox;
use crate::intake::once_a_minute::OnceAMinute;
use crate::log_event::LogEvent;

/// The webhook of one source.
#[derive(Debug)]
pub struct SourceWebhook {
    pub config: Webhook,
    /// The inbox of the source's writer.
    pub inbox: Inbox,
    /// Names the source in the log, where there are several.
    pub span: Span,
}

/// The desks of a listener.
#[derive(Debug)]
pub(super) struct Desks {
    /// By path.
    desks: HashMap<String, SourceDesk>,
    /// Bounds the lines about those who come to no path of a source.
    pub strangers: Arc<OnceAMinute>,
    /// The span of these lines.
    span: Span,
}

/// The desk of a source.
#[derive(Debug)]
struct SourceDesk {
    desk: Desk,
    /// The span of the source's lines in the log.
    span: Span,
}

/// Answers a request at the desk of its path.
pub(super) async fn answer(
    State(desks): State<Arc<Desks>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    match desks.desks.get(request.uri().path()) {
        Some(SourceDesk { desk, span }) => {
            desk.answer(peer, request).instrument(span.clone()).await
        }
        None => desks.refuse(peer, request).await,
    }
}

impl Desks {
    pub(super) fn new(webhooks: Vec<SourceWebhook>) -> Self {
        let desks = webhooks.into_iter().map(|webhook| {
            let SourceWebhook { config, inbox, span } = webhook;
            (config.path.clone(), SourceDesk { desk: Desk::new(config, inbox), span })
        });
        let desks: HashMap<String, SourceDesk> = desks.collect();
        // Where a listener has one source only, whoever comes to another path means that one.
        let only = desks.values().next().filter(|_| desks.len() == 1);
        let strangers = only.map(|one| Arc::clone(&one.desk.strangers)).unwrap_or_default();
        let span = only.map_or_else(Span::none, |one| one.span.clone());
        Self { desks, strangers, span }
    }

    async fn refuse(&self, peer: SocketAddr, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        body::drain(&parts.headers, &mut body.into_data_stream()).await;
        let answer = WebhookAnswer::from(Said::WrongPath);
        self.span.in_scope(|| answer.record(peer, &self.strangers));
        answer.into_response()
    }

    /// Tells where each source listens.
    pub(super) fn tell_begin(&self, address: SocketAddr, tls: bool) {
        for (path, SourceDesk { span, .. }) in &self.desks {
            span.in_scope(|| {
                tracing::info!(
                    event = LogEvent::WebhookListens.word(),
                    %address,
                    path,
                    tls,
                    "The webhook listens"
                );
            });
        }
    }

    /// Offers the gaps that wait for room. Never ends.
    pub(super) async fn offer_kept_gaps(&self) {
        let offering =
            self.desks.values().map(|one| one.desk.gaps.offer_kept().instrument(one.span.clone()));
        join_all(offering).await;
    }

    /// Offers the gaps for the last time, and tells which are lost.
    pub(super) fn tell_lost_gaps(&self) {
        for SourceDesk { desk, span } in self.desks.values() {
            // A gap that the ledger does not know is lost with this process.
            let lost = desk.gaps.offer_all();
            if lost > 0 {
                span.in_scope(|| {
                    tracing::error!(
                        event = LogEvent::WebhookGapsLost.word(),
                        gaps = lost,
                        "The ledger took no gaps of the webhook until the end. Publish these events again in MISP"
                    );
                });
            }
        }
    }
}
