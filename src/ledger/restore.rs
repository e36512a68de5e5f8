//! Replaces the ledger by a copy while no relay runs.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use thiserror::Error;

use super::last_run::RESTORED;
use super::open::{DataFolder, OpenError, check_version};
use super::sql::{Connection, Options};
use super::tables::settings;
use crate::config::LedgerConfig;

/// Why a copy does not become the ledger. The ledger that was there is as before, except if [`RestoreError::Write`] comes
/// from the very last step: then what was in its log alone is lost.
#[derive(Debug, Error)]
pub enum RestoreError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "there is a ledger {path}, and it is left as it is\n  hint: --replace gives it up for the copy"
    )]
    Exists { path: PathBuf },
    #[error("the copy is damaged: {0}\n  hint: take an older copy")]
    Damaged(String),
    #[error("cannot write {path}: {error}")]
    Write { path: PathBuf, error: io::Error },
}

/// What SQLite keeps of a copy in memory, KiB.
const CACHE: i64 = 1_000;

/// The place of the ledger. No relay starts there meanwhile.
#[derive(Debug)]
pub struct Restore {
    folder: DataFolder,
    part: NamedTempFile,
}

impl Restore {
    /// Takes the place of the ledger. A ledger that is there is given up only with `replaces`.
    ///
    /// # Errors
    /// A relay runs, there is a ledger, or this user may not write there.
    pub fn begin(config: &LedgerConfig, replaces: bool) -> Result<Self, RestoreError> {
        let folder = DataFolder::take(config)?;
        let ledger = folder.path.join("ledger.db");
        if ledger.exists() && !replaces {
            return Err(RestoreError::Exists { path: ledger });
        }
        let part = NamedTempFile::new_in(&folder.path);
        let part = part.map_err(|error| RestoreError::Write { path: ledger, error })?;
        Ok(Self { folder, part })
    }

    /// Returns the empty file that the copy is written to.
    #[must_use]
    pub fn part(&self) -> &Path {
        self.part.path()
    }

    /// Makes what was written the ledger, after a check.
    ///
    /// # Errors
    /// The copy is damaged, another release wrote it, or the files cannot be written.
    pub fn finish(self) -> Result<(), RestoreError> {
        check(self.part.path())?;
        note(self.part.path())?;
        let path = self.folder.path.join("ledger.db");
        put(self.part, &self.folder.path, &path)
            .map_err(|error| RestoreError::Write { path, error })
    }
}

fn put(part: NamedTempFile, folder: &Path, ledger: &Path) -> io::Result<()> {
    // The relay may run as another user than this command.
    let owner = fs::metadata(folder)?;
    chown(part.path(), Some(owner.uid()), Some(owner.gid()))?;
    part.as_file().sync_all()?;
    // SQLite would apply the old file's log to the new file, so the log goes first.
    for name in ["ledger.db-wal", "ledger.db-shm"] {
        remove(&folder.join(name))?;
    }
    part.persist(ledger)?;
    File::open(folder)?.sync_all()
}

/// Refuses what is damaged, and what another release wrote.
fn check(copy: &Path) -> Result<(), RestoreError> {
    let describe = |error| OpenError::of(copy, &error);
    let mut connection = Connection::open_to_read(copy).map_err(describe)?;
    check_version(&connection, copy)?;
    let damage = connection.snapshot().and_then(|snapshot| snapshot.damage()).map_err(describe)?;
    match damage.into_iter().next() {
        Some(words) => Err(RestoreError::Damaged(words)),
        None => Ok(()),
    }
}

/// Notes in the copy that it is one, so that the next start says what is missing in it.
fn note(copy: &Path) -> Result<(), RestoreError> {
    let describe = |error| OpenError::of(copy, &error);
    let options = Options { fsync: true, cache: CACHE };
    let mut connection = Connection::open(copy, options).map_err(describe)?;
    let transaction = connection.begin().map_err(describe)?;
    let noted = settings::store(&transaction, RESTORED, "").and_then(|()| transaction.commit());
    Ok(noted.map_err(describe)?)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
