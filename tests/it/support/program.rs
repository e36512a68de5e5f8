//! Starts the built binary in an environment that has only the variables of the test.

use std::ffi::OsString;
use std::process::Command;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_misp-sentinel-relay");

pub(crate) fn program() -> Command {
    bare(BINARY)
}

/// Another program in such an environment.
pub(crate) fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(clock());
    command
}

/// The variables of faketime, so that the program lives on the same day as its test.
fn clock() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        name == "LD_PRELOAD" || name.starts_with("FAKETIME")
    })
}
