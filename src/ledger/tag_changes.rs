//! Tags that frames put on or took off, remembered by MISP's numbers: a frame may come before the
//! publication that it changes, and before the ledger knows the event or the attribute.

use std::collections::HashMap;

use super::sql::{Result, Transaction, row, statements, values};
use super::tags::CLOCKS;
use crate::notice::TagChange;
use crate::pure::convert::{Since, TagFacts};

statements! {
    REMEMBER(Text, Integer, Integer, Text, Boolean, Boolean, Integer) =
        "INSERT INTO tag_changes (source, event, attribute, tag, local, attached, heard_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (source, event, attribute, tag) DO UPDATE SET local = excluded.local,
             attached = excluded.attached, heard_at = excluded.heard_at";
    NOT_BEFORE(Text, Integer, Integer) =
        "SELECT attribute, tag, local, attached, heard_at FROM tag_changes
         WHERE source = $1 AND event = $2 AND heard_at >= $3 ORDER BY heard_at, tag";
    FORGET(Text, Integer, Integer) =
        "DELETE FROM tag_changes WHERE source = $1 AND event = $2 AND heard_at < $3";
}

/// Stands for the event itself, where attributes have their numbers.
pub(super) const EVENT: i64 = 0;

/// The last word on each tag of an event and of its attributes.
#[derive(Debug, Clone, Default)]
pub(super) struct TagChanges(HashMap<i64, Vec<Heard>>);

row! {
    #[derive(Debug, Clone)]
    struct Heard {
        attribute: i64,
        tag: String,
        local: bool,
        attached: bool,
        heard_at: i64,
    }
}

/// Remembers a frame; `now` is when it was heard, Unix milliseconds.
pub(super) fn remember(
    tx: &Transaction<'_>,
    source: &str,
    change: &TagChange,
    now: i64,
) -> Result<()> {
    let TagChange { event_id, attribute_id, tag, local, attached } = change;
    let attribute = attribute_id.unwrap_or(EVENT);
    tx.execute(&REMEMBER, &values![source, event_id, attribute, tag, *local, *attached, now])?;
    Ok(())
}

/// What was heard of the tags of event `number`, except what is certainly older than a snapshot that
/// was `taken` then (Unix seconds).
pub(super) fn not_before(
    tx: &Transaction<'_>,
    source: &str,
    number: i64,
    taken: i64,
) -> Result<TagChanges> {
    let since = taken.saturating_sub(CLOCKS).saturating_mul(1_000);
    let rows: Vec<Heard> = tx.rows(&NOT_BEFORE, &values![source, number, since])?;
    let mut changes: HashMap<i64, Vec<Heard>> = HashMap::new();
    for row in rows {
        changes.entry(row.attribute).or_default().push(row);
    }
    Ok(TagChanges(changes))
}

/// A read that `began` then (Unix milliseconds) tells what came of the frames from before it.
pub(super) fn forget(tx: &Transaction<'_>, source: &str, number: i64, began: i64) -> Result<()> {
    tx.execute(&FORGET, &values![source, number, began.saturating_sub(CLOCKS * 1_000)])?;
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
