//! MISP's small messages, one struct per topic: what a change of an attribute, object, event, tag
//! or sighting says. Only fields that the relay acts on are named; all others may be anything.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use uuid::Uuid;

/// `misp_json_attribute`. A hard delete has no `Event` (recorded, MISP 2.5.1).
#[derive(Debug, Deserialize)]
pub struct AttributeMessage {
    #[serde(rename = "Attribute")]
    pub attribute: AttributeState,
    #[serde(rename = "Event", default, deserialize_with = "present")]
    pub event: Option<EventName>,
    #[serde(default)]
    pub action: String,
}

/// An attribute as MISP has it after the change.
#[derive(Debug, Deserialize)]
pub struct AttributeState {
    pub uuid: Uuid,
    #[serde(default)]
    pub event_id: Number,
    #[serde(default)]
    pub timestamp: Number,
    #[serde(rename = "type", default)]
    pub kind: Text,
    pub value: Option<Text>,
    #[serde(default)]
    pub value1: Text,
    #[serde(default)]
    pub value2: Text,
    /// Absent on nothing that was recorded.
    pub to_ids: Option<Flag>,
    #[serde(default)]
    pub deleted: Flag,
}

impl AttributeState {
    /// The value as MISP's events spell it: composites joined by `|`.
    #[must_use]
    pub fn value(self) -> String {
        match self.value {
            Some(value) => value.0,
            None if self.value2.0.is_empty() => self.value1.0,
            None => format!("{}|{}", self.value1.0, self.value2.0),
        }
    }
}

/// How a message names the event that it is about.
#[derive(Debug, Deserialize)]
pub struct EventName {
    pub id: Option<Number>,
    pub uuid: Option<Uuid>,
}

/// `misp_json_object`.
#[derive(Debug, Deserialize)]
pub struct ObjectMessage {
    #[serde(rename = "Object")]
    pub object: ObjectState,
    #[serde(rename = "Event", default, deserialize_with = "present")]
    pub event: Option<EventName>,
    #[serde(default)]
    pub action: String,
}

/// An object as MISP has it after the change.
#[derive(Debug, Deserialize)]
pub struct ObjectState {
    pub uuid: Uuid,
    #[serde(default)]
    pub event_id: Number,
    #[serde(default)]
    pub timestamp: Number,
    #[serde(default)]
    pub deleted: Flag,
}

/// `misp_json_event`.
#[derive(Debug, Deserialize)]
pub struct EventMessage {
    #[serde(rename = "Event")]
    pub event: EventState,
    #[serde(default)]
    pub action: String,
}

/// An event as MISP has it after the change.
#[derive(Debug, Deserialize)]
pub struct EventState {
    pub uuid: Uuid,
    #[serde(default)]
    pub timestamp: Number,
}

/// `misp_json_tag`: also sent when a tag is made or edited, without `event_id`.
#[derive(Debug, Deserialize)]
pub struct TagMessage {
    #[serde(rename = "Tag")]
    pub tag: TagState,
    #[serde(default)]
    pub action: String,
}

/// A tag, and what it was put on or taken off.
#[derive(Debug, Deserialize)]
pub struct TagState {
    #[serde(default)]
    pub name: Text,
    pub event_id: Option<Number>,
    pub attribute_id: Option<Number>,
    #[serde(default)]
    pub local: Flag,
}

/// `misp_json_sighting`.
#[derive(Debug, Deserialize)]
pub struct SightingMessage {
    #[serde(rename = "Sighting")]
    pub sighting: SightingState,
    #[serde(default)]
    pub action: String,
}

/// A sighting and what was seen.
#[derive(Debug, Deserialize)]
pub struct SightingState {
    /// 0 sighting, 1 false positive, 2 expiration.
    #[serde(rename = "type", default)]
    pub kind: Number,
    #[serde(default)]
    pub date_sighting: Number,
    #[serde(default)]
    pub event_id: Number,
    #[serde(rename = "Event", default, deserialize_with = "present")]
    pub event: Option<EventName>,
    #[serde(rename = "Attribute", default, deserialize_with = "present")]
    pub attribute: Option<AttributeName>,
}

/// How a sighting names its attribute.
#[derive(Debug, Deserialize)]
pub struct AttributeName {
    pub uuid: Uuid,
}

/// `misp_json_self`: the publisher's heartbeat, sent after 10 s without anything else.
#[derive(Debug, Deserialize)]
pub struct Heartbeat {
    /// Seconds since the publisher started.
    #[serde(default)]
    pub uptime: Number,
}

/// The uuid of the event in a publication, read from its head only: reading stops at the uuid, which
/// MISP writes before the attributes.
#[must_use]
pub fn event_uuid(document: &[u8]) -> Option<Uuid> {
    let found = Cell::new(None);
    // The reading is ended by an error once the uuid is found, so its result says nothing.
    drop(serde_json::Deserializer::from_slice(document).deserialize_map(Head { found: &found }));
    found.get()
}

/// Descends into `Event`, stops at `uuid`.
struct Head<'a> {
    found: &'a Cell<Option<Uuid>>,
}

impl<'de> Visitor<'de> for Head<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a MISP event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&str>()? {
            match key {
                "Event" => map.next_value_seed(Head { found: self.found })?,
                "uuid" => {
                    self.found.set(Some(map.next_value()?));
                    return Err(A::Error::custom("found"));
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl<'de> de::DeserializeSeed<'de> for Head<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// A whole number, which MISP writes as a string or as a number; null and the empty string are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Number(pub i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar).and_then(|scalar: Piece| match scalar {
            Piece::Number(number) => Ok(Self(number)),
            Piece::Flag(flag) => Ok(Self(i64::from(flag))),
            Piece::Nothing => Ok(Self(0)),
            Piece::Text(text) if text.is_empty() => Ok(Self(0)),
            Piece::Text(text) => text
                .parse()
                .map(Self)
                .map_err(|_| D::Error::custom(format_args!("{text:?} is no whole number"))),
        })
    }
}

/// A yes or no, which MISP writes as a boolean, `"0"` and `"1"`, or 0 and 1; null is no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar).and_then(|scalar: Piece| match scalar {
            Piece::Flag(flag) => Ok(Self(flag)),
            Piece::Number(number) => Ok(Self(number != 0)),
            Piece::Nothing => Ok(Self(false)),
            Piece::Text(text) => match text.as_str() {
                "" | "0" | "false" => Ok(Self(false)),
                "1" | "true" => Ok(Self(true)),
                _ => Err(D::Error::custom(format_args!("{text:?} is neither yes nor no"))),
            },
        })
    }
}

/// A text, which MISP writes as a string, or as a number where it looks like one; null is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar).map(|scalar: Piece| match scalar {
            Piece::Text(text) => Self(text),
            Piece::Number(number) => Self(number.to_string()),
            Piece::Flag(flag) => Self(flag.to_string()),
            Piece::Nothing => Self::default(),
        })
    }
}

enum Piece {
    Text(String),
    Number(i64),
    Flag(bool),
    Nothing,
}

struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = Piece;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, number, boolean or null")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Piece, E> {
        Ok(Piece::Text(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Piece, E> {
        Ok(Piece::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Piece, E> {
        i64::try_from(number).map(Piece::Number).map_err(E::custom)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Piece, E> {
        Ok(Piece::Flag(flag))
    }

    fn visit_unit<E: Error>(self) -> Result<Piece, E> {
        Ok(Piece::Nothing)
    }
}

/// An object, or `None` for null and for the empty list that PHP writes for an empty map.
fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(Present(PhantomData))
}

struct Present<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Present<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, null or []")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<T>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_flags_come_in_every_spelling() {
        for (json, number, flag) in [
            ("1", 1, true),
            ("\"1\"", 1, true),
            ("true", 1, true),
            ("0", 0, false),
            ("\"0\"", 0, false),
            ("false", 0, false),
            ("null", 0, false),
            ("\"\"", 0, false),
        ] {
            assert_eq!(serde_json::from_str::<Number>(json).unwrap(), Number(number), "{json}");
            assert_eq!(serde_json::from_str::<Flag>(json).unwrap(), Flag(flag), "{json}");
        }
        assert!(serde_json::from_str::<Number>("\"seven\"").is_err());
        assert!(serde_json::from_str::<Flag>("\"perhaps\"").is_err());
    }

    #[test]
    fn the_uuid_of_a_publication_is_read_from_its_head() {
        let uuid = "62724408-1cb5-4198-8ceb-3e542ad28bcd";
        let broken_later =
            format!(r#"{{"Event":{{"id":"1","info":"a \"b\"","uuid":"{uuid}","Attribute":[{{"#);
        assert_eq!(event_uuid(broken_later.as_bytes()), Some(uuid.parse().unwrap()));
        let beside =
            format!(r#"{{"response":[],"Event":{{"Org":{{"uuid":"x"}},"uuid":"{uuid}"}}}}"#);
        assert_eq!(event_uuid(beside.as_bytes()), Some(uuid.parse().unwrap()));
        for without in ["{}", "[]", "", r#"{"Event":{"uuid":7}}"#, r#"{"Event":[]}"#] {
            assert_eq!(event_uuid(without.as_bytes()), None, "{without}");
        }
    }

    #[test]
    fn a_value_missing_is_joined_from_its_parts() {
        let json = r#"{"uuid":"62724408-1cb5-4198-8ceb-3e542ad28bcd","value1":"a.example","value2":"192.0.2.1"}"#;
        let state: AttributeState = serde_json::from_str(json).unwrap();
        assert_eq!(state.value(), "a.example|192.0.2.1");
    }
}
