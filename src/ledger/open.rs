//! Opening the ledger: one file, one relay at a time, and a clear word for whatever is wrong.

use std::borrow::Cow;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, SqlSafeStr, SqlitePool};
use thiserror::Error;

use super::{Ledger, rekey};
use crate::config::LedgerConfig;

const MIGRATIONS: [(i64, &str, &str); 12] = [
    (1, "ledger", include_str!("migrations/0001_ledger.sql")),
    (2, "rest", include_str!("migrations/0002_rest.sql")),
    (3, "care", include_str!("migrations/0003_care.sql")),
    (4, "suppressed", include_str!("migrations/0004_suppressed.sql")),
    (5, "sightings", include_str!("migrations/0005_sightings.sql")),
    (7, "context", include_str!("migrations/0007_context.sql")),
    (8, "decay", include_str!("migrations/0008_decay.sql")),
    (9, "identity", include_str!("migrations/0009_identity.sql")),
    (11, "deletion", include_str!("migrations/0011_deletion.sql")),
    (12, "clocks", include_str!("migrations/0012_clocks.sql")),
    (14, "hearsay", include_str!("migrations/0014_hearsay.sql")),
    (15, "unread", include_str!("migrations/0015_unread.sql")),
];

/// Pages that SQLite keeps in memory, KiB: the writer's, and each reader's.
const WRITER_CACHE: &str = "-8000";
const READER_CACHE: &str = "-1000";
const READERS: u32 = 3;

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
        let folder = &config.data_dir;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| OpenError::Folder { path: folder.clone(), error })?;
        let lock = lock(folder)?;
        let path = folder.join("ledger.db");
        // Not for other users: it holds what policy keeps home. SQLite gives its other files the same
        // mode; whatever is wrong with the file is told by SQLite below.
        File::options().create(true).append(true).mode(0o600).open(&path).ok();
        let describe = |error: sqlx::Error| OpenError::of(&path, &error);
        let writer = pool(&path, config.fsync, WRITER_CACHE, 1).await.map_err(describe)?;
        migrate(&writer, &path).await?;
        rekey::settle(&writer).await.map_err(describe)?;
        check(&writer).await.map_err(describe)?;
        let readers = pool(&path, config.fsync, READER_CACHE, READERS).await.map_err(describe)?;
        Ok(Self::new(writer, readers, folder.clone(), lock))
    }
}

impl OpenError {
    fn of(path: &Path, error: &sqlx::Error) -> Self {
        let path = path.to_path_buf();
        let words = error.to_string();
        // SQLite's primary result codes, https://sqlite.org/rescode.html
        match primary_code(error) {
            Some(8 | 14) => Self::ReadOnly { path, words },
            Some(11 | 26) => Self::Corrupt { path, words },
            Some(13) => Self::DiskFull { path, words },
            Some(_) | None => Self::Other { path, words },
        }
    }
}

/// SQLite's primary result code, the low byte of the extended one.
pub(super) fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

async fn pool(
    path: &Path,
    fsync: bool,
    cache: &'static str,
    connections: u32,
) -> Result<SqlitePool, sqlx::Error> {
    let synchronous = if fsync { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        // Of a new file only; see room.rs for older ones.
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(Duration::from_secs(10))
        .pragma("cache_size", cache)
        .pragma("temp_store", "MEMORY")
        .pragma("journal_size_limit", "67108864")
        // Its warnings are of long statements, such as the copy for a dry run, and name no remedy.
        .disable_statement_logging();
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
}

async fn migrate(writer: &SqlitePool, path: &Path) -> Result<(), OpenError> {
    let known = MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or_default();
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, name, sql)| {
            let sql = sql.into_sql_str();
            Migration::new(*version, Cow::Borrowed(*name), MigrationType::Simple, sql, false)
        })
        .collect();
    match Migrator::with_migrations(migrations).run(writer).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => {
            Err(OpenError::Newer { path: path.to_path_buf(), found, known })
        }
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
            Err(OpenError::of(path, &error))
        }
        Err(other) => Err(OpenError::Other { path: path.to_path_buf(), words: other.to_string() }),
    }
}

/// Proves that the file can be read and written.
async fn check(writer: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE counters SET value = value WHERE name = 'change'").execute(writer).await?;
    sqlx::query("SELECT count(*) FROM queue").fetch_one(writer).await?;
    Ok(())
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
