//! Opens the ledger: one file, which one relay at a time may use. Each error says what is wrong with which file, and
//! what to do.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;
use thiserror::Error;

use super::owner::Owner;
use super::readers::Readers;
use super::sql::{Connection, Options, Result, SqlError, Transaction};
use super::tables::{counters, queue};
use super::{Ledger, Shared, Threads};
use crate::config::LedgerConfig;

const SCHEMA: &str = include_str!("schema.sql");

/// The version of the schema, which the file keeps as its `user_version`.
const VERSION: i64 = 1;

/// The indices that a file of an earlier release with the same version lacks.
const ADDED_INDICES: &str =
    "CREATE INDEX IF NOT EXISTS tombstones_by_attribute ON tombstones (attribute);
     CREATE INDEX IF NOT EXISTS sightings_by_attribute ON sightings (attribute);";

/// The line of the schema from which on its tables came with a later release than version 1.
const ADDED_TABLES: &str = "-- What alerts of a target told of our indicators.";

/// What SQLite keeps of the file in memory, KiB: the writer's, and each reader's.
const WRITER_CACHE: i64 = 8_000;
const READER_CACHE: i64 = 1_000;

/// Why the ledger cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error(
        "cannot create the data folder {path}: {error}\n  hint: set ledger.data_dir to a folder that this user may write"
    )]
    Folder { path: PathBuf, error: std::io::Error },
    #[error(
        "another relay (process {holder}) uses the ledger in {path}\n  hint: stop it first; two relays on one ledger would send everything twice"
    )]
    InUse { path: PathBuf, holder: String },
    #[error(
        "the ledger {path} was written by a newer release (schema {found}, this one knows {known})\n  hint: run the newer release, or move the file away: a resync rebuilds it"
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error(
        "the ledger {path} was written by an earlier release, whose schema this one does not read\n  hint: move the file away: a resync rebuilds it and the ids stay the same"
    )]
    Older { path: PathBuf },
    #[error(
        "the ledger {path} is damaged: {words}\n  hint: restore it from a backup, or move it away: a resync rebuilds it and the ids stay the same"
    )]
    Corrupt { path: PathBuf, words: String },
    #[error(
        "the ledger {path} cannot be written: {words}\n  hint: make the file and its folder writable for this user, on a file system that is not mounted read-only"
    )]
    ReadOnly { path: PathBuf, words: String },
    #[error("no room for the ledger {path}: {words}\n  hint: free disk space; nothing is lost")]
    DiskFull { path: PathBuf, words: String },
    #[error("cannot open the ledger {path}: {words}")]
    Other { path: PathBuf, words: String },
}

impl Ledger {
    /// Opens or creates `ledger.db` in the data folder and takes the lock on it.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with which file, and what to do.
    pub async fn open(config: &LedgerConfig) -> Result<Self, OpenError> {
        let config = config.clone();
        let opening = tokio::task::spawn_blocking(move || open(&config));
        opening
            .await
            .map_err(|error| OpenError::Other { path: PathBuf::new(), words: error.to_string() })?
    }
}

fn open(config: &LedgerConfig) -> Result<Ledger, OpenError> {
    let DataFolder { path: folder, lock } = DataFolder::take(config)?;
    let path = folder.join("ledger.db");
    // Not for other users: it holds what policy keeps home. SQLite gives its other files the same
    // mode; whatever is wrong with the file is told by SQLite below.
    File::options().create(true).append(true).mode(0o600).open(&path).ok();
    let describe = |error: SqlError| OpenError::of(&path, &error);
    let connect = |cache| Connection::open(&path, Options { fsync: config.fsync, cache });
    let mut writer = connect(WRITER_CACHE).map_err(describe)?;
    bring_schema(&mut writer, &path)?;
    check(&mut writer).map_err(describe)?;
    let readers = Readers::start(|| connect(READER_CACHE)).map_err(describe)?;
    let shared = Arc::new(Shared::new(folder, lock));
    let owner = Owner::start(writer, Arc::clone(&shared)).map_err(describe)?;
    Ok(Ledger { threads: Arc::new(Threads { owner, readers }), shared })
}

/// The data folder, held against other relays for as long as the lock is open.
#[derive(Debug)]
pub(super) struct DataFolder {
    pub(super) path: PathBuf,
    pub(super) lock: File,
}

impl DataFolder {
    /// Makes the folder if there is none, and takes the lock in it.
    pub(super) fn take(config: &LedgerConfig) -> Result<Self, OpenError> {
        let path = config.data_dir.clone();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| OpenError::Folder { path: path.clone(), error })?;
        let lock = lock(&path)?;
        Ok(Self { path, lock })
    }
}

impl OpenError {
    pub(super) fn of(path: &Path, error: &SqlError) -> Self {
        let path = path.to_path_buf();
        let words = error.to_string();
        match error.code() {
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => Self::ReadOnly { path, words },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { path, words }
            }
            Some(ErrorCode::DiskFull) => Self::DiskFull { path, words },
            Some(_) | None => Self::Other { path, words },
        }
    }
}

/// Gives a new file its schema, and refuses one that this release does not read.
fn bring_schema(writer: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let describe = |error: SqlError| OpenError::of(path, &error);
    if !writer.is_empty().map_err(describe)? {
        check_version(writer, path)?;
        return add_what_is_new(writer).map_err(describe);
    }
    // In one transaction, so that a file has the whole schema and its version, or nothing.
    let create = format!("BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT");
    writer.run(&create).map_err(describe)
}

/// Adds to an older file of this version what came to the schema since.
fn add_what_is_new(writer: &Connection) -> Result<()> {
    match writer.run("SELECT tlp FROM wanted LIMIT 0") {
        Err(error) if error.is_of_statement() => {
            writer.run("ALTER TABLE wanted ADD COLUMN tlp SMALLINT NOT NULL DEFAULT 0")?;
        }
        other => other?,
    }
    writer.run(ADDED_INDICES)?;
    add_tables(writer)
}

/// Adds the tables that an older file lacks, as the schema has them.
fn add_tables(writer: &Connection) -> Result<()> {
    // What stands behind the tables fills new files alone.
    let added = SCHEMA.split_once(ADDED_TABLES).map_or("", |(_, added)| added);
    let tables = added.split_once("INSERT INTO").map_or(added, |(tables, _)| tables);
    let tables = tables.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS");
    writer.run(&tables.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS"))
}

/// Refuses a file that this release does not read.
pub(super) fn check_version(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let describe = |error: SqlError| OpenError::of(path, &error);
    let found = connection.pragma("user_version").map_err(describe)?;
    if found > VERSION {
        return Err(OpenError::Newer { path: path.to_path_buf(), found, known: VERSION });
    }
    if found < VERSION {
        return Err(OpenError::Older { path: path.to_path_buf() });
    }
    // Builds from before the first release kept other columns under this version.
    match connection.run("SELECT event_number FROM claims LIMIT 0") {
        // The column is not there. Any other fault is told as what it is.
        Err(error) if error.is_of_statement() => Err(OpenError::Older { path: path.to_path_buf() }),
        other => other.map_err(describe),
    }
}

/// Proves that the file can be read and written.
fn check(writer: &mut Connection) -> Result<()> {
    let transaction: Transaction<'_> = writer.begin()?;
    counters::count_opening(&transaction)?;
    queue::count(&transaction)?;
    transaction.commit()
}

/// Returns the process that uses the ledger in a folder. `None`: none does.
#[must_use]
pub fn holder_of(folder: &Path) -> Option<String> {
    let mut file = File::open(folder.join("relay.lock")).ok()?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).ok()?;
            Some(holder.trim().to_owned())
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// Takes `relay.lock` for as long as the file stays open; the holder's process id is in it.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("relay.lock");
    let unusable = |error| OpenError::Folder { path: path.clone(), error };
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    // An earlier release made it readable for others. Its owner alone may change that.
    file.set_permissions(Permissions::from_mode(0o600)).ok();
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let read = file.read_to_string(&mut holder);
            let holder = read.map_or_else(|_| "unknown".into(), |_| holder.trim().to_owned());
            return Err(OpenError::InUse { path: folder.to_path_buf(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    file.set_len(0).map_err(unusable)?;
    write!(file, "{}", std::process::id()).map_err(unusable)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_older_file_of_this_version_gets_what_came_since() {
        let folder = tempfile::TempDir::new().unwrap();
        let config = LedgerConfig {
            data_dir: folder.path().to_owned(),
            fsync: false,
            tombstones: Duration::from_secs(1),
        };
        Ledger::open(&config).await.unwrap().close().await;
        let path = folder.path().join("ledger.db");
        let older = Connection::open(&path, Options { fsync: false, cache: 1_000 }).unwrap();
        older
            .run(
                "ALTER TABLE wanted DROP COLUMN tlp; DROP INDEX tombstones_by_attribute;
                 DROP INDEX sightings_by_attribute; DROP TABLE hits; DROP TABLE alert_cursors;
                 DROP TABLE own_sightings",
            )
            .unwrap();
        drop(older);
        Ledger::open(&config).await.unwrap().close().await;
        let newer = Connection::open(&path, Options { fsync: false, cache: 1_000 }).unwrap();
        newer.run("SELECT tlp FROM wanted; DROP INDEX sightings_by_attribute").unwrap();
        newer.run("DROP INDEX hits_by_age; DROP TABLE alert_cursors").unwrap();
        newer.run("DROP INDEX own_sightings_due").unwrap();
    }
}
