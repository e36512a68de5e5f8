//! The facts about a claim that do not come from its publication: whether an operator suppressed it, false
//! positives that were reported, MISP's warninglists and decaying models.

use crate::pure::misp::Decay;

/// What the relay knows of a claim besides its publication. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SideFacts {
    /// An operator withholds its observable.
    pub suppressed: bool,
    /// Sightings of its attribute as a false positive.
    pub false_positives: u32,
    /// Whether this attribute, or another one that claims the same observable, is marked as a false positive.
    pub disputed: bool,
    pub warned: Warned,
    /// What MISP's decaying models said of its attribute at the last read.
    pub decay: Option<Decay>,
}

/// What MISP's warninglists say of a claim's attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warned {
    /// They are not loaded yet.
    Pending,
    On(OnLists),
}

/// The warninglists that a claim is on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnLists {
    /// The lists that match its attribute, as MISP matches it.
    pub attribute: Vec<ListOfSource>,
    /// The lists that have the exact host of its URL as an entry.
    pub host: Vec<ListOfSource>,
    /// Whether more than one source has lists.
    pub are_of_several: bool,
}

/// A warninglist of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOfSource {
    pub source: String,
    pub name: String,
}

impl Default for Warned {
    fn default() -> Self {
        Self::On(OnLists::default())
    }
}
