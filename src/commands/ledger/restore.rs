//! The command `ledger restore` makes a copy the ledger again. It works where there is no shell, as in the image.

use std::path::Path;

use anyhow::{Context, ensure};

use super::super::output::{note, print};
use super::backup::copy;
use crate::config::ConfigSource;
use crate::ledger::{Backup, Restore};
use crate::signals;

/// Makes a copy the ledger. `replaces` gives up a ledger that is there.
///
/// # Errors
/// A relay runs, the copy is damaged or of another release, or a file cannot be written.
pub(super) async fn restore(
    settings: &ConfigSource,
    from: &Path,
    replaces: bool,
) -> anyhow::Result<()> {
    let stop = signals::stop_asked()?;
    let ledger = settings.ledger()?;
    let shown = from.display();
    ensure!(from.is_file(), "there is no file {shown}");
    let restore = Restore::begin(&ledger, replaces)?;
    let backup = Backup::open(from).with_context(|| format!("read {shown}"))?;
    let copied = tokio::select! {
        copied = copy(&backup, restore.part().to_owned()) => copied,
        () = stop => Err(anyhow::anyhow!("stopped before its end")),
    };
    // First the reader ends, since it writes into the file that an error removes.
    backup.close().await;
    copied.with_context(|| format!("{shown} is no copy of a ledger"))?;
    note("The copy is being checked.");
    // Nothing else goes on in this process, so this may block it.
    restore.finish()?;
    print(&format!(
        "{shown} is the ledger in {} now. Start the relay, and let `verify` compare it with Sentinel.\n",
        ledger.data_dir.display()
    ))
}
