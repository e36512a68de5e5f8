//! Tags that frames put on or took off, remembered by MISP's numbers: a frame may come before the
//! publication that it changes, and before the ledger knows the event or the attribute.

use std::collections::HashMap;

use super::Writing;
use super::tags::CLOCKS;
use crate::notice::TagChange;
use crate::pure::convert::{Since, TagFacts};

/// Stands for the event itself, where attributes have their numbers.
pub(super) const EVENT: i64 = 0;

/// The last word on each tag of an event and of its attributes.
#[derive(Debug, Default)]
pub(super) struct TagChanges(HashMap<i64, Vec<Heard>>);

#[derive(Debug, sqlx::FromRow)]
struct Heard {
    attribute: i64,
    tag: String,
    local: bool,
    attached: bool,
    heard_at: i64,
}

/// Remembers a frame; `now` is when it was heard, Unix milliseconds.
pub(super) async fn remember(
    tx: &mut Writing,
    source: &str,
    change: &TagChange,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO tag_changes (source, event, attribute, tag, local, attached, heard_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (source, event, attribute, tag) DO UPDATE SET local = excluded.local,
             attached = excluded.attached, heard_at = excluded.heard_at",
    )
    .bind(source)
    .bind(change.event_id)
    .bind(change.attribute_id.unwrap_or(EVENT))
    .bind(&change.tag)
    .bind(change.local)
    .bind(change.attached)
    .bind(now)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What was heard of the tags of event `number`, except what is certainly older than a snapshot that
/// was `taken` then (Unix seconds).
pub(super) async fn not_before(
    tx: &mut Writing,
    source: &str,
    number: i64,
    taken: i64,
) -> sqlx::Result<TagChanges> {
    let since = taken.saturating_sub(CLOCKS).saturating_mul(1_000);
    let rows: Vec<Heard> = sqlx::query_as(
        "SELECT attribute, tag, local, attached, heard_at FROM tag_changes
         WHERE source = $1 AND event = $2 AND heard_at >= $3 ORDER BY heard_at, tag",
    )
    .bind(source)
    .bind(number)
    .bind(since)
    .fetch_all(&mut **tx)
    .await?;
    let mut changes: HashMap<i64, Vec<Heard>> = HashMap::new();
    for row in rows {
        changes.entry(row.attribute).or_default().push(row);
    }
    Ok(TagChanges(changes))
}

/// A read that `began` then (Unix milliseconds) tells what came of the frames from before it.
pub(super) async fn forget(
    tx: &mut Writing,
    source: &str,
    number: i64,
    began: i64,
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM tag_changes WHERE source = $1 AND event = $2 AND heard_at < $3")
        .bind(source)
        .bind(number)
        .bind(began.saturating_sub(CLOCKS * 1_000))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl TagChanges {
    /// Applies what was heard of an attribute (or of the [`EVENT`]) to the tags that a snapshot shows
    /// of it. Whether that changed anything.
    pub(super) fn apply(&self, attribute: i64, tags: &mut Vec<TagFacts>) -> bool {
        let mut changed = false;
        for heard in self.0.get(&attribute).into_iter().flatten() {
            changed |= heard.apply(tags);
        }
        changed
    }
}

impl Heard {
    fn apply(&self, tags: &mut Vec<TagFacts>) -> bool {
        let heard = self.heard_at / 1_000;
        match (self.attached, tags.iter_mut().find(|tag| tag.name == self.tag)) {
            (true, None) => tags.push(TagFacts {
                name: self.tag.clone(),
                local: self.local,
                since: Since::Attached,
                heard,
            }),
            (false, Some(tag)) => (tag.since, tag.heard) = (Since::Detached, heard),
            (true, Some(_)) | (false, None) => return false,
        }
        true
    }
}
