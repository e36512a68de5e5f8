//! Parses a whole warninglist from MISP's answer (`GET /warninglists/view/N`). It takes entry by entry, so
//! that the answer is never in memory as a whole.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::head::{ListHead, ListKind};
use super::list::{Builder, List};

/// The answer is not the list that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no warninglist, or another: {0}")]
pub struct NotAList(pub String);

/// Reads the list that the index announced as `head`. Only its entries are ever in memory.
///
/// # Errors
/// [`NotAList`]: another document, a list of another kind than the index said, or an answer that
/// ends too early.
pub fn read_view(head: ListHead, answer: impl Read) -> Result<List, NotAList> {
    let (kind, announced) = (head.kind, head.entries);
    let expected: BTreeSet<String> = head.types.iter().cloned().collect();
    let mut builder = Builder::new(head);
    let mut reader = serde_json::Deserializer::from_reader(std::io::BufReader::new(answer));
    let seen = In("Warninglist", ListFields { kind, builder: &mut builder })
        .deserialize(&mut reader)
        .map_err(|error| NotAList(error.to_string()))?;
    reader.end().map_err(|error| NotAList(error.to_string()))?;
    let Some(ListParts { entries: Some(entries), types: Some(types) }) = seen else {
        return Err(NotAList("it has no entries or no types".to_owned()));
    };
    if types != expected || announced.is_some_and(|announced| announced != entries) {
        return Err(NotAList("the index says otherwise: it was changed meanwhile".to_owned()));
    }
    builder.finish().map_err(NotAList)
}

/// An object in which one field is read.
struct In<S>(&'static str, S);

/// The object `Warninglist`.
struct ListFields<'a> {
    kind: ListKind,
    builder: &'a mut Builder,
}

#[derive(Debug, Default)]
struct ListParts {
    entries: Option<u64>,
    types: Option<BTreeSet<String>>,
}

#[derive(Deserialize)]
struct Type {
    #[serde(rename = "type")]
    kind: String,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for In<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for In<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with {}", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut seed, mut found) = (Some(self.1), None);
        while let Some(name) = map.next_key::<String>()? {
            match seed.take_if(|_| name == self.0) {
                Some(seed) => found = Some(map.next_value_seed(seed)?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

impl<'de> DeserializeSeed<'de> for ListFields<'_> {
    type Value = ListParts;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ListFields<'_> {
    type Value = ListParts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a warninglist")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut seen = ListParts::default();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "type" => {
                    let kind = map.next_value::<String>()?;
                    if kind.parse() != Ok(self.kind) {
                        return Err(serde::de::Error::custom("its type is not the index's"));
                    }
                }
                "WarninglistEntry" => {
                    seen.entries = Some(map.next_value_seed(Entries(&mut *self.builder))?);
                }
                "WarninglistType" => {
                    let types = map.next_value::<Vec<Type>>()?;
                    seen.types = Some(types.into_iter().map(|one| one.kind).collect());
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(seen)
    }
}

struct Entries<'a>(&'a mut Builder);

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    /// How many.
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<u64, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<u64, A::Error> {
        let mut count = 0;
        while list.next_element_seed(In("value", EntryText(&mut *self.0)))?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

/// An entry's text, which goes into the builder without a copy of its own.
struct EntryText<'a>(&'a mut Builder);

impl<'de> DeserializeSeed<'de> for EntryText<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for EntryText<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry's text")
    }

    fn visit_str<E>(self, entry: &str) -> Result<(), E> {
        self.0.push(entry);
        Ok(())
    }
}
