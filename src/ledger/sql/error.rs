//! Says why a statement failed.

use thiserror::Error;

/// Why a statement failed.
#[derive(Debug, Error)]
pub enum SqlError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A row holds something that the program does not write.
    #[error("column {column} of the ledger holds {found}, which the relay does not write there")]
    Column { column: usize, found: String },
    /// A JSON column holds something else, or something cannot be written as JSON.
    #[error("JSON of the ledger: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a packed text of the ledger is damaged")]
    Packed,
    /// A statement that always has a row had none.
    #[error("the ledger lacks a row that is always there")]
    NoRow,
    #[error("the ledger is closed")]
    Closed,
    /// The relay's own fault. Its log has the place.
    #[error("the relay failed at its own work on the ledger: please report it with the log")]
    Panicked,
    #[error("cannot start a thread for the ledger: {0}")]
    Thread(std::io::Error),
}

impl SqlError {
    /// Whether the file or its disk is at fault, and not what was to be written.
    pub(in crate::ledger) fn is_fault(&self) -> bool {
        use rusqlite::ErrorCode as Code;
        let of_file = [
            Code::DiskFull,
            Code::SystemIoFailure,
            Code::ReadOnly,
            Code::CannotOpen,
            Code::DatabaseCorrupt,
            Code::NotADatabase,
            // Another process may hold the file for longer than a statement waits: that passes, as a full disk may.
            Code::DatabaseBusy,
            Code::DatabaseLocked,
            Code::FileLockingProtocolFailed,
            Code::OutOfMemory,
        ];
        matches!(self, Self::Closed) || self.code().is_some_and(|code| of_file.contains(&code))
    }

    /// Whether SQLite cannot make sense of a statement, for example because a column is not there.
    pub(in crate::ledger) fn is_of_statement(&self) -> bool {
        matches!(self, Self::Sqlite(rusqlite::Error::SqlInputError { .. }))
    }

    /// SQLite's primary result code, <https://sqlite.org/rescode.html>; `None` if it is not SQLite's error.
    pub(in crate::ledger) fn code(&self) -> Option<rusqlite::ErrorCode> {
        let Self::Sqlite(error) = self else { return None };
        error.sqlite_error_code()
    }
}
