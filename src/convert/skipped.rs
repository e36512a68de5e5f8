//! Why an attribute makes no claim, or a claim no indicator: data, never an error.

use serde::Serialize;

/// The reason, as metrics, logs and `convert` spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
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
