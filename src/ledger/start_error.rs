//! Says why a start is refused.

use thiserror::Error;

use super::sql::SqlError;

/// Why a start is refused.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(
        "{key} was {before} and is now {now}: Sentinel would hold every indicator twice\n  hint: set it back, or start once with --rehome to send everything anew under the new value (what was sent before stays until its valid_until)"
    )]
    Moved { key: String, before: String, now: String },
    #[error(
        "the ledger is empty, and withdraw = \"revoke\" (of [indicator] or a target) needs to know what was revoked before: a revoked id cannot come back, and only the ledger knows the id that follows it\n  hint: bring the ledger back from a backup; or name each target's workspace on the management plane (subscription_id, resource_group, workspace_name), from where they are read back under identity = \"observable\"; if nothing was ever sent to these workspaces under this sourcesystem, or duplicates until valid_until are acceptable, start once with --accept-duplicates; or set withdraw = \"expire\""
    )]
    Forgotten,
    #[error("the ledger cannot be read or written: {0}")]
    Ledger(#[from] SqlError),
}
