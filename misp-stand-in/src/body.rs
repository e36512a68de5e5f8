//! Streams the bodies of answers piece by piece, and breaks them off where a fault asks for that.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream::{self, Stream};

use super::fault::RestFault;
use super::model::Event;
use super::render::{self, Shown, Step};
use super::wire::Json;

/// Bytes of a piece of a body.
const PIECE: usize = 64 << 10;

/// `{"response": [{"Event":{…}},…]}`.
pub(super) fn of(events: Vec<Arc<Event>>, shown: Shown, fault: &RestFault) -> Body {
    let part = Part::Begin;
    send(Pieces { events: events.into_iter(), writing: None, written: 0, shown, part }, fault)
}

/// A body of these bytes.
pub(super) fn of_bytes(bytes: Vec<u8>, fault: &RestFault) -> Body {
    let mut rest = Bytes::from(bytes);
    let pieces = std::iter::from_fn(move || {
        let piece = rest.split_to(PIECE.min(rest.len()));
        (!piece.is_empty()).then_some(piece)
    });
    send(pieces, fault)
}

fn send(pieces: impl Iterator<Item = Bytes> + Send + 'static, fault: &RestFault) -> Body {
    match Break::of(fault) {
        Some(at) => Body::from_stream(broken(pieces, at)),
        None => Body::from_stream(stream::iter(pieces.map(Ok::<_, io::Error>))),
    }
}

/// The bytes of a restSearch's answer, a piece at a time.
struct Pieces {
    events: std::vec::IntoIter<Arc<Event>>,
    writing: Option<(Arc<Event>, Step)>,
    /// Events begun so far.
    written: usize,
    shown: Shown,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Begin,
    Events,
    Over,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut json = Json(Vec::with_capacity(PIECE + PIECE / 8));
        if self.part == Part::Begin {
            json.raw(r#"{"response": ["#);
            self.part = Part::Events;
        }
        while self.part == Part::Events && json.0.len() < PIECE {
            self.go_on(&mut json);
        }
        (!json.0.is_empty()).then(|| json.0.into())
    }
}

impl Pieces {
    fn go_on(&mut self, json: &mut Json) {
        if self.writing.is_none() {
            self.writing = self.events.next().map(|event| (event, Step::default()));
            if self.writing.is_some() && self.written > 0 {
                json.raw(",");
            }
            self.written += 1;
        }
        let Some((event, step)) = &mut self.writing else {
            json.raw("]}\n");
            self.part = Part::Over;
            return;
        };
        render::write_on(json, step, event, &self.shown, PIECE);
        if *step == Step::Done {
            self.writing = None;
        }
    }
}

/// What happens to a body after so many bytes.
#[derive(Debug, Clone, Copy)]
struct Break {
    after: usize,
    how: How,
}

#[derive(Debug, Clone, Copy)]
enum How {
    ConnectionLost,
    EndsAsIfComplete,
    GoesOnAfter(Duration),
}

impl Break {
    fn of(fault: &RestFault) -> Option<Self> {
        let (after, how) = match *fault {
            RestFault::Truncated { after } => (after, How::ConnectionLost),
            RestFault::CutShort { after } => (after, How::EndsAsIfComplete),
            RestFault::Stall { after, pause } => (after, How::GoesOnAfter(pause)),
            RestFault::None
            | RestFault::Status(_)
            | RestFault::RateLimited { .. }
            | RestFault::LoginRedirect
            | RestFault::HtmlPage
            | RestFault::Late(_)
            | RestFault::Reset
            | RestFault::Empty
            | RestFault::EndsEarly { .. }
            | RestFault::LacksPublication
            | RestFault::AnswerAs(_)
            | RestFault::Spoilt(_) => return None,
        };
        Some(Self { after, how })
    }
}

/// A body in progress.
struct Course<I> {
    pieces: I,
    /// Bytes until the break; `None` once it is behind.
    left: Option<usize>,
    /// What of a piece comes after the break.
    kept: Option<Bytes>,
}

fn broken(
    pieces: impl Iterator<Item = Bytes> + Send + 'static,
    Break { after, how }: Break,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let course = Course { pieces, left: Some(after), kept: None };
    stream::try_unfold(course, move |mut course| async move {
        if course.left == Some(0) {
            course.left = None;
            match how {
                How::ConnectionLost => return Err(io::ErrorKind::ConnectionAborted.into()),
                How::EndsAsIfComplete => return Ok(None),
                How::GoesOnAfter(pause) => tokio::time::sleep(pause).await,
            }
        }
        let Some(mut piece) = course.kept.take().or_else(|| course.pieces.next()) else {
            return Ok(None);
        };
        if let Some(left) = course.left {
            let now = left.min(piece.len());
            course.kept = Some(piece.split_off(now)).filter(|rest| !rest.is_empty());
            course.left = Some(left - now);
        }
        Ok(Some((piece, course)))
    })
}
