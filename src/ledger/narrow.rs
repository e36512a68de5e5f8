//! Applies frames about edits of an audience (distribution, sharing group). Policy must allow both the published and
//! the edited audience until the next publication. A read completes what the frame does not say. MISP may send a
//! publication after the frame although its content is older than the edit: such a publication does not undo the edit.

use uuid::Uuid;

use super::change::Change;
use super::elsewhere;
use super::sql::{Result, SqlError, Transaction};
use super::tables::claims::{self, ClaimGroup};
use super::tables::events;
use super::tables::keys::EventKey;
use super::tables::tombstones::{self, Tombstone};
use super::tags::Affected;
use crate::notice::{AudienceShown, Subject};
use crate::pure::convert::{ClaimFacts, EventFacts};
use crate::pure::misp::Audience;

/// What a frame changed in one event.
#[derive(Debug)]
pub(super) struct Narrowed {
    /// The stored audience differs from that of the frame, so the event must be read.
    pub differs: bool,
    pub affected: Affected,
}

/// Applies what a frame says about one event.
pub(super) fn apply(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    shown: &AudienceShown,
    change: &mut Change<'_>,
) -> Result<Narrowed> {
    change.event = Some(event.event);
    let narrowed = match shown.what {
        Subject::Event(_) => apply_to_event(tx, event, shown)?,
        Subject::Object(uuid) => {
            apply_to_claims(tx, event, ClaimGroup::OfMispObject(uuid), shown, change)?
        }
        Subject::Attribute(uuid) => {
            apply_to_claims(tx, event, ClaimGroup::OfAttribute(uuid), shown, change)?
        }
    };
    if narrowed.affected != Affected::Nothing {
        events::touch(tx, event)?;
    }
    Ok(narrowed)
}

fn apply_to_event(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    shown: &AudienceShown,
) -> Result<Narrowed> {
    // The caller has looked whether the event is known.
    let stored = events::stored(tx, event)?.ok_or(SqlError::NoRow)?;
    let Some(mut facts) = stored.facts() else {
        return Ok(Narrowed { differs: false, affected: Affected::Nothing });
    };
    let differs = facts.audience() != shown.audience;
    if !differs || facts.timestamp > shown.timestamp {
        return Ok(Narrowed { differs, affected: Affected::Nothing });
    }
    // From here on both audiences count: the published one, and that of the frame. A frame names a sharing group by
    // its number alone.
    if facts.also.is_none() {
        facts.also = Some(facts.shared());
    }
    facts.sharing_group = None;
    facts.distribution = shown.audience.distribution;
    facts.sharing_group_id = shown.audience.sharing_group_id;
    facts.narrowed_at = shown.timestamp;
    events::store_facts(tx, event, &facts)?;
    Ok(Narrowed { differs, affected: Affected::Event })
}

fn apply_to_claims(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    group: ClaimGroup,
    shown: &AudienceShown,
    change: &Change<'_>,
) -> Result<Narrowed> {
    let (mut differs, mut objects, mut attributes) = (false, Vec::new(), Vec::new());
    for claim in claims::of_group(tx, event, group)? {
        let mut facts = claim.facts.read()?;
        let Some(before) = audience(&facts, group) else { continue };
        differs |= before != shown.audience;
        // The facts hold no time of the MISP object, so no edit of one is known to be older.
        let is_older =
            matches!(group, ClaimGroup::OfAttribute(_)) && facts.timestamp > shown.timestamp;
        if is_older || before == shown.audience {
            continue;
        }
        match group {
            ClaimGroup::OfAttribute(uuid) => {
                keep_out_older(tx, event.source, uuid, shown, change.opened_at)?;
            }
            ClaimGroup::OfMispObject(_) => {
                facts.narrowed_at = facts.narrowed_at.max(shown.timestamp);
            }
        }
        if !facts.below().any(|known| known == shown.audience) {
            facts.also.push(shown.audience);
        }
        claims::alter(tx, event.claim(claim.place), &facts)?;
        objects.push(claim.object);
        attributes.push(claim.place.attribute);
    }
    if objects.is_empty() {
        return Ok(Narrowed { differs, affected: Affected::Nothing });
    }
    let sources = change.sources(tx)?;
    objects.extend(elsewhere::objects_beside(tx, &sources, event.source, attributes.into_iter())?);
    Ok(Narrowed { differs, affected: Affected::Objects(objects) })
}

fn audience(facts: &ClaimFacts, group: ClaimGroup) -> Option<Audience> {
    match group {
        ClaimGroup::OfAttribute(_) => {
            Some(Audience::new(facts.distribution, facts.sharing_group_id))
        }
        ClaimGroup::OfMispObject(_) => {
            let object = facts.object.as_ref()?;
            Some(Audience::new(object.distribution, object.sharing_group_id))
        }
    }
}

/// Keeps snapshots from before the edit of an attribute or event from counting; the frame was heard at
/// `now`, Unix milliseconds.
pub(super) fn keep_out_older(
    tx: &Transaction<'_>,
    source: &str,
    edited: Uuid,
    shown: &AudienceShown,
    now: i64,
) -> Result<()> {
    // What the edit says comes with a snapshot of that very second.
    let last = shown.timestamp.saturating_sub(1);
    tombstones::bury(tx, source, &Tombstone::of_own(edited, last), now)
}

/// Whether an edit of this event was heard before the ledger knew it, and the publication is from
/// before that edit.
pub(super) fn is_outdated(tx: &Transaction<'_>, source: &str, facts: &EventFacts) -> Result<bool> {
    let heard = tombstones::of(tx, source, &[facts.uuid])?;
    Ok(heard.iter().any(|edit| facts.timestamp <= edit.timestamp))
}
