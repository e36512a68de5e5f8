//! Why an attribute makes no claim, or a claim no indicator: data, never an error.

use serde::Serialize;

/// The reason, as metrics, logs and `convert` spell it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// Conversion: an attribute type that the table does not have.
    UnknownType,
    /// Conversion: of an event, a tool or an actor; seen in no log.
    Context,
    /// Conversion: STIX has no object for it.
    NoObservable,
    /// Conversion: a hash without a name in STIX or misp-stix.
    NoHashName,
    /// Conversion: what only resembles, or a part; an indicator compares for equality.
    NotExact,
    /// Conversion: a rule in a language without a pattern type in STIX.
    NoPatternType,
    /// Conversion: about a person.
    PersonalData,
    /// Who or what was attacked: by its type (conversion), or by its role in an object (policy).
    Victim,
    /// Conversion: the value is not what the type says.
    InvalidValue,
    /// Conversion: a STIX pattern that is more than one comparison with a known path.
    ComplexPattern,
    /// Conversion: soft-deleted.
    Deleted,
    /// Conversion: the attribute's timestamp is no time in seconds.
    InvalidTimestamp,
    /// Conversion: the attribute's JSON cannot be read.
    Malformed,
    /// Policy, from here on. An operator withholds the value (`suppress`).
    Suppressed,
    /// A tag of `policy.false_positive_tags` is on it.
    FalsePositive,
    ToIdsOff,
    /// The type is off, by its row or by `[convert.types]`.
    TypeOff,
    /// By its role in an object it stands by: a name server, a mail server on the way.
    Bystander,
    /// Its role in an object is off by `[convert.roles]`.
    RoleOff,
    /// Of a URL's two forms the one that `convert.url_root` leaves out.
    UrlForm,
    /// A registry key that every Windows has.
    CommonKey,
    /// A network that is wider than policy allows.
    NetworkTooWide,
    /// An address or host that no packet of the internet comes from.
    NonRoutable,
    TlpTooStrict,
    TagExcluded,
    TagMissing,
    OrgExcluded,
    TypeExcluded,
    CategoryExcluded,
    ThreatLevel,
    Analysis,
    /// Without a key nobody knows who may see it.
    ViewUnknown,
    Distribution,
    /// For a sharing group that is not in `policy.sharing_groups`.
    SharingGroup,
    Never,
    /// It is on one of MISP's warninglists.
    Warninglist,
    /// The host of its URL is on a list of `policy.shared_host_lists`.
    SharedHost,
    /// All of MISP's decaying models that apply say so.
    Decayed,
    /// MISP's warninglists are not loaded yet: it waits.
    WarninglistsPending,
    /// `valid_until` has passed.
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
    #[expect(clippy::too_many_lines, reason = "a sentence for each reason")]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::UnknownType => {
                "the table of attribute types (docs/reference/mapping.md) does not have this type"
            }
            Self::Context => {
                "this type tells of the event, a tool or an actor: logs do not show it"
            }
            Self::NoObservable => "STIX has no object for this type",
            Self::NoHashName => "neither STIX nor misp-stix has a name for this hash",
            Self::NotExact => {
                "the value only resembles or is a part, and an indicator compares for equality"
            }
            Self::NoPatternType => "a rule in a language that STIX has no pattern type for",
            Self::PersonalData => "this type is about a person",
            Self::Victim => {
                "its type, or its role in an object, says that it was attacked: [convert.roles] \
                 switches a role on"
            }
            Self::InvalidValue => "the value is not what its type says",
            Self::ComplexPattern => {
                "a STIX pattern that is more than one comparison: Sentinel matches only one"
            }
            Self::Deleted => "deleted in MISP",
            Self::InvalidTimestamp => {
                "its timestamp is missing or no time in seconds, perhaps in milliseconds: correct \
                 what writes it into MISP"
            }
            Self::Malformed => "its JSON cannot be read",
            Self::Suppressed => "an operator withholds the value: see `suppressed`",
            Self::FalsePositive => {
                "marked as a false positive by a tag of policy.false_positive_tags"
            }
            Self::ToIdsOff => "it has no to_ids, and policy.to_ids asks for it",
            Self::TypeOff => "its type is off: switch it on in [convert.types]",
            Self::Bystander => {
                "its role in an object says that it only stands by: switch the role on in \
                 [convert.roles]"
            }
            Self::RoleOff => "its role in an object is switched off in [convert.roles]",
            Self::UrlForm => "convert.url_root sends the URL's other form only",
            Self::CommonKey => {
                "every Windows has this registry key: alone it says nothing of an attack"
            }
            Self::NetworkTooWide => {
                "the network is wider than policy.min_prefix_ipv4 or min_prefix_ipv6 allows"
            }
            Self::NonRoutable => "it leads nowhere on the internet: see policy.allow_non_routable",
            Self::TlpTooStrict => "the strictest TLP tag is stricter than policy.tlp_max",
            Self::TagExcluded => "a tag of attribute or event is in policy.tags_exclude",
            Self::TagMissing => "no published tag of attribute or event is in policy.tags_include",
            Self::OrgExcluded => {
                "policy.orgs_include or orgs_exclude keeps the creator organisation back"
            }
            Self::TypeExcluded => "policy.types_include or types_exclude keeps its type back",
            Self::CategoryExcluded => {
                "policy.categories_include or categories_exclude keeps its category back"
            }
            Self::ThreatLevel => "the event's threat level is not in policy.threat_levels",
            Self::Analysis => "the event's state of analysis is not in policy.analysis",
            Self::ViewUnknown => "nobody says who may see it: see policy.org_without_key",
            Self::Distribution => {
                "a distribution of attribute, object or event is not in policy.distributions"
            }
            Self::SharingGroup => {
                "a sharing group of attribute, object or event is not in policy.sharing_groups"
            }
            Self::Never => "the value is in policy.never",
            Self::Warninglist => "it is on one of MISP's warninglists: see policy.warninglists",
            Self::SharedHost => {
                "the host of the URL is on a warninglist that policy.shared_host_lists names"
            }
            Self::Decayed => "MISP's decaying models say that it is over: see misp.decay",
            Self::WarninglistsPending => {
                "it waits for MISP's warninglists, which were never read: see `status`"
            }
            Self::Expired => "valid_until has passed: see [expiry]",
        }
    }
}
