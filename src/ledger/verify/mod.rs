//! Serves `verify` and the other readers of workspaces. `look` reads what a target should hold, `mend` puts into the
//! queue what is wrong there, and `deletion` notes the deletions of withdrawn indicators.

mod deletion;
mod look;
mod mend;

pub use deletion::Deletion;
pub use look::Accepted;
pub use mend::Mending;
