//! Runs the statements on SQLite.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use rusqlite::{OpenFlags, TransactionBehavior};

use super::Result;
use super::error::SqlError;
use super::row::{Columns, FromRow};
use super::statement::Statement;
use super::value::Value;

/// Statements that are kept prepared: more than there are.
const PREPARED: usize = 512;

/// How long a statement waits for another process that uses the file, for example `sqlite3`.
const BUSY: Duration = Duration::from_secs(10);

/// Bytes that the WAL file may have before its pages are copied into the database. Keys are random, so that
/// most commits touch the same pages again: with 32 MiB in place of SQLite's own 4 MiB a first sync takes 10 % less
/// CPU time, with 64 MiB 14 %.
const WAL_BYTES: i64 = 64 << 20;

/// SQLite's number for giving free pages back step by step.
const INCREMENTAL: i64 = 2;

/// SQLite's own size of a page.
const PAGE_BYTES: i64 = 4_096;

/// A connection to the ledger's file.
#[derive(Debug)]
pub(in crate::ledger) struct Connection(rusqlite::Connection);

/// Breaks off the statement that a connection is executing.
pub(in crate::ledger) struct Interrupt(rusqlite::InterruptHandle);

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupt").finish_non_exhaustive()
    }
}

impl Interrupt {
    /// The statement fails. If there is none, nothing happens.
    pub(in crate::ledger) fn now(&self) {
        self.0.interrupt();
    }
}

/// How a connection is used.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct Options {
    /// Each commit reaches the disk before it counts.
    pub fsync: bool,
    /// Pages that SQLite keeps in memory, KiB.
    pub cache: i64,
}

impl Connection {
    /// Opens the file, or creates it.
    pub(in crate::ledger) fn open(path: &Path, options: Options) -> Result<Self> {
        let connection = rusqlite::Connection::open(path)?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        connection.busy_timeout(BUSY)?;
        let mode: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
        // It counts for a new file only, and to say it again writes a page.
        if mode != INCREMENTAL {
            connection.pragma_update(None, "auto_vacuum", INCREMENTAL)?;
        }
        connection.pragma_update(None, "journal_mode", "wal")?;
        let synchronous = if options.fsync { "full" } else { "normal" };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "cache_size", -options.cache)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        connection.pragma_update(None, "wal_autocheckpoint", WAL_BYTES / PAGE_BYTES)?;
        // Without it the file of the log keeps the size that it once had.
        connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
        Ok(Self(connection))
    }

    /// Opens a file that exists, to read it. Nothing of it is changed, not even its settings.
    pub(in crate::ledger) fn open_to_read(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(Self(connection))
    }

    /// What breaks off a statement of this connection from another thread.
    pub(in crate::ledger) fn interrupt(&self) -> Interrupt {
        Interrupt(self.0.get_interrupt_handle())
    }

    /// Begins a transaction that may write. It is rolled back unless it is committed.
    pub(in crate::ledger) fn begin(&mut self) -> Result<Transaction<'_>> {
        // A deferred one takes the lock with its first write, and fails there if anybody wrote after its first
        // read.
        self.transaction(TransactionBehavior::Immediate)
    }

    /// Begins a transaction that reads one moment of the ledger, whatever is written meanwhile.
    pub(in crate::ledger) fn snapshot(&mut self) -> Result<Transaction<'_>> {
        self.transaction(TransactionBehavior::Deferred)
    }

    fn transaction(&mut self, behavior: TransactionBehavior) -> Result<Transaction<'_>> {
        Ok(Transaction(self.0.transaction_with_behavior(behavior)?))
    }

    /// Runs the statements of a schema.
    pub(in crate::ledger) fn run(&self, statements: &str) -> Result<()> {
        Ok(self.0.execute_batch(statements)?)
    }

    /// Whether the file holds nothing yet.
    pub(in crate::ledger) fn is_empty(&self) -> Result<bool> {
        Ok(self.0.query_row("SELECT count(*) = 0 FROM sqlite_master", [], |row| row.get(0))?)
    }

    /// The value of one of SQLite's own settings.
    pub(in crate::ledger) fn pragma(&self, name: &str) -> Result<i64> {
        Ok(self.0.pragma_query_value(None, name, |row| row.get(0))?)
    }

    /// Gives free pages back to the disk.
    pub(in crate::ledger) fn give_pages_back(&self, pages: i64) -> Result<()> {
        let mut prepared = self.0.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        // SQLite gives back a page for each row that is asked for.
        let mut rows = prepared.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    /// Rewrites the whole file, and gives the write-ahead log back to the disk.
    pub(in crate::ledger) fn vacuum(&self) -> Result<()> {
        self.run("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
    }

    /// Writes a copy of the file.
    pub(in crate::ledger) fn copy_to(&self, file: &Path) -> Result<()> {
        self.0.execute("VACUUM INTO ?1", [file.to_string_lossy()])?;
        Ok(())
    }
}

#[cfg(test)]
thread_local! {
    /// Statements that this thread has executed, each row of values counting once.
    static EXECUTED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// A transaction.
#[derive(Debug)]
pub(in crate::ledger) struct Transaction<'c>(rusqlite::Transaction<'c>);

impl Transaction<'_> {
    pub(in crate::ledger) fn commit(self) -> Result<()> {
        Ok(self.0.commit()?)
    }

    /// Runs a part of the transaction that is undone by itself if it fails.
    ///
    /// # Errors
    /// The outer one: the transaction is lost. The inner one: the part failed and is undone.
    pub(in crate::ledger) fn savepoint<T>(
        &self,
        part: impl FnOnce() -> Result<T>,
    ) -> Result<Result<T>> {
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

    /// What SQLite's own check finds wrong with the file.
    pub(in crate::ledger) fn damage(&self) -> Result<Vec<String>> {
        let mut check = self.0.prepare_cached("PRAGMA integrity_check")?;
        let told = check.query_map([], |row| row.get(0))?;
        let words = told.collect::<rusqlite::Result<Vec<String>>>()?;
        Ok(words.into_iter().filter(|words| words != "ok").collect())
    }

    /// Prepares a statement whose parameters are as many as it declares; the steps by which SQLite executes it.
    #[cfg(test)]
    pub(in crate::ledger) fn plan(&self, statement: &Statement) -> Result<Vec<String>> {
        let prepared = self.0.prepare(statement.sqlite())?;
        assert_eq!(prepared.parameter_count(), statement.parameters().len());
        let mut explained =
            self.0.prepare(&format!("EXPLAIN QUERY PLAN {}", statement.sqlite()))?;
        let nothing = statement.parameters().iter().map(|_| rusqlite::types::Null);
        let steps =
            explained.query_map(rusqlite::params_from_iter(nothing), |row| row.get("detail"))?;
        Ok(steps.collect::<rusqlite::Result<_>>()?)
    }

    /// How many statements this thread has executed, in all transactions.
    #[cfg(test)]
    pub(in crate::ledger) fn executed(&self) -> u64 {
        EXECUTED.get()
    }

    /// Looks at the values before they are bound.
    fn check(statement: &Statement, values: &[Value<'_>]) {
        statement.check(values);
        #[cfg(test)]
        EXECUTED.set(EXECUTED.get() + 1);
    }

    /// The first row, if there is one.
    pub(in crate::ledger) fn row<T: FromRow>(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Option<T>> {
        Self::check(statement, values);
        let mut prepared = self.0.prepare_cached(statement.sqlite())?;
        let mut rows = prepared.query(rusqlite::params_from_iter(values))?;
        rows.next()?.map(|row| T::from_row(&mut Columns::new(row))).transpose()
    }

    /// All rows.
    pub(in crate::ledger) fn rows<T: FromRow>(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<T>> {
        self.rows_each(statement, [values])
    }

    /// All rows of the statement for each of these rows of values.
    pub(in crate::ledger) fn rows_each<'v, T: FromRow>(
        &self,
        statement: &Statement,
        rows: impl IntoIterator<Item = impl AsRef<[Value<'v>]>>,
    ) -> Result<Vec<T>> {
        let mut prepared = self.0.prepare_cached(statement.sqlite())?;
        let mut found = Vec::new();
        for values in rows {
            Self::check(statement, values.as_ref());
            let mut rows = prepared.query(rusqlite::params_from_iter(values.as_ref()))?;
            while let Some(row) = rows.next()? {
                found.push(T::from_row(&mut Columns::new(row))?);
            }
        }
        Ok(found)
    }

    /// Hands all rows to `visit`, one after the other, until it has had enough.
    pub(in crate::ledger) fn visit(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
        mut visit: impl FnMut(&mut Columns<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        Self::check(statement, values);
        let mut prepared = self.0.prepare_cached(statement.sqlite())?;
        let mut rows = prepared.query(rusqlite::params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            if visit(&mut Columns::new(row))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Returns how many rows it changed.
    pub(in crate::ledger) fn execute(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<usize> {
        self.execute_each(statement, [values])
    }

    /// Executes the statement for each of these rows of values; returns how many rows all of them changed.
    pub(in crate::ledger) fn execute_each<'v>(
        &self,
        statement: &Statement,
        rows: impl IntoIterator<Item = impl AsRef<[Value<'v>]>>,
    ) -> Result<usize> {
        let mut prepared = self.0.prepare_cached(statement.sqlite())?;
        let mut changed = 0;
        for values in rows {
            Self::check(statement, values.as_ref());
            changed += prepared.execute(rusqlite::params_from_iter(values.as_ref()))?;
        }
        Ok(changed)
    }
}
