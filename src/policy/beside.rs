//! What is known of a claim beside its publication.

/// What is known of a claim beside what was published of it. The default: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beside {}
