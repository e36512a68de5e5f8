//! Names what becomes of the snapshots of events, for the metrics.

use crate::metrics;

/// What became of a snapshot of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum EventOutcome {
    Applied,
    Unchanged,
    /// Older than what was applied.
    Stale,
    /// Of an event that was deleted.
    Deleted,
    /// It cannot be read.
    Refused,
    /// It came over REST.
    Read,
    /// Something newer came before it was applied.
    Overtaken,
}

impl EventOutcome {
    /// The word in the metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    pub(super) fn count(self) {
        metrics::event_read(self.word());
    }
}
