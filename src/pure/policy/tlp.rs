//! The levels of the Traffic Light Protocol, under their 2.0 names. `marks` tells which tag means which
//! level, and `judge` compares it with `policy.tlp_max`.

use serde::{Deserialize, Serialize};

/// In order of strictness.
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
    Deserialize,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Tlp {
    Clear,
    Green,
    Amber,
    #[serde(rename = "amber+strict")]
    #[strum(serialize = "amber+strict")]
    AmberStrict,
    Red,
}

impl Tlp {
    /// All of them, from the mildest to the strictest.
    pub const ALL: [Self; 5] =
        [Self::Clear, Self::Green, Self::Amber, Self::AmberStrict, Self::Red];

    /// The TLP 2.0 name.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Its place in the order of strictness, from 0.
    pub fn rank(self) -> i16 {
        self as i16
    }

    /// The level with this rank. What no level has is as strict as the strictest.
    pub fn of_rank(rank: i16) -> Self {
        let place = usize::try_from(rank).ok();
        place.and_then(|place| Self::ALL.get(place)).copied().unwrap_or(Self::Red)
    }

    /// Reads a TLP 1 or 2.0 name in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("white") {
            return Some(Self::Clear);
        }
        Self::ALL.into_iter().find(|tlp| name.eq_ignore_ascii_case(tlp.name()))
    }
}

/// What counts if no tag is a marking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Untagged {
    Counts(Tlp),
    /// It is judged as clear, and sent without a marking.
    Unmarked,
}

impl Untagged {
    /// The level by which it is judged.
    pub fn judged(self) -> Tlp {
        self.marked().unwrap_or(Tlp::Clear)
    }

    /// The level with which it is sent. `None`: it is sent without a marking.
    pub fn marked(self) -> Option<Tlp> {
        match self {
            Self::Counts(tlp) => Some(tlp),
            Self::Unmarked => None,
        }
    }
}
