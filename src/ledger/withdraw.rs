//! Ends the claims that MISP takes back. It finds them by uuid, never by value. A tombstone keeps an older snapshot
//! from bringing them back. `merge` then finds the objects that have no claim left, and `refresh` withdraws these
//! objects.

use std::iter;

use uuid::Uuid;

use super::change::Change;
use super::refresh::refresh_with_copies;
use super::sql::{Result, Transaction};
use super::tables::claims::{self, ClaimGroup, EventClaim, STEP};
use super::tables::keys::{ClaimKey, ClaimPlace, EventCursor, EventKey};
use super::tables::reads::{self, Asking};
use super::tables::tombstones::{self, Tombstone};
use super::tables::{events, held};
use crate::pure::convert::ClaimFacts;

/// What became of a withdrawal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Withdrawn {
    /// Claims that ended.
    Claims(usize),
    /// It looks older than the claim: only a REST read of the event can tell, which is noted.
    Older,
}

/// A withdrawal, made ready for the ledger.
#[derive(Debug)]
pub(super) struct Ending {
    pub group: ClaimGroup,
    /// MISP's, of the withdrawal, Unix seconds.
    pub timestamp: i64,
    /// Of an edited attribute: the observables that it still claims.
    pub keep: Option<Vec<Uuid>>,
    /// See [`Tombstone`].
    pub ids_only: bool,
    /// MISP passes the withdrawal on to no other MISP, so it ends this source's copy alone.
    pub for_good: bool,
    /// For people.
    pub why: &'static str,
}

impl Ending {
    /// Keeps older snapshots from claiming it (again). What an edit says comes with a snapshot of that
    /// very second.
    fn tombstone(&self) -> Tombstone {
        let (ClaimGroup::OfAttribute(uuid) | ClaimGroup::OfMispObject(uuid)) = self.group;
        let timestamp = self.timestamp.saturating_sub(i64::from(self.keep.is_some()));
        // An edit that leaves something claimed takes nothing of it back.
        let is_edit = self.keep.as_ref().is_some_and(|keep| !keep.is_empty());
        let tombstone = match is_edit || self.for_good {
            true => Tombstone::of_own(uuid, timestamp),
            false => Tombstone::of(uuid, timestamp),
        };
        Tombstone { ids_only: self.ids_only, ..tombstone }
    }

    fn keeps(&self, object: Uuid) -> bool {
        self.keep.as_ref().is_some_and(|keep| keep.contains(&object))
    }
}

/// Buries what a withdrawal names: it may be on its way in a snapshot from before, which must not bring it back.
pub(super) fn remember(
    tx: &Transaction<'_>,
    source: &str,
    withdrawal: &Ending,
    change: &mut Change<'_>,
) -> Result<()> {
    let mut tombstone = withdrawal.tombstone();
    if withdrawal.for_good {
        tombstone = replacing(tx, source, tombstone)?;
    }
    tombstones::bury(tx, source, &tombstone, change.opened_at)?;
    refresh_with_copies(tx, source, Vec::new(), iter::once(tombstone.attribute), change)
}

/// What an attribute said is gone with it: ends its other tombstones, which outdate copies in other sources. Returns the
/// tombstone, which keeps out what they kept out of their own source.
fn replacing(tx: &Transaction<'_>, source: &str, tombstone: Tombstone) -> Result<Tombstone> {
    let earlier = tombstones::of(tx, source, &[tombstone.attribute])?;
    tombstones::end(tx, source, &earlier)?;
    let latest = earlier.iter().map(|one| one.timestamp).max();
    Ok(Tombstone { timestamp: tombstone.timestamp.max(latest.unwrap_or_default()), ..tombstone })
}

/// Ends the claims of an attribute or object in one event, except those that are kept.
pub(super) fn withdraw(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    withdrawal: &Ending,
    change: &mut Change<'_>,
) -> Result<Withdrawn> {
    let Ending { timestamp, ids_only, for_good, .. } = *withdrawal;
    let mut ending = claims::of_group(tx, event, withdrawal.group)?;
    ending.retain(|claim| !withdrawal.keeps(claim.object));
    // One of the two frames may have come late, or a clock of MISP's stepped: only MISP can tell which counts.
    if ending.iter().any(|claim| claim.timestamp > timestamp) {
        reads::ask(tx, event, Asking::at_once(change.opened_at), change.opened_at)?;
        return Ok(Withdrawn::Older);
    }
    // An edited attribute may still claim some observables: only the others get a tombstone each.
    let is_whole = withdrawal.keep.as_ref().is_none_or(Vec::is_empty);
    let mut over = Vec::with_capacity(ending.len());
    for claim in &ending {
        let attribute = claim.place.attribute;
        let tombstone = if for_good {
            replacing(tx, event.source, Tombstone::of_own(attribute, timestamp))?
        } else {
            let object = if is_whole { Uuid::nil() } else { claim.object };
            Tombstone { object, ids_only, ..Tombstone::of(attribute, timestamp) }
        };
        tombstones::bury(tx, event.source, &tombstone, change.opened_at)?;
        if !(ids_only && goes_on_disputing(tx, event.claim(claim.place), claim, change)?) {
            over.push(claim.place);
        }
    }
    if !ending.is_empty() {
        claims::delete(tx, event, &over)?;
        held::forget_gone(tx, event)?;
        // The ledger no longer holds what the snapshot said, so the same snapshot counts as news.
        events::touch(tx, event)?;
    }
    let objects = ending.iter().map(|claim| claim.object).collect();
    let attributes = ending.iter().map(|claim| claim.place.attribute);
    refresh_with_copies(tx, event.source, objects, attributes, change)?;
    Ok(Withdrawn::Claims(ending.len()))
}

/// A claim that marks its value as a false positive goes on doing so without `to_ids`, until MISP shows
/// the attribute otherwise: switching `to_ids` off is what people do next. Whether it is such a claim.
fn goes_on_disputing(
    tx: &Transaction<'_>,
    key: ClaimKey<'_>,
    claim: &EventClaim,
    change: &Change<'_>,
) -> Result<bool> {
    let Ok(facts) = claim.facts.read() else { return Ok(false) };
    if !change.views.iter().any(|view| view.judge.disputes(&facts)) {
        return Ok(false);
    }
    claims::alter(tx, key, &ClaimFacts { to_ids: false, ..facts })?;
    Ok(true)
}

/// Ends at most [`STEP`] claims of a deleted event; whether there may be more.
pub(super) fn end_claims(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    change: &mut Change<'_>,
) -> Result<bool> {
    let going = claims::after(tx, event, EventCursor::BEGINNING)?;
    let places: Vec<ClaimPlace> = going.iter().map(|claim| claim.at.place).collect();
    claims::delete(tx, event, &places)?;
    held::forget_gone(tx, event)?;
    let objects = going.iter().map(|claim| claim.object).collect();
    refresh_with_copies(tx, event.source, objects, places.iter().map(|at| at.attribute), change)?;
    // A full step may have been the last; then the next one finds nothing.
    Ok(going.len() >= STEP)
}
