//! What `run` takes.

use clap::Args;

/// What the operator allows at this start only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct RunOptions {
    /// Accept another indicator.namespace or sourcesystem than the ledger remembers: every
    /// indicator is sent as a new one, and the old ones stay until they expire
    #[arg(long)]
    pub rehome: bool,

    /// Start with an empty ledger under withdraw = "revoke" although it cannot be read back which ids
    /// are used up: what was revoked in Sentinel
    /// before comes back under its old id, and what had come back is there twice until it expires
    #[arg(long)]
    pub accept_duplicates: bool,

    /// Accept that misp.key shows another view (organisation, site administrator, sync) than the ledger
    /// was filled with: what it reads is added, and what it does not see is withdrawn
    #[arg(long)]
    pub accept_new_view: bool,
}
