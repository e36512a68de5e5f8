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
use super::output::write;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ImportOptions {
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Prints the configuration that [`import`] makes.
///
/// # Errors
/// Those of [`import`], or standard output is closed.
pub(super) fn print(options: &ImportOptions) -> anyhow::Result<()> {
    write(&import(&options.files)?)
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
