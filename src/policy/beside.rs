//! What is known of a claim beside its publication.

/// What is known of a claim beside what was published of it. The default: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beside {
    /// An operator withholds its observable.
    pub suppressed: bool,
    /// Sightings of its attribute as a false positive.
    pub false_positives: u32,
    /// An attribute that claims its observable, this one or another, is marked as a false positive.
    pub disputed: bool,
}
