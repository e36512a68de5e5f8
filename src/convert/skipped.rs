//! Why an attribute makes no claim, or a claim no indicator: data, never an error.

use serde::{Serialize, Serializer};

/// The reason, as metrics, logs and `convert` spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Conversion: no observable of ours for this attribute type.
    UnsupportedType,
    /// Conversion: the value is not what the type says.
    InvalidValue,
    /// Conversion: soft-deleted.
    Deleted,
    /// Conversion: the attribute's JSON cannot be read.
    Malformed,
    /// Policy, from here on.
    ToIdsOff,
    TlpTooStrict,
    TagExcluded,
    TagMissing,
    OrgExcluded,
    TypeExcluded,
    CategoryExcluded,
    ThreatLevel,
    Analysis,
    Distribution,
    Never,
    /// `valid_until` has passed.
    Expired,
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl Reason {
    /// The word in metrics, logs and `convert`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::UnsupportedType => "unsupported_type",
            Self::InvalidValue => "invalid_value",
            Self::Deleted => "deleted",
            Self::Malformed => "malformed",
            Self::ToIdsOff => "to_ids_off",
            Self::TlpTooStrict => "tlp_too_strict",
            Self::TagExcluded => "tag_excluded",
            Self::TagMissing => "tag_missing",
            Self::OrgExcluded => "org_excluded",
            Self::TypeExcluded => "type_excluded",
            Self::CategoryExcluded => "category_excluded",
            Self::ThreatLevel => "threat_level",
            Self::Analysis => "analysis",
            Self::Distribution => "distribution",
            Self::Never => "never",
            Self::Expired => "expired",
        }
    }
}
