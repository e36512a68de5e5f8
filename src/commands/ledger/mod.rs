//! The commands `ledger export`, `ledger check` and `ledger vacuum`, and the routes of the control socket for
//! them.

mod check;
mod export;
mod vacuum;

use std::path::PathBuf;

use axum::Router;
use clap::Subcommand;

use super::settings::ConfigSource;
use crate::admin::control::{Control, route, stream_route};

/// Commands that the running relay carries out. Without one, they work on the ledger itself.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum LedgerCommand {
    /// Print every row as a line of JSON, as of one moment
    ///
    /// A line looks like {"table":"claims","source":"misp",...}; docs/reference/ledger.md lists the
    /// tables. Ids are uuids, JSON columns are JSON. Times are Unix milliseconds; those of MISP
    /// (columns `timestamp`, `read_...`) are Unix seconds. The relay goes on meanwhile. Read the output
    /// quickly, best with --out: until it is read, the WAL keeps all that is written, and a command
    /// that reads nothing for 30 s is disconnected.
    #[command(verbatim_doc_comment)]
    Export {
        /// Write to this file, which appears once it is complete
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },

    /// Check the ledger's invariants; exit code 1 if one does not hold
    ///
    /// Prints each invariant by name, and for a broken one the rows and the remedy.
    #[command(verbatim_doc_comment)]
    Check {
        /// Have the next start judge every claim anew, and compare each target with the result
        #[arg(long)]
        repair: bool,
    },

    /// Give free pages back to the file system
    ///
    /// A running relay does this in small steps (and by itself, if much is free). Without one, the file
    /// is rewritten, which needs as much room again. A file of release 0.1 can give pages back only
    /// after it was rewritten once.
    #[command(verbatim_doc_comment)]
    Vacuum,
}

/// Returns the routes of the control socket for these commands.
pub(super) fn routes() -> Router<Control> {
    Router::new()
        .merge(stream_route::<export::Export>())
        .merge(stream_route::<check::CheckLedger>())
        .merge(route::<check::Repair>())
        .merge(route::<vacuum::Vacuum>())
}

/// Carries out one of these commands.
///
/// # Errors
/// Neither a relay nor the ledger can do it, or an invariant does not hold.
pub async fn ledger(settings: &ConfigSource, command: LedgerCommand) -> anyhow::Result<()> {
    match command {
        LedgerCommand::Export { out } => export::export(settings, out.as_deref()).await,
        LedgerCommand::Check { repair } => check::check(settings, repair).await,
        LedgerCommand::Vacuum => vacuum::vacuum(settings).await,
    }
}
