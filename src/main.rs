//! Arguments in, exit code out.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use misp_sentinel_relay::commands::{self, Cli, Failure};
use misp_sentinel_relay::pure::safe;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            told.print().ok();
            return ExitCode::from(if told.use_stderr() { 2 } else { 0 });
        }
    };
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read standard output has seen enough (`| head`).
        Err(Failure::Fault(error)) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(Failure::Found(code)) => ExitCode::from(code),
        Err(failure) => {
            writeln!(std::io::stderr(), "{}", safe::lines(&failure.to_string())).ok();
            ExitCode::from(failure.exit_code())
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn start(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    // Variables that are not Unicode are none of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    runtime.block_on(commands::execute(cli, environment))
}
