//! The Traffic Light Protocol: MISP's tags in, 2.0 names out.

use serde::{Deserialize, Serialize};

use crate::convert::Tag;

/// In order of strictness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tlp {
    #[serde(rename = "clear")]
    Clear,
    #[serde(rename = "green")]
    Green,
    #[serde(rename = "amber")]
    Amber,
    #[serde(rename = "amber+strict")]
    AmberStrict,
    #[serde(rename = "red")]
    Red,
}

impl Tlp {
    /// All of them, from the mildest to the strictest.
    pub const ALL: [Self; 5] =
        [Self::Clear, Self::Green, Self::Amber, Self::AmberStrict, Self::Red];

    /// The TLP 2.0 name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Green => "green",
            Self::Amber => "amber",
            Self::AmberStrict => "amber+strict",
            Self::Red => "red",
        }
    }

    /// Reads a TLP 1 or 2.0 name in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("white") {
            return Some(Self::Clear);
        }
        Self::ALL.into_iter().find(|tlp| name.eq_ignore_ascii_case(tlp.name()))
    }

    /// What a tag says; `None` if it is no `tlp:` tag. An unknown one counts as red, so that a
    /// misspelt restriction restricts.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        let (taxonomy, name) = tag.split_once(':')?;
        if !taxonomy.trim().eq_ignore_ascii_case("tlp") {
            return None;
        }
        Some(Self::from_name(name.trim().trim_matches('"')).unwrap_or(Self::Red))
    }

    /// The strictest of the tags of event and attribute, in whatever state; `untagged` without any.
    #[must_use]
    pub fn strictest<'a>(tags: impl IntoIterator<Item = &'a Tag>, untagged: Self) -> Self {
        tags.into_iter().filter_map(|tag| Self::from_tag(&tag.name)).max().unwrap_or(untagged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_versions_are_read_in_any_case() {
        assert_eq!(Tlp::from_tag("tlp:white"), Some(Tlp::Clear));
        assert_eq!(Tlp::from_tag("TLP:Clear"), Some(Tlp::Clear));
        assert_eq!(Tlp::from_tag("tlp:AMBER+STRICT"), Some(Tlp::AmberStrict));
        assert_eq!(Tlp::from_tag("tlp:\"green\""), Some(Tlp::Green));
        assert_eq!(Tlp::from_tag("type:OSINT"), None);
    }

    #[test]
    fn an_unknown_tlp_tag_is_red() {
        assert_eq!(Tlp::from_tag("tlp:ambre"), Some(Tlp::Red));
        assert_eq!(Tlp::from_tag("tlp:"), Some(Tlp::Red));
    }
}
