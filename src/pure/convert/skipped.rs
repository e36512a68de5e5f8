//! Why an attribute makes no claim, or a claim no indicator: data, never an error.

use serde::Serialize;
use strum::EnumMessage as _;

/// The reason, as metrics, logs and `convert` spell it.
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
    strum::EnumMessage,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// Conversion: an attribute type that the table does not have.
    #[strum(
        message = "the table of attribute types (docs/reference/mapping.md) does not have this type"
    )]
    UnknownType,
    /// Conversion: of an event, a tool or an actor; seen in no log.
    #[strum(message = "this type tells of the event, a tool or an actor: logs do not show it")]
    Context,
    /// Conversion: STIX has no object for it.
    #[strum(message = "STIX has no object for this type")]
    NoObservable,
    /// Conversion: a hash without a name in STIX or misp-stix.
    #[strum(message = "neither STIX nor misp-stix has a name for this hash")]
    NoHashName,
    /// Conversion: what only resembles, or a part; an indicator compares for equality.
    #[strum(
        message = "the value only resembles or is a part, and an indicator compares for equality"
    )]
    NotExact,
    /// Conversion: a rule in a language without a pattern type in STIX.
    #[strum(message = "a rule in a language that STIX has no pattern type for")]
    NoPatternType,
    /// Conversion: about a person.
    #[strum(message = "this type is about a person")]
    PersonalData,
    /// Who or what was attacked: by its type (conversion), or by its role in an object (policy).
    #[strum(
        message = "its type, or its role in an object, says that it was attacked: [convert.roles] switches a role on"
    )]
    Victim,
    /// Conversion: the value is not what the type says.
    #[strum(message = "the value is not what its type says")]
    InvalidValue,
    /// Conversion: a STIX pattern that is more than one comparison with a known path.
    #[strum(message = "a STIX pattern that is more than one comparison: Sentinel matches only one")]
    ComplexPattern,
    /// Conversion: soft-deleted.
    #[strum(message = "deleted in MISP")]
    Deleted,
    /// Conversion: the attribute's timestamp is no time in seconds.
    #[strum(
        message = "its timestamp is missing or no time in seconds, perhaps in milliseconds: correct what writes it into MISP"
    )]
    InvalidTimestamp,
    /// Conversion: the attribute's JSON cannot be read.
    #[strum(message = "its JSON cannot be read")]
    Malformed,
    /// Policy, from here on. An operator withholds the value (`suppress`).
    #[strum(message = "an operator withholds the value: see `suppressed`")]
    Suppressed,
    /// A tag of `policy.false_positive_tags` is on it.
    #[strum(message = "marked as a false positive by a tag of policy.false_positive_tags")]
    FalsePositive,
    #[strum(message = "it has no to_ids, and policy.to_ids asks for it")]
    ToIdsOff,
    /// The type is off, by its row or by `[convert.types]`.
    #[strum(message = "its type is off: switch it on in [convert.types]")]
    TypeOff,
    /// By its role in an object it stands by: a name server, a mail server on the way.
    #[strum(
        message = "its role in an object says that it only stands by: switch the role on in [convert.roles]"
    )]
    Bystander,
    /// Its role in an object is off by `[convert.roles]`.
    #[strum(message = "its role in an object is switched off in [convert.roles]")]
    RoleOff,
    /// Of a URL's two forms the one that `convert.url_root` leaves out.
    #[strum(message = "convert.url_root sends the URL's other form only")]
    UrlForm,
    /// A registry key that every Windows has.
    #[strum(message = "every Windows has this registry key: alone it says nothing of an attack")]
    CommonKey,
    /// A network that is wider than policy allows.
    #[strum(message = "the network is wider than policy.min_prefix_ipv4 or min_prefix_ipv6 allows")]
    NetworkTooWide,
    /// An address or host that no packet of the internet comes from.
    #[strum(message = "it leads nowhere on the internet: see policy.allow_non_routable")]
    NonRoutable,
    #[strum(message = "the strictest TLP tag is stricter than policy.tlp_max")]
    TlpTooStrict,
    #[strum(message = "a tag of attribute or event is in policy.tags_exclude")]
    TagExcluded,
    #[strum(message = "no published tag of attribute or event is in policy.tags_include")]
    TagMissing,
    #[strum(message = "policy.orgs_include or orgs_exclude keeps the creator organisation back")]
    OrgExcluded,
    #[strum(message = "policy.types_include or types_exclude keeps its type back")]
    TypeExcluded,
    #[strum(message = "policy.categories_include or categories_exclude keeps its category back")]
    CategoryExcluded,
    #[strum(message = "the event's threat level is not in policy.threat_levels")]
    ThreatLevel,
    #[strum(message = "the event's state of analysis is not in policy.analysis")]
    Analysis,
    /// Without a key nobody knows who may see it.
    #[strum(message = "nobody says who may see it: see policy.org_without_key")]
    ViewUnknown,
    #[strum(
        message = "a distribution of attribute, object or event is not in policy.distributions"
    )]
    Distribution,
    /// For a sharing group that is not in `policy.sharing_groups`.
    #[strum(
        message = "a sharing group of attribute, object or event is not in policy.sharing_groups"
    )]
    SharingGroup,
    #[strum(message = "the value is in policy.never")]
    Never,
    /// It is on one of MISP's warninglists.
    #[strum(message = "it is on one of MISP's warninglists: see policy.warninglists")]
    Warninglist,
    /// The host of its URL is on a list of `policy.shared_host_lists`.
    #[strum(
        message = "the host of the URL is on a warninglist that policy.shared_host_lists names"
    )]
    SharedHost,
    /// All of MISP's decaying models that apply say so.
    #[strum(message = "MISP's decaying models say that it is over: see misp.decay")]
    Decayed,
    /// MISP's warninglists are not loaded yet: it waits.
    #[strum(message = "it waits for MISP's warninglists, which were never read: see `status`")]
    WarninglistsPending,
    /// `valid_until` has passed.
    #[strum(message = "valid_until has passed: see [expiry]")]
    Expired,
}

impl Reason {
    /// The word in metrics, logs and `convert`.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// Why, and what an operator can do about it.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        // Each variant has a message, as a test sees.
        self.get_message().unwrap_or_default()
    }
}
