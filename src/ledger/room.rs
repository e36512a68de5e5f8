//! The room that the ledger takes on disk, and giving back what it no longer needs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::Ledger;

/// Bytes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// `ledger.db`.
    pub file: i64,
    /// `ledger.db-wal`: what is committed and not yet in the file.
    pub wal: i64,
    /// Pages of the file that hold nothing; they are used first.
    pub free: i64,
}

/// What giving pages back did, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    pub before: i64,
    pub after: i64,
    /// The file is from a release that could not give pages back; only [`Ledger::vacuum`] without a
    /// running relay changes that.
    pub needs_stop: bool,
}

/// Pages given back at a time: 8 MiB, a few milliseconds.
const PAGES: i64 = 2_048;

/// Fewer free pages than this (1 MiB) are kept for what comes.
const KEPT: i64 = 256;

/// `PRAGMA auto_vacuum`, https://sqlite.org/pragma.html#pragma_auto_vacuum
const INCREMENTAL: i64 = 2;

impl Ledger {
    /// # Errors
    /// Whatever SQLite says.
    pub async fn room(&self) -> sqlx::Result<Room> {
        let (pages, free, size): (i64, i64, i64) = sqlx::query_as(
            "SELECT page_count, freelist_count, page_size
             FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
        )
        .fetch_one(&self.readers)
        .await?;
        let wal = std::fs::metadata(self.path("ledger.db-wal")).map_or(0, |wal| wal.len());
        Ok(Room {
            file: pages.saturating_mul(size),
            wal: i64::try_from(wal).unwrap_or(i64::MAX),
            free: free.saturating_mul(size),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.shared.folder.join(name)
    }

    /// Gives some free pages back where a quarter of the file is free: a step of a few milliseconds.
    /// Whether it did.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(super) async fn give_some_back(&self) -> sqlx::Result<bool> {
        let mut connection = self.writer.acquire().await?;
        let free = pragma(&mut connection, "freelist_count").await?;
        let pages = pragma(&mut connection, "page_count").await?;
        let much = free >= KEPT && free >= pages / 4;
        if !much || pragma(&mut connection, "auto_vacuum").await? != INCREMENTAL {
            return Ok(false);
        }
        vacuum_step(&mut connection).await?;
        Ok(true)
    }

    /// Gives all free pages back in small steps, between which the relay goes on.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn give_back(&self) -> sqlx::Result<Given> {
        let before = self.room().await?.file;
        let mut connection = self.writer.acquire().await?;
        if pragma(&mut connection, "auto_vacuum").await? != INCREMENTAL {
            return Ok(Given { before, after: before, needs_stop: true });
        }
        drop(connection);
        loop {
            let mut connection = self.writer.acquire().await?;
            if pragma(&mut connection, "freelist_count").await? == 0 {
                break;
            }
            vacuum_step(&mut connection).await?;
        }
        Ok(Given { before, after: self.room().await?.file, needs_stop: false })
    }

    /// Rewrites the whole file: needs as much room again while it lasts, and nobody else may use the
    /// ledger. A file of an older release can give pages back afterwards.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn vacuum(&self) -> sqlx::Result<Given> {
        let before = self.room().await?.file;
        let mut connection = self.writer.acquire().await?;
        for statement in
            ["PRAGMA auto_vacuum = INCREMENTAL", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"]
        {
            sqlx::query(statement).execute(&mut *connection).await?;
        }
        drop(connection);
        Ok(Given { before, after: self.room().await?.file, needs_stop: false })
    }
}

async fn pragma(connection: &mut SqliteConnection, name: &'static str) -> sqlx::Result<i64> {
    sqlx::query(AssertSqlSafe(format!("PRAGMA {name}"))).fetch_one(connection).await?.try_get(0)
}

/// SQLite gives back a page for each row that is asked for.
async fn vacuum_step(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let step = AssertSqlSafe(format!("PRAGMA incremental_vacuum({PAGES})"));
    sqlx::query(step).fetch_all(connection).await?;
    Ok(())
}
