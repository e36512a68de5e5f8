//! The answers to webhook requests: an HTTP status, and words that name the field of the webhook module to
//! change. MISP shows the words in its workflow log.

use std::net::SocketAddr;
use std::time::Instant;

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use crate::intake::once_a_minute::OnceAMinute;
use crate::log_event::LogEvent;
use crate::metrics;
use crate::notice::GapReason;

/// The words of an answer, which also decide its HTTP status.
#[derive(Debug, thiserror::Error)]
pub(super) enum Said {
    #[error("Stored until MISP's publication confirms it.")]
    Stored,
    #[error(
        "Nothing here: the \"URL\" of MISP's webhook module must end in the `path` of [misp.webhook], or of [source.NAME.webhook]."
    )]
    WrongPath,
    #[error(
        "The shared secret is {what}: in MISP's webhook module put a line \"{header}: <{key}>\" into \"Headers\"."
    )]
    WrongSecret { header: String, what: &'static str, key: String },
    #[error(
        "{0} brings no publication: in MISP's webhook module choose POST as \"HTTP Request Method\"."
    )]
    WrongMethod(Method),
    #[error(
        "MISP's form mode loses the event's nested values: in MISP's webhook module choose application/json as \"Content type\"."
    )]
    Form,
    /// The body is no event: what it holds instead.
    #[error("Refused: {0}. {WHOLE_EVENT}")]
    NoEvent(String),
    #[error(
        "Refused: the body is empty. {WHOLE_EVENT} Its \"URL\" must be the final one: after a redirect MISP sends no body."
    )]
    Empty,
    #[error(
        "The body is larger than {key} ({most} bytes): raise it, or rely on ZeroMQ for events of this size."
    )]
    TooLarge { key: String, most: usize },
    #[error("The body stopped coming, or came too slowly.")]
    TooSlow,
    #[error("The body broke off.")]
    BrokenOff,
    #[error(
        "The relay's memory for publications is full of others: this one was not stored. Its gap is noted."
    )]
    NoRoom,
    #[error(
        "The ledger could not store this publication in time. Its gap is noted; `status` tells more."
    )]
    LedgerFailed,
}

const WHOLE_EVENT: &str =
    "In MISP's webhook module leave \"Payload\" empty, so that it sends the whole event.";

/// The statuses of all answers.
pub const STATUSES: [StatusCode; 9] = [
    StatusCode::OK,
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::SERVICE_UNAVAILABLE,
];

impl Said {
    fn status(&self) -> StatusCode {
        // MISP repeats no request, whatever the status is. The status is for its log and our metrics.
        match self {
            Self::Stored => StatusCode::OK,
            Self::WrongPath => StatusCode::NOT_FOUND,
            Self::WrongSecret { .. } => StatusCode::UNAUTHORIZED,
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Form => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoEvent(_) | Self::Empty | Self::BrokenOff => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NoRoom | Self::LedgerFailed => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the reason of the gap that an unfinished body leaves.
    pub(super) fn gap(&self) -> GapReason {
        if matches!(self, Self::TooLarge { .. }) {
            GapReason::FrameTooLarge
        } else if matches!(self, Self::NoRoom) {
            GapReason::MemoryFull
        } else {
            GapReason::MalformedFrame
        }
    }

    /// Returns whether the sender did not show the secret.
    fn is_to_stranger(&self) -> bool {
        matches!(self, Self::WrongPath | Self::WrongSecret { .. })
    }
}

/// The answer to one request.
#[derive(Debug)]
pub(super) struct WebhookAnswer {
    pub said: Said,
    /// The bytes of the body that were read.
    pub bytes: usize,
    /// `None`: no uuid was found in what was read.
    pub event: Option<Uuid>,
}

impl From<Said> for WebhookAnswer {
    fn from(said: Said) -> Self {
        Self { said, bytes: 0, event: None }
    }
}

impl WebhookAnswer {
    /// Counts and logs the answer: one line a request, or one a minute for requests of strangers.
    pub(super) fn record(&self, peer: SocketAddr, strangers: &OnceAMinute) {
        let misp_event = self.event.map(tracing::field::display);
        let (status, bytes) = (self.said.status().as_u16(), self.bytes);
        // Every answer is counted, also one that is not logged.
        metrics::webhook_answered(self.said.status().as_str());
        if self.said.status().is_success() {
            tracing::debug!(status, bytes, misp_event, "A webhook request was taken");
            return;
        }
        // The number of refusals before this one that were not logged.
        // Anybody can send requests without the secret, so their lines must not fill the log.
        let more = match self.said.is_to_stranger().then(|| strangers.passes(Instant::now())) {
            Some(None) => return,
            other => other.flatten(),
        };
        // The log escapes what the sender may have put into the words.
        let answer = self.said.to_string();
        tracing::warn!(
            event = LogEvent::WebhookRefused.word(),
            status,
            bytes,
            misp_event,
            %peer,
            untold = more,
            answer,
            "A webhook request was refused"
        );
    }
}

impl IntoResponse for WebhookAnswer {
    fn into_response(self) -> Response {
        let status = self.said.status();
        let mut response = (status, format!("{}\n", self.said)).into_response();
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, PUT"));
        }
        response
    }
}
