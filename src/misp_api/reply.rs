//! Reads the body of an answer with status 200: a small one as a whole, a large one piece by piece as it
//! arrives.

use std::io::{self, Read};

use axum::body::Bytes;
use chrono::DateTime;
use reqwest::Response;
use reqwest::header::DATE;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::elements::{Element, Elements, NotAnAnswer};
use super::faults::{AnswerFaults, header};
use super::page::Pages;
use super::refusal::{self, RestError};
use crate::caught::caught_now;
use crate::metrics;

/// Of a body, in errors.
const SHOWN: usize = 4 << 10;

const FAILED: &str =
    "the relay failed at reading it: this is a fault of the relay, please report it";

/// Pieces that arrived and are not read yet.
const PIECES_AHEAD: usize = 4;

/// Status 200; the body is read piece by piece.
#[derive(Debug)]
pub(super) struct StreamedReply {
    pub(super) response: Response,
    /// What goes wrong with it, in words.
    pub(super) faults: AnswerFaults,
    /// Learns from its end how much MISP manages.
    pub(super) pages: Pages,
    /// Larger events are passed over, bytes.
    pub(super) max_event: usize,
    /// A body that drips is no silence, and must end all the same.
    pub(super) deadline: Instant,
}

impl StreamedReply {
    /// MISP's clock, Unix seconds.
    pub(super) fn date(&self) -> Option<i64> {
        let date = self.response.headers().get(DATE)?.to_str().ok()?;
        Some(DateTime::parse_from_rfc2822(date).ok()?.timestamp())
    }

    /// How many events the search finds in all, whatever the page.
    pub(super) fn total(&self) -> Option<usize> {
        header(self.response.headers(), "X-Result-Count")
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, RestError> {
        match timeout_at(self.deadline, self.response.chunk()).await {
            Ok(piece) => piece.map_err(|error| self.faults.broken(&error)),
            Err(_) => Err(self.faults.dripping()),
        }
    }

    /// The whole body of a small answer.
    pub(super) async fn json(self) -> Result<serde_json::Value, RestError> {
        const MOST: usize = 1 << 20;
        self.read_as(MOST, |body| {
            serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))
        })
        .await
    }

    /// What `read` makes of the whole body, which has at most so many bytes.
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

    /// What `read` makes of the body while it arrives, on a thread of its own: only a few pieces are
    /// ever in memory.
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
            // Whoever reads may have seen enough.
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        drop(sender);
        let read = match reading.join_next().await {
            Some(Ok(read)) => read,
            Some(Err(error)) => Err(error.to_string()),
            None => Err("nobody read it".to_owned()),
        };
        read.map_err(|why| self.malformed(&why, &begun))
    }

    /// Whether the body is JSON, as far as its beginning shows. The rest is left.
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

    /// The events of the list.
    pub(super) fn elements(self) -> Stream {
        let elements = Elements::new(self.max_event);
        Stream { reply: self, elements, rest: Bytes::new(), begun: None }
    }
}

/// A body for those who read without waiting.
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

/// The elements of a restSearch answer, one at a time.
#[derive(Debug)]
pub(super) struct Stream {
    reply: StreamedReply,
    elements: Elements,
    /// Of the last piece.
    rest: Bytes,
    /// The first piece, for errors.
    begun: Option<Vec<u8>>,
}

impl Stream {
    /// `None` only after the end of a complete answer.
    pub(super) async fn next(&mut self) -> Result<Option<Element>, RestError> {
        let next = self.next_element().await;
        if let Err(error) = &next {
            metrics::rest_request(error.word());
        }
        next
    }

    async fn next_element(&mut self) -> Result<Option<Element>, RestError> {
        loop {
            let (elements, rest) = (&mut self.elements, &mut self.rest);
            let taken = caught_now(|| elements.take(rest)).unwrap_or(Err(NotAnAnswer::Failed));
            if let Some(element) = taken.map_err(|error| self.malformed(&error))? {
                return Ok(Some(element));
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
                RestError::BrokeOff { path: self.reply.faults.path.clone(), why: error.to_string() }
            }
        });
        self.reply.pages.settle(ended.map(|()| None))
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
