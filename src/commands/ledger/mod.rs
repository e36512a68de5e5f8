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

/// Carried out by the running relay; without one, on the ledger itself.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum LedgerCommand {
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

/// The routes of the control socket.
pub(super) fn routes() -> Router<Control> {
    Router::new()
        .merge(stream_route::<export::Export>())
        .merge(stream_route::<check::CheckLedger>())
        .merge(route::<check::Repair>())
        .merge(route::<vacuum::Vacuum>())
}

/// Does what the command line says.
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
