//! Converts MISP's attributes into claims. `table` says what each attribute type becomes, and `conversion`
//! applies it.

mod claim;
mod conversion;
mod facts;
mod file;
mod galaxy;
mod hashes;
mod kind;
mod network;
mod object;
mod pattern_attribute;
mod roles;
mod scheme;
mod skipped;
mod table;
mod text;
mod type_row;
mod url;

#[cfg(test)]
mod tests;

pub use claim::{
    Claim, ClaimFacts, ClusterFacts, ClusterKind, EventFacts, ObjectFacts, SharedWith,
    SharingGroupFacts, Sibling, Since, TagFacts,
};
pub use conversion::{Claims, Conversion, Skipped, UrlForm, claims, event, said, url_form};
pub use galaxy::{Clusters, actor};
pub use object::uncut;
pub use roles::{Role, roles};
pub use skipped::Reason;
pub use table::types;
pub use type_row::{Fidelity, TypeRow, categories};
pub use url::on_the_wire;
