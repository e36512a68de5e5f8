//! The command `completions` prints a script that completes commands and options in a shell. It is made from the
//! same description of the command line as the help.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::output;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct CompletionOptions {
    pub shell: Shell,
}

/// Prints the script for the shell.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn print(options: &CompletionOptions) -> anyhow::Result<()> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    // The library panics if the writer fails, so standard output is written here.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, name, &mut script);
    output::write(&String::from_utf8(script)?)
}
