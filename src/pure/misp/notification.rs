//! Parses MISP's small messages about changes (such as of an attribute, object, tag or sighting), with one
//! struct per topic. It reads only the fields that the relay acts on; all other fields may hold anything.

use serde::Deserialize;
use uuid::Uuid;

use super::lenient::{flag, maybe, number, optional_number, text};

/// `misp_json_attribute`. A hard delete has no `Event` (recorded, MISP 2.5.1).
#[derive(Debug, Deserialize)]
pub struct AttributeMessage {
    #[serde(rename = "Attribute")]
    pub attribute: AttributeState,
    #[serde(rename = "Event", default, deserialize_with = "maybe")]
    pub event: Option<EventName>,
    #[serde(default, deserialize_with = "text")]
    pub action: String,
}

/// An attribute as MISP has it after the change.
#[derive(Debug, Deserialize)]
pub struct AttributeState {
    pub uuid: Uuid,
    #[serde(default, deserialize_with = "number")]
    pub event_id: i64,
    #[serde(default, deserialize_with = "number")]
    pub timestamp: i64,
    #[serde(rename = "type", default, deserialize_with = "text")]
    pub kind: String,
    #[serde(default, deserialize_with = "text")]
    pub value: String,
    #[serde(default, deserialize_with = "text")]
    pub value1: String,
    #[serde(default, deserialize_with = "text")]
    pub value2: String,
    /// 0 to 5; `None`: the frame does not tell.
    #[serde(default, deserialize_with = "optional_number")]
    pub distribution: Option<i64>,
    #[serde(default, deserialize_with = "number")]
    pub sharing_group_id: i64,
    /// Absent on nothing that was recorded; where it is, nothing was switched off.
    #[serde(default = "on", deserialize_with = "flag")]
    pub to_ids: bool,
    #[serde(default, deserialize_with = "flag")]
    pub deleted: bool,
}

impl AttributeState {
    /// The value as MISP's events spell it: composites joined by `|`.
    pub fn value(self) -> String {
        if !self.value.is_empty() {
            return self.value;
        }
        if self.value2.is_empty() {
            self.value1
        } else {
            format!("{}|{}", self.value1, self.value2)
        }
    }
}

fn on() -> bool {
    true
}

/// How a message names the event that it is about.
#[derive(Debug, Deserialize)]
pub struct EventName {
    #[serde(default, deserialize_with = "optional_number")]
    pub id: Option<i64>,
    pub uuid: Option<Uuid>,
}

/// `misp_json_object`.
#[derive(Debug, Deserialize)]
pub struct ObjectMessage {
    #[serde(rename = "Object")]
    pub object: ObjectState,
    #[serde(rename = "Event", default, deserialize_with = "maybe")]
    pub event: Option<EventName>,
    #[serde(default, deserialize_with = "text")]
    pub action: String,
}

/// An object as MISP has it after the change.
#[derive(Debug, Deserialize)]
pub struct ObjectState {
    pub uuid: Uuid,
    #[serde(default, deserialize_with = "number")]
    pub event_id: i64,
    #[serde(default, deserialize_with = "number")]
    pub timestamp: i64,
    /// 0 to 5; `None`: the frame does not tell.
    #[serde(default, deserialize_with = "optional_number")]
    pub distribution: Option<i64>,
    #[serde(default, deserialize_with = "number")]
    pub sharing_group_id: i64,
    #[serde(default, deserialize_with = "flag")]
    pub deleted: bool,
}

/// `misp_json_event`.
#[derive(Debug, Deserialize)]
pub struct EventMessage {
    #[serde(rename = "Event")]
    pub event: EventSaid,
    #[serde(default, deserialize_with = "text")]
    pub action: String,
}

/// What an event's message says of the event.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum EventSaid {
    State(EventState),
    /// A pull from another server names it by its uuid (MISP 2.5.1).
    Named(String),
    /// Versions that pull by number give the number that the event has on the other server, which is
    /// that of any event here.
    Numbered(i64),
}

impl EventSaid {
    /// The uuid of an event that was pulled from another server.
    pub fn pulled(&self) -> Option<Uuid> {
        match self {
            Self::Named(name) => Uuid::try_parse(name).ok(),
            Self::State(_) | Self::Numbered(_) => None,
        }
    }
}

/// An event as MISP has it after the change.
#[derive(Debug, Deserialize)]
pub struct EventState {
    pub uuid: Uuid,
    #[serde(default, deserialize_with = "number")]
    pub timestamp: i64,
    /// 0 to 4; `None`: the frame does not tell.
    #[serde(default, deserialize_with = "optional_number")]
    pub distribution: Option<i64>,
    #[serde(default, deserialize_with = "number")]
    pub sharing_group_id: i64,
}

/// `misp_json_tag`: also sent when a tag is made or edited, without `event_id`.
#[derive(Debug, Deserialize)]
pub struct TagMessage {
    #[serde(rename = "Tag")]
    pub tag: TagState,
    #[serde(default, deserialize_with = "text")]
    pub action: String,
}

/// A tag, and what it was put on or taken off.
#[derive(Debug, Deserialize)]
pub struct TagState {
    /// MISP's number of it.
    #[serde(default, deserialize_with = "number")]
    pub id: i64,
    #[serde(default, deserialize_with = "text")]
    pub name: String,
    #[serde(default, deserialize_with = "optional_number")]
    pub event_id: Option<i64>,
    #[serde(default, deserialize_with = "optional_number")]
    pub attribute_id: Option<i64>,
    #[serde(default, deserialize_with = "flag")]
    pub local: bool,
}

/// `misp_json_sighting`.
#[derive(Debug, Deserialize)]
pub struct SightingMessage {
    #[serde(rename = "Sighting")]
    pub sighting: SightingState,
    #[serde(default, deserialize_with = "text")]
    pub action: String,
}

/// A sighting and what was seen.
#[derive(Debug, Deserialize)]
pub struct SightingState {
    /// 0 sighting, 1 false positive, 2 expiration.
    #[serde(rename = "type", default, deserialize_with = "number")]
    pub kind: i64,
    /// MISP's number of it.
    #[serde(default, deserialize_with = "number")]
    pub id: i64,
    #[serde(default, deserialize_with = "text")]
    pub uuid: String,
    /// When it was seen; of an expiration, the date.
    #[serde(default, deserialize_with = "number")]
    pub date_sighting: i64,
    #[serde(default, deserialize_with = "number")]
    pub event_id: i64,
    #[serde(rename = "Event", default, deserialize_with = "maybe")]
    pub event: Option<EventName>,
    #[serde(rename = "Attribute", default, deserialize_with = "maybe")]
    pub attribute: Option<AttributeName>,
}

/// How a sighting names its attribute.
#[derive(Debug, Deserialize)]
pub struct AttributeName {
    pub uuid: Uuid,
    #[serde(rename = "type", default, deserialize_with = "text")]
    pub kind: String,
    #[serde(default, deserialize_with = "text")]
    pub value: String,
}

/// `misp_json_warninglist`: a list without its entries.
#[derive(Debug, Deserialize)]
pub struct WarninglistMessage {
    #[serde(rename = "Warninglist", default, deserialize_with = "maybe")]
    list: Option<WarninglistState>,
}

#[derive(Debug, Deserialize)]
struct WarninglistState {
    #[serde(default, deserialize_with = "number")]
    id: i64,
}

impl WarninglistMessage {
    /// MISP's number of the list, where it tells it.
    pub fn id(&self) -> Option<u64> {
        u64::try_from(self.list.as_ref()?.id).ok().filter(|id| *id != 0)
    }
}

/// `misp_json_self`: the publisher's heartbeat, sent after 10 s without anything else.
#[derive(Debug, Deserialize)]
pub struct Heartbeat {
    /// Seconds since the publisher started.
    #[serde(default, deserialize_with = "number")]
    pub uptime: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "62724408-1cb5-4198-8ceb-3e542ad28bcd";

    fn attribute(fields: &str) -> AttributeState {
        serde_json::from_str(&format!(r#"{{"uuid":"{UUID}"{fields}}}"#)).unwrap()
    }

    #[test]
    fn a_value_missing_is_joined_from_its_parts() {
        let both = r#","value1":"a.example","value2":"192.0.2.1""#;
        assert_eq!(attribute(both).value(), "a.example|192.0.2.1");
        assert_eq!(attribute(r#","value1":"a.example","value2":"""#).value(), "a.example");
        assert_eq!(attribute(&format!(r#"{both},"value":"b.example""#)).value(), "b.example");
    }

    #[test]
    fn what_an_attributes_message_does_not_tell_was_not_switched_off() {
        let state = attribute("");
        assert!(state.to_ids && !state.deleted);
        assert_eq!(state.distribution, None);
        let state = attribute(r#","to_ids":"0","deleted":"1","distribution":"0""#);
        assert!(!state.to_ids && state.deleted);
        assert_eq!(state.distribution, Some(0));
    }

    /// A frame that MISP 2.5.1 sent.
    #[test]
    fn a_warninglists_message_tells_its_number() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/zmq");
        let frame =
            std::fs::read(format!("{folder}/000038_misp_json_warninglist_edit.bin")).unwrap();
        let json = frame.strip_prefix(b"misp_json_warninglist ").unwrap();
        let id = |json: &[u8]| serde_json::from_slice::<WarninglistMessage>(json).unwrap().id();
        assert_eq!(id(json), Some(10));
        for none in ["{}", r#"{"Warninglist":[]}"#, r#"{"Warninglist":{"id":"0"}}"#] {
            assert_eq!(id(none.as_bytes()), None, "{none}");
        }
    }
}
