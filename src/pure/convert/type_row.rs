//! The types that make up a row of the table in `table`: what an attribute type claims, or the reason why it
//! claims nothing. It also lists MISP's attribute categories.

use std::borrow::Cow;

use super::kind::ValueKind;
use super::skipped::Reason;

/// An attribute type of MISP, and what its attributes claim.
#[derive(Debug, Clone, Copy)]
pub struct TypeRow {
    /// As MISP spells it.
    pub name: &'static str,
    /// A note for operators. It may be empty.
    pub note: &'static str,
    /// What its attributes claim, or why they claim nothing.
    pub(super) claimed: Result<Claimed, Reason>,
}

/// What attributes of a type claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claimed {
    pub(super) shape: Shape,
    /// Whether the claims count if `[convert.types]` does not name the type.
    pub(super) on: bool,
    pub(super) trust: Fidelity,
}

/// How well the observable expresses the meaning of MISP's attribute, and whether Sentinel's logs can show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Fidelity {
    /// The same meaning, and Sentinel's built-in rules compare it.
    High,
    /// The same meaning, but only an operator's own queries compare it.
    Medium,
    /// Less than the attribute means, a name that STIX's vocabulary lacks, or a value that logs do not show.
    Low,
}

impl Fidelity {
    /// The word in documentation.
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// The part of an attribute's value that makes claims. Most composites are split at the last `|`, because file names
/// may hold a `|`, and hashes, ports and addresses never do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Whole(ValueKind),
    /// The whole value is a STIX pattern.
    Pattern,
    /// The half before the last `|`.
    Before(ValueKind),
    /// The half before the first `|`.
    BeforeFirst(ValueKind),
    /// Both: part 0 and part 1.
    Both(ValueKind, ValueKind),
    /// The half after the last `|` is part 0. The half before it is part 1 if it is valid, and has a switch of its own.
    Named(ValueKind, ValueKind),
}

impl Shape {
    fn paths(self) -> Vec<&'static str> {
        match self {
            Self::Pattern => vec!["stix"],
            Self::Whole(kind) | Self::Before(kind) | Self::BeforeFirst(kind) => kind.paths(),
            Self::Both(first, second) | Self::Named(first, second) => {
                let mut paths = first.paths();
                for path in second.paths() {
                    if !paths.contains(&path) {
                        paths.push(path);
                    }
                }
                paths
            }
        }
    }
}

impl TypeRow {
    /// What its attributes claim.
    ///
    /// # Errors
    /// Why they claim nothing.
    pub(super) fn shape(&self) -> Result<Shape, Reason> {
        self.claimed.map(|claimed| claimed.shape)
    }

    /// The object paths of its claims, part 0 first; the language where it claims a rule. Empty
    /// where it claims nothing.
    pub fn paths(&self) -> Vec<&'static str> {
        self.shape().map_or_else(|_| Vec::new(), Shape::paths)
    }

    /// Why it claims nothing; `None` where it does.
    pub fn skipped(&self) -> Option<Reason> {
        self.claimed.err()
    }

    /// Whether its claims count if `[convert.types]` does not name it.
    pub fn is_on(&self) -> bool {
        self.claimed.is_ok_and(|claimed| claimed.on)
    }

    /// `None` where it claims nothing.
    pub fn trust(&self) -> Option<Fidelity> {
        self.claimed.ok().map(|claimed| claimed.trust)
    }
}

/// MISP's attribute categories.
pub fn categories() -> &'static [&'static str] {
    CATEGORIES
}

/// As `describeTypes` lists them.
static CATEGORIES: &[&str] = &[
    "Network activity",
    "Payload delivery",
    "External analysis",
    "Artifacts dropped",
    "Payload installation",
    "Antivirus detection",
    "Persistence mechanism",
    "Attribution",
    "Financial fraud",
    "Support Tool",
    "Social network",
    "Person",
    "Payload type",
    "Targeting data",
    "Internal reference",
    "Other",
];

/// MISP's own categories cost no allocation.
pub(super) fn category(name: &str) -> Cow<'static, str> {
    match CATEGORIES.iter().find(|known| **known == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.to_owned()),
    }
}
