//! An answer of MISP whose body is still to come.

use axum::body::Bytes;
use chrono::DateTime;
use reqwest::Response;
use reqwest::header::{DATE, HeaderMap};

use super::client::Client;
use super::elements::{Element, Elements};
use super::refusal::{self, RestError};

/// Status 200; the body is read piece by piece.
#[derive(Debug)]
pub(super) struct Reply {
    client: Client,
    path: String,
    response: Response,
}

impl Reply {
    pub(super) fn new(client: Client, path: String, response: Response) -> Self {
        Self { client, path, response }
    }

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
        let piece = self.response.chunk().await;
        piece.map_err(|error| self.client.broken(&self.path, &error))
    }

    /// The whole body of a small answer.
    pub(super) async fn json(mut self) -> Result<serde_json::Value, RestError> {
        const MOST: usize = 1 << 20;
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            body.extend_from_slice(&piece);
            if body.len() > MOST {
                return Err(self.malformed("it is too long", &body));
            }
        }
        serde_json::from_slice(&body).map_err(|error| match body.is_empty() {
            true => self.malformed("it is empty", &body),
            false => self.malformed(&format!("no JSON: {error}"), &body),
        })
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
        self.client.malformed(&self.path, why, body)
    }

    /// The events of the list.
    pub(super) fn elements(self) -> Stream {
        let elements = Elements::new(self.client.max_event());
        Stream { reply: self, elements, rest: Bytes::new(), begun: None }
    }
}

/// A number in a header.
pub(super) fn header<N: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<N> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The elements of a restSearch answer, one at a time.
#[derive(Debug)]
pub(super) struct Stream {
    reply: Reply,
    elements: Elements,
    /// Of the last piece.
    rest: Bytes,
    /// The first piece, for errors.
    begun: Option<Vec<u8>>,
}

impl Stream {
    /// `None` only after the end of a complete answer.
    pub(super) async fn next(&mut self) -> Result<Option<Element>, RestError> {
        loop {
            let taken = self.elements.take(&mut self.rest);
            if let Some(element) = taken.map_err(|error| self.malformed(&error))? {
                return Ok(Some(element));
            }
            let Some(piece) = self.reply.piece().await? else { break };
            self.note_beginning(&piece)?;
            self.rest = piece;
        }
        match self.elements.finish() {
            Ok(()) => {
                self.reply.client.managed();
                Ok(None)
            }
            Err(error) if self.begun.is_none() => Err(self.malformed(&error)),
            Err(error) => {
                Err(RestError::BrokeOff { path: self.reply.path.clone(), why: error.to_string() })
            }
        }
    }

    fn note_beginning(&mut self, piece: &[u8]) -> Result<(), RestError> {
        const SHOWN: usize = 4 << 10;
        if self.begun.is_some() {
            return Ok(());
        }
        self.begun = piece.get(..SHOWN.min(piece.len())).map(<[u8]>::to_vec);
        match refusal::is_html(piece) {
            true => Err(self.reply.malformed("a web page", piece)),
            false => Ok(()),
        }
    }

    fn malformed(&self, why: &dyn std::error::Error) -> RestError {
        match &self.begun {
            Some(begun) => self.reply.malformed(&why.to_string(), begun),
            None => self.reply.malformed("it is empty", &[]),
        }
    }
}
