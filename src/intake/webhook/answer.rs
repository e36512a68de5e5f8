//! The answers to MISP: a status, and words that name the field of the webhook module to change. MISP shows
//! the words in its workflow log.

use std::net::SocketAddr;
use std::time::Instant;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::strangers::Strangers;
use crate::metrics;

/// The answer to one request.
#[derive(Debug)]
pub(super) struct WebhookAnswer {
    pub status: StatusCode,
    pub words: String,
    /// The bytes of the body that were read.
    pub bytes: usize,
    pub event: Option<Uuid>,
    /// The sender did not know the secret.
    is_to_stranger: bool,
}

const WHOLE_EVENT: &str =
    "In MISP's webhook module leave \"Payload\" empty, so that it sends the whole event.";

impl WebhookAnswer {
    fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into(), bytes: 0, event: None, is_to_stranger: false }
    }

    fn to_stranger(status: StatusCode, words: impl Into<String>) -> Self {
        Self { is_to_stranger: true, ..Self::new(status, words) }
    }

    pub(super) fn of(mut self, bytes: usize, event: Option<Uuid>) -> Self {
        (self.bytes, self.event) = (bytes, event);
        self
    }

    pub(super) fn stored() -> Self {
        Self::new(StatusCode::OK, "Stored until MISP's publication confirms it.")
    }

    pub(super) fn wrong_path() -> Self {
        Self::to_stranger(
            StatusCode::NOT_FOUND,
            "Nothing here: the \"URL\" of MISP's webhook module must end in the path that is set as misp.webhook.path.",
        )
    }

    pub(super) fn wrong_secret(header: &str, given: bool) -> Self {
        let what = if given { "wrong" } else { "missing" };
        let words = format!(
            "The shared secret is {what}: in MISP's webhook module put a line \"{header}: <misp.webhook.secret>\" into \"Headers\"."
        );
        Self::to_stranger(StatusCode::UNAUTHORIZED, words)
    }

    pub(super) fn wrong_method(method: &str) -> Self {
        let words = format!(
            "{method} brings no publication: in MISP's webhook module choose POST as \"HTTP Request Method\"."
        );
        Self::new(StatusCode::METHOD_NOT_ALLOWED, words)
    }

    pub(super) fn form() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "MISP's form mode loses the event's nested values: in MISP's webhook module choose application/json as \"Content type\".",
        )
    }

    /// Refuses a body that is no event; `found` is what it holds instead.
    pub(super) fn no_event(found: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("Refused: {found}. {WHOLE_EVENT}"))
    }

    pub(super) fn empty() -> Self {
        let words = format!(
            "Refused: the body is empty. {WHOLE_EVENT} Its \"URL\" must be the final one: after a redirect MISP sends no body."
        );
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    pub(super) fn too_large(max_body: usize) -> Self {
        let words = format!(
            "The body is larger than misp.webhook.max_body ({max_body} bytes): raise it, or rely on ZeroMQ for events of this size."
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, words)
    }

    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "The body stopped coming, or came too slowly.")
    }

    pub(super) fn broken_off() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "The body broke off.")
    }

    pub(super) fn no_room() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The relay's memory for publications is full of others: this one was not stored. Its gap is noted.",
        )
    }

    pub(super) fn ledger_failed() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The ledger could not store this publication in time. Its gap is noted; `status` tells more.",
        )
    }

    /// Counts and logs the answer: one line a request, or one a minute for requests of strangers.
    pub(super) fn record(&self, peer: SocketAddr, strangers: &Strangers) {
        metrics::webhook_answered(self.status.as_u16());
        if self.status.is_success() {
            self.log_success();
        } else if !self.is_to_stranger {
            self.log_refusal(peer, None);
        } else if let Some(more) = strangers.knocks(Instant::now()) {
            self.log_refusal(peer, Some(more));
        }
    }

    fn log_success(&self) {
        let event = self.event.map(tracing::field::display);
        let (status, bytes) = (self.status.as_u16(), self.bytes);
        tracing::info!(status, bytes, event, "webhook request");
    }

    /// Logs a refusal; `more` is the number of refusals before it that were not logged.
    fn log_refusal(&self, peer: SocketAddr, more: Option<u64>) {
        let event = self.event.map(tracing::field::display);
        let (status, bytes) = (self.status.as_u16(), self.bytes);
        // Debug escapes what the sender may have put into the words.
        tracing::warn!(status, bytes, event, %peer, more, answer = ?self.words, "webhook request");
    }
}

impl IntoResponse for WebhookAnswer {
    fn into_response(self) -> Response {
        let mut response = (self.status, format!("{}\n", self.words)).into_response();
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, PUT"));
        }
        response
    }
}
