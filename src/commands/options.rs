//! What each command takes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, Args};
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct DemoOptions {
    /// End when all has arrived as expected (exit code 0) or has not (1)
    #[arg(long)]
    pub once: bool,

    /// Only publish the recorded events over ZeroMQ at this address, again and again
    #[arg(long, value_name = "ADDRESS", conflicts_with = "once")]
    pub feed: Option<SocketAddr>,

    /// Show the relay's log on standard error
    #[arg(long, short)]
    pub verbose: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(mut_args(only_with_explain))]
pub struct ConvertOptions {
    /// The file, or - for standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,

    /// Convert what has expired as well
    #[arg(long)]
    pub no_expiry: bool,

    /// Tell of each attribute what becomes of it and why, in place of the bundle
    #[arg(long)]
    pub explain: bool,

    #[command(flatten)]
    pub telling: TellingOptions,
}

/// Without `--explain` there is no telling to shape.
fn only_with_explain(argument: Arg) -> Arg {
    match argument.get_id().as_str() {
        "json" | "stix" => argument.requires("explain"),
        _ => argument,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ExplainOptions {
    /// Uuid of an event or an attribute, or a value in any spelling, e.g. evil[.]example
    #[arg(value_name = "UUID|VALUE")]
    pub what: String,

    #[command(flatten)]
    pub telling: TellingOptions,
}

/// How `explain` tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct TellingOptions {
    /// With the indicators as STIX JSON
    #[arg(long)]
    pub stix: bool,

    /// One JSON object a line for each attribute, in place of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct StatusOptions {
    /// One JSON object in place of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct CheckOptions {
    /// One JSON object a line for each finding, in place of text
    #[arg(long)]
    pub json: bool,

    /// How long MISP's feed may say nothing
    #[arg(long, value_name = "TIME", default_value = "15s")]
    pub wait: humantime::Duration,

    /// Upload an indicator of a name that nobody has to each target, and withdraw it at once: shows
    /// that role and workspace are right (two rows in Log Analytics). Under withdraw = "delete" it is
    /// then deleted, which shows whether deletions have an effect
    #[arg(long)]
    pub upload_probe: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct ResyncOptions {
    /// Only this event
    #[arg(long, value_name = "UUID", conflicts_with = "since")]
    pub event: Option<Uuid>,

    /// Only what was touched in MISP within this time, e.g. 30d
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub since: Option<humantime::Duration>,

    /// Print what would be sent and withdrawn, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not wait for the end
    #[arg(long, conflicts_with = "dry_run")]
    pub detach: bool,
}

/// A time that is not over at once: times are kept in milliseconds, and MISP's in seconds.
fn some_time(text: &str) -> Result<humantime::Duration, String> {
    let time: humantime::Duration =
        text.parse().map_err(|error: humantime::DurationError| error.to_string())?;
    if time.as_secs() == 0 { Err("it must be at least 1s".to_owned()) } else { Ok(time) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct ReleaseOptions {
    /// Only of this event
    #[arg(long, value_name = "UUID", conflicts_with = "empty")]
    pub event: Option<Uuid>,

    /// MISP is right to show none of the events that the ledger holds
    #[arg(long)]
    pub empty: bool,

    /// MISP's warninglists are right: those that wait come into force
    #[arg(long, conflicts_with_all = ["event", "empty"])]
    pub warninglists: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SuppressOptions {
    /// The value, in any spelling, e.g. 198.51.100.7 or evil[.]example
    #[arg(value_name = "VALUE")]
    pub value: String,

    /// For so long, e.g. 30d; else until `unsuppress`
    #[arg(long = "for", value_name = "TIME", value_parser = some_time)]
    pub within: Option<humantime::Duration>,

    /// Why, for who reads `suppressed` later
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VerifyOptions {
    /// Only this target
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,

    /// Send what is missing or different again, and withdraw what is left over
    #[arg(long)]
    pub repair: bool,

    /// One JSON object for each target, in place of text
    #[arg(long)]
    pub json: bool,

    /// Ask nobody: print queries for Log Analytics that show the same
    #[arg(long, conflicts_with_all = ["repair", "json"])]
    pub kql: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CleanupOptions {
    /// The source system that the other product uploads under, e.g. MISP
    #[arg(long, value_name = "NAME")]
    pub sourcesystem: String,

    /// Only in this target's workspace
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,

    /// End them; else they are only listed
    #[arg(long)]
    pub apply: bool,

    /// Revoke them, which is for ever; else their validity ends now
    #[arg(long, requires = "apply")]
    pub revoke: bool,

    /// One JSON object for each target, in place of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RetryOptions {
    /// Only this target
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SandboxOptions {
    /// Address and port
    #[arg(long, default_value = "127.0.0.1:9443")]
    pub listen: SocketAddr,

    /// Host names of the certificate, besides localhost, 127.0.0.1 and ::1
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub names: Vec<String>,

    /// Where to write the certificate authority that clients must trust, PEM (for azure.ca_file)
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// How long its tokens last, to see what tokens near their end lead to
    #[arg(long, value_name = "TIME", default_value = "3599s")]
    pub token_lifetime: humantime::Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(super) struct HealthOptions {
    /// Ask whether it is ready, not only whether it lives
    #[arg(long)]
    pub(super) ready: bool,

    /// Only whether this address accepts a connection: for the sandbox and the demo's feed
    #[arg(long, value_name = "ADDRESS", conflicts_with = "ready")]
    pub(super) connect: Option<SocketAddr>,
}
