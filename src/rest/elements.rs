//! Cuts the bytes of a restSearch answer, `{"response": [{"Event": …}, …]}`, into its elements as
//! they arrive. Pure. It looks at strings and brackets only: an element's inside is its reader's.

use axum::body::Bytes;
use uuid::Uuid;

use crate::misp;

/// Where the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In what comes before the first element: so many of [`OPENING`]'s parts are seen.
    Opening(usize),
    /// Behind `[` or a comma; `first` as long as the list may still be empty.
    Before {
        first: bool,
    },
    Inside,
    /// Behind an element: a comma or the end of the list.
    Behind,
    /// Behind `]`.
    Closing,
    End,
}

/// What every answer begins with, whitespace between the parts aside.
const OPENING: [&[u8]; 4] = [b"{", b"\"response\"", b":", b"["];

/// One element of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// `{"Event": …}`, as it arrived.
    Whole(Bytes),
    /// Longer than allowed, and dropped. Its rest is passed over.
    TooLarge(Option<Uuid>),
}

/// Why the bytes are no such answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAnswer {
    #[error("the answer ends in the middle")]
    Truncated,
    #[error("no list of events, but: {0}")]
    Other(String),
}

/// The state between two pieces.
#[derive(Debug)]
pub struct Elements {
    at: At,
    /// Bytes of the current part of [`OPENING`] that are seen.
    matched: usize,
    /// Brackets that are open in the current element.
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The current element as far as it came in earlier pieces; empty while it is skipped.
    collected: Vec<u8>,
    skipping: bool,
    /// The longest element, bytes.
    most: usize,
}

impl Elements {
    /// `most`: the longest element, bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            at: At::Opening(0),
            matched: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            collected: Vec::new(),
            skipping: false,
            most,
        }
    }

    /// Takes from `piece` what belongs to the next element; `None`: all of it, and the element
    /// goes on in the next piece.
    ///
    /// # Errors
    /// [`NotAnAnswer::Other`]; nothing can be said of what follows then.
    pub fn take(&mut self, piece: &mut Bytes) -> Result<Option<Element>, NotAnAnswer> {
        while !piece.is_empty() {
            if self.at != At::Inside {
                self.between(piece)?;
                continue;
            }
            let end = self.end_of_element(piece);
            let part = piece.split_to(end.unwrap_or(piece.len()));
            if let Some(element) = self.collect(part, end.is_some()) {
                return Ok(Some(element));
            }
        }
        Ok(None)
    }

    /// To be asked when no more bytes come.
    ///
    /// # Errors
    /// [`NotAnAnswer::Truncated`] unless the answer was complete.
    pub fn finish(&self) -> Result<(), NotAnAnswer> {
        if self.at == At::End { Ok(()) } else { Err(NotAnAnswer::Truncated) }
    }

    /// One byte that is not in an element.
    fn between(&mut self, piece: &mut Bytes) -> Result<(), NotAnAnswer> {
        let Some(&byte) = piece.first() else { return Ok(()) };
        if byte.is_ascii_whitespace() && self.matched == 0 {
            drop(piece.split_to(1));
            return Ok(());
        }
        self.at = match (self.at, byte) {
            (At::Opening(part), _) => self.opening(part, byte).ok_or_else(|| other(piece))?,
            (At::Before { .. }, b'{') => {
                // The bracket is the element's first byte.
                self.at = At::Inside;
                return Ok(());
            }
            (At::Before { first: true } | At::Behind, b']') => At::Closing,
            (At::Behind, b',') => At::Before { first: false },
            (At::Closing, b'}') => At::End,
            _ => return Err(other(piece)),
        };
        drop(piece.split_to(1));
        Ok(())
    }

    fn opening(&mut self, part: usize, byte: u8) -> Option<At> {
        let expected = OPENING.get(part)?;
        if *expected.get(self.matched)? != byte {
            return None;
        }
        self.matched += 1;
        if self.matched < expected.len() {
            return Some(At::Opening(part));
        }
        self.matched = 0;
        match part + 1 < OPENING.len() {
            true => Some(At::Opening(part + 1)),
            false => Some(At::Before { first: true }),
        }
    }

    /// How many bytes of the piece still belong to the current element, if it ends in it.
    fn end_of_element(&mut self, piece: &[u8]) -> Option<usize> {
        for (index, byte) in piece.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(index + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn collect(&mut self, part: Bytes, ends: bool) -> Option<Element> {
        if ends {
            self.at = At::Behind;
        }
        if self.skipping {
            self.skipping = !ends;
            return None;
        }
        if self.collected.len() + part.len() > self.most {
            self.skipping = !ends;
            let head = std::mem::take(&mut self.collected);
            let uuid = misp::event_uuid(if head.is_empty() { &part } else { &head });
            return Some(Element::TooLarge(uuid));
        }
        if ends && self.collected.is_empty() {
            return Some(Element::Whole(part));
        }
        self.collected.extend_from_slice(&part);
        ends.then(|| Element::Whole(std::mem::take(&mut self.collected).into()))
    }
}

/// The first words of what should have been something else.
fn other(piece: &[u8]) -> NotAnAnswer {
    const SHOWN: usize = 80;
    let shown = piece.get(..SHOWN.min(piece.len())).unwrap_or_default();
    NotAnAnswer::Other(format!("{:?}", String::from_utf8_lossy(shown)))
}
