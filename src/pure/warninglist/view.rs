//! Parses a whole warninglist from MISP's answer (`GET /warninglists/view/N`). It takes entry by entry, so
//! that the answer is never in memory as a whole.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufReader, Read};

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::head::{ListHead, ListKind};
use super::list::List;
use super::texts::Texts;

/// The answer is not the list that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not the warninglist that was asked for: {0}")]
pub struct NotAList(pub String);

#[derive(Deserialize)]
#[serde(expecting = "an object with Warninglist")]
struct Answer {
    #[serde(rename = "Warninglist")]
    list: ListFields,
}

#[derive(Deserialize)]
#[serde(expecting = "a warninglist")]
struct ListFields {
    #[serde(rename = "type")]
    kind: Option<ListKind>,
    #[serde(rename = "WarninglistEntry", deserialize_with = "entries")]
    entries: Texts,
    #[serde(rename = "WarninglistType")]
    types: Vec<Type>,
}

#[derive(Deserialize)]
struct Type {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with value")]
struct Entry {
    value: String,
}

/// Reads the list that the index announced as `head`. Only its entries are ever in memory.
///
/// # Errors
/// [`NotAList`]: the answer is another document, is not the list that the index announced, or ends too
/// early.
pub fn read_view(head: ListHead, answer: impl Read) -> Result<List, NotAList> {
    let read = serde_json::from_reader(BufReader::new(answer));
    let Answer { list } = read.map_err(|error| NotAList(error.to_string()))?;
    let types: BTreeSet<&str> = list.types.iter().map(|one| one.kind.as_str()).collect();
    let is_announced = list.kind.is_none_or(|kind| kind == head.kind)
        && types == head.types.iter().map(String::as_str).collect()
        && head.entries.is_none_or(|announced| announced == list.entries.len() as u64);
    if !is_announced {
        return Err(NotAList("it differs from the index, so it was changed meanwhile".to_owned()));
    }
    List::new(head, list.entries).map_err(NotAList)
}

fn entries<'de, D: Deserializer<'de>>(from: D) -> Result<Texts, D::Error> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Texts;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
            let mut texts = Texts::default();
            while let Some(Entry { value }) = list.next_element()? {
                texts.push(&value).map_err(A::Error::custom)?;
            }
            Ok(texts)
        }
    }

    from.deserialize_seq(Entries)
}
