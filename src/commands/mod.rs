//! The command line: each command has a file or a folder with its options, its request to the relay and its
//! output. The file `door` sends the requests.

mod banner;
pub mod check;
mod check_config;
pub mod cleanup;
pub mod completions;
pub mod convert;
pub mod demo;
mod door;
pub mod explain;
pub mod forget;
pub mod forget_source;
pub mod healthcheck;
#[cfg(feature = "import-config")]
pub mod import_config;
pub mod init;
pub mod ledger;
pub mod man;
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
mod trial;
pub mod verify;
mod version;
mod wrap;

use std::path::PathBuf;

use axum::Router;
use clap::{Parser, Subcommand};

use crate::admin::control::{Control, long_route, route};
use crate::admin::{Commands, Needs};
use crate::app::RunOptions;
use crate::signals;

pub use crate::config::ConfigSource;
pub use output::is_closed_pipe;

/// Pushes MISP threat indicators to Microsoft Sentinel the moment they are published.
///
/// An event published in MISP is accepted by Sentinel's upload API within a second; what is
/// withdrawn in MISP is withdrawn in Sentinel as fast. Settings come from a TOML file and from
/// MSR_ environment variables: see config.toml.example.
#[derive(Debug, Parser)]
#[command(version = version::version(), max_term_width = 100, after_long_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// The configuration file; otherwise $MSR_CONFIG, or /etc/misp-sentinel-relay/config.toml if it exists
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// No line is longer than 79 characters, because it is printed as it is.
const EXAMPLES: &str = "\
Examples:
  misp-sentinel-relay demo                  see it work, with nothing installed
  misp-sentinel-relay init                  write the settings, with a few answers
  misp-sentinel-relay check                 what is wrong on the way, and what to do
  misp-sentinel-relay run                   relay until SIGTERM
  misp-sentinel-relay convert event.json    what would be sent for an event
  misp-sentinel-relay explain evil.example  why a value is in Sentinel, or is not
  misp-sentinel-relay status                what is delivered, pending and rejected

Exit codes:
  0  done, or stopped as asked
  1  something failed while running
  2  wrong usage, or mistakes in the configuration
  check: 0 all is well, 1 warnings, 2 errors
  status: 3 no relay is running; what the ledger holds is printed all the same";

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a configuration from a few answers, each of which is tried at once
    ///
    /// Asks for MISP, its feed, the workspace and the ledger, tries each answer as `check` does, and writes
    /// the file that --config names (otherwise $MSR_CONFIG, or /etc/misp-sentinel-relay/config.toml).
    /// An answer that fails can be corrected or kept. Then it says what to run in MISP, and what next.
    ///
    /// Secrets that are typed go to files of their own beside it. No file is overwritten, and all are of
    /// mode 0600. Without a terminal, or with --yes, options and MSR_ variables are the answers. Exit
    /// code 1: the file is written, and something failed when it was tried.
    Init(Box<init::InitOptions>),

    /// Relay until SIGTERM or Ctrl-C; a second signal stops at once
    ///
    /// Reads MISP's ZeroMQ feed, webhook and REST API, stores what MISP says in a ledger on disk, and
    /// keeps each target in Sentinel equal to it. Safe to kill at any time. SIGHUP reads log.level again
    /// and nothing else, so a closed terminal does not end the relay.
    Run(RunOptions),

    /// Watch indicators from recorded MISP events arrive in a stand-in for Sentinel
    ///
    /// Starts the sandbox and a MISP feed on loopback, runs the relay between them and prints what
    /// happens. Needs no configuration and reaches nothing outside this machine.
    Demo(demo::DemoOptions),

    /// Show what would be sent for a MISP event
    ///
    /// Takes an event, a restSearch answer or a recorded ZeroMQ frame. Prints a STIX 2.1 bundle on
    /// standard output. What is skipped goes to standard error: a line of JSON with the reason for each
    /// attribute, or for each observable of an attribute that makes several, and notes in words.
    /// Policy, expiry and identity are those of the configuration; targets are not needed.
    ///
    /// The same document gives the same bundle. `run` sets created and modified when it sends; here
    /// both are MISP's time of the newest attribute. Exit code 1: the document, or one of its events,
    /// cannot be read; all other events are converted.
    Convert(convert::ConvertOptions),

    /// Show what became of an event, an attribute, an indicator or a value, and why
    ///
    /// Shows each attribute's way from MISP to Sentinel: what it claims, what each target's policy
    /// decides, who else claims the same, the indicator, and its state at each target. The ledger knows
    /// the attributes that claim something. With misp.key, MISP is asked for the others, which are
    /// shown with the reason why they are skipped. Exit code 1: nothing is known of it.
    Explain(explain::ExplainOptions),

    /// Find what is wrong between MISP and Sentinel, and how to mend it
    ///
    /// Goes from the configuration to each workspace: clocks, names, certificates, MISP's key and
    /// rights, what policy selects, ZeroMQ, webhook, warninglists, ledger, sign-in, role, quota. Prints
    /// a line for each, with what was seen and what to do. Each target is sent one request without any
    /// indicator (it counts against the quota), and more only with --upload-probe. It can run beside
    /// the relay; without a relay, the ledger is opened as `run` would open it. Exit code 0: all is
    /// well; 1: warnings; 2: errors.
    Check(check::CheckOptions),

    /// Show what is delivered, pending, skipped and rejected, and what is degraded
    ///
    /// Exit code 0: a relay runs, degraded or not; 3: none runs, and the answer comes from the ledger
    /// alone.
    Status(status::StatusOptions),

    /// Read everything in MISP again over REST, and correct what differs
    ///
    /// Finds what is missing, changed or gone, even if MISP's timestamps show no trace of it. It
    /// continues after a restart, and live events go first.
    Resync(resync::ResyncOptions),

    /// Show what is gone from MISP without a deletion, and is kept because it is more than the guard allows
    Held,

    /// Release what `held` shows
    Release(release::ReleaseOptions),

    /// Withhold a value from every target, whatever claims it
    ///
    /// Its indicators end at once. None comes back before the time is over, or before `unsuppress`. The
    /// value may be in any spelling, but it is matched exactly: a network does not cover its addresses,
    /// nor a domain its hosts. Only its own indicators are withheld: policy.never also keeps a value
    /// out of the description of others. An earlier suppression of the value is replaced, and shown.
    /// The running relay does this; without one, the next start sends it.
    Suppress(suppress::SuppressOptions),

    /// Let a suppressed value count again
    Unsuppress(suppress::Unsuppress),

    /// List what is suppressed: since when, until when, why, and how many claims it withholds
    Suppressed(suppress::SuppressedOptions),

    /// Forget a target that is no longer configured, and what it was sent
    ///
    /// What it was sent stays in Sentinel until its valid_until. If the target is ever configured
    /// again, everything is sent again. The running relay does this; without one, this command does.
    Forget(forget::Forget),

    /// Forget a MISP that is no longer read, and withdraw what only it claims
    ///
    /// A source that the configuration no longer names, or that has enabled = false, keeps its claims
    /// until this command. What other sources claim stays. The running relay does this; without one,
    /// the next start sends the withdrawals.
    ForgetSource(forget_source::ForgetSourceOptions),

    /// Compare what Sentinel holds with what it accepted
    ///
    /// Shows for each target with subscription_id, resource_group and workspace_name what is missing,
    /// what is different and in which properties, and what is left over: a live indicator under the
    /// target's sourcesystem that this relay made and that nobody wants any more. Objects that others
    /// made are listed and left alone. What was accepted within azure.management.ingestion is too new
    /// to judge.
    ///
    /// What the ledger does not know is withdrawn only once a full resync is done, with misp.key and
    /// without misp.window. The running relay does this; without one, the command opens the ledger, and
    /// the next start sends what --repair finds. Exit code 1: something differs and was not repaired.
    Verify(verify::VerifyOptions),

    /// List what another product left in Sentinel, or end it
    ///
    /// Lists the live indicators of a source system, misp2sentinel's for example, in the workspaces of
    /// the targets with subscription_id, resource_group and workspace_name: how many there are, of
    /// which kinds, and the first few. With --apply each is uploaded once more under that source system
    /// with its end, within the quota of the target's credential. A target's own sourcesystem is
    /// refused.
    Cleanup(cleanup::CleanupOptions),

    /// Send again what Sentinel rejected
    RetryRejected(retry_rejected::RetryRejected),

    /// Inspect and maintain the ledger, the relay's memory on disk
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),

    /// Run a stand-in for Entra and Sentinel's upload API, over TLS with its own certificate
    ///
    /// Keeps Microsoft's documented rules: 100 objects a request, 100 requests in any 60 s, required
    /// properties, errors by record. It also answers the requests that verify and cleanup send to the
    /// management plane. Clients sign in with a client secret. It prints the settings that a relay
    /// needs to use it.
    Sandbox(sandbox::SandboxOptions),

    /// List every mistake in the configuration, without opening anything
    CheckConfig,

    /// Convert misp2sentinel's config.py into a configuration of the relay
    ///
    /// Prints TOML, with a comment on where each value comes from, and one on each setting that has no
    /// counterpart. Name constants.py as well if you changed it. The files are parsed and never run.
    /// Secrets in them appear in the output: write it with --out, for this user alone.
    #[cfg(feature = "import-config")]
    ImportConfig(import_config::ImportOptions),

    /// Ask the running relay whether it lives: for Docker's HEALTHCHECK
    Healthcheck(healthcheck::HealthOptions),

    /// Print a script with which a shell completes commands and options
    ///
    /// For bash: misp-sentinel-relay completions bash >
    /// /usr/share/bash-completion/completions/misp-sentinel-relay. The packages bring the scripts for bash,
    /// fish and zsh.
    Completions(completions::CompletionOptions),

    /// Write the manual pages into a folder, one for each command
    ///
    /// The packages bring these pages.
    Man(man::ManOptions),
}

/// Returns the routes of the control socket: the requests that the running relay answers.
pub fn routes() -> Router<Control> {
    Router::new()
        .merge(route(&status::STATUS))
        .merge(long_route(&explain::EXPLAIN))
        .merge(resync::routes())
        .merge(route(&trial::COPY))
        .merge(route(&release::HELD))
        .merge(route(&release::RELEASE))
        .merge(route(&release::RELEASE_WARNINGLISTS))
        .merge(route(&release::RELEASE_GAPS))
        .merge(route(&suppress::SUPPRESS))
        .merge(route(&suppress::UNSUPPRESS))
        .merge(route(&suppress::SUPPRESSED))
        .merge(route(&forget::FORGET))
        .merge(route(&forget_source::FORGET_SOURCE))
        .merge(long_route(&verify::VERIFY))
        .merge(long_route(&cleanup::CLEANUP))
        .merge(route(&retry_rejected::RETRY_REJECTED))
        .merge(ledger::routes())
}

/// Returns all that the running relay answers with the code of commands.
pub fn answered_by_relay() -> Commands {
    Commands { routes: routes(), explain: explain::EXPLAIN }
}

/// Carries out the command line. Returns the exit code. `environment` is searched for `MSR_` variables.
///
/// # Errors
/// The configuration is wrong ([`Mistakes`](crate::config::Mistakes)), or the command failed.
pub async fn execute(
    cli: Cli,
    environment: impl Iterator<Item = (String, String)>,
) -> anyhow::Result<u8> {
    let settings = ConfigSource { file: cli.config, environment: environment.collect() };
    // `check`, `status` and `init` have exit codes of their own. `check` also reports mistakes as findings.
    match cli.command {
        Command::Check(options) => {
            return check::check(settings.load(Needs::Secrets).await, options).await;
        }
        Command::Status(options) => return status::status(&settings, options).await,
        Command::Init(options) => return Box::pin(init::init(&settings, &options)).await,
        Command::Run(options) => {
            // To fetch secrets may take seconds, and a reload in them must not end the relay.
            signals::survive_hangup()?;
            let config = settings.load(Needs::Secrets).await?;
            return run::run(settings, config, options, answered_by_relay()).await;
        }
        Command::Demo(options) => demo::run(options, answered_by_relay()).await?,
        // The rules alone are loaded, so it works without targets and credentials.
        Command::Convert(options) => convert::convert(&settings.rules()?, &options)?,
        Command::Explain(options) => explain::explain(&settings, options).await?,
        Command::Resync(options) => resync::resync(&settings, options).await?,
        Command::Held => release::held(&settings).await?,
        Command::Release(options) => release::release(&settings, options).await?,
        Command::Suppress(options) => suppress::suppress(&settings, options).await?,
        Command::Unsuppress(asked) => suppress::unsuppress(&settings, asked).await?,
        Command::Suppressed(options) => suppress::suppressed(&settings, options).await?,
        Command::Forget(asked) => forget::forget(&settings, asked).await?,
        Command::ForgetSource(asked) => forget_source::forget_source(&settings, asked).await?,
        Command::Verify(options) => verify::verify(&settings, options).await?,
        Command::Cleanup(options) => cleanup::cleanup(&settings, options).await?,
        Command::RetryRejected(asked) => retry_rejected::retry_rejected(&settings, asked).await?,
        Command::Ledger(command) => ledger::ledger(&settings, command).await?,
        Command::Sandbox(options) => sandbox::serve(options).await?,
        Command::CheckConfig => {
            check_config::report(&settings, &settings.load(Needs::Settings).await?)?;
        }
        #[cfg(feature = "import-config")]
        Command::ImportConfig(options) => import_config::print(&options)?,
        Command::Healthcheck(options) => healthcheck::healthcheck(&settings, options).await?,
        Command::Completions(options) => completions::print(&options)?,
        Command::Man(options) => man::write(&options)?,
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
