//! The table `tag_changes`: tags that frames put on or took off, by MISP's numbers. A frame may come before
//! the publication that it changes, and before the ledger knows the event or the attribute.

use std::collections::HashMap;

use crate::ledger::sql::{Result, Transaction, row, statements, values};
use crate::notice::TagChange;
use crate::pure::convert::{Since, TagFacts};

statements! {
    STORE(Text, Integer, Integer, Text, Boolean, Boolean, Integer) =
        "INSERT INTO tag_changes (source, event, attribute, tag, local, attached, heard_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (source, event, attribute, tag) DO UPDATE SET local = excluded.local,
             attached = excluded.attached, heard_at = excluded.heard_at";
    HEARD_SINCE(Text, Integer, Integer) =
        "SELECT attribute, tag, local, attached, heard_at FROM tag_changes
         WHERE source = $1 AND event = $2 AND heard_at >= $3 ORDER BY heard_at, tag";
    SETTLE(Text, Integer, Integer) =
        "DELETE FROM tag_changes WHERE source = $1 AND event = $2 AND heard_at < $3";
    FORGET_OLDER(Integer, Integer) = "DELETE FROM tag_changes
         WHERE (source, event, attribute, tag) IN
             (SELECT source, event, attribute, tag FROM tag_changes WHERE heard_at < $1 LIMIT $2)";
    // Several may have been heard in one millisecond: fewer may be left, and never more.
    KEEP_NEWEST(Integer) = "DELETE FROM tag_changes WHERE heard_at <=
         (SELECT heard_at FROM tag_changes ORDER BY heard_at DESC LIMIT 1 OFFSET $1)";
    NOT_AFTER(Integer) = "UPDATE tag_changes SET heard_at = $1 WHERE heard_at > $1";
}

/// The relay's clock may be this many seconds behind MISP's. Frames about tags have no time of MISP's, so the relay
/// compares its own.
pub(in crate::ledger) const CLOCKS: i64 = 120;

/// The number that stands for the event itself, in place of an attribute's.
pub(in crate::ledger) const EVENT: i64 = 0;

/// The last change to each tag of an event and of its attributes.
#[derive(Debug, Clone, Default)]
pub(in crate::ledger) struct TagChanges(HashMap<i64, Vec<HeardTag>>);

row! {
    #[derive(Debug, Clone)]
    struct HeardTag {
        attribute: i64,
        tag: String,
        local: bool,
        attached: bool,
        heard_at: i64,
    }
}

/// Stores a frame; `now` is when it was heard, Unix milliseconds.
pub(in crate::ledger) fn store(
    tx: &Transaction<'_>,
    source: &str,
    change: &TagChange,
    now: i64,
) -> Result<()> {
    let TagChange { event_id, attribute_id, tag, local, attached } = change;
    let attribute = attribute_id.unwrap_or(EVENT);
    tx.execute(&STORE, &values![source, event_id, attribute, tag, *local, *attached, now]).map(drop)
}

/// Returns the time (Unix milliseconds) from which on a frame may be newer than a snapshot that was `taken` then (Unix
/// seconds).
pub(in crate::ledger) fn reaching(taken: i64) -> i64 {
    taken.saturating_sub(CLOCKS).saturating_mul(1_000)
}

/// Returns the tag changes of event `number` that were heard since `since`, Unix milliseconds.
pub(in crate::ledger) fn since(
    tx: &Transaction<'_>,
    source: &str,
    number: i64,
    since: i64,
) -> Result<TagChanges> {
    let rows: Vec<HeardTag> = tx.rows(&HEARD_SINCE, &values![source, number, since])?;
    let mut changes: HashMap<i64, Vec<HeardTag>> = HashMap::new();
    for row in rows {
        changes.entry(row.attribute).or_default().push(row);
    }
    Ok(TagChanges(changes))
}

/// Forgets the frames that a read has settled, which `began` then (Unix milliseconds): the read shows their result.
pub(in crate::ledger) fn settle(
    tx: &Transaction<'_>,
    source: &str,
    number: i64,
    began: i64,
) -> Result<()> {
    let before = began.saturating_sub(CLOCKS * 1_000);
    tx.execute(&SETTLE, &values![source, number, before]).map(drop)
}

/// Forgets at most `most` frames that were heard before `before`, Unix milliseconds; returns how many.
pub(in crate::ledger) fn forget_older(
    tx: &Transaction<'_>,
    before: i64,
    most: i64,
) -> Result<usize> {
    tx.execute(&FORGET_OLDER, &values![before, most])
}

/// Forgets all but the newest `most` frames.
pub(in crate::ledger) fn keep_newest(tx: &Transaction<'_>, most: i64) -> Result<usize> {
    tx.execute(&KEEP_NEWEST, &values![most])
}

/// Sets stored times that are later than `now` to `now`: a clock that was ahead noted them.
pub(in crate::ledger) fn not_after(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOT_AFTER, &values![now]).map(drop)
}

impl TagChanges {
    /// Applies the changes of an attribute's tags (or of the [`EVENT`]'s) to the tags that a snapshot shows. Returns
    /// whether that changed anything.
    pub(in crate::ledger) fn apply(&self, attribute: i64, tags: &mut Vec<TagFacts>) -> bool {
        let mut changed = false;
        for heard in self.0.get(&attribute).into_iter().flatten() {
            changed |= heard.apply(tags);
        }
        changed
    }
}

impl HeardTag {
    fn apply(&self, tags: &mut Vec<TagFacts>) -> bool {
        let heard = self.heard_at / 1_000;
        match (self.attached, tags.iter_mut().find(|tag| tag.name == self.tag)) {
            (true, None) => tags.push(TagFacts {
                name: self.tag.clone(),
                local: self.local,
                since: Since::Attached,
                heard,
            }),
            // It stays among the tags: until the next publication it goes on forbidding, and permits no more.
            (false, Some(tag)) => (tag.since, tag.heard) = (Since::Detached, heard),
            (true, Some(_)) | (false, None) => return false,
        }
        true
    }
}
