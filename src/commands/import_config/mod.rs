//! The command `import-config` translates misp2sentinel's config.py and constants.py into a configuration of
//! the relay. The Python files are parsed and never executed.

mod filters;
mod page;
mod python;
mod table;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;

use self::page::TomlPage;
use super::output::{note, write, write_new};

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ImportOptions {
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Write to this new file, which only this user can read
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Prints the configuration that [`import`] makes, or writes it into a file.
///
/// # Errors
/// Those of [`import`], the file exists or cannot be written, or standard output is closed.
pub(super) fn print(options: &ImportOptions) -> anyhow::Result<()> {
    let text = import(&options.files)?;
    match &options.out {
        Some(file) => write_new(file, &text)?,
        None => write(&text)?,
    }
    note(
        "note: [misp.zeromq] endpoints and what has a comment are still to be set; then `check-config` and `check`",
    );
    if options.out.is_none() && text.contains(page::SECRET) {
        note("note: it holds secrets; --out FILE writes it for this user alone");
    }
    Ok(())
}

/// Returns the configuration that means the same as these files, with a comment on each setting that has no
/// counterpart.
///
/// # Errors
/// A file cannot be read, or is not Python; the error says where.
pub fn import(files: &[PathBuf]) -> anyhow::Result<String> {
    let mut page = TomlPage::default();
    for file in files {
        let shown = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("read {shown}"))?;
        let settings = python::settings(&text).with_context(|| format!("read {shown}"))?;
        // The file of another program would give an empty configuration without any warning.
        ensure!(
            settings.iter().any(table::is_known),
            "{shown} holds no setting of misp2sentinel: name its config.py (and constants.py, if you changed it)"
        );
        for setting in &settings {
            table::translate(setting, &mut page);
        }
    }
    Ok(page.text())
}
