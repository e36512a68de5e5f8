//! The command `ledger restore` makes a copy the ledger again. It works where there is no shell, as in the image.

use std::path::Path;

use anyhow::{Context, ensure};

use super::super::output::{note, print};
use super::backup::copy;
use crate::config::{ConfigSource, SettingOrigin};
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
    let (ledger, origin) = (settings.ledger()?, settings.data_dir_origin()?);
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
        "{shown} is the ledger in {} now{}. Start the relay, and let `verify` compare it with Sentinel.\n",
        ledger.data_dir.display(),
        named_by(&origin)
    ))
}

/// Tells why the ledger lies in that folder, since a relay with another configuration uses another one.
fn named_by(origin: &SettingOrigin) -> String {
    match origin {
        SettingOrigin::Default => {
            ", the default folder, since no configuration file and no variable sets ledger.data_dir"
                .into()
        }
        SettingOrigin::File(file) => format!(", the folder that {} names", file.display()),
        SettingOrigin::Environment(variable) => format!(", the folder that {variable} names"),
        SettingOrigin::Option(_) | SettingOrigin::Answer => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_of_the_folder_is_told() {
        let default = ", the default folder, since no configuration file and no variable sets ledger.data_dir";
        assert_eq!(named_by(&SettingOrigin::Default), default);
        let file = SettingOrigin::File("/etc/relay.toml".into());
        assert_eq!(named_by(&file), ", the folder that /etc/relay.toml names");
        let variable = SettingOrigin::Environment("MSR_LEDGER__DATA_DIR".into());
        assert_eq!(named_by(&variable), ", the folder that MSR_LEDGER__DATA_DIR names");
    }
}
