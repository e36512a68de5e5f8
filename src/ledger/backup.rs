//! A copy of the ledger that is made beside a running relay, by another process.

use std::path::Path;

use super::readers::ReadingThread;
use super::sql::{Connection, Result};

/// A ledger that is read to be copied. The relay goes on meanwhile, and its lock is not taken.
#[derive(Debug)]
pub struct Backup {
    reader: ReadingThread,
}

impl Backup {
    /// Opens the ledger's file. It is never written.
    ///
    /// # Errors
    /// It is no ledger, or this user may not read it.
    pub fn open(file: &Path) -> Result<Self> {
        let connection = Connection::open_to_read(file)?;
        Ok(Self { reader: ReadingThread::start("ledger-backup", connection)? })
    }

    /// About how many bytes the copy will have: what is in use, without free pages.
    pub async fn size(&self) -> Result<u64> {
        let bytes = self.reader.run(|connection| {
            let pages = connection.pragma("page_count")? - connection.pragma("freelist_count")?;
            Ok(pages * connection.pragma("page_size")?)
        });
        bytes.await.map(|bytes| u64::try_from(bytes).unwrap_or_default())
    }

    /// Writes the ledger of one moment into a file that is empty.
    pub async fn write(&self, to: &Path) -> Result<()> {
        let to = to.to_owned();
        self.reader.run(move |connection| connection.copy_to(&to)).await
    }

    /// Ends the reading. A copy that is being written is broken off.
    pub async fn close(&self) {
        self.reader.close().await;
    }
}
