//! From MISP's attributes to claims: pure.

mod claim;
mod skipped;

pub use claim::{Claim, ClaimFacts, EventFacts, ObjectFacts, Since, Tag};
pub use skipped::Reason;
