//! Lets go of what a source said of attributes that are gone from it for good, so that their copies in other sources
//! count again.

use std::collections::HashSet;

use uuid::Uuid;

use super::change::Change;
use super::refresh::refresh_with_copies;
use super::sql::{Result, Transaction};
use super::tables::claims;
use super::tables::keys::EventKey;
use super::tables::tombstones;

/// Forgets what a source withdrew, before `before` (Unix milliseconds), of attributes of an event that other sources
/// show too and that are `gone` here: without them the source says nothing, and the copies count again.
pub(super) fn let_go(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    gone: impl Fn(&Uuid) -> bool,
    before: i64,
    change: &mut Change<'_>,
) -> Result<()> {
    let sources = change.sources(tx)?;
    let mut attributes = HashSet::new();
    for other in sources.others(event.source) {
        let copies = claims::attributes_of(tx, EventKey::new(other, event.event))?;
        attributes.extend(copies.into_iter().filter(&gone));
    }
    let attributes: Vec<Uuid> = attributes.into_iter().collect();
    let mut buried = tombstones::of(tx, event.source, &attributes)?;
    buried.retain(|tombstone| tombstone.withdrawn_at < before);
    if buried.is_empty() {
        return Ok(());
    }
    tombstones::end(tx, event.source, &buried)?;
    let attributes = buried.iter().map(|tombstone| tombstone.attribute);
    refresh_with_copies(tx, event.source, Vec::new(), attributes, change)
}

#[cfg(test)]
mod tests;
