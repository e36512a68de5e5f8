//! The tables of the ledger. Each has a file that owns every statement on it and offers functions for them;
//! nobody else has SQL. A statement that reads several tables stands with the one whose rows it returns or
//! changes. What joins tables for reading alone has a file with the name of what it reads: [`pending`],
//! [`standings`], [`invariants`] and [`dump`]. [`of_source`] deletes what all of them hold of a source.

pub(super) mod alert_cursors;
pub(super) mod announced;
pub(super) mod claims;
pub(super) mod counters;
pub(super) mod cursors;
pub(super) mod decay;
pub(super) mod delivered;
pub(super) mod dump;
pub(super) mod event_tags;
pub(super) mod events;
pub(super) mod gaps;
pub(super) mod held;
pub(super) mod hits;
pub(super) mod inferred;
pub(super) mod invariants;
pub(super) mod keys;
pub(super) mod of_source;
pub(super) mod own_sightings;
pub(super) mod packed;
pub(super) mod pending;
pub(super) mod queue;
pub(super) mod reads;
#[cfg(test)]
mod registry;
pub(super) mod settings;
mod shortened;
pub(super) mod sightings;
pub(super) mod standings;
pub(super) mod suppressed;
pub(super) mod tag_changes;
pub(super) mod targets;
pub(super) mod tombstones;
pub(super) mod wanted;
