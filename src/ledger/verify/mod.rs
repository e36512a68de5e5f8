//! What `verify` reads of the ledger and writes into it: how objects stand at a target, and which of
//! them are to be sent again.

mod deletion;
mod look;
mod mend;

pub use deletion::Deletion;
pub use look::Accepted;
pub use mend::Mending;
