//! From MISP's attributes to claims: pure.

mod claim;
mod conversion;
mod facts;
mod file;
mod network;
mod skipped;
mod types;
mod url;

pub use claim::{Claim, ClaimFacts, EventFacts, ObjectFacts, Since, Tag};
pub use conversion::{Claims, Conversion, Skipped, claims, event, said};
pub use skipped::Reason;
