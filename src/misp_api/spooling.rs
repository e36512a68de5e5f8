//! Writes the parts of a large event in an answer to a spool: an unnamed file in the data folder.

use std::io;
use std::path::{Path, PathBuf};

use axum::body::Bytes;
use tokio::task::spawn_blocking;

use super::refusal::RestError;
use crate::document::Spool;

/// The spool of the element that is arriving.
#[derive(Debug)]
pub(super) struct Spooling {
    folder: PathBuf,
    spool: Option<Spool>,
}

impl Spooling {
    pub(super) fn into_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), spool: None }
    }

    /// Writes the next part.
    pub(super) async fn write(&mut self, part: Bytes) -> Result<(), RestError> {
        let (folder, begun) = (self.folder.clone(), self.spool.take());
        // On a thread where it may wait for the disk: other answers go on meanwhile.
        let writing = spawn_blocking(move || {
            let mut spool = begun.map_or_else(|| Spool::new(&folder), Ok)?;
            spool.write(&part)?;
            io::Result::Ok(spool)
        });
        let written = writing.await.unwrap_or_else(|fault| Err(io::Error::other(fault)));
        self.spool = Some(written.map_err(|error| self.fault(&error))?);
        Ok(())
    }

    /// Returns the spool of an element that is complete, or is not wanted any more.
    pub(super) fn end(&mut self) -> Option<Spool> {
        self.spool.take()
    }

    fn fault(&self, error: &io::Error) -> RestError {
        RestError::Unspooled { folder: self.folder.display().to_string(), why: error.to_string() }
    }
}
