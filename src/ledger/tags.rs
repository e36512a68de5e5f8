//! What changes a claim without a publication: tags put on and taken off, expiration sightings.

use uuid::Uuid;

use super::Writing;
use super::apply::STEP;
use super::wanted::{Change, decode, encode, refresh};
use super::withdraw::touch;
use crate::convert::{ClaimFacts, EventFacts, Since, Tag};
use crate::notice::TagChange;

/// What is to be merged anew after a tag changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Affected {
    Nothing,
    Objects(Vec<Uuid>),
    /// All that the event claims.
    Event,
}

/// Records a tag put on or taken off. It forbids at once and permits only by the next publication,
/// which the policy sees to.
pub(super) async fn apply(
    tx: &mut Writing,
    event: (&str, Uuid),
    tag: &TagChange,
) -> sqlx::Result<Affected> {
    match tag.attribute_id {
        None => apply_to_event(tx, event, tag).await,
        Some(attribute_id) => apply_to_attribute(tx, event, attribute_id, tag).await,
    }
}

async fn apply_to_event(
    tx: &mut Writing,
    event: (&str, Uuid),
    tag: &TagChange,
) -> sqlx::Result<Affected> {
    let facts: String =
        sqlx::query_scalar("SELECT facts FROM events WHERE source = $1 AND event = $2")
            .bind(event.0)
            .bind(event.1)
            .fetch_one(&mut **tx)
            .await?;
    let Ok(mut facts) = decode::<EventFacts>(&facts) else { return Ok(Affected::Nothing) };
    if !change_tags(&mut facts.tags, tag) {
        return Ok(Affected::Nothing);
    }
    sqlx::query("UPDATE events SET facts = $1 WHERE source = $2 AND event = $3")
        .bind(encode(&facts)?)
        .bind(event.0)
        .bind(event.1)
        .execute(&mut **tx)
        .await?;
    touch(tx, event).await?;
    Ok(Affected::Event)
}

async fn apply_to_attribute(
    tx: &mut Writing,
    event: (&str, Uuid),
    attribute_id: i64,
    tag: &TagChange,
) -> sqlx::Result<Affected> {
    let rows: Vec<(Uuid, i16, Uuid, String)> = sqlx::query_as(
        "SELECT attribute, part, object, facts FROM claims
         WHERE source = $1 AND event = $2 AND attribute_id = $3",
    )
    .bind(event.0)
    .bind(event.1)
    .bind(attribute_id)
    .fetch_all(&mut **tx)
    .await?;
    let mut objects = Vec::new();
    for (attribute, part, object, facts) in rows {
        let mut facts: ClaimFacts = decode(&facts)?;
        if !change_tags(&mut facts.tags, tag) {
            continue;
        }
        // No digest: the next publication writes the claim whatever it says.
        sqlx::query(
            "UPDATE claims SET facts = $1, digest = 0
             WHERE source = $2 AND event = $3 AND attribute = $4 AND part = $5",
        )
        .bind(encode(&facts)?)
        .bind(event.0)
        .bind(event.1)
        .bind(attribute)
        .bind(part)
        .execute(&mut **tx)
        .await?;
        objects.push(object);
    }
    if objects.is_empty() {
        return Ok(Affected::Nothing);
    }
    touch(tx, event).await?;
    Ok(Affected::Objects(objects))
}

/// Whether anything changed.
fn change_tags(tags: &mut Vec<Tag>, change: &TagChange) -> bool {
    let since = if change.attached { Since::Attached } else { Since::Detached };
    let Some(tag) = tags.iter_mut().find(|tag| tag.name == change.tag) else {
        if change.attached {
            tags.push(Tag { name: change.tag.clone(), local: change.local, since });
        }
        return change.attached;
    };
    let same = tag.since == since || (change.attached && tag.since == Since::Published);
    if !same {
        tag.since = since;
    }
    !same
}

/// Merges anew at most [`STEP`] of the event's claims, from `after` on in the order of their
/// attributes; returns where to go on, `None` at the end.
pub(super) async fn refresh_event(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    after: Option<Uuid>,
    change: &mut Change<'_>,
) -> sqlx::Result<Option<Uuid>> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "SELECT attribute, object FROM claims
         WHERE source = $1 AND event = $2 AND attribute > $3 ORDER BY attribute, part LIMIT $4",
    )
    .bind(source)
    .bind(event)
    .bind(after.unwrap_or(Uuid::nil()))
    .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
    .fetch_all(&mut **tx)
    .await?;
    let mut objects: Vec<Uuid> = rows.iter().map(|(_, object)| *object).collect();
    objects.sort_unstable();
    objects.dedup();
    refresh(tx, &objects, change).await?;
    let last = rows.last().map(|(attribute, _)| *attribute);
    Ok(last.filter(|_| rows.len() == STEP))
}

/// An expiration sighting ends the claims of an attribute at `at`, Unix milliseconds; it is kept
/// across publications.
pub(super) async fn expire(
    tx: &mut Writing,
    event: (&str, Uuid),
    attribute: Uuid,
    at: i64,
    change: &mut Change<'_>,
) -> sqlx::Result<usize> {
    let objects: Vec<Uuid> = sqlx::query_scalar(
        "UPDATE claims SET expires_at = $1
         WHERE source = $2 AND event = $3 AND attribute = $4 RETURNING object",
    )
    .bind(at)
    .bind(event.0)
    .bind(event.1)
    .bind(attribute)
    .fetch_all(&mut **tx)
    .await?;
    if !objects.is_empty() {
        touch(tx, event).await?;
    }
    refresh(tx, &objects, change).await?;
    Ok(objects.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(tag: &str, attached: bool) -> TagChange {
        TagChange { event_id: 1, attribute_id: None, tag: tag.into(), local: false, attached }
    }

    #[test]
    fn a_tag_remembers_where_it_stands_against_the_publication() {
        let mut tags = vec![Tag { name: "a:b".into(), ..Tag::default() }];
        assert!(!change_tags(&mut tags, &change("a:b", true)), "already published");
        assert!(change_tags(&mut tags, &change("a:b", false)));
        assert_eq!(tags[0].since, Since::Detached);
        assert!(change_tags(&mut tags, &change("tlp:red", true)));
        assert_eq!(tags[1].since, Since::Attached);
        assert!(!change_tags(&mut tags, &change("c:d", false)), "was never on");
    }
}
