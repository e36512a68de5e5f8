//! A document of MISP on its way to the ledger: in memory, or in a spool if it is large. A spool is a file without a
//! name, which only this process can read. The file is gone when its last handle is closed.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use axum::body::Bytes;
use uuid::Uuid;

use crate::pure::misp;

/// The size from which a document is moved out of memory, bytes.
const LARGE: usize = 4 << 20;

/// The JSON of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Held(Bytes),
    Spooled(Arc<Spool>),
}

impl Document {
    /// Returns the uuid of its event, if it stands where MISP writes it.
    pub fn event(&self) -> Option<Uuid> {
        match self {
            Self::Held(document) => misp::event_uuid(document),
            Self::Spooled(spool) => spool.event,
        }
    }

    /// Moves a large document into a spool in `folder`, so that it takes no memory while it is applied. It stays in
    /// memory where the disk has no room. This may wait for the disk.
    #[must_use]
    pub fn spooled_if_large(self, folder: &Path) -> Self {
        let Self::Held(document) = self else { return self };
        if document.len() < LARGE {
            return Self::Held(document);
        }
        let spooled = Spool::new(folder).and_then(|mut spool| {
            spool.write(&document)?;
            Ok(spool)
        });
        spooled.map_or(Self::Held(document), |spool| Self::Spooled(Arc::new(spool)))
    }

    /// Returns the whole document. A large one takes as much memory.
    ///
    /// # Errors
    /// The spool cannot be read.
    pub fn into_bytes(self) -> io::Result<Bytes> {
        match self {
            Self::Held(document) => Ok(document),
            Self::Spooled(spool) => spool.read(&(0..spool.length)).map(Bytes::from),
        }
    }
}

impl From<Bytes> for Document {
    fn from(document: Bytes) -> Self {
        Self::Held(document)
    }
}

impl From<Vec<u8>> for Document {
    fn from(document: Vec<u8>) -> Self {
        Self::Held(document.into())
    }
}

impl From<String> for Document {
    fn from(document: String) -> Self {
        Self::Held(document.into())
    }
}

/// A file that holds the document of one event.
#[derive(Debug)]
pub struct Spool {
    file: File,
    length: u64,
    event: Option<Uuid>,
}

impl PartialEq for Spool {
    /// No two spools have the same file.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Spool {}

impl Spool {
    /// Makes an empty spool in `folder`.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        Ok(Self { file, length: 0, event: None })
    }

    /// Writes the next bytes of the document. The first ones name its event.
    ///
    /// # Errors
    /// The disk is full, or fails.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.length == 0 {
            self.event = misp::event_uuid(bytes);
        }
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Returns the uuid of the event, if it stands in the bytes that were written first.
    pub fn event(&self) -> Option<Uuid> {
        self.event
    }

    /// Returns the number of its bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads the bytes of a place.
    ///
    /// # Errors
    /// The disk fails.
    pub fn read(&self, place: &Range<u64>) -> io::Result<Vec<u8>> {
        let length = place.end.saturating_sub(place.start);
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, place.start)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(size: usize) -> Document {
        let uuid = "00000001-0000-4000-8000-000000000007";
        Document::from(format!(r#"{{"Event":{{"uuid":"{uuid}","info":"{}"}}}}"#, "x".repeat(size)))
    }

    #[test]
    fn a_large_document_is_moved_to_the_disk_and_is_the_same_there() {
        let folder = tempfile::TempDir::new().unwrap();
        let spooled = event(LARGE).spooled_if_large(folder.path());
        assert!(matches!(spooled, Document::Spooled(_)));
        assert_eq!(spooled.event(), event(LARGE).event());
        assert_eq!(spooled.into_bytes().unwrap(), event(LARGE).into_bytes().unwrap());
    }

    #[test]
    fn a_small_one_stays_in_memory_and_a_large_one_where_there_is_no_room() {
        let folder = tempfile::TempDir::new().unwrap();
        assert_eq!(event(7).spooled_if_large(folder.path()), event(7));
        let nowhere = folder.path().join("absent");
        assert_eq!(event(LARGE).spooled_if_large(&nowhere), event(LARGE));
    }
}
