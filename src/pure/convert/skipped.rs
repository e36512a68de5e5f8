//! The reasons why an attribute makes no claim, or why policy does not admit a claim. A reason is data for
//! metrics, logs and `convert`, never an error.

use serde::Serialize;
use strum::EnumMessage as _;

/// The reason, as metrics, logs and `convert` spell it. The comment of each is the sentence that
/// operators read, in one line.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    strum::EnumIter,
    strum::EnumMessage,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    // Of conversion.
    /// the table of attribute types (docs/reference/mapping.md) does not have this type
    UnknownType,
    /// this type tells of the event, a tool or an actor: logs do not show it
    Context,
    /// STIX has no object for this type
    NoObservable,
    /// neither STIX nor misp-stix has a name for this hash
    NoHashName,
    /// the value only resembles or is a part, and an indicator compares for equality
    NotExact,
    /// a rule in a language that STIX has no pattern type for
    NoPatternType,
    /// this type is about a person
    PersonalData,
    /// its type, or its role in an object, says that it was attacked: [convert.roles] switches a role on
    Victim,
    /// the value is not what its type says
    InvalidValue,
    /// a STIX pattern that is more than one comparison: Sentinel matches only one
    ComplexPattern,
    /// deleted in MISP
    Deleted,
    /// its timestamp is missing or no time in seconds, perhaps in milliseconds: correct what writes it into MISP
    InvalidTimestamp,
    /// its JSON cannot be read
    Malformed,
    // Of policy.
    /// an operator withholds the value: see `suppressed`
    Suppressed,
    /// marked as a false positive by a tag of policy.false_positive_tags
    FalsePositive,
    /// another MISP shows a newer version of the attribute
    Outdated,
    /// the MISP that shows it is not in policy.sources
    SourceExcluded,
    /// it has no to_ids, and policy.to_ids asks for it
    ToIdsOff,
    /// its type is off: switch it on in [convert.types]
    TypeOff,
    /// its role in an object says that it only stands by: switch the role on in [convert.roles]
    Bystander,
    /// its role in an object is switched off in [convert.roles]
    RoleOff,
    /// convert.url_root sends the URL's other form only
    UrlForm,
    /// every Windows has this registry key: alone it says nothing of an attack
    CommonKey,
    /// the network is wider than policy.min_prefix_ipv4 or min_prefix_ipv6 allows
    NetworkTooWide,
    /// it leads nowhere on the internet: see policy.allow_non_routable
    NonRoutable,
    /// the strictest TLP tag is stricter than policy.tlp_max
    TlpTooStrict,
    /// a tag of attribute or event is in policy.tags_exclude
    TagExcluded,
    /// no published tag of attribute or event is in policy.tags_include
    TagMissing,
    /// policy.orgs_include or orgs_exclude keeps the creator organisation back
    OrgExcluded,
    /// policy.types_include or types_exclude keeps its type back
    TypeExcluded,
    /// policy.categories_include or categories_exclude keeps its category back
    CategoryExcluded,
    /// the event's threat level is not in policy.threat_levels
    ThreatLevel,
    /// the event's state of analysis is not in policy.analysis
    Analysis,
    /// nobody says who may see it: see policy.org_without_key
    ViewUnknown,
    /// a distribution of attribute, object or event is not in policy.distributions
    Distribution,
    /// a sharing group of attribute, object or event is not in policy.sharing_groups
    SharingGroup,
    /// the value is in policy.never
    Never,
    /// it is on one of MISP's warninglists: see policy.warninglists
    Warninglist,
    /// the host of the URL is on a warninglist that policy.shared_host_lists names
    SharedHost,
    /// MISP's decaying models say that it is over: see misp.decay
    Decayed,
    /// it waits for MISP's warninglists, which were never read: see `status`
    WarninglistsPending,
    // What stands in brackets would be a link to an item.
    #[strum(message = "valid_until has passed: see [expiry]")]
    Expired,
}

impl Reason {
    /// The word in metrics, logs and `convert`.
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// Why, and what an operator can do about it.
    pub fn sentence(self) -> &'static str {
        // Each variant has one, as a test sees.
        self.get_message().or_else(|| self.get_documentation()).unwrap_or_default()
    }
}
