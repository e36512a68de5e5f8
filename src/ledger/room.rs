//! Measures how much room the ledger takes on disk, and gives free pages back to the file system.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Ledger;
use super::sql::{Connection, Result};

/// The room that the ledger takes on disk, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// `ledger.db`.
    pub file: i64,
    /// `ledger.db-wal`: what is committed and not yet in the file.
    pub wal: i64,
    /// Pages of the file that hold nothing; they are used first.
    pub free: i64,
}

/// The size of the file before and after pages were given back, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    pub before: i64,
    pub after: i64,
}

/// Pages given back at a time: 8 MiB, a few milliseconds.
const PAGES: i64 = 2_048;

/// If fewer pages than this (1 MiB) are free, they are kept for new rows.
const KEPT: i64 = 256;

impl Ledger {
    pub async fn room(&self) -> Result<Room> {
        // Without the file there is nothing in it: SQLite takes it away when the last connection closes.
        let wal = std::fs::metadata(self.path("ledger.db-wal")).map_or(0, |wal| wal.len());
        let wal = i64::try_from(wal).unwrap_or(i64::MAX);
        let read = self.threads.readers.short.run(move |connection| {
            let size = connection.pragma("page_size")?;
            let bytes = |pages: i64| pages.saturating_mul(size);
            Ok(Room {
                file: bytes(connection.pragma("page_count")?),
                wal,
                free: bytes(connection.pragma("freelist_count")?),
            })
        });
        read.await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.shared.folder.join(name)
    }

    /// Gives some free pages back if at least a quarter of the file is free. This takes a few milliseconds. Returns
    /// whether it did.
    pub(super) async fn give_some_back(&self) -> Result<bool> {
        self.maintain(|connection| {
            let free = connection.pragma("freelist_count")?;
            let much = free >= KEPT && free >= connection.pragma("page_count")? / 4;
            if much {
                connection.give_pages_back(PAGES)?;
            }
            Ok(much)
        })
        .await
    }

    /// Gives all free pages back in small steps. The relay works on between them.
    pub async fn give_back(&self) -> Result<Given> {
        let before = self.room().await?.file;
        let step = |connection: &mut Connection| {
            let some = connection.pragma("freelist_count")? > 0;
            if some {
                connection.give_pages_back(PAGES)?;
            }
            Ok(some)
        };
        while self.maintain(step).await? {}
        Ok(Given { before, after: self.room().await?.file })
    }

    /// Rewrites the whole file. Meanwhile this takes as much room again, and nothing else can use the ledger.
    pub async fn vacuum(&self) -> Result<Given> {
        let before = self.room().await?.file;
        self.maintain(|connection| connection.vacuum()).await?;
        Ok(Given { before, after: self.room().await?.file })
    }
}
