//! What MISP shows to others than before, as a frame tells: until a publication says which counts, both
//! audiences must allow it, and a read tells the rest. MISP may have read a publication before the edit
//! and send it after the frame: such a publication undoes nothing.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::change::Change;
use super::tags::Affected;
use super::wanted::{decode, encode};
use super::withdraw::{Tombstone, Which, bury, column, tombstones, touch};
use super::{Writing, claims};
use crate::notice::{AudienceShown, Subject};
use crate::pure::convert::{ClaimFacts, EventFacts};
use crate::pure::misp::Audience;

/// What a frame comes to in one event.
#[derive(Debug)]
pub(super) struct Narrowed {
    /// What is stored says something else: a read has to tell.
    pub differs: bool,
    pub affected: Affected,
}

/// Takes in what a frame says of one event.
pub(super) async fn apply(
    tx: &mut Writing,
    event: (&str, Uuid),
    shown: &AudienceShown,
    change: &mut Change<'_>,
) -> sqlx::Result<Narrowed> {
    change.event = Some(event.1);
    match shown.what {
        Subject::Event(_) => apply_to_event(tx, event, shown).await,
        Subject::Object(uuid) => {
            apply_to_claims(tx, event, Which::Object(uuid), shown, change).await
        }
        Subject::Attribute(uuid) => {
            apply_to_claims(tx, event, Which::Attribute(uuid), shown, change).await
        }
    }
}

async fn apply_to_event(
    tx: &mut Writing,
    event: (&str, Uuid),
    shown: &AudienceShown,
) -> sqlx::Result<Narrowed> {
    let facts: String =
        sqlx::query_scalar("SELECT facts FROM events WHERE source = $1 AND event = $2")
            .bind(event.0)
            .bind(event.1)
            .fetch_one(&mut **tx)
            .await?;
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
    sqlx::query("UPDATE events SET facts = $1 WHERE source = $2 AND event = $3")
        .bind(encode(&facts)?)
        .bind(event.0)
        .bind(event.1)
        .execute(&mut **tx)
        .await?;
    touch(tx, event).await?;
    Ok(Narrowed { differs, affected: Affected::Event })
}

async fn apply_to_claims(
    tx: &mut Writing,
    event: (&str, Uuid),
    which: Which,
    shown: &AudienceShown,
    change: &Change<'_>,
) -> sqlx::Result<Narrowed> {
    let (column, uuid) = column(which);
    let rows: Vec<(Uuid, i16, Uuid, String)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT attribute, part, object, facts FROM claims
         WHERE source = $1 AND event = $2 AND {column} = $3"
    )))
    .bind(event.0)
    .bind(event.1)
    .bind(uuid)
    .fetch_all(&mut **tx)
    .await?;
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
            Which::Attribute(uuid) => keep_out_older(tx, event.0, (uuid, shown), change).await?,
            Which::Object(_) => facts.narrowed_at = facts.narrowed_at.max(shown.timestamp),
        }
        if !facts.below().any(|known| known == shown.audience) {
            facts.also.push(shown.audience);
        }
        claims::alter(tx, event, (attribute, part), &facts).await?;
        objects.push(object);
    }
    if objects.is_empty() {
        return Ok(Narrowed { differs, affected: Affected::Nothing });
    }
    touch(tx, event).await?;
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
pub(super) async fn keep_out_older(
    tx: &mut Writing,
    source: &str,
    (uuid, shown): (Uuid, &AudienceShown),
    change: &Change<'_>,
) -> sqlx::Result<()> {
    // What the edit says comes with a snapshot of that very second.
    let last = shown.timestamp.saturating_sub(1);
    bury(tx, source, &Tombstone::of(uuid, last), change.opened_at).await
}

/// Whether an edit of this event was heard before the ledger knew it, and the publication is from
/// before that edit.
pub(super) async fn is_outdated(
    tx: &mut Writing,
    source: &str,
    facts: &EventFacts,
) -> sqlx::Result<bool> {
    let heard = tombstones(tx, source, &[facts.uuid]).await?;
    Ok(heard.values().any(|edit| facts.timestamp <= edit.timestamp))
}
