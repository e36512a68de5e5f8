//! What MISP shows to others than before, as a frame tells: until a publication says which counts, both
//! audiences must allow it, and a read tells the rest. MISP may have read a publication before the edit
//! and send it after the frame: such a publication undoes nothing.

use uuid::Uuid;

use super::change::Change;
use super::claims;
use super::sql::{Result, SqlError, Transaction, statements, values};
use super::tags::Affected;
use super::wanted::{decode, encode};
use super::withdraw::{Tombstone, Which, bury, tombstones, touch};
use crate::notice::{AudienceShown, Subject};
use crate::pure::convert::{ClaimFacts, EventFacts};
use crate::pure::misp::Audience;

statements! {
    EVENT_FACTS(Text, Bytes) = "SELECT facts FROM events WHERE source = $1 AND event = $2";
    STORE_EVENT_FACTS(Text, Text, Bytes) =
        "UPDATE events SET facts = $1 WHERE source = $2 AND event = $3";
    OF_ATTRIBUTE(Text, Bytes, Bytes) =
        "SELECT attribute, part, object, facts FROM claims
         WHERE source = $1 AND event = $2 AND attribute = $3";
    OF_MISP_OBJECT(Text, Bytes, Bytes) =
        "SELECT attribute, part, object, facts FROM claims
         WHERE source = $1 AND event = $2 AND misp_object = $3";
}

/// What a frame comes to in one event.
#[derive(Debug)]
pub(super) struct Narrowed {
    /// What is stored says something else: a read has to tell.
    pub differs: bool,
    pub affected: Affected,
}

/// Takes in what a frame says of one event.
pub(super) fn apply(
    tx: &Transaction<'_>,
    event: (&str, Uuid),
    shown: &AudienceShown,
    change: &mut Change<'_>,
) -> Result<Narrowed> {
    change.event = Some(event.1);
    match shown.what {
        Subject::Event(_) => apply_to_event(tx, event, shown),
        Subject::Object(uuid) => apply_to_claims(tx, event, Which::Object(uuid), shown, change),
        Subject::Attribute(uuid) => {
            apply_to_claims(tx, event, Which::Attribute(uuid), shown, change)
        }
    }
}

fn apply_to_event(
    tx: &Transaction<'_>,
    event: (&str, Uuid),
    shown: &AudienceShown,
) -> Result<Narrowed> {
    let facts: Option<String> = tx.row(&EVENT_FACTS, &values![event.0, event.1])?;
    let facts = facts.ok_or(SqlError::NoRow)?;
    // An event that was deleted before the ledger knew it has no facts.
    let Ok(mut facts) = decode::<EventFacts>(&facts) else {
        return Ok(Narrowed { differs: false, affected: Affected::Nothing });
    };
    let before = facts.audience();
    let differs = before != shown.audience;
    if !differs || facts.timestamp > shown.timestamp {
        return Ok(Narrowed { differs, affected: Affected::Nothing });
    }
    // What it was published for; a frame names a sharing group by its number alone.
    if facts.also.is_none() {
        facts.also = Some(facts.shared());
    }
    facts.sharing_group = None;
    facts.distribution = shown.audience.distribution;
    facts.sharing_group_id = shown.audience.sharing_group_id;
    facts.narrowed_at = shown.timestamp;
    tx.execute(&STORE_EVENT_FACTS, &values![&encode(&facts)?, event.0, event.1])?;
    touch(tx, event)?;
    Ok(Narrowed { differs, affected: Affected::Event })
}

fn apply_to_claims(
    tx: &Transaction<'_>,
    event: (&str, Uuid),
    which: Which,
    shown: &AudienceShown,
    change: &Change<'_>,
) -> Result<Narrowed> {
    let (statement, uuid) = match which {
        Which::Attribute(uuid) => (&OF_ATTRIBUTE, uuid),
        Which::Object(uuid) => (&OF_MISP_OBJECT, uuid),
    };
    let rows: Vec<(Uuid, i16, Uuid, String)> =
        tx.rows(statement, &values![event.0, event.1, uuid])?;
    let (mut differs, mut objects) = (false, Vec::new());
    for (attribute, part, object, facts) in rows {
        let mut facts: ClaimFacts = decode(&facts)?;
        let Some(before) = audience(&facts, which) else { continue };
        differs |= before != shown.audience;
        // Facts hold no time of their object's.
        let is_older = matches!(which, Which::Attribute(_)) && facts.timestamp > shown.timestamp;
        if is_older || before == shown.audience {
            continue;
        }
        match which {
            Which::Attribute(uuid) => keep_out_older(tx, event.0, (uuid, shown), change)?,
            Which::Object(_) => facts.narrowed_at = facts.narrowed_at.max(shown.timestamp),
        }
        if !facts.below().any(|known| known == shown.audience) {
            facts.also.push(shown.audience);
        }
        claims::alter(tx, event, (attribute, part), &facts)?;
        objects.push(object);
    }
    if objects.is_empty() {
        return Ok(Narrowed { differs, affected: Affected::Nothing });
    }
    touch(tx, event)?;
    Ok(Narrowed { differs, affected: Affected::Objects(objects) })
}

fn audience(facts: &ClaimFacts, which: Which) -> Option<Audience> {
    match which {
        Which::Attribute(_) => Some(Audience::new(facts.distribution, facts.sharing_group_id)),
        Which::Object(_) => {
            let object = facts.object.as_ref()?;
            Some(Audience::new(object.distribution, object.sharing_group_id))
        }
    }
}

/// Keeps snapshots from before the edit of an attribute or event from counting.
pub(super) fn keep_out_older(
    tx: &Transaction<'_>,
    source: &str,
    (uuid, shown): (Uuid, &AudienceShown),
    change: &Change<'_>,
) -> Result<()> {
    // What the edit says comes with a snapshot of that very second.
    let last = shown.timestamp.saturating_sub(1);
    bury(tx, source, &Tombstone::of(uuid, last), change.opened_at)
}

/// Whether an edit of this event was heard before the ledger knew it, and the publication is from
/// before that edit.
pub(super) fn is_outdated(tx: &Transaction<'_>, source: &str, facts: &EventFacts) -> Result<bool> {
    let heard = tombstones(tx, source, &[facts.uuid])?;
    Ok(heard.values().any(|edit| facts.timestamp <= edit.timestamp))
}
