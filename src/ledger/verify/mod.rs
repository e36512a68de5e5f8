//! Serves `verify` and the reading back: `look` reads what a target should hold, `mend` has sent again what is wrong,
//! `deletion` keeps the deletions of withdrawn indicators.

mod deletion;
mod look;
mod mend;

pub use deletion::Deletion;
pub use look::Accepted;
pub use mend::Mending;
