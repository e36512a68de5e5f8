//! The command `ledger vacuum` returns the free pages of the ledger's file to the file system.

use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::super::output::print;
use super::super::{ConfigSource, door};
use crate::admin::{Needs, Request, Services};
use crate::ledger::Given;

/// The request to give free pages back. A running relay does it in small steps. Without one, the file is
/// rewritten.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vacuum {}

impl Request for Vacuum {
    const PATH: &'static str = "/ledger/vacuum";
    const NEEDS: Needs = Needs::Settings;
    // A large file takes minutes.
    const PATIENCE: Duration = Duration::from_secs(600);

    type Answer = Given;

    async fn execute(self, services: &Services) -> anyhow::Result<Given> {
        let given = match services.relay {
            Some(_) => services.ledger.give_back().await,
            // Nobody else uses the ledger then, so the whole file can be rewritten.
            None => services.ledger.vacuum().await,
        };
        given.context("the ledger cannot be written")
    }
}

/// Gives free pages back, and prints how many bytes that are.
///
/// # Errors
/// Neither a relay nor the ledger can do it.
pub(super) async fn vacuum(settings: &ConfigSource) -> anyhow::Result<()> {
    let (given, _) = door::ask(settings, Vacuum {}).await?;
    print(&told(&given))
}

fn told(given: &Given) -> String {
    let size = |bytes: i64| bytesize::ByteSize::b(bytes.unsigned_abs());
    format!("The ledger had {}, it has {} now.\n", size(given.before), size(given.after))
}
