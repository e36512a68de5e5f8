//! The commands `ledger backup`, `ledger restore`, `ledger export`, `ledger check` and `ledger vacuum`, and the routes of the
//! control socket for those that the relay carries out.

mod backup;
mod check;
mod export;
mod restore;

use std::path::PathBuf;

use anyhow::Context;
use axum::Router;
use clap::Subcommand;

use super::output::print;
use super::{ConfigSource, door};
use crate::admin::control::{Control, long_route, route};
use crate::admin::{Needs, Nothing, Request, Services};
use crate::ledger::Given;

/// Commands that the running relay carries out, except `backup` and `restore`. Without a relay, they work on the ledger
/// itself.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum LedgerCommand {
    /// Copy the ledger to a new file, while the relay goes on
    ///
    /// The file holds the ledger of one moment, whole and without a write-ahead log. It appears once it is
    /// complete, for this user alone (mode 0600), and never replaces another one. The command reads the
    /// ledger itself, so the file lies where it is named, also beside a relay that may not write there.
    /// `ledger restore` makes it the ledger again.
    Backup {
        /// The file to write
        file: PathBuf,
    },

    /// Make a copy the ledger, while no relay runs
    ///
    /// The copy is what `ledger backup` wrote. It is checked first, and stays where it is. The new ledger
    /// belongs to the owner of its folder. docs/how-to/upgrade-and-backup.md says what to do then.
    Restore {
        /// The copy
        file: PathBuf,
        /// Give up the ledger that is there
        #[arg(long)]
        replace: bool,
    },

    /// Print every row as a line of JSON, as of one moment
    ///
    /// A line looks like {"table":"claims","source":"misp",...}; docs/reference/ledger.md lists the
    /// tables. Ids are uuids, JSON columns are JSON. Times are Unix milliseconds; those of MISP
    /// (columns `timestamp`, `read_...`) are Unix seconds. The relay goes on meanwhile. Read the output
    /// quickly, best with --out: until it is read, the WAL keeps all that is written, and a command
    /// that reads nothing for 30 s is disconnected.
    Export {
        /// Write to this file, which appears once it is complete
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },

    /// Check the ledger's invariants; exit code 1 if one does not hold
    ///
    /// Prints each invariant by name, and for a broken one the rows and the remedy.
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
    Vacuum,
}

/// Returns the routes of the control socket for these commands.
pub(super) fn routes() -> Router<Control> {
    Router::new()
        .merge(long_route(&export::EXPORT))
        .merge(long_route(&check::CHECK))
        .merge(route(&check::REPAIR))
        .merge(route(&GIVE_BACK))
}

/// Carries out one of these commands.
///
/// # Errors
/// Neither a relay nor the ledger can do it, or an invariant does not hold.
pub async fn ledger(settings: &ConfigSource, command: LedgerCommand) -> anyhow::Result<()> {
    match command {
        LedgerCommand::Backup { file } => backup::back_up(settings, &file).await,
        LedgerCommand::Restore { file, replace } => {
            restore::restore(settings, &file, replace).await
        }
        LedgerCommand::Export { out } => export::export(settings, out.as_deref()).await,
        LedgerCommand::Check { repair } => check::check(settings, repair).await,
        LedgerCommand::Vacuum => vacuum(settings).await,
    }
}

/// The request to give free pages back. A running relay does it in small steps. Without one, the file is
/// rewritten.
const GIVE_BACK: Request<Nothing, Given> =
    Request::change("/ledger/vacuum", Needs::Settings, |services, _| Box::pin(give_back(services)))
        .slow();

async fn give_back(services: &Services) -> anyhow::Result<Given> {
    let given = match services.relay {
        Some(_) => services.ledger.give_back().await,
        // Nobody else uses the ledger then, so the whole file can be rewritten.
        None => services.ledger.vacuum().await,
    };
    given.context("the ledger cannot be written")
}

/// Gives free pages back, and prints how large the ledger is before and after.
async fn vacuum(settings: &ConfigSource) -> anyhow::Result<()> {
    let (Given { before, after }, _) = door::ask(settings, &GIVE_BACK, Nothing {}).await?;
    let [before, after] = [before, after].map(|bytes| bytesize::ByteSize::b(bytes.unsigned_abs()));
    print(&format!("The ledger had {before}, it has {after} now.\n"))
}
