//! From MISP's attributes to claims: pure.

mod claim;
mod conversion;
mod facts;
mod file;
mod network;
mod skipped;
mod types;
mod url;

#[cfg(test)]
mod tests;

pub use claim::{Claim, ClaimFacts, EventFacts, ObjectFacts, Since, Tag};
pub use conversion::{Claims, Conversion, Skipped, claims, event, said};
pub use skipped::Reason;

/// The types that are converted.
#[cfg(test)]
pub(crate) fn type_names() -> Vec<&'static str> {
    types::names().collect()
}
