//! The command `man` writes the manual pages. They are made from the same description of the command line as the
//! help.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};

use super::Cli;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ManOptions {
    /// The folder for the pages. It is made if it does not exist
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

/// Writes a page for the program and one for each command.
///
/// # Errors
/// The folder cannot be made or written.
pub(super) fn write(options: &ManOptions) -> anyhow::Result<()> {
    let folder = &options.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .with_context(|| format!("write the manual pages into {}", folder.display()))
}
