//! Keeps the warninglists of each source in files beside the ledger: the lists in force in one file, and lists that wait
//! for the guard in another.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::log_event::LogEvent;
use crate::pure::warninglist::Lists;

/// How the names of all these files begin. A release with one source had the lists in force in the file of this name.
const PREFIX: &str = "warninglists";
const SUFFIX_WAITING: &str = ".waiting";

/// A file with lists of a source.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) enum ListsFile<'s> {
    InForce(&'s str),
    Waiting(&'s str),
}

impl ListsFile<'_> {
    /// Its name in the data folder.
    fn name(self) -> String {
        match self {
            Self::InForce(source) => format!("{PREFIX}-{}", spelled(source)),
            Self::Waiting(source) => format!("{PREFIX}-{}{SUFFIX_WAITING}", spelled(source)),
        }
    }

    /// Its name in a release with one source.
    fn name_before(self) -> String {
        match self {
            Self::InForce(_) => PREFIX.to_owned(),
            Self::Waiting(_) => format!("{PREFIX}{SUFFIX_WAITING}"),
        }
    }
}

/// Spells the name of a source so that any name makes one file name of its own.
fn spelled(source: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let spell = |byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    source.bytes().map(spell).collect()
}

/// The lists of these sources that were in force last, without those that had none. A file that cannot be read counts
/// as none, with a warning: MISP is asked again.
#[must_use]
pub fn load(data_dir: &Path, sources: &[String]) -> BTreeMap<String, Arc<Lists>> {
    let is_only = sources.len() == 1;
    let read = |source: &String| {
        let lists = read(data_dir, ListsFile::InForce(source), is_only)?;
        Some((source.clone(), lists))
    };
    sources.iter().filter_map(read).collect()
}

/// Reads such a file. `is_only`: what a release with one source left is this source's.
pub(in crate::ledger) fn read(
    data_dir: &Path,
    file: ListsFile<'_>,
    is_only: bool,
) -> Option<Arc<Lists>> {
    let before = || read_named(&data_dir.join(file.name_before()));
    read_named(&data_dir.join(file.name())).or_else(|| is_only.then(before).flatten())
}

fn read_named(path: &Path) -> Option<Arc<Lists>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tell_unreadable(path, &error);
            return None;
        }
    };
    match Lists::read(BufReader::with_capacity(1 << 20, file)) {
        Ok(lists) => Some(Arc::new(lists)),
        Err(error) => {
            tell_unreadable(path, &error);
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
    file: ListsFile<'_>,
    lists: &Arc<Lists>,
) -> io::Result<()> {
    let (path, lists) = (data_dir.join(file.name()), Arc::clone(lists));
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

/// Removes such a file. `is_only`: also what a release with one source left.
pub(in crate::ledger) async fn remove(
    data_dir: &Path,
    file: ListsFile<'_>,
    is_only: bool,
) -> io::Result<()> {
    remove_named(&data_dir.join(file.name())).await?;
    if is_only { remove_before(data_dir, file).await } else { Ok(()) }
}

/// Removes what a release with one source left.
pub(in crate::ledger) async fn remove_before(
    data_dir: &Path,
    file: ListsFile<'_>,
) -> io::Result<()> {
    remove_named(&data_dir.join(file.name_before())).await
}

async fn remove_named(path: &Path) -> io::Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies the lists in force of all sources into another data folder, for a copy of the ledger.
pub async fn copy(data_dir: &Path, to: &Path) -> io::Result<()> {
    let mut files = tokio::fs::read_dir(data_dir).await?;
    while let Some(file) = files.next_entry().await? {
        let name = file.file_name();
        let in_force = name.to_str().filter(|name| name.starts_with(PREFIX) && !name.contains('.'));
        if let Some(name) = in_force {
            tokio::fs::copy(file.path(), to.join(name)).await?;
        }
    }
    Ok(())
}
