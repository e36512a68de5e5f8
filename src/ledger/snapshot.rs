//! Reading a snapshot: parsing and conversion on a thread of their own, while the writer takes one
//! chunk of claims after the other.

use axum::body::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::apply::STEP;
use crate::convert::{self, Claim, EventFacts, Reason, Skipped};
use crate::misp::{Event, NotAnEvent};

/// An event on its way from bytes to claims.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub facts: EventFacts,
    /// Fingerprint of all that counts in the event, and of the view that judges it.
    pub content: i64,
    pub chunks: mpsc::Receiver<Chunk>,
}

/// At most [`STEP`] claims.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub claims: Vec<Claim>,
    /// What was left out, with the last chunk.
    pub end: Option<End>,
}

#[derive(Debug, Default)]
pub(super) struct End {
    pub attributes: u64,
    pub skipped: Skipped,
}

/// Starts reading; `salt` goes into the content's fingerprint.
pub(super) async fn read(body: Bytes, salt: i64) -> Result<Snapshot, NotAnEvent> {
    // One chunk in the writer's hands, one waiting, one being made.
    let (chunks, reader) = mpsc::channel(1);
    let (head, started) = tokio::sync::oneshot::channel();
    spawn_blocking(move || {
        let event = match Event::parse(&body) {
            Ok(event) => event,
            Err(refusal) => return drop(head.send(Err(refusal))),
        };
        if head.send(Ok((event.facts(), content(&event, salt)))).is_ok() {
            convert(&event, &chunks);
        }
    });
    match started.await {
        Ok(Ok((facts, content))) => Ok(Snapshot { facts, content, chunks: reader }),
        Ok(Err(refusal)) => Err(refusal),
        Err(_) => Err(NotAnEvent::Other("its reading ended early".into())),
    }
}

fn content(event: &Event<'_>, salt: i64) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    event.content(|piece| {
        hasher.update(piece);
    });
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    i64::from_le_bytes(bytes)
}

/// Ends early when the writer has no use for the rest.
fn convert(event: &Event<'_>, chunks: &mpsc::Sender<Chunk>) {
    let mut end = End::default();
    let mut claims = Vec::new();
    for read in event.attributes() {
        end.attributes += 1;
        let made = read.map_or(Err(Reason::Malformed), |(attribute, object)| {
            convert::claims(&attribute, object)
        });
        match made {
            Ok(made) => claims.extend(made),
            Err(reason) => end.skipped.add(reason),
        }
        if claims.len() >= STEP {
            let full = Chunk { claims: std::mem::take(&mut claims), end: None };
            if chunks.blocking_send(full).is_err() {
                return;
            }
        }
    }
    // A closed channel means that nobody wants it.
    drop(chunks.blocking_send(Chunk { claims, end: Some(end) }));
}
