//! Parses tags in both of MISP's spellings: `Tag[]` in publications, and `EventTag[].Tag` and
//! `AttributeTag[].Tag` in Kafka messages.

use std::borrow::Cow;

use serde::Deserialize;

use super::lenient::{Flag, Maybe, Text, TolerantList, WholeNumber};

/// A tag of an event or attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag<'a> {
    /// MISP's number; 0 where the document has none.
    pub id: i64,
    pub name: Cow<'a, str>,
    /// Put on by this MISP for itself; not shared with others.
    pub local: bool,
}

/// A list of tags in either spelling.
pub(super) type Tags<'a> = TolerantList<Maybe<TagRow<'a>>>;

/// A tag, or the row that joins one to its event or attribute.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct TagRow<'a> {
    /// Of the tag, or of the row that joins one.
    id: WholeNumber,
    #[serde(borrow)]
    name: Text<'a>,
    local: Flag,
    #[serde(borrow, rename = "Tag")]
    tag: Maybe<Joined<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Joined<'a> {
    id: WholeNumber,
    #[serde(borrow)]
    name: Text<'a>,
    local: Flag,
}

/// Adds the tags of `rows`; rows whose tag no longer exists are none.
pub(super) fn collect<'a>(rows: Tags<'a>, tags: &mut Vec<Tag<'a>>) {
    for row in rows.0.into_iter().filter_map(|Maybe(row)| row) {
        let joined = row.tag.0.unwrap_or_default();
        // Either place may say so, and a local tag must never leave.
        let local = row.local.0 || joined.local.0;
        let (Text(name), id) =
            if row.name.0.is_empty() { (joined.name, joined.id) } else { (row.name, row.id) };
        if !name.is_empty() {
            tags.push(Tag { id: id.or_zero(), name, local });
        }
    }
}
