//! The four calls on SQLite.

use std::path::Path;

use super::error::SqlError;
use super::row::{Columns, FromRow};
use super::statement::Statement;
use super::value::Value;

/// Statements that are kept prepared: more than there are.
const PREPARED: usize = 512;

/// A connection to the ledger's file.
#[derive(Debug)]
pub(in crate::ledger) struct Connection(rusqlite::Connection);

/// How a connection is used.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct Options {
    /// Each commit reaches the disk before it counts.
    pub fsync: bool,
    /// Pages that SQLite keeps in memory, KiB.
    pub cache: i64,
}

impl Connection {
    /// # Errors
    /// Whatever SQLite says.
    pub(in crate::ledger) fn open(path: &Path, options: Options) -> Result<Self, SqlError> {
        let connection = rusqlite::Connection::open(path)?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        // Of a new file only: an older one changes at its next vacuum.
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        let synchronous = if options.fsync { "full" } else { "normal" };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "cache_size", -options.cache)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        Ok(Self(connection))
    }

    /// Begins a transaction that may write. It is rolled back unless it is committed.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(in crate::ledger) fn begin(&mut self) -> Result<Transaction<'_>, SqlError> {
        use rusqlite::TransactionBehavior::Immediate;
        Ok(Transaction(self.0.transaction_with_behavior(Immediate)?))
    }
}

/// A transaction.
#[derive(Debug)]
pub(in crate::ledger) struct Transaction<'c>(rusqlite::Transaction<'c>);

impl Transaction<'_> {
    /// # Errors
    /// Whatever SQLite says.
    pub(in crate::ledger) fn commit(self) -> Result<(), SqlError> {
        Ok(self.0.commit()?)
    }

    /// Runs a part of the transaction that is undone by itself if it fails.
    ///
    /// # Errors
    /// The outer one: the transaction is lost. The inner one: the part failed and is undone.
    pub(in crate::ledger) fn savepoint<T>(
        &self,
        part: impl FnOnce() -> Result<T, SqlError>,
    ) -> Result<Result<T, SqlError>, SqlError> {
        let say = |sql| self.0.prepare_cached(sql)?.execute([]);
        say("SAVEPOINT part")?;
        let result = part();
        // SQLite ends a transaction by itself, for example when the disk is full.
        if self.0.is_autocommit() {
            return Err(result.err().unwrap_or(SqlError::Closed));
        }
        if result.is_err() {
            say("ROLLBACK TO part")?;
        }
        say("RELEASE part")?;
        Ok(result)
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(in crate::ledger) fn row<T: FromRow>(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Option<T>, SqlError> {
        let mut prepared = self.0.prepare_cached(statement.sqlite())?;
        let mut rows = bound(&mut prepared, statement, values)?;
        rows.next()?.map(|row| T::from_row(&mut Columns::new(row))).transpose()
    }

    /// All rows.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(in crate::ledger) fn rows<T: FromRow>(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<T>, SqlError> {
        let mut prepared = self.0.prepare_cached(statement.sqlite())?;
        let mut rows = bound(&mut prepared, statement, values)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(T::from_row(&mut Columns::new(row))?);
        }
        Ok(found)
    }

    /// Returns how many rows it changed.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(in crate::ledger) fn execute(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<usize, SqlError> {
        self.execute_each(statement, [values])
    }

    /// Executes the statement for each of these rows of values; returns how many rows all of them changed.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(in crate::ledger) fn execute_each<'v>(
        &self,
        statement: &Statement,
        rows: impl IntoIterator<Item = impl AsRef<[Value<'v>]>>,
    ) -> Result<usize, SqlError> {
        let mut prepared = self.0.prepare_cached(statement.sqlite())?;
        let mut changed = 0;
        for values in rows {
            changed += prepared.execute(rusqlite::params_from_iter(values.as_ref()))?;
        }
        Ok(changed)
    }
}

fn bound<'p>(
    prepared: &'p mut rusqlite::CachedStatement<'_>,
    statement: &Statement,
    values: &[Value<'_>],
) -> Result<rusqlite::Rows<'p>, SqlError> {
    debug_assert_eq!(statement.parameters().len(), values.len());
    Ok(prepared.query(rusqlite::params_from_iter(values))?)
}
