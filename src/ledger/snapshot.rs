//! Reads a snapshot of an event. A thread of its own parses and converts it, and hands the writer one chunk of claims
//! after the other.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::beside::{DecayTold, Sighted};
use super::event_parts::{self, EventParts, Unread};
use super::judgement::{Asked, Origin, Shown};
use super::tables::claims::STEP;
use crate::config::OnUnpublish;
use crate::document::{Document, Spool};
use crate::log_event::LogEvent;
use crate::pure::convert::{self, Claim, Claims, EventFacts, Reason, Skipped};
use crate::pure::misp::{Attribute, Event, NotAnEvent, Object, Tag};

/// Where a document comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// A publication. `weigh`: whether to look for parts that not every key may see. `received`: when it arrived, Unix
    /// seconds.
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
    pub chunks: Chunks,
}

/// The facts of a snapshot apart from its attributes.
#[derive(Debug)]
pub(super) struct SnapshotHead {
    pub facts: EventFacts,
    pub origin: Origin,
    /// Whether any part of it is only for one organisation or a sharing group.
    pub restricted: bool,
    /// Fingerprint of all that counts in the event, and of the view that judges it.
    pub content: i64,
}

/// The chunks of a snapshot, in their order. The conversion begins when the first chunk is asked for. If the ledger
/// holds the event already, nobody asks for one.
#[derive(Debug)]
pub(super) struct Chunks {
    begin: Option<oneshot::Sender<()>>,
    made: mpsc::Receiver<Chunk>,
}

impl Chunks {
    /// Returns the next chunk. `None`: there are no more. If the last chunk had no totals, the thread that makes the
    /// chunks ended early.
    pub(super) async fn next(&mut self) -> Option<Chunk> {
        if let Some(begin) = self.begin.take() {
            // If nobody waits for it the thread has ended, and so have the chunks.
            begin.send(()).ok();
        }
        self.made.recv().await
    }
}

/// At most [`STEP`] claims.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub claims: Vec<Claim>,
    /// Attributes that the snapshot shows and that make no claim: they are deleted, or their type or value makes none.
    pub silent: Vec<SilentAttribute>,
    /// False positives and expirations of the attributes that make claims.
    pub sighted: Vec<Sighted>,
    /// Scores of decaying models for these attributes. Only a read has them.
    pub decays: Vec<DecayTold>,
    /// The last chunk has them.
    pub totals: Option<Arc<Totals>>,
}

/// An attribute that makes no claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct SilentAttribute {
    pub attribute: Uuid,
    /// `Attribute.timestamp`, Unix seconds; 0: it tells none.
    pub timestamp: i64,
}

/// The totals of a whole snapshot.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub attributes: u64,
    pub skipped: Skipped,
    /// MISP's numbers of all tags that it shows.
    pub tags: HashSet<i64>,
    /// The names of all tags that it shows.
    pub tag_names: HashSet<String>,
}

impl Totals {
    /// Notes tags that the snapshot shows.
    fn show(&mut self, tags: &[Tag<'_>]) {
        for tag in tags {
            // The numbers of all tags are kept, since a frame about a renamed tag names no event.
            self.tags.insert(tag.id);
            // Many attributes have the same tags.
            if !self.tag_names.contains(tag.name.as_ref()) {
                self.tag_names.insert(tag.name.as_ref().to_owned());
            }
        }
    }
}

/// Converts an event into chunks of claims. The flag says whether the document answers a read.
type Convert = fn(&EventParts<'_>, bool, &mpsc::Sender<Chunk>);

/// Starts to read a document. A large one is moved to `folder`. `salt` goes into the content's fingerprint. If the
/// reading panics, the chunks end without totals.
pub(super) async fn read(
    document: impl Into<Document>,
    folder: &Path,
    salt: i64,
    source: Source,
) -> Result<Snapshot, NotAnEvent> {
    read_by(convert, document.into(), folder, salt, source).await
}

async fn read_by(
    convert: Convert,
    document: Document,
    folder: &Path,
    salt: i64,
    source: Source,
) -> Result<Snapshot, NotAnEvent> {
    // One chunk in the writer's hands, one waiting, one being made.
    let (chunks, made) = mpsc::channel(1);
    let (head, started) = oneshot::channel();
    let (begin, begun) = oneshot::channel();
    let reading = Reading { convert, salt, source, head, begun, chunks };
    let folder = folder.to_owned();
    spawn_blocking(move || match document.spooled_if_large(&folder) {
        Document::Held(body) => reading.whole(&body),
        Document::Spooled(spool) => reading.spooled(&spool),
    });
    match started.await {
        Ok(Ok(head)) => Ok(Snapshot { head: Arc::new(head), chunks: Chunks { begin: Some(begin), made } }),
        Ok(Err(refusal)) => Err(refusal),
        Err(_) => Err(NotAnEvent::Other(
            "the relay failed at reading it: this is a fault of the relay, its log has the place; please report it".into(),
        )),
    }
}

/// The reading of one document.
struct Reading {
    convert: Convert,
    salt: i64,
    source: Source,
    head: oneshot::Sender<Result<SnapshotHead, NotAnEvent>>,
    /// Completes when the first chunk is asked for.
    begun: oneshot::Receiver<()>,
    chunks: mpsc::Sender<Chunk>,
}

impl Reading {
    fn whole(self, document: &[u8]) {
        let event = EventParts::whole(document);
        match event.map_err(Unread::from).and_then(|event| Ok((self.head_of(&event)?, event))) {
            Ok((head, event)) => self.hand_over(head, &event),
            Err(unread) => drop(self.head.send(Err(unread.into()))),
        }
    }

    /// Reads a spooled document part by part. It reads a broken or unusual document as a whole, so that the result and
    /// the errors are the same as for a document in memory.
    fn spooled(self, spool: &Spool) {
        if let Ok(cut) = event_parts::cut(spool)
            && let Ok(event) = EventParts::spooled(spool, &cut)
            && let Ok(head) = self.head_of(&event)
        {
            return self.hand_over(head, &event);
        }
        match spool.read(&(0..spool.length())) {
            Ok(document) => self.whole(&document),
            Err(error) => drop(self.head.send(Err(Unread::from(error).into()))),
        }
    }

    fn head_of(&self, event: &EventParts<'_>) -> Result<SnapshotHead, Unread> {
        let head = &event.head;
        let is_read = matches!(self.source, Source::Read(..));
        // A push may lack them: it is a hint, and its `published` is not believed anyway.
        if is_read && !head.lacking.is_empty() {
            return Err(lacks(&head.lacking).into());
        }
        let (origin, restricted) = match self.source {
            Source::Push { weigh, received } => {
                (Origin::Push { received }, weigh && event.is_restricted()?)
            }
            Source::Read(asked, on_unpublish) => {
                (Origin::Read(Shown::new(head, asked, on_unpublish)), false)
            }
        };
        let mut hasher = hasher(self.salt, &origin);
        let facts = event.facts(|piece| {
            hasher.update(piece);
        })?;
        let mut content = [0; 8];
        hasher.finalize_xof().fill(&mut content);
        let content = i64::from_le_bytes(content);
        Ok(SnapshotHead { facts, origin, restricted, content })
    }

    fn hand_over(self, head: SnapshotHead, event: &EventParts<'_>) {
        let is_read = head.origin.is_read();
        if self.head.send(Ok(head)).is_ok() && self.begun.blocking_recv().is_ok() {
            (self.convert)(event, is_read, &self.chunks);
        }
    }
}

/// Makes the error of an answer that lacks fields. A missing field must not count as an empty one.
fn lacks(fields: &[&str]) -> NotAnEvent {
    NotAnEvent::Other(format!("the answer lacks the event's {}", fields.join(", ")))
}

/// Returns a hasher for an event's content. It has already hashed what else decides how the content counts.
fn hasher(salt: i64, origin: &Origin) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    if let Origin::Read(shown) = origin {
        shown.salt().iter().for_each(|number| {
            hasher.update(&number.to_le_bytes());
        });
    }
    hasher
}

/// Converts an event and sends its chunks. Ends early when the writer needs no more.
fn convert(event: &EventParts<'_>, is_read: bool, chunks: &mpsc::Sender<Chunk>) {
    let mut conversion =
        Conversion { is_read, chunks, chunk: Chunk::default(), totals: Totals::default() };
    conversion.totals.show(&event.head.tags);
    match event.each(|part| conversion.take(part)) {
        Ok(ControlFlow::Continue(())) => conversion.end(),
        Ok(ControlFlow::Break(())) => {}
        // Without totals the snapshot counts as broken off, and is read again.
        Err(unread) => {
            tracing::error!(
                event = LogEvent::EventRefused.word(),
                misp_event = %event.head.uuid,
                why = %unread,
                "An event's document cannot be read to its end. The event is read again"
            );
        }
    }
}

/// A conversion of an event's attributes, part by part.
struct Conversion<'c> {
    is_read: bool,
    chunks: &'c mpsc::Sender<Chunk>,
    chunk: Chunk,
    totals: Totals,
}

impl Conversion<'_> {
    fn take(&mut self, part: &Event<'_>) -> ControlFlow<()> {
        for read in part.attributes() {
            self.totals.attributes += 1;
            // What an answer shows in parts is not shown: the guard keeps what it claimed.
            match read.ok().filter(|(attribute, _)| attribute.is_whole || !self.is_read) {
                Some((attribute, object)) => self.attribute(&attribute, object),
                None => self.totals.skipped.add(Reason::Malformed),
            }
            // A chunk may go beyond `STEP` by the second claim of its last attribute.
            if self.chunk.claims.len() >= STEP {
                let full = std::mem::take(&mut self.chunk);
                if self.chunks.blocking_send(full).is_err() {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn attribute(&mut self, attribute: &Attribute<'_>, object: Option<&Object<'_>>) {
        self.totals.show(&attribute.tags);
        match convert::claims(attribute, object) {
            Ok(claims) => {
                self.chunk.sighted.extend(sighted(attribute, &claims));
                if self.is_read {
                    let decay = attribute.decay();
                    self.chunk.decays.push(DecayTold { attribute: attribute.uuid, decay });
                }
                self.chunk.claims.extend(claims);
            }
            Err(reason) => {
                self.totals.skipped.add(reason);
                // A time in milliseconds would be newer than any other.
                let is_timed = reason != Reason::InvalidTimestamp;
                let timestamp = if is_timed { attribute.timestamp } else { 0 };
                let attribute = attribute.uuid;
                self.chunk.silent.push(SilentAttribute { attribute, timestamp });
            }
        }
    }

    fn end(self) {
        let chunk = Chunk { totals: Some(Arc::new(self.totals)), ..self.chunk };
        // A closed channel means that nobody wants it.
        drop(self.chunks.blocking_send(chunk));
    }
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
    use std::io::Read as _;

    use axum::body::Bytes;

    use super::*;

    const PUSH: Source = Source::Push { weigh: true, received: 0 };

    fn asked() -> Source {
        let asked = Asked {
            began: 1,
            sequence: 2,
            date: 3,
            selected: true,
            of_our_view: true,
            sees_all: true,
        };
        Source::Read(asked, OnUnpublish::Withdraw)
    }

    fn spooled(document: &[u8]) -> Document {
        let mut spool = Spool::new(&std::env::temp_dir()).unwrap();
        spool.write(document).unwrap();
        Document::Spooled(Arc::new(spool))
    }

    /// All that a snapshot tells the writer, or why there is none.
    async fn told(document: Document, source: Source) -> Result<Vec<String>, String> {
        let read = read(document, &std::env::temp_dir(), 7, source).await;
        let mut snapshot = read.map_err(|refusal| refusal.to_string())?;
        let mut told = vec![format!("{:?}", snapshot.head)];
        while let Some(chunk) = snapshot.chunks.next().await {
            let Chunk { claims, silent, sighted, decays, totals } = chunk;
            told.push(format!("{claims:?} {silent:?} {sighted:?} {decays:?}"));
            if let Some(totals) = totals {
                let mut tags: Vec<_> = totals.tags.iter().collect();
                tags.sort_unstable();
                let skipped: Vec<_> = totals.skipped.iter().collect();
                told.push(format!("{} {skipped:?} {tags:?}", totals.attributes));
            }
        }
        Ok(told)
    }

    async fn is_the_same(document: &[u8]) {
        for source in [PUSH, asked()] {
            let held = told(Bytes::copy_from_slice(document).into(), source).await;
            let spooled = told(spooled(document), source).await;
            assert!(held == spooled, "{held:.2000?}\nand\n{spooled:.2000?}");
        }
    }

    /// The publications that a real MISP sent, one of them with 5,000 attributes.
    fn recorded() -> Vec<Vec<u8>> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/zmq");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let documents = files.filter_map(|path| {
            let name = path.to_str().unwrap();
            if !name.contains("_misp_json.bin") || name.contains("010630") {
                return None;
            }
            let mut bytes = std::fs::read(&path).unwrap();
            if name.ends_with(".gz") {
                let mut inflated = Vec::new();
                flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut inflated).unwrap();
                bytes = inflated;
            }
            Some(bytes.strip_prefix(b"misp_json ").unwrap().to_vec())
        });
        documents.collect()
    }

    #[tokio::test]
    async fn a_spooled_event_tells_what_it_tells_from_memory() {
        let documents = recorded();
        assert!(documents.len() > 40 && documents.iter().any(|one| one.len() > 2_000_000));
        for document in documents {
            is_the_same(&document).await;
        }
    }

    /// PHP writes a list with holes as an object, and any key may be escaped.
    #[tokio::test]
    async fn a_spooled_list_in_another_spelling_is_read_as_from_memory() {
        let attribute = r#"{"id":"1","uuid":"58634bba-6203-49db-85e0-06c10dc6430e","type":"ip-dst","category":"Network activity","to_ids":true,"distribution":"5","sharing_group_id":"0","timestamp":"1795499521","deleted":false,"comment":"","value":"198.51.100.7"}"#;
        let object = format!(
            r#"{{"id":"1","uuid":"2f50c090-7b1c-4feb-adac-3c115e191148","name":"ip-port","distribution":"5","sharing_group_id":"0","timestamp":"1795499521","deleted":false,"comment":"","Attribute":[{attribute}]}}"#
        );
        for lists in [
            format!(r#""Attribute":{{"4":{attribute}}},"Object":[]"#),
            format!(r#""\u0041ttribute":[{attribute}],"Object":[]"#),
            format!(r#""Attribute":[],"Object":{{"2":{object}}}"#),
        ] {
            let document = format!(
                r#"{{"Event":{{"id":"1","uuid":"62724408-1cb5-4198-8ceb-3e542ad28bcd","info":"i","date":"2026-11-24","distribution":"3","sharing_group_id":"0","published":true,"timestamp":"1795499521","publish_timestamp":"1795499522","Tag":[],{lists}}}}}"#
            );
            let told = told(spooled(document.as_bytes()), PUSH).await.unwrap();
            assert!(told.iter().any(|chunk| chunk.contains("198.51.100.7")), "{lists}");
            is_the_same(document.as_bytes()).await;
        }
    }

    /// Whatever is told of the whole: its errors name the same places.
    #[tokio::test]
    async fn a_damaged_spooled_event_is_told_as_from_memory() {
        let documents = recorded();
        for (number, document) in documents.iter().filter(|one| one.len() < 50_000).enumerate() {
            for damage in 0..20 {
                let place = (document.len() * damage / 20 + number) % document.len();
                is_the_same(&document[..place]).await;
                for byte in *b"\"},\xff" {
                    let mut document = document.clone();
                    document[place] = byte;
                    is_the_same(&document).await;
                }
            }
        }
    }

    #[tokio::test]
    async fn a_panic_in_a_conversion_ends_the_chunks_and_nothing_else() {
        let event = br#"{"Event":{"id":"1","uuid":"62724408-1cb5-4198-8ceb-3e542ad28bcd","timestamp":"1","Attribute":[]}}"#;
        let failing: Convert = |_, _, _| panic!("a fault of a conversion");
        let document = || Document::from(Bytes::from_static(event));
        let folder = std::env::temp_dir();
        let mut snapshot = read_by(failing, document(), &folder, 0, PUSH).await.unwrap();
        assert!(snapshot.chunks.next().await.is_none(), "no totals are told");
        let mut sound = read(document(), &folder, 0, PUSH).await.unwrap();
        assert!(sound.chunks.next().await.unwrap().totals.is_some());
    }
}
