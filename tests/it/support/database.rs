//! The ledger's file as SQLite has it: for what no command does or tells.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::FromSql;

/// Opens the ledger in a data folder, beside whoever else uses it.
pub(crate) fn open(folder: &Path) -> Connection {
    Connection::open(folder.join("ledger.db")).unwrap()
}

/// Runs a statement with this number for its parameter; returns how many rows it changed.
pub(crate) fn execute_with(database: &Connection, statement: &str, number: i64) -> usize {
    database.execute(statement, [number]).unwrap()
}

/// Runs a statement; returns how many rows it changed.
pub(crate) fn execute(database: &Connection, statement: &str) -> usize {
    database.execute(statement, []).unwrap()
}

/// The one value that a query has.
pub(crate) fn value<T: FromSql>(database: &Connection, query: &str) -> T {
    database.query_one(query, [], |row| row.get(0)).unwrap()
}

/// How many rows a table has.
pub(crate) fn count(database: &Connection, table: &str) -> i64 {
    value(database, &format!("SELECT count(*) FROM {table}"))
}
