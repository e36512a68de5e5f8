//! The commands: what each takes, and who does it.

pub mod check;
mod check_config;
pub mod convert;
pub mod demo;
mod healthcheck;
pub mod import_config;
mod options;
mod secrets;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use options::HealthOptions;
pub use options::{
    CheckOptions, CleanupOptions, ConvertOptions, DemoOptions, ExplainOptions, ReleaseOptions,
    ResyncOptions, RetryOptions, SandboxOptions, StatusOptions, SuppressOptions, TellingOptions,
    VerifyOptions,
};

use crate::app::RunOptions;
use crate::config::{self, Config, Mistakes, Rules};
use crate::{admin, app, logging, metrics, sandbox, signals};

/// Pushes MISP threat indicators to Microsoft Sentinel the moment they are published.
///
/// An event published in MISP is accepted by Sentinel's upload API within a second; what is
/// withdrawn in MISP is withdrawn in Sentinel as fast. Settings come from a TOML file and from
/// MSR_ environment variables: see config.toml.example.
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment, after_long_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Configuration file; else $MSR_CONFIG, else /etc/misp-sentinel-relay/config.toml if it exists
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  misp-sentinel-relay demo                       see it work, with nothing installed
  misp-sentinel-relay check-config               every mistake in the settings at once
  misp-sentinel-relay check                      what is wrong on the way, and how to mend it
  misp-sentinel-relay run                        relay until SIGTERM
  misp-sentinel-relay convert event.json         what would be sent for an event
  misp-sentinel-relay explain evil.example       why a value is in Sentinel, or is not
  misp-sentinel-relay status --json              what is delivered, pending and rejected

Exit codes:
  0  done, or stopped as asked
  1  something failed while running
  2  wrong usage, or mistakes in the configuration
  check: 0 all is well, 1 warnings, 2 errors
  status: 3 no relay is running; what the ledger holds, if there is one, is printed all the same";

#[derive(Debug, Subcommand)]
enum Command {
    /// Relay until SIGTERM or Ctrl-C; a second signal stops at once
    ///
    /// Reads MISP's ZeroMQ feed, webhook and REST API, remembers what it said in a ledger on disk, and
    /// keeps each target in Sentinel like it. Safe to kill at any time.
    #[command(verbatim_doc_comment)]
    Run(RunOptions),

    /// Watch indicators from recorded MISP events arrive in a stand-in for Sentinel
    ///
    /// Starts the sandbox and a MISP feed on loopback, runs the relay between them and prints what
    /// happens. Needs no configuration and reaches nothing outside this machine.
    #[command(verbatim_doc_comment)]
    Demo(DemoOptions),

    /// Show what would be sent for a MISP event
    ///
    /// Takes an event, a restSearch answer or a recorded ZeroMQ frame. Prints a STIX 2.1 bundle on
    /// standard output, and what is skipped on standard error: a line of JSON with the reason for
    /// each attribute, or for each observable of one that makes several, and notes in words. Policy,
    /// expiry and identity are those of the configuration; targets are not needed.
    ///
    /// The same document gives the same bundle: created and modified, which run sets when it sends,
    /// are here MISP's time of the newest attribute. Exit code 1: the document, or one of its
    /// events, cannot be read; all other events are converted.
    #[command(verbatim_doc_comment)]
    Convert(ConvertOptions),

    /// Tell what became of an event, an attribute or a value, and why
    ///
    /// Each attribute's way from MISP to Sentinel: what it claims, what policy says to that for each
    /// target, who else claims the same, the indicator, and where it stands at each target. The ledger
    /// tells of what claims something; with misp.key, MISP is asked for the rest, which is told with
    /// the reason why it is skipped. Exit code 1: nothing is known of it.
    #[command(verbatim_doc_comment)]
    Explain(ExplainOptions),

    /// Find what is wrong between MISP and Sentinel, and how to mend it
    ///
    /// Walks from the configuration to each workspace: clocks, names, certificates, MISP's key and
    /// rights, what policy selects, ZeroMQ, webhook, warninglists, ledger, sign-in, role, quota. One
    /// line for each, with what was seen and what to do. Each target is sent one request without any
    /// indicator (a place of its quota), and more only with --upload-probe. May be run beside the
    /// relay; without one, the ledger is opened as `run` would. Exit code 0: all is well; 1: warnings;
    /// 2: errors.
    #[command(verbatim_doc_comment)]
    Check(CheckOptions),

    /// Tell what is delivered, pending, skipped and rejected, and what is degraded
    ///
    /// Exit code 0: a relay runs, degraded or not; 3: none runs, and the ledger alone tells.
    #[command(verbatim_doc_comment)]
    Status(StatusOptions),

    /// Read everything in MISP anew over REST, and put right whatever differs
    ///
    /// Finds what is missing, changed or gone, also what left no trace in MISP's timestamps. It goes
    /// on after a restart, and live events overtake it.
    #[command(verbatim_doc_comment)]
    Resync(ResyncOptions),

    /// Show what is gone from MISP without having been deleted, beyond what the guard lets go
    Held,

    /// Let go what `held` shows
    Release(ReleaseOptions),

    /// Withhold a value from every target, whatever claims it
    ///
    /// Its indicators end at once, and none comes back before the time is over or `unsuppress`. The
    /// value counts in any spelling, and exactly: a network does not cover its addresses, nor a
    /// domain its hosts. It is withheld as an indicator only: what stands in the description of
    /// another one is withheld by policy.never. An earlier suppression of the value is replaced, and
    /// told. The running relay does it; without one, the next start sends it.
    #[command(verbatim_doc_comment)]
    Suppress(SuppressOptions),

    /// Let a suppressed value count again
    Unsuppress {
        /// The value, in any spelling
        #[arg(value_name = "VALUE")]
        value: String,
    },

    /// List what is suppressed: since and until when, why, and how many claims it withholds
    Suppressed(StatusOptions),

    /// Forget a target that is no longer configured, and what it was sent
    ///
    /// What it was sent stays in Sentinel until its valid_until; if the target is ever configured again,
    /// everything is sent anew. The running relay does it, or without one this command.
    #[command(verbatim_doc_comment)]
    Forget {
        /// Its name, as `status` shows it
        #[arg(value_name = "NAME")]
        target: String,
    },

    /// Compare what Sentinel holds with what it accepted
    ///
    /// For each target with subscription_id, resource_group and workspace_name: what is missing, what
    /// is different and in which properties, and what is left over: an indicator under the target's
    /// sourcesystem that lives there, was made by this relay, and is wanted no more. Others' are
    /// listed and left alone. What was accepted within azure.management.ingestion is too new to tell.
    ///
    /// What the ledger does not know is withdrawn only once a full resync is done, with misp.key and
    /// without misp.window. The running relay does it; without one, the ledger is opened, and what
    /// --repair finds is sent by the next start. Exit code 1: something differs and was not repaired.
    #[command(verbatim_doc_comment)]
    Verify(VerifyOptions),

    /// List what another product left in Sentinel, and end it
    ///
    /// Indicators of a source system, misp2sentinel's for example, that are live in the workspaces of
    /// the targets with subscription_id, resource_group and workspace_name: how many, of which kinds,
    /// and the first few. With --apply each is uploaded once more under that source system with its
    /// end, within the quota of the target's credential. A target's own sourcesystem is refused.
    #[command(verbatim_doc_comment)]
    Cleanup(CleanupOptions),

    /// Send once more what Sentinel rejected
    RetryRejected(RetryOptions),

    /// Look into the relay's memory on disk, and care for it
    #[command(subcommand)]
    Ledger(LedgerCommand),

    /// Stand in for Entra and Sentinel's upload API, over TLS with a certificate of its own
    ///
    /// Keeps Microsoft's documented rules: 100 objects a request, 100 requests in any 60 s, required
    /// properties, errors by record. It also answers what verify and cleanup ask of the management
    /// plane. Its application signs in by a client secret. It prints what a relay needs to use it.
    #[command(verbatim_doc_comment)]
    Sandbox(SandboxOptions),

    /// Name every mistake in the configuration, open nothing
    CheckConfig,

    /// Make a configuration of misp2sentinel's config.py
    ///
    /// Prints TOML, with a comment that tells where each value comes from, and one on each setting that
    /// has no counterpart. Name constants.py as well if you changed it. The files are parsed and never
    /// run; secrets that stand in them stand in what is printed.
    #[command(verbatim_doc_comment)]
    ImportConfig {
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },

    /// Ask the running relay whether it lives: for Docker's HEALTHCHECK
    Healthcheck(HealthOptions),
}

/// Carried out by the running relay; without one, on the ledger itself.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum LedgerCommand {
    /// Print every row as a line of JSON, from one moment
    ///
    /// {"table":"claims","source":"misp",...}: docs/reference/ledger.md lists the tables.
    /// Ids are uuids, JSON columns are JSON. Times are Unix milliseconds; those of MISP (columns
    /// `timestamp`, `read_...`) are Unix seconds. The relay goes on meanwhile. Take the lines
    /// quickly, best with --out: until they are taken, what is written stays in the WAL, and a
    /// command that takes nothing for 30 s is hung up on.
    #[command(verbatim_doc_comment)]
    Export {
        /// Write to this file, which appears once it is whole
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },

    /// Check what must always be true of the ledger; exit code 1 if something is not
    ///
    /// Each invariant by name, and for one that is broken the rows and a remedy.
    #[command(verbatim_doc_comment)]
    Check {
        /// Have the next start judge every claim anew, and compare each target with the result
        #[arg(long)]
        repair: bool,
    },

    /// Give free pages back to the file system
    ///
    /// A running relay does it in small steps (and by itself, when much is free). Without one the
    /// file is rewritten, which needs as much room again; a file of release 0.1 can give pages back
    /// only after that.
    #[command(verbatim_doc_comment)]
    Vacuum,
}

/// Why a command failed: decides the exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Configuration(#[from] Mistakes),
    #[error("error: {0:#}")]
    Fault(#[from] anyhow::Error),
    /// The command has told what it found, and this exit code is all that is left to say.
    #[error("exit code {0}")]
    Found(u8),
}

impl Failure {
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 2,
            Self::Fault(_) => 1,
            Self::Found(code) => *code,
        }
    }
}

/// Does what the command line says. `environment` is where `MSR_` variables are looked for.
///
/// # Errors
/// The configuration is wrong, the command failed, or it found what it looked for.
pub async fn execute(
    cli: Cli,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(), Failure> {
    let file = cli.config.as_deref();
    let environment: Vec<(String, String)> = environment.collect();
    let load = || config::load(file, environment.iter().cloned());
    // With the secrets that lie in vaults.
    let whole = || secrets::load(file, &environment);
    // With all targets.
    let known = || secrets::load_targets(file, &environment);
    match cli.command {
        Command::Run(options) => Ok(run(whole().await?, options).await?),
        Command::Demo(options) => Ok(demo::run(options).await?),
        Command::Convert(options) => {
            convert(config::load_rules(file, environment.iter().cloned()), &options)
        }
        Command::Explain(options) => Ok(admin::explain::explain(&whole().await?, &options).await?),
        Command::Check(options) => found(check::check(whole().await, &options).await?),
        Command::Status(options) => found(admin::commands::status(&load()?, options.json).await?),
        Command::Resync(options) => Ok(admin::resync::resync(&whole().await?, &options).await?),
        Command::Held => Ok(admin::resync::held(&load()?).await?),
        Command::Release(options) => Ok(admin::resync::release(&known().await?, &options).await?),
        command @ (Command::Suppress(_) | Command::Unsuppress { .. }) => {
            suppress(known().await?, command).await
        }
        Command::Suppressed(options) => {
            Ok(admin::suppress::suppressed(&load()?, options.json).await?)
        }
        Command::Forget { target } => Ok(admin::forget::forget(&known().await?, &target).await?),
        command @ (Command::Verify(_) | Command::Cleanup(_)) => {
            read_back(whole().await?, command).await
        }
        Command::RetryRejected(options) => {
            Ok(admin::commands::retry_rejected(&known().await?, options.target.as_deref()).await?)
        }
        Command::Ledger(command) => Ok(ledger(&known().await?, command).await?),
        Command::Sandbox(options) => Ok(serve_sandbox(options).await?),
        Command::CheckConfig => Ok(check_config::report(&load()?)?),
        Command::ImportConfig { files } => Ok(import_config(&files)?),
        Command::Healthcheck(options) => lives(&options, load).await,
    }
}

fn convert(rules: Result<Rules, Mistakes>, options: &ConvertOptions) -> Result<(), Failure> {
    Ok(convert::convert(&rules?, options)?)
}

async fn suppress(config: Config, command: Command) -> Result<(), Failure> {
    if let Command::Suppress(options) = &command {
        admin::suppress::suppress(&config, options).await?;
    }
    if let Command::Unsuppress { value } = &command {
        admin::suppress::unsuppress(&config, value).await?;
    }
    Ok(())
}

async fn read_back(config: Config, command: Command) -> Result<(), Failure> {
    if let Command::Verify(options) = &command {
        admin::verify::verify(&config, options).await?;
    }
    if let Command::Cleanup(options) = &command {
        admin::cleanup::cleanup(&config, options).await?;
    }
    Ok(())
}

fn found(code: u8) -> Result<(), Failure> {
    if code == 0 { Ok(()) } else { Err(Failure::Found(code)) }
}

async fn lives(
    options: &HealthOptions,
    load: impl Fn() -> Result<Config, Mistakes>,
) -> Result<(), Failure> {
    if let Some(address) = options.connect {
        return Ok(healthcheck::connect(address).await?);
    }
    let path = if options.ready { "/readyz" } else { "/livez" };
    Ok(healthcheck::ask(load()?.admin.listen, path).await?)
}

fn import_config(files: &[PathBuf]) -> anyhow::Result<()> {
    use std::io::Write;

    let text = import_config::import(files)?;
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

async fn run(config: Config, options: RunOptions) -> anyhow::Result<()> {
    logging::install(&config.log)?;
    let recorded = metrics::install()?;
    for warning in config::warnings(&config) {
        tracing::warn!("{warning}");
    }
    app::run(config, options, recorded).await
}

async fn ledger(config: &Config, command: LedgerCommand) -> anyhow::Result<()> {
    match command {
        LedgerCommand::Export { out } => admin::ledger::export(config, out.as_deref()).await,
        LedgerCommand::Check { repair } => admin::ledger::check(config, repair).await,
        LedgerCommand::Vacuum => admin::ledger::vacuum(config).await,
    }
}

async fn serve_sandbox(options: SandboxOptions) -> anyhow::Result<()> {
    let SandboxOptions { listen, names, ca_file, token_lifetime } = options;
    let settings = sandbox::Settings {
        listen,
        names,
        ca_file,
        token_lifetime: token_lifetime.into(),
        ..sandbox::Settings::default()
    };
    let stop = signals::stop_asked()?;
    sandbox::serve_until(settings, &mut std::io::stdout(), stop).await
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
