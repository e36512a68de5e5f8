//! The entry point of the program: it parses the arguments, runs the command and returns its exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use misp_sentinel_relay::commands::{self, Cli, is_closed_pipe};
use misp_sentinel_relay::config::Mistakes;
use misp_sentinel_relay::pure::safe;

/// The exit code when something failed while running.
const FAILED: u8 = 1;

/// The exit code for wrong usage, or for mistakes in the configuration.
const MISTAKEN: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            told.print().ok();
            return ExitCode::from(if told.use_stderr() { MISTAKEN } else { 0 });
        }
    };
    match start(cli) {
        Ok(code) => ExitCode::from(code),
        // The reader of standard output closed it early (`| head`): that is no failure.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<Mistakes>() {
            Some(mistakes) => fail(MISTAKEN, &mistakes.to_string()),
            None => fail(FAILED, &format!("error: {error:#}")),
        },
    }
}

fn fail(code: u8, words: &str) -> ExitCode {
    writeln!(io::stderr(), "{}", safe::lines(words)).ok();
    ExitCode::from(code)
}

fn start(cli: Cli) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    // Variables that are not valid Unicode cannot be ours; skip them.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    runtime.block_on(commands::execute(cli, environment))
}
