//! Handles one request to a source: it checks secret, method, content type, size and event, and hands the body
//! to the ledger. The first check that fails decides the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::answer::{Said, WebhookAnswer};
use super::body::{self, Bodies, WholeBody};
use crate::config::{Secret, SharedSecret, Webhook};
use crate::intake::Inbox;
use crate::intake::kept_gaps::KeptGaps;
use crate::intake::once_a_minute::OnceAMinute;
use crate::notice::{Gap, GapReason, Receipt, What};
use crate::pure::misp;

/// The word for this intake in gaps, metrics and status.
pub const INTAKE: &str = "webhook";

/// The most gaps that are kept with their events while the inbox is full.
const MAX_KEPT: usize = 1_024;

/// What the requests to one source need.
#[derive(Debug)]
pub(super) struct Desk {
    config: Webhook,
    secret: SharedSecret,
    bodies: Bodies,
    inbox: Inbox,
    pub gaps: KeptGaps,
    pub strangers: Arc<OnceAMinute>,
}

impl Desk {
    pub(super) fn new(config: Webhook, inbox: Inbox) -> Self {
        let bodies = Bodies::new(&config);
        let secret = SharedSecret::new(config.secret.clone());
        let gaps = KeptGaps::new(INTAKE, inbox.clone(), MAX_KEPT);
        Self { config, secret, bodies, inbox, gaps, strangers: Arc::default() }
    }

    /// Answers a request to the path of this source.
    pub(super) async fn answer(&self, peer: SocketAddr, request: Request) -> Response {
        let answer = self.take(request).await;
        answer.record(peer, &self.strangers);
        answer.into_response()
    }

    async fn take(&self, request: Request) -> WebhookAnswer {
        let (parts, body) = request.into_parts();
        let mut pieces = body.into_data_stream();
        let length = length(&parts.headers);
        let answer = match self.refuse(&parts).await {
            Some(refusal) => refusal.into(),
            None => match self.bodies.read(&mut pieces, length).await {
                Ok(body) => return self.hand_over(body).await,
                Err(unfinished) => {
                    // MISP never sends it again. Only who knows the secret gets here, so that strangers
                    // cannot cause gaps, each of which costs a catch-up.
                    self.missed(unfinished.said.gap(), unfinished.event);
                    unfinished
                }
            },
        };
        body::drain(&parts.headers, &mut pieces).await;
        answer
    }

    /// Refuses a request before its body is read, if its secret, method or content type is wrong.
    async fn refuse(&self, parts: &Parts) -> Option<Said> {
        // Only the path came before the secret, so that strangers learn nothing about the settings.
        let given = parts.headers.get(&self.config.secret_header).map(|value| value.as_bytes());
        let is_known = match given {
            Some(given) => self.knows(given).await,
            None => false,
        };
        if !is_known {
            return Some(Said::WrongSecret {
                header: self.config.secret_header.clone(),
                what: if given.is_some() { "wrong" } else { "missing" },
                key: self.config.key_of("secret"),
            });
        }
        if parts.method != Method::POST && parts.method != Method::PUT {
            return Some(Said::WrongMethod(parts.method.clone()));
        }
        is_form(&parts.headers).then_some(Said::Form)
    }

    /// Returns whether this is the secret, or the one that has replaced it.
    async fn knows(&self, given: &[u8]) -> bool {
        let secret = self.secret.now();
        if is_secret(given, &secret) {
            return true;
        }
        let key = self.config.key_of("secret");
        let other = self.secret.other_than(&secret, &key);
        // Reading the secret again may hang, and neither MISP nor a stranger may wait for that.
        let other = tokio::time::timeout(self.config.answer_within, other).await.ok().flatten();
        other.is_some_and(|other| is_secret(given, &other))
    }

    /// Records the gap of a body that did not reach the ledger.
    fn missed(&self, reason: GapReason, event: Option<Uuid>) {
        self.gaps.record(Gap { event, ..self.gaps.gap(reason, SystemTime::now()) });
    }

    async fn hand_over(&self, body: WholeBody) -> WebhookAnswer {
        // MISP waits for the answer and holds its publication back meanwhile.
        let deadline = Instant::now() + self.config.answer_within;
        let bytes = body.bytes.len();
        if bytes == 0 {
            return Said::Empty.into();
        }
        let event = match event_in(body.bytes.clone()).await {
            Ok(event) => event,
            Err(found) => {
                return WebhookAnswer { said: Said::NoEvent(found), bytes, event: None };
            }
        };
        let said = self.store(body, event, deadline).await;
        WebhookAnswer { said, bytes, event: Some(event) }
    }

    async fn store(&self, body: WholeBody, event: Uuid, deadline: Instant) -> Said {
        // The clone shares the bytes, so the document is in memory once.
        let announced = What::Announced(body.bytes.clone());
        let Ok(receipt) = self.inbox.offer_and_wait(announced, std::time::Instant::now()) else {
            // MISP does not repeat the request, so the event is read over REST.
            self.missed(GapReason::MemoryFull, Some(event));
            return Said::NoRoom;
        };
        // The inbox counts these bytes now, so they must not be counted here as well.
        drop(body);
        match timeout_at(deadline, receipt).await {
            Ok(Ok(Receipt::Committed)) => Said::Stored,
            Ok(Ok(Receipt::Refused)) => Said::NoEvent("the ledger cannot take it".to_owned()),
            // The ledger failed, the writer has ended, or the commit takes too long.
            Ok(Ok(Receipt::Failed | Receipt::Again) | Err(_)) | Err(_) => {
                self.missed(GapReason::LedgerFailed, Some(event));
                Said::LedgerFailed
            }
        }
    }
}

/// Returns whether this is the secret, bare or after `Bearer`. Both sides are hashed, so that the time of the
/// comparison does not even show the length.
fn is_secret(given: &[u8], secret: &Secret) -> bool {
    let secret = blake3::hash(secret.expose().as_bytes());
    let equals = |given: &[u8]| secret.as_bytes().ct_eq(blake3::hash(given).as_bytes());
    let (scheme, rest) = given.split_at_checked("Bearer ".len()).unwrap_or((given, b""));
    let bearer = scheme.eq_ignore_ascii_case(b"Bearer ");
    // No short circuit: both comparisons are made, whatever the first one says.
    (equals(given) | (equals(rest) & u8::from(bearer).into())).into()
}

/// Returns the event's uuid, or what is found instead. A large event takes a tenth of a second, so a thread
/// of its own reads it.
async fn event_in(body: Bytes) -> Result<Uuid, String> {
    let read = move || match misp::Event::parse(&body) {
        Ok(event) => Ok(event.uuid),
        Err(found) => Err(found.to_string()),
    };
    spawn_blocking(read).await.unwrap_or_else(|_| Err("it could not be read".to_owned()))
}

/// Returns the announced length of the body in bytes.
fn length(headers: &HeaderMap) -> Option<usize> {
    // A length that cannot be read counts as none. The bound on the body holds without it.
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Returns whether a body is a form. MISP sends `multipart/form-data` and labels it `x-www-form-urlencoded`.
fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    kind.starts_with("application/x-www-form-urlencoded") || kind.starts_with("multipart/")
}
