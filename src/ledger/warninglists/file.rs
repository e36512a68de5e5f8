//! Keeps the warninglists in files beside the ledger: the lists in force in one file, and lists that wait for the guard
//! in another.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::log_event::LogEvent;
use crate::pure::warninglist::Lists;

/// In the data folder.
pub(in crate::ledger) const IN_FORCE: &str = "warninglists";
pub(in crate::ledger) const WAITING: &str = "warninglists.waiting";

/// The lists that were in force last; `None` where there are none. A file that cannot be read counts
/// as none, with a warning: MISP is asked again.
#[must_use]
pub fn load(data_dir: &Path) -> Option<Arc<Lists>> {
    read(data_dir, IN_FORCE)
}

pub(in crate::ledger) fn read(data_dir: &Path, name: &str) -> Option<Arc<Lists>> {
    let path = data_dir.join(name);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tell_unreadable(&path, &error);
            return None;
        }
    };
    match Lists::read(BufReader::with_capacity(1 << 20, file)) {
        Ok(lists) => Some(Arc::new(lists)),
        Err(error) => {
            tell_unreadable(&path, &error);
            None
        }
    }
}

fn tell_unreadable(path: &Path, error: &dyn Display) {
    tracing::warn!(
        event = LogEvent::WarninglistsFileUnreadable.word(),
        path = %path.display(),
        %error,
        "The kept warninglists cannot be read, and MISP is asked for all"
    );
}

/// Written beside it first, then put in its place.
pub(in crate::ledger) async fn write(
    data_dir: &Path,
    name: &str,
    lists: &Arc<Lists>,
) -> io::Result<()> {
    let (path, lists) = (data_dir.join(name), Arc::clone(lists));
    let made = path.with_extension("new");
    let writing = move || {
        // A leftover of a crash may have another mode.
        std::fs::remove_file(&made).ok();
        let file = File::options().create_new(true).write(true).mode(0o600).open(&made)?;
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        lists.write(&mut writer)?;
        // On the disk before the name: after a power cut the name leads to the old lists or to all of the new
        // ones.
        writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&made, &path)
    };
    tokio::task::spawn_blocking(writing).await?
}

pub(in crate::ledger) async fn remove(data_dir: &Path, name: &str) -> io::Result<()> {
    match tokio::fs::remove_file(data_dir.join(name)).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies the lists in force into another data folder, for a copy of the ledger.
pub async fn copy(data_dir: &Path, to: &Path) -> io::Result<()> {
    match tokio::fs::copy(data_dir.join(IN_FORCE), to.join(IN_FORCE)).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
