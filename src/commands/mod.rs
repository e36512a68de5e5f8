//! The command line: each command has a file or a folder with its options, its request to the relay and its
//! output. The file `door` sends the requests.

pub mod check;
mod check_config;
pub mod cleanup;
mod comparison;
pub mod convert;
pub mod demo;
mod door;
pub mod explain;
pub mod forget;
pub mod healthcheck;
pub mod held;
#[cfg(feature = "import-config")]
pub mod import_config;
pub mod ledger;
mod options;
mod output;
pub mod release;
pub mod resync;
pub mod retry_rejected;
mod run;
pub mod sandbox;
mod settings;
pub mod status;
mod status_text;
pub mod suppress;
pub mod suppressed;
pub mod verify;

use std::path::PathBuf;

use axum::Router;
use clap::{Parser, Subcommand};

use crate::admin::Needs;
use crate::admin::control::{Control, route, stream_route};
use crate::app::RunOptions;
use crate::compare::Cleanup;

pub use output::is_closed_pipe;
pub use settings::ConfigSource;

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
    Demo(demo::DemoOptions),

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
    Convert(convert::ConvertOptions),

    /// Tell what became of an event, an attribute or a value, and why
    ///
    /// Each attribute's way from MISP to Sentinel: what it claims, what policy says to that for each
    /// target, who else claims the same, the indicator, and where it stands at each target. The ledger
    /// tells of what claims something; with misp.key, MISP is asked for the rest, which is told with
    /// the reason why it is skipped. Exit code 1: nothing is known of it.
    #[command(verbatim_doc_comment)]
    Explain(explain::ExplainOptions),

    /// Find what is wrong between MISP and Sentinel, and how to mend it
    ///
    /// Walks from the configuration to each workspace: clocks, names, certificates, MISP's key and
    /// rights, what policy selects, ZeroMQ, webhook, warninglists, ledger, sign-in, role, quota. One
    /// line for each, with what was seen and what to do. Each target is sent one request without any
    /// indicator (a place of its quota), and more only with --upload-probe. May be run beside the
    /// relay; without one, the ledger is opened as `run` would. Exit code 0: all is well; 1: warnings;
    /// 2: errors.
    #[command(verbatim_doc_comment)]
    Check(check::CheckOptions),

    /// Tell what is delivered, pending, skipped and rejected, and what is degraded
    ///
    /// Exit code 0: a relay runs, degraded or not; 3: none runs, and the ledger alone tells.
    #[command(verbatim_doc_comment)]
    Status(status::StatusOptions),

    /// Read everything in MISP anew over REST, and put right whatever differs
    ///
    /// Finds what is missing, changed or gone, also what left no trace in MISP's timestamps. It goes
    /// on after a restart, and live events overtake it.
    #[command(verbatim_doc_comment)]
    Resync(resync::ResyncOptions),

    /// Show what is gone from MISP without having been deleted, beyond what the guard lets go
    Held,

    /// Let go what `held` shows
    Release(release::ReleaseOptions),

    /// Withhold a value from every target, whatever claims it
    ///
    /// Its indicators end at once, and none comes back before the time is over or `unsuppress`. The
    /// value counts in any spelling, and exactly: a network does not cover its addresses, nor a
    /// domain its hosts. It is withheld as an indicator only: what stands in the description of
    /// another one is withheld by policy.never. An earlier suppression of the value is replaced, and
    /// told. The running relay does it; without one, the next start sends it.
    #[command(verbatim_doc_comment)]
    Suppress(suppress::SuppressOptions),

    /// Let a suppressed value count again
    Unsuppress(suppress::Unsuppress),

    /// List what is suppressed: since and until when, why, and how many claims it withholds
    Suppressed(status::StatusOptions),

    /// Forget a target that is no longer configured, and what it was sent
    ///
    /// What it was sent stays in Sentinel until its valid_until; if the target is ever configured again,
    /// everything is sent anew. The running relay does it, or without one this command.
    #[command(verbatim_doc_comment)]
    Forget(forget::Forget),

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
    Verify(verify::VerifyOptions),

    /// List what another product left in Sentinel, and end it
    ///
    /// Indicators of a source system, misp2sentinel's for example, that are live in the workspaces of
    /// the targets with subscription_id, resource_group and workspace_name: how many, of which kinds,
    /// and the first few. With --apply each is uploaded once more under that source system with its
    /// end, within the quota of the target's credential. A target's own sourcesystem is refused.
    #[command(verbatim_doc_comment)]
    Cleanup(cleanup::CleanupOptions),

    /// Send once more what Sentinel rejected
    RetryRejected(retry_rejected::RetryRejected),

    /// Look into the relay's memory on disk, and care for it
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),

    /// Stand in for Entra and Sentinel's upload API, over TLS with a certificate of its own
    ///
    /// Keeps Microsoft's documented rules: 100 objects a request, 100 requests in any 60 s, required
    /// properties, errors by record. It also answers what verify and cleanup ask of the management
    /// plane. Its application signs in by a client secret. It prints what a relay needs to use it.
    #[command(verbatim_doc_comment)]
    Sandbox(sandbox::SandboxOptions),

    /// Name every mistake in the configuration, open nothing
    CheckConfig,

    /// Make a configuration of misp2sentinel's config.py
    ///
    /// Prints TOML, with a comment that tells where each value comes from, and one on each setting that
    /// has no counterpart. Name constants.py as well if you changed it. The files are parsed and never
    /// run; secrets that stand in them stand in what is printed.
    #[command(verbatim_doc_comment)]
    #[cfg(feature = "import-config")]
    ImportConfig(import_config::ImportOptions),

    /// Ask the running relay whether it lives: for Docker's HEALTHCHECK
    Healthcheck(healthcheck::HealthOptions),
}

/// The routes of the control socket: what the running relay answers to commands.
pub fn routes() -> Router<Control> {
    Router::new()
        .merge(route::<status::StatusRequest>())
        .merge(stream_route::<explain::Explain>())
        .merge(resync::routes())
        .merge(route::<held::HeldRequest>())
        .merge(route::<release::Release>())
        .merge(route::<release::ReleaseWarninglists>())
        .merge(route::<suppress::Suppress>())
        .merge(route::<suppress::Unsuppress>())
        .merge(route::<suppressed::SuppressedRequest>())
        .merge(route::<forget::Forget>())
        .merge(stream_route::<verify::Verify>())
        .merge(stream_route::<Cleanup>())
        .merge(route::<retry_rejected::RetryRejected>())
        .merge(ledger::routes())
}

/// Does what the command line says, and gives back the exit code. `environment` is where `MSR_`
/// variables are looked for.
///
/// # Errors
/// The configuration is wrong ([`Mistakes`](crate::config::Mistakes)), or the command failed.
pub async fn execute(
    cli: Cli,
    environment: impl Iterator<Item = (String, String)>,
) -> anyhow::Result<u8> {
    let settings = ConfigSource { file: cli.config, environment: environment.collect() };
    match cli.command {
        Command::Check(options) => {
            return check::check(settings.load(Needs::Secrets).await, options).await;
        }
        Command::Status(options) => return status::status(&settings, options).await,
        Command::Run(options) => {
            run::run(settings.load(Needs::Secrets).await?, options, routes()).await?;
        }
        Command::Demo(options) => demo::run(options, routes()).await?,
        Command::Convert(options) => convert::convert(&settings.rules()?, &options)?,
        Command::Explain(options) => explain::explain(&settings, options).await?,
        Command::Resync(options) => resync::resync(&settings, options).await?,
        Command::Held => held::held(&settings).await?,
        Command::Release(options) => release::release(&settings, options).await?,
        Command::Suppress(options) => suppress::suppress(&settings, options).await?,
        Command::Unsuppress(asked) => suppress::unsuppress(&settings, asked).await?,
        Command::Suppressed(options) => suppressed::suppressed(&settings, options).await?,
        Command::Forget(asked) => forget::forget(&settings, asked).await?,
        Command::Verify(options) => verify::verify(&settings, options).await?,
        Command::Cleanup(options) => cleanup::cleanup(&settings, options).await?,
        Command::RetryRejected(asked) => retry_rejected::retry_rejected(&settings, asked).await?,
        Command::Ledger(command) => ledger::ledger(&settings, command).await?,
        Command::Sandbox(options) => sandbox::serve(options).await?,
        Command::CheckConfig => check_config::report(&settings.load(Needs::Settings).await?)?,
        #[cfg(feature = "import-config")]
        Command::ImportConfig(options) => import_config::print(&options)?,
        Command::Healthcheck(options) => healthcheck::healthcheck(&settings, options).await?,
    }
    Ok(0)
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
