//! Recognises indicators that this relay made although the ledger does not know them: their id is the one
//! that the relay derives from their observable.

use std::borrow::Cow;

use serde_json::Value;
use uuid::Uuid;

use crate::pure::stix::{Observable, relationship_id};

/// The most generations that are tried. A higher one would need an observable that was revoked more often.
const GENERATIONS: i16 = 50;

/// An indicator of this relay, as its id shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    pub observable: Observable,
    /// The key of its claims, which is the id of generation 0.
    pub key: Uuid,
    pub generation: i16,
}

impl Ours {
    /// Recognises an indicator. `None`: `namespace` does not give this id to the object's observable.
    pub fn of(object: &Value, id: Uuid, namespace: &Uuid) -> Option<Self> {
        let observable = observable(object)?;
        let key = observable.id(namespace);
        let is_id = |generation: &i16| match generation {
            0 => key == id,
            generation => observable.successor(namespace, *generation) == id,
        };
        let generation = (0..=GENERATIONS).find(is_id)?;
        Some(Self { observable, key, generation })
    }
}

/// Whether this relay gives this id to a relationship with these ends.
pub fn is_own_relationship(object: &Value, id: Uuid, namespace: &Uuid) -> bool {
    let text = |member: &str| object.get(member).and_then(Value::as_str);
    let (Some(source), Some(target)) = (text("source_ref"), text("target_ref")) else {
        return false;
    };
    let mut ids =
        (0..=GENERATIONS).map(|number| relationship_id(namespace, source, target, number));
    ids.any(|own| own == id)
}

/// Reads the observable of an indicator of ours, whose pattern is one comparison or a rule of another language.
/// `None`: the pattern is not one that this relay writes.
pub fn observable(object: &Value) -> Option<Observable> {
    let pattern = object.get("pattern")?.as_str()?;
    let language = object.get("pattern_type").and_then(Value::as_str).unwrap_or("stix");
    if language != "stix" {
        return Some(Observable {
            path: Cow::Owned(language.to_owned()),
            value: pattern.to_owned(),
        });
    }
    let (path, value) = pattern.strip_prefix('[')?.strip_suffix(']')?.split_once(" = ")?;
    let value = match value.strip_prefix('\'') {
        Some(literal) => unescaped(literal.strip_suffix('\'')?)?,
        None => value.to_owned(),
    };
    let observable = Observable { path: Cow::Owned(path.to_owned()), value };
    // If this relay would spell the pattern differently, somebody else wrote it.
    (observable.pattern() == pattern).then_some(observable)
}

/// Returns the value of a string literal, in which a backslash stands before a quote or a backslash.
fn unescaped(literal: &str) -> Option<String> {
    let mut value = String::with_capacity(literal.len());
    let mut characters = literal.chars();
    while let Some(character) = characters.next() {
        value.push(if character == '\\' { characters.next()? } else { character });
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAMESPACE: Uuid = Uuid::from_u128(7);

    fn ours(observable: &Observable, id: Uuid) -> Option<Ours> {
        let object = json!({
            "pattern": observable.pattern(),
            "pattern_type": observable.pattern_type(),
        });
        Ours::of(&object, id, &NAMESPACE)
    }

    #[test]
    fn ids_of_every_generation_are_known_again() {
        for (path, value) in [
            ("url:value", r"http://x/'quoted' \ and ] = '"),
            ("file:hashes.'SHA-256'", "ab"),
            ("autonomous-system:number", "64496"),
            ("yara", "rule x { condition: true }"),
        ] {
            let observable = Observable::new(path, value);
            let key = observable.id(&NAMESPACE);
            for generation in [0, 1, 9] {
                let id = match generation {
                    0 => key,
                    n => observable.successor(&NAMESPACE, n),
                };
                let expected = Ours { observable: observable.clone(), key, generation };
                assert_eq!(ours(&observable, id), Some(expected), "{path}");
            }
            assert_eq!(ours(&observable, Uuid::from_u128(1)), None);
        }
    }

    #[test]
    fn patterns_of_others_are_nobodys() {
        for pattern in [
            "",
            "[a:b = 'c",
            "[a:b='c']",
            "[a:b = 'c\\']",
            "[a:b = 'c' AND d:e = 'f']",
            "[a:b LIKE 'c']",
        ] {
            assert_eq!(observable(&json!({"pattern": pattern})), None, "{pattern}");
        }
    }
}
