//! Runs statements, by a few calls that are the same for every database that may hold the ledger. A statement is a
//! [`Statement`] with the types of its parameters. Values are integers, booleans, texts, bytes and NULL, and nothing
//! else, since SQLite and PostgreSQL agree on these.

mod error;
mod json;
mod row;
mod sqlite;
mod statement;
mod types;
mod value;

pub use error::SqlError;
pub(super) use json::{decode, encode};
pub(super) use row::{Columns, FromColumn, FromRow, row};
pub(super) use rusqlite::types::ValueRef;
pub(super) use sqlite::{Connection, Interrupt, Options, Transaction};
pub(super) use statement::{Statement, statements};
pub(super) use types::ParameterType;
pub(super) use value::{Value, values};

/// What comes of a statement.
pub type Result<T, E = SqlError> = std::result::Result<T, E>;
