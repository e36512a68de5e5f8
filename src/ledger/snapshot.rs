//! Reading a snapshot: parsing and conversion on a thread of their own, while the writer takes one
//! chunk of claims after the other.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use uuid::Uuid;

use super::beside::{DecayTold, Sighted};
use super::judgement::{Asked, Origin, Shown};
use super::tables::claims::STEP;
use crate::config::OnUnpublish;
use crate::pure::convert::{self, Claim, Claims, EventFacts, Reason, Skipped};
use crate::pure::misp::{Attribute, Event, NotAnEvent};

/// How a document came.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// `weigh`: whether to look for what not every key may see.
    /// `received`: when it arrived, Unix seconds.
    Push {
        weigh: bool,
        received: i64,
    },
    Read(Asked, OnUnpublish),
}

/// An event on its way from bytes to claims.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub head: Arc<SnapshotHead>,
    pub chunks: mpsc::Receiver<Chunk>,
}

/// What a snapshot says before its attributes.
#[derive(Debug)]
pub(super) struct SnapshotHead {
    pub facts: EventFacts,
    pub origin: Origin,
    /// Something in it is for one organisation or a sharing group only.
    pub restricted: bool,
    /// Fingerprint of all that counts in the event, and of the view that judges it.
    pub content: i64,
}

/// At most [`STEP`] claims.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub claims: Vec<Claim>,
    /// Attributes that are shown and claim nothing: deleted, of no type or value of ours.
    pub silent: Vec<Uuid>,
    /// False positives and expirations of those that claim something.
    pub sighted: Vec<Sighted>,
    /// What decaying models say of those, in a read.
    pub decays: Vec<DecayTold>,
    /// The last chunk has them.
    pub totals: Option<Arc<Totals>>,
}

/// What a snapshot comes to as a whole.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub attributes: u64,
    pub skipped: Skipped,
    /// MISP's numbers of all tags that it shows.
    pub tags: HashSet<i64>,
}

/// How an event becomes chunks of claims; whether it was asked for.
type Convert = fn(&Event<'_>, bool, &mpsc::Sender<Chunk>);

/// Starts reading; `salt` goes into the content's fingerprint. A panic in it ends the chunks without
/// an end.
pub(super) async fn read(body: Bytes, salt: i64, source: Source) -> Result<Snapshot, NotAnEvent> {
    read_by(convert, body, salt, source).await
}

async fn read_by(
    convert: Convert,
    body: Bytes,
    salt: i64,
    source: Source,
) -> Result<Snapshot, NotAnEvent> {
    // One chunk in the writer's hands, one waiting, one being made.
    let (chunks, reader) = mpsc::channel(1);
    let (head, started) = tokio::sync::oneshot::channel();
    spawn_blocking(move || {
        let event = match Event::parse(&body) {
            Ok(event) => event,
            Err(refusal) => return drop(head.send(Err(refusal))),
        };
        if matches!(source, Source::Read(..)) && !event.lacking.is_empty() {
            return drop(head.send(Err(lacks(&event.lacking))));
        }
        let (origin, restricted) = match source {
            Source::Push { weigh, received } => {
                (Origin::Push { received }, weigh && event.is_restricted())
            }
            Source::Read(asked, on_unpublish) => {
                (Origin::Read(Shown::new(&event, asked, on_unpublish)), false)
            }
        };
        let content = content(&event, salt, &origin);
        let read = SnapshotHead { facts: event.facts(), origin, restricted, content };
        if head.send(Ok(read)).is_ok() {
            convert(&event, matches!(origin, Origin::Read(_)), &chunks);
        }
    });
    match started.await {
        Ok(Ok(head)) => Ok(Snapshot { head: Arc::new(head), chunks: reader }),
        Ok(Err(refusal)) => Err(refusal),
        Err(_) => Err(NotAnEvent::Other(
            "the relay failed at reading it: this is a fault of the relay, its log has the place; please report it".into(),
        )),
    }
}

/// An answer that lacks a field does not say that it is empty.
fn lacks(fields: &[&str]) -> NotAnEvent {
    NotAnEvent::Other(format!("the answer lacks the event's {}", fields.join(", ")))
}

fn content(event: &Event<'_>, salt: i64, origin: &Origin) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    if let Origin::Read(shown) = origin {
        shown.salt().iter().for_each(|number| {
            hasher.update(&number.to_le_bytes());
        });
    }
    event.content(|piece| {
        hasher.update(piece);
    });
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    i64::from_le_bytes(bytes)
}

/// Ends early when the writer has no use for the rest.
fn convert(event: &Event<'_>, is_read: bool, chunks: &mpsc::Sender<Chunk>) {
    let mut totals = Totals::default();
    totals.tags.extend(event.tags.iter().map(|tag| tag.id));
    let mut chunk = Chunk::default();
    for read in event.attributes() {
        totals.attributes += 1;
        let Ok((attribute, object)) = read else {
            totals.skipped.add(Reason::Malformed);
            continue;
        };
        // What an answer shows in parts is not shown: the guard keeps what it claimed.
        if is_read && !attribute.is_whole {
            totals.skipped.add(Reason::Malformed);
            continue;
        }
        totals.tags.extend(attribute.tags.iter().map(|tag| tag.id));
        match convert::claims(&attribute, object) {
            Ok(claims) => {
                chunk.sighted.extend(sighted(&attribute, &claims));
                if is_read {
                    let decay = attribute.decay();
                    chunk.decays.push(DecayTold { attribute: attribute.uuid, decay });
                }
                chunk.claims.extend(claims);
            }
            Err(reason) => {
                totals.skipped.add(reason);
                chunk.silent.push(attribute.uuid);
            }
        }
        if chunk.claims.len() >= STEP && chunks.blocking_send(std::mem::take(&mut chunk)).is_err() {
            return;
        }
    }
    // A closed channel means that nobody wants it.
    drop(chunks.blocking_send(Chunk { totals: Some(Arc::new(totals)), ..chunk }));
}

fn sighted(attribute: &Attribute<'_>, claims: &Claims) -> Vec<Sighted> {
    let values = || {
        let both = std::iter::once(&claims.first).chain(claims.second.as_deref());
        both.map(|claim| claim.observable.value.clone()).collect()
    };
    let of = |sighting| Sighted { attribute: attribute.uuid, sighting, values: values() };
    attribute.sightings().into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_conversion_ends_the_chunks_and_nothing_else() {
        let event = br#"{"Event":{"id":"1","uuid":"62724408-1cb5-4198-8ceb-3e542ad28bcd","timestamp":"1","Attribute":[]}}"#;
        let failing: Convert = |_, _, _| panic!("a fault of a conversion");
        let push = Source::Push { weigh: false, received: 0 };
        let mut snapshot = read_by(failing, Bytes::from_static(event), 0, push).await.unwrap();
        assert!(snapshot.chunks.recv().await.is_none(), "no totals are told");
        let mut sound = read(Bytes::from_static(event), 0, push).await.unwrap();
        assert!(sound.chunks.recv().await.unwrap().totals.is_some());
    }
}
