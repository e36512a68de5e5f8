//! The command `ledger backup` copies the ledger while the relay runs. The command reads the file itself, without the
//! relay. So the copy may lie in a place that the relay cannot see or may not write to, and it belongs to the operator.

use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use indicatif::ProgressBar;
use tempfile::NamedTempFile;

use super::super::door::ledger_file;
use super::super::output::{bar, print};
use crate::config::ConfigSource;
use crate::ledger::Backup;
use crate::signals;

/// How often the progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// Copies the ledger of one moment to a new file, for this user alone. It appears once it is complete.
///
/// # Errors
/// The file exists, there is no ledger, the copy cannot be made, or a signal ended it.
pub(super) async fn back_up(settings: &ConfigSource, to: &Path) -> anyhow::Result<()> {
    let stop = signals::stop_asked()?;
    let from = ledger_file(&settings.ledger()?)?;
    let to = absolute(to).with_context(|| format!("find {}", to.display()))?;
    let shown = to.display();
    ensure!(
        !to.try_exists().with_context(|| format!("look for {shown}"))?,
        "{shown} exists, and is left as it is\n  hint: name another file"
    );
    let folder = to.parent().context("a folder is no file")?;
    // It is empty and of mode 0600; SQLite keeps both its name and its mode.
    let part = NamedTempFile::new_in(folder).with_context(|| format!("write beside {shown}"))?;
    let backup = Backup::open(&from).with_context(|| {
        format!("read {} (as root, or as the user that runs the relay)", from.display())
    })?;
    let copied = tokio::select! {
        copied = copy(&backup, part.path().to_owned()) => copied,
        () = stop => Err(anyhow::anyhow!("stopped before its end")),
    };
    // First the reader ends, since it writes into the file that an error removes.
    backup.close().await;
    let bytes = copied?;
    part.as_file().sync_all().context("write the copy to disk")?;
    if let Err(error) = part.persist_noclobber(&to) {
        bail!("write {shown}: {}", error.error);
    }
    let bytes = bytesize::ByteSize::b(bytes);
    print(&format!("{shown} holds the ledger of this moment ({bytes}).\n"))
}

/// Writes the copy, and shows how far it is. Returns its size.
pub(super) async fn copy(backup: &Backup, part: PathBuf) -> anyhow::Result<u64> {
    let bar = bar("{bar:40} {binary_bytes} of {binary_total_bytes}");
    bar.set_length(backup.size().await.context("the ledger cannot be read")?);
    let written = tokio::select! {
        written = backup.write(&part) => written,
        never = show(&bar, &part) => match never {},
    };
    bar.finish_and_clear();
    written.context("the ledger cannot be copied")?;
    Ok(size_of(&part))
}

async fn show(bar: &ProgressBar, part: &Path) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(SHOWN_EVERY).await;
        bar.set_position(size_of(part));
    }
}

fn size_of(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}
