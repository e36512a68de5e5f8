//! The policy of a view: its settings, and the rules that decide which claims may leave. `judge` applies all
//! rules to a claim and its event.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

mod judge;
mod listed;
mod lists;
mod loosened;
mod marks;
mod prefix;
mod reach;
mod registry;
mod routable;
mod side_facts;
mod spelling;
mod switches;
mod tlp;
mod words;

pub use judge::{Judge, TagVerdict};
pub use loosened::loosened;
pub use marks::{CHATHAM_HOUSE, Decided, Mark};
pub use reach::Reach;
pub use side_facts::{ListOfSource, OnLists, SideFacts, Warned};
pub use spelling::{forms, is_same, spellings};
pub use switches::{Switches, UrlForms};
pub use tlp::{Tlp, Untagged};

/// The rules of a view. An empty list allows all.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Policy {
    pub tlp_max: Tlp,
    /// What counts if no tag of event or attribute is a marking.
    pub tlp_untagged: Untagged,
    /// Tags, with wildcards, and the marking that each counts as. `None`: it is no marking.
    pub tlp_tags: BTreeMap<String, Option<Mark>>,
    /// The names of the sources whose claims count.
    pub sources: Vec<String>,
    /// The names of the sources whose warninglists count.
    pub warninglists_from: Vec<String>,
    /// `true`: only attributes with `to_ids`.
    pub to_ids: bool,
    /// `true`: also addresses and hosts of private networks.
    pub allow_non_routable: bool,
    /// Networks with shorter prefixes are kept back.
    pub min_prefix_ipv4: u8,
    pub min_prefix_ipv6: u8,
    /// `[convert]`
    pub switches: Switches,
    /// Tags with `*` as wildcard; one of these must be on the event or attribute.
    pub tags_include: Vec<String>,
    /// None of these may be on either.
    pub tags_exclude: Vec<String>,
    /// Names or uuids of creator organisations.
    pub orgs_include: Vec<String>,
    pub orgs_exclude: Vec<String>,
    /// MISP attribute types, with wildcards.
    pub types_include: Vec<String>,
    pub types_exclude: Vec<String>,
    pub categories_include: Vec<String>,
    pub categories_exclude: Vec<String>,
    /// MISP `threat_level_id` values, 1 (high) to 4 (undefined).
    pub threat_levels: Vec<i64>,
    /// MISP `analysis` values, 0 (initial) to 2 (completed).
    pub analysis: Vec<i64>,
    /// MISP `distribution` values, 0 to 4, that event, object and attribute may have.
    pub distributions: Vec<i64>,
    /// Names, uuids or numbers of sharing groups, with wildcards. If something is for a sharing group, the group must
    /// be one of these.
    pub sharing_groups: Vec<String>,
    /// Whether no source has a key, so that no MISP can be asked what the relay may see. Then only what is open at every
    /// level is sent.
    pub is_feed_only: bool,
    /// The sources without a key, where others have one. The same holds for what these say.
    pub feed_only: Vec<String>,
    /// Creator organisations whose distribution 0 is sent even if their source has no key.
    pub org_without_key: Vec<Uuid>,
    /// Tags, with wildcards, that mark a false positive. On an attribute they withhold its observable from all claims.
    /// On an event they withhold only the event's own claims.
    pub false_positive_tags: Vec<String>,
    /// `[sightings]`: this many reported false positives of an attribute forbid its claims. 0: none do.
    pub withdraw_at: u32,
    /// `misp.decay`: whether the scores of decaying models count.
    pub decay: bool,
    /// The sources whose scores do not count, where those of others do.
    pub without_decay: Vec<String>,
    /// How long an attribute counts after its timestamp.
    pub max_age: Option<Duration>,
    /// Values that are never sent, no matter which attributes claim them.
    pub never: Vec<String>,
    pub warninglists: OnHit,
    /// Names of warninglists, with wildcards. A URL whose host is an entry of one of them is never sent.
    pub shared_host_lists: Vec<String>,
}

/// What happens to an attribute that is on one of MISP's warninglists.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, strum::EnumIter, strum::IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
pub enum OnHit {
    /// It is kept back, as with MISP's `enforceWarninglist`.
    Enforce,
    /// It is sent with a label for each list.
    Label,
    /// The lists are not read.
    Off,
}
