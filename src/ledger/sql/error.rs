//! What a database says where a statement fails.

use thiserror::Error;

/// Why a statement failed.
#[derive(Debug, Error)]
pub enum SqlError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A row holds something that the program does not write.
    #[error("column {column} of the ledger is not what it should be: {why}")]
    Column { column: usize, why: String },
    /// A JSON column holds something else, or something cannot be written as JSON.
    #[error("JSON of the ledger: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the ledger is closed")]
    Closed,
    /// The relay's own fault. Its log has the place.
    #[error("the relay failed at its own work on the ledger: please report it with the log")]
    Panicked,
}

impl SqlError {
    /// SQLite's primary result code, <https://sqlite.org/rescode.html>; `None` if it is not SQLite's error.
    pub(in crate::ledger) fn code(&self) -> Option<rusqlite::ErrorCode> {
        let Self::Sqlite(error) = self else { return None };
        error.sqlite_error_code()
    }
}
