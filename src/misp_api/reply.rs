//! Reads the body of an answer with status 200: a small one as a whole, a large one piece by piece as it
//! arrives.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use axum::body::Bytes;
use chrono::DateTime;
use reqwest::Response;
use reqwest::header::DATE;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::elements::{Element, Elements, NotAnAnswer};
use super::faults::{AnswerFaults, header};
use super::page::Pages;
use super::refusal::{self, RestError};
use super::spooling::Spooling;
use crate::caught::caught_now;
use crate::document::{Document, Spool};
use crate::metrics;

/// The most bytes of a body that an error keeps.
const SHOWN: usize = 4 << 10;

const FAILED: &str =
    "the relay failed at reading it: this is a fault of the relay, please report it";

/// The number of pieces that may wait to be read.
const PIECES_AHEAD: usize = 4;

/// An answer with status 200. Its body is read piece by piece.
#[derive(Debug)]
pub(super) struct StreamedReply {
    pub(super) response: Response,
    /// The context from which errors are made.
    pub(super) faults: AnswerFaults,
    /// The page size, which is adapted when the answer ends.
    pub(super) pages: Pages,
    /// The largest event that is accepted, in bytes. Larger ones are skipped.
    pub(super) max_event: usize,
    /// The time at which the body must end. The time-out for silence does not end a body that arrives slowly.
    pub(super) deadline: Instant,
}

impl StreamedReply {
    /// Returns the time of MISP's clock from the header `Date`, in Unix seconds.
    pub(super) fn date(&self) -> Option<i64> {
        let date = self.response.headers().get(DATE)?.to_str().ok()?;
        Some(DateTime::parse_from_rfc2822(date).ok()?.timestamp())
    }

    /// Returns how many events the search finds in all, whatever the page. `None`: MISP did not say.
    pub(super) fn total(&self) -> Option<usize> {
        header(self.response.headers(), "X-Result-Count")
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, RestError> {
        match timeout_at(self.deadline, self.response.chunk()).await {
            Ok(piece) => piece.map_err(|error| self.faults.broken(&error)),
            Err(_) => Err(self.faults.dripping()),
        }
    }

    /// Reads the whole body of a small answer as JSON.
    pub(super) async fn json(self) -> Result<serde_json::Value, RestError> {
        const MOST: usize = 1 << 20;
        self.read_as(MOST, |body| {
            serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))
        })
        .await
    }

    /// Reads the whole body, of at most `most` bytes, and parses it with `read`.
    pub(super) async fn read_as<T>(
        mut self,
        most: usize,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<T, RestError> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            body.extend_from_slice(&piece);
            if body.len() > most {
                return Err(self.malformed("it is too long", &body));
            }
        }
        let failed = || Err(FAILED.to_owned());
        caught_now(|| read(&body)).unwrap_or_else(failed).map_err(|why| {
            if body.is_empty() {
                self.malformed("it is empty", &body)
            } else {
                self.malformed(&why, &body)
            }
        })
    }

    /// Parses the body with `read` while it arrives, on a thread of its own. So only a few pieces are in
    /// memory at a time.
    pub(super) async fn read_along<T: Send + 'static>(
        mut self,
        most: usize,
        read: impl FnOnce(Pieces) -> Result<T, String> + Send + 'static,
    ) -> Result<T, RestError> {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let mut reading = JoinSet::new();
        reading.spawn_blocking(|| read(Pieces { pieces, piece: Bytes::new() }));
        let (mut begun, mut bytes) = (Vec::new(), 0_usize);
        while let Some(piece) = self.piece().await? {
            if begun.is_empty() {
                begun = piece.get(..SHOWN.min(piece.len())).unwrap_or_default().to_vec();
            }
            bytes = bytes.saturating_add(piece.len());
            if bytes > most {
                return Err(self.malformed(&format!("it is larger than {most} bytes"), &begun));
            }
            // `read` has returned, with an error or because it needs no more.
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        // `read` sees the end of the body only when the sender is gone.
        drop(sender);
        let read = match reading.join_next().await {
            Some(Ok(read)) => read,
            Some(Err(error)) => Err(error.to_string()),
            None => Err("nobody read it".to_owned()),
        };
        read.map_err(|why| self.malformed(&why, &begun))
    }

    /// Checks that the body begins like a JSON object. The rest is not read.
    pub(super) async fn begins_as_json(mut self) -> Result<(), RestError> {
        match self.piece().await? {
            Some(piece) if piece.trim_ascii_start().first() == Some(&b'{') => Ok(()),
            Some(piece) => Err(self.malformed("no JSON object", &piece)),
            None => Err(self.malformed("it is empty", &[])),
        }
    }

    fn malformed(&self, why: &str, body: &[u8]) -> RestError {
        self.faults.malformed(why, body)
    }

    /// Returns the elements of the list of events.
    pub(super) fn elements(self) -> Stream {
        let elements = Elements::new(self.max_event);
        Stream { reply: self, elements, rest: Bytes::new(), begun: None, spooling: None }
    }

    /// Returns the elements of the list of events; large ones in spools in `folder`.
    pub(super) fn spooled_elements(self, folder: &Path) -> Stream {
        let stream = self.elements();
        let spooling = Some(Spooling::into_folder(folder));
        Stream { elements: stream.elements.in_parts(), spooling, ..stream }
    }
}

/// A body as a blocking reader.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let Some(piece) = self.pieces.blocking_recv() else { return Ok(0) };
            self.piece = piece;
        }
        let now = self.piece.split_to(into.len().min(self.piece.len()));
        if let Some(place) = into.get_mut(..now.len()) {
            place.copy_from_slice(&now);
        }
        Ok(now.len())
    }
}

/// An element of a restSearch answer that has arrived.
#[derive(Debug)]
pub(super) enum Arrived {
    /// `{"Event": …}`
    Whole(Document),
    /// The uuid, if it was found, of an element that is longer than allowed. The element is dropped.
    TooLarge(Option<Uuid>),
}

/// The elements of a restSearch answer, one at a time.
#[derive(Debug)]
pub(super) struct Stream {
    reply: StreamedReply,
    elements: Elements,
    /// The rest of the last piece.
    rest: Bytes,
    /// The beginning of the first piece, for errors.
    begun: Option<Vec<u8>>,
    /// Where large elements are written. `None`: they stay in memory.
    spooling: Option<Spooling>,
}

impl Stream {
    /// Returns the next element. `None` only after the end of a complete answer.
    pub(super) async fn next(&mut self) -> Result<Option<Arrived>, RestError> {
        let next = self.next_element().await;
        if let Err(error) = &next {
            metrics::rest_request(&self.reply.faults.source, error.word());
        }
        next
    }

    async fn next_element(&mut self) -> Result<Option<Arrived>, RestError> {
        loop {
            let (elements, rest) = (&mut self.elements, &mut self.rest);
            // A panic of the parser must fail only this answer.
            let taken = caught_now(|| elements.take(rest)).unwrap_or(Err(NotAnAnswer::Failed));
            if let Some(element) = taken.map_err(|error| self.malformed(&error))? {
                match self.arrive(element).await? {
                    None => continue,
                    arrived => return Ok(arrived),
                }
            }
            match self.reply.piece().await {
                Ok(None) => break,
                Ok(Some(piece)) => {
                    self.note_beginning(&piece)?;
                    self.rest = piece;
                }
                Err(error) => return self.reply.pages.settle(Err(error)),
            }
        }
        let ended = self.elements.finish().map_err(|error| match &self.begun {
            None => self.malformed(&error),
            Some(_) => {
                RestError::BrokeOff { url: self.reply.faults.url.clone(), why: error.to_string() }
            }
        });
        self.reply.pages.settle(ended.map(|()| None))
    }

    /// Returns an element once all of it has arrived.
    async fn arrive(&mut self, element: Element) -> Result<Option<Arrived>, RestError> {
        Ok(match element {
            Element::Whole(event) => Some(Arrived::Whole(event.into())),
            Element::Part(part) => {
                self.spool(part).await?;
                None
            }
            Element::LastPart(part) => {
                self.spool(part).await?;
                self.spooled().map(|spool| Arrived::Whole(Document::Spooled(Arc::new(spool))))
            }
            Element::TooLarge(event) => {
                let named = self.spooled().and_then(|spool| spool.event());
                Some(Arrived::TooLarge(event.or(named)))
            }
        })
    }

    async fn spool(&mut self, part: Bytes) -> Result<(), RestError> {
        match &mut self.spooling {
            Some(spooling) => spooling.write(part).await,
            None => Err(self.malformed(&NotAnAnswer::Failed)),
        }
    }

    fn spooled(&mut self) -> Option<Spool> {
        self.spooling.as_mut().and_then(Spooling::end)
    }

    fn note_beginning(&mut self, piece: &[u8]) -> Result<(), RestError> {
        if self.begun.is_some() {
            return Ok(());
        }
        self.begun = piece.get(..SHOWN.min(piece.len())).map(<[u8]>::to_vec);
        if refusal::is_html(piece) {
            Err(self.reply.malformed("a web page", piece))
        } else {
            Ok(())
        }
    }

    fn malformed(&self, why: &dyn std::error::Error) -> RestError {
        match &self.begun {
            Some(begun) => self.reply.malformed(&why.to_string(), begun),
            None => self.reply.malformed("it is empty", &[]),
        }
    }
}
