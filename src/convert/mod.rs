//! From MISP's attributes to claims: pure.

mod claim;
mod conversion;
mod facts;
mod file;
mod galaxy;
mod kind;
mod network;
mod object;
mod rule;
mod skipped;
mod table;
mod text;
mod types;
mod url;

#[cfg(test)]
mod tests;

pub use claim::{
    Claim, ClaimFacts, Cluster, ClusterKind, EventFacts, ObjectFacts, SharingGroup, Sibling, Since,
    Tag,
};
pub use conversion::{Claims, Conversion, Skipped, claims, event, said};
pub use galaxy::actor;
pub use skipped::Reason;
pub use types::{Row, Trust, types};
