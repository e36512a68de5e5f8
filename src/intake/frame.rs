//! Parses one ZeroMQ frame (`topic SPACE json`) into a notice for the ledger, or into a heartbeat. Pure.

use axum::body::Bytes;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use crate::notice::{
    AudienceShown, Cause, EventRef, ReportedSighting, Subject, TagChange, What, Withdrawal,
};
use crate::pure::misp::notification::{
    AttributeMessage, EventMessage, EventName, EventSaid, Heartbeat, ObjectMessage,
    SightingMessage, TagMessage, WarninglistMessage,
};
use crate::pure::misp::{Audience, Sighting, SightingKind};

/// The topic of publications.
pub const PUBLICATION: &str = "misp_json";

/// A frame of MISP's ZeroMQ publisher, `topic SPACE json`.
#[derive(Debug)]
pub struct Frame<'f> {
    pub topic: &'f str,
    json: Bytes,
}

/// The content of a frame. Every frame also shows that its publisher is alive.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// Something that the ledger must know.
    Notice(What),
    /// Seconds since the publisher started.
    Heartbeat(i64),
    /// Nothing that the relay acts on.
    Nothing,
}

/// The reason why a frame cannot be read.
#[derive(Debug, Error)]
pub enum MalformedFrame {
    #[error("it has no space between topic and JSON")]
    NoTopic,
    #[error("its topic is not UTF-8")]
    TopicNotText,
    #[error("a publication is a JSON object, this is not")]
    NotAnObject,
    #[error("its JSON cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it names no {0}")]
    Missing(&'static str),
    #[error("the relay failed at reading it: this is a fault of the relay, please report it")]
    Failed,
}

/// Returns the topic of a frame: the text before the first space.
///
/// # Errors
/// [`MalformedFrame`] where there is no space, or no UTF-8 before it.
pub fn topic(frame: &[u8]) -> Result<&str, MalformedFrame> {
    let end = frame.iter().position(|byte| *byte == b' ').ok_or(MalformedFrame::NoTopic)?;
    let topic = frame.get(..end).unwrap_or_default();
    std::str::from_utf8(topic).map_err(|_| MalformedFrame::TopicNotText)
}

impl<'f> Frame<'f> {
    /// Splits a frame at its first space. The JSON shares the memory of the frame.
    ///
    /// # Errors
    /// [`MalformedFrame`] where there is no space, or no UTF-8 before it.
    pub fn split(frame: &'f Bytes) -> Result<Self, MalformedFrame> {
        let topic = topic(frame)?;
        // A space stands at this index, so the slice begins inside the frame or at its end.
        Ok(Self { topic, json: frame.slice(topic.len() + 1..) })
    }

    /// Reads the content. A publication is not parsed, since it may be large; small messages are read
    /// whole. A sound message without the member that its topic is about has nothing that the relay
    /// could act on, and is no fault.
    ///
    /// # Errors
    /// [`MalformedFrame`] says why the content cannot be read.
    pub fn read(self) -> Result<Content, MalformedFrame> {
        let Self { topic, json } = self;
        match topic {
            PUBLICATION => publication(json).map(Content::Notice),
            "misp_json_attribute" => known(attribute(&json), &json, "Attribute"),
            "misp_json_object" => known(object(&json), &json, "Object"),
            "misp_json_event" => known(event(&json), &json, "Event"),
            "misp_json_tag" => known(tag(&json), &json, "Tag"),
            "misp_json_sighting" => known(sighting(&json), &json, "Sighting"),
            "misp_json_warninglist" => {
                let message: WarninglistMessage = parse(&json)?;
                Ok(Content::Notice(What::Warninglist(message.id())))
            }
            "misp_json_self" => {
                let beat: Heartbeat = parse(&json)?;
                Ok(Content::Heartbeat(beat.uptime))
            }
            _ => Ok(Content::Nothing),
        }
    }
}

/// Returns the content that was read. A message that cannot be read is malformed only if it holds the member
/// that its topic is about.
fn known(
    read: Result<Option<What>, MalformedFrame>,
    json: &[u8],
    about: &str,
) -> Result<Content, MalformedFrame> {
    // A second parse, only of messages that failed. Each malformed one costs a gap, and a gap a catch-up.
    let is_other = || match serde_json::from_slice::<Value>(json) {
        Ok(Value::Object(message)) => !message.get(about).is_some_and(Value::is_object),
        _ => false,
    };
    match read {
        Ok(Some(what)) => Ok(Content::Notice(what)),
        Ok(None) => Ok(Content::Nothing),
        Err(MalformedFrame::Json(_)) if is_other() => Ok(Content::Nothing),
        Err(malformed) => Err(malformed),
    }
}

/// Returns a publication without parsing it. Only its braces are checked.
fn publication(json: Bytes) -> Result<What, MalformedFrame> {
    // A parse of a large document would keep the socket from reading on.
    let trimmed = json.trim_ascii();
    match (trimmed.first(), trimmed.last()) {
        (Some(b'{'), Some(b'}')) => Ok(What::Published(json)),
        _ => Err(MalformedFrame::NotAnObject),
    }
}

fn attribute(json: &[u8]) -> Result<Option<What>, MalformedFrame> {
    let AttributeMessage { attribute, event, action } = parse(json)?;
    // A deletion shows by `deleted` or by the action alone, depending on how it was done.
    let deleted = attribute.deleted || is_deletion(&action);
    // Only a publication adds indicators, so an attribute that was added is no news.
    if !deleted && action != "edit" {
        return Ok(None);
    }
    let event = event_ref(event, attribute.event_id);
    let (uuid, timestamp) = (attribute.uuid, attribute.timestamp);
    let ended = |event, cause| Withdrawal::Attribute { event, attribute: uuid, timestamp, cause };
    Ok(Some(What::Withdrawn(if action == FOR_GOOD {
        ended(event, Cause::DeletedForGood)
    } else if deleted {
        ended(event, Cause::Deleted)
    } else if !attribute.to_ids {
        ended(event, Cause::ToIdsOff)
    } else {
        let kind = attribute.kind.clone();
        let audience = audience(attribute.distribution, attribute.sharing_group_id).map(Box::new);
        let value = attribute.value();
        Withdrawal::Edited { event, attribute: uuid, timestamp, kind, value, audience }
    })))
}

fn object(json: &[u8]) -> Result<Option<What>, MalformedFrame> {
    let ObjectMessage { object, event, action } = parse(json)?;
    if !object.deleted && !is_deletion(&action) {
        let audience = audience(object.distribution, object.sharing_group_id);
        // A new object counts from its publication on. Only an edit changes who sees one that counts.
        let is_edit = action == "edit";
        return Ok(audience
            .filter(|_| is_edit)
            .map(|audience| shown(Subject::Object(object.uuid), audience, object.timestamp)));
    }
    Ok(Some(What::Withdrawn(Withdrawal::Object {
        event: event_ref(event, object.event_id),
        object: object.uuid,
        timestamp: object.timestamp,
        for_good: action == FOR_GOOD,
    })))
}

fn event(json: &[u8]) -> Result<Option<What>, MalformedFrame> {
    let EventMessage { event, action } = parse(json)?;
    let EventSaid::State(event) = event else {
        // The frame names an event and shows no state of it. Only a read tells what was done.
        return Ok(event.pulled().map(What::Touched));
    };
    Ok(match action.as_str() {
        "delete" => Some(What::Withdrawn(Withdrawal::Event {
            uuid: event.uuid,
            timestamp: event.timestamp,
        })),
        "edit" => Some(match audience(event.distribution, event.sharing_group_id) {
            Some(audience) => shown(Subject::Event(event.uuid), audience, event.timestamp),
            // Who may see the event is not in the frame, so only a read tells.
            None => What::Touched(event.uuid),
        }),
        _ => None,
    })
}

fn tag(json: &[u8]) -> Result<Option<What>, MalformedFrame> {
    let TagMessage { tag, action } = parse(json)?;
    let (attached, of_attribute) = match action.as_str() {
        "attached to event" => (true, false),
        "attached to attribute" => (true, true),
        "detached from event" => (false, false),
        "detached from attribute" => (false, true),
        // The frame of a renamed tag names no event, so the ledger finds the events by the tag's number.
        "edit" | "delete" if tag.id != 0 => return Ok(Some(What::TagAltered(tag.id))),
        _ => return Ok(None),
    };
    // The action decides whether the tag is on an event or an attribute. A frame without the number is
    // malformed, so that a gap is noted.
    let attribute_id = match tag.attribute_id {
        None if of_attribute => return Err(MalformedFrame::Missing("attribute_id")),
        id => id.filter(|_| of_attribute),
    };
    let event_id = tag.event_id.ok_or(MalformedFrame::Missing("event_id"))?;
    let (tag, local) = (tag.name, tag.local);
    Ok(Some(What::Tagged(TagChange { event_id, attribute_id, tag, local, attached })))
}

fn sighting(json: &[u8]) -> Result<Option<What>, MalformedFrame> {
    let SightingMessage { sighting: said, action } = parse(json)?;
    let Some(kind) = SightingKind::of(said.kind) else { return Ok(None) };
    // A sighting of this kind ends a claim. Without its attribute it is missed, so a gap is noted.
    let attribute = said.attribute.ok_or(MalformedFrame::Missing("attribute"))?;
    let uuid = Uuid::try_parse(&said.uuid).ok();
    let is_told = !(attribute.kind.is_empty() || attribute.value.is_empty());
    Ok(Some(What::Sighted(Box::new(ReportedSighting {
        event: event_ref(said.event, said.event_id),
        attribute: attribute.uuid,
        sighting: Sighting::new(attribute.uuid, uuid, kind, said.id, said.date_sighting),
        said: is_told.then_some((attribute.kind, attribute.value)),
        taken_back: action == "delete",
    }))))
}

/// Returns the audience. `None`: the message tells no distribution, and a sharing group alone means nothing.
fn audience(distribution: Option<i64>, sharing_group_id: i64) -> Option<Audience> {
    Some(Audience::new(distribution?, sharing_group_id))
}

fn shown(what: Subject, audience: Audience, timestamp: i64) -> What {
    What::Withdrawn(Withdrawal::Shown(AudienceShown { what, audience, timestamp }))
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, MalformedFrame> {
    Ok(serde_json::from_slice(json)?)
}

/// The action of a frame about what MISP keeps nothing of (recorded, MISP 2.5.1).
const FOR_GOOD: &str = "delete";

fn is_deletion(action: &str) -> bool {
    matches!(action, FOR_GOOD | "soft-delete")
}

/// Returns how a message names its event. A hard delete names it by `event_id` alone.
fn event_ref(event: Option<EventName>, event_id: i64) -> EventRef {
    let uuid: Option<Uuid> = event.as_ref().and_then(|event| event.uuid);
    // A number that is absent is read as 0, and MISP's numbers begin at 1.
    let id = event.and_then(|event| event.id).unwrap_or(event_id);
    EventRef { uuid, id: (id != 0).then_some(id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(frame: &str) -> Result<Content, MalformedFrame> {
        Frame::split(&Bytes::copy_from_slice(frame.as_bytes())).and_then(Frame::read)
    }

    fn noticed(frame: &str) -> What {
        let Content::Notice(what) = read(frame).unwrap() else { panic!("{frame}") };
        what
    }

    const UUID: &str = "a160e450-8e78-43c3-8e29-3aa32bcc86c0";

    fn attribute_frame(fields: &str, action: &str) -> String {
        format!(
            r#"misp_json_attribute {{"Attribute":{{"uuid":"{UUID}",{fields}}},"action":"{action}"}}"#
        )
    }

    #[test]
    fn a_publication_keeps_the_memory_of_its_frame() {
        let frame = Bytes::from_static(br#"misp_json {"Event":{}}"#);
        let content = Frame::split(&frame).unwrap().read().unwrap();
        let Content::Notice(What::Published(document)) = content else { panic!() };
        assert_eq!(document, &b"{\"Event\":{}}"[..]);
        assert_eq!(document.as_ptr(), frame[10..].as_ptr());
    }

    #[test]
    fn what_is_no_frame_is_malformed() {
        for frame in ["", "misp_json", "misp_json ", "misp_json []", "misp_json {\"Event\":"] {
            assert!(read(frame).is_err(), "{frame:?}");
        }
        assert!(Frame::split(&Bytes::from_static(b"misp\xff_json {}")).is_err());
        for topic in ["attribute", "object", "event", "tag", "sighting", "self"] {
            assert!(read(&format!("misp_json_{topic} {{")).is_err(), "{topic}");
            assert!(read(&format!("misp_json_{topic} \u{fffd}")).is_err(), "{topic}");
        }
    }

    #[test]
    fn deleted_is_understood_in_every_spelling() {
        for deleted in ["true", "1", "\"1\""] {
            let fields = format!(r#""event_id":8,"timestamp":5,"deleted":{deleted}"#);
            let what = noticed(&attribute_frame(&fields, "edit"));
            let expected = Withdrawal::Attribute {
                event: EventRef { uuid: None, id: Some(8) },
                attribute: UUID.parse().unwrap(),
                timestamp: 5,
                cause: Cause::Deleted,
            };
            assert_eq!(what, What::Withdrawn(expected), "{deleted}");
        }
    }

    #[test]
    fn an_edit_says_what_the_attribute_is_now() {
        let fields =
            r#""event_id":"8","timestamp":"5","to_ids":"1","type":"domain","value":"b.example""#;
        let What::Withdrawn(Withdrawal::Edited { kind, value, .. }) =
            noticed(&attribute_frame(fields, "edit"))
        else {
            panic!()
        };
        assert_eq!((kind.as_str(), value.as_str()), ("domain", "b.example"));
    }

    #[test]
    fn to_ids_off_withdraws_and_an_addition_does_not() {
        let off = r#""to_ids":"0","deleted":"0""#;
        let what = noticed(&attribute_frame(off, "edit"));
        assert!(matches!(
            what,
            What::Withdrawn(Withdrawal::Attribute { cause: Cause::ToIdsOff, .. })
        ));
        assert_eq!(read(&attribute_frame(off, "add")).unwrap(), Content::Nothing);
    }

    #[test]
    fn an_empty_event_is_the_list_that_php_writes() {
        let frame = format!(
            r#"misp_json_object {{"Object":{{"uuid":"{UUID}","event_id":3}},"Event":[],"action":"delete"}}"#
        );
        let What::Withdrawn(Withdrawal::Object { event, for_good, .. }) = noticed(&frame) else {
            panic!()
        };
        assert_eq!(event, EventRef { uuid: None, id: Some(3) });
        assert!(for_good, "the object is not kept as deleted");
    }

    #[test]
    fn a_false_positive_or_expiration_without_its_attribute_is_malformed() {
        for kind in ["1", "\"2\""] {
            let frame =
                format!(r#"misp_json_sighting {{"Sighting":{{"type":{kind}}},"action":"add"}}"#);
            assert!(read(&frame).is_err(), "{kind}");
        }
        assert_eq!(
            read(r#"misp_json_sighting {"Sighting":{"type":"0"},"action":"add"}"#).unwrap(),
            Content::Nothing
        );
    }

    /// The frames of public case 15, and those that a real MISP 2.5.1 sends for each pulled event.
    #[test]
    fn a_pulled_event_is_touched_and_no_malformed_frame() {
        let pulled = |event: &str, action: &str| {
            let frame = format!(
                r#"misp_json_event {{"Event":{event},"Server":1,"action":"{action}_from_connected_server"}}"#
            );
            read(&frame).unwrap()
        };
        let uuid = "5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d001";
        let touched = || Content::Notice(What::Touched(uuid.parse().unwrap()));
        assert_eq!(pulled(&format!("\"{uuid}\""), "edit"), touched());
        assert_eq!(pulled(&format!("\"{uuid}\""), "add"), touched());
        // The number is the other server's: here it may be that of any event.
        assert_eq!(pulled("62", "add"), Content::Nothing);
        assert_eq!(pulled("\"62\"", "edit"), Content::Nothing);
    }

    #[test]
    fn a_sound_message_of_another_shape_is_not_malformed() {
        for (topic, about) in [
            ("attribute", "Attribute"),
            ("object", "Object"),
            ("event", "Event"),
            ("tag", "Tag"),
            ("sighting", "Sighting"),
        ] {
            for other in ["{}", r#"{"action":"edit"}"#, r#"{"Something":{"id":1}}"#] {
                let said = read(&format!("misp_json_{topic} {other}"));
                assert_eq!(said.unwrap(), Content::Nothing, "{topic} {other}");
            }
            let cut_off = format!("{{\"{about}\":{{\"uuid\":5}}");
            for broken in ["[]", "7", cut_off.as_str()] {
                assert!(read(&format!("misp_json_{topic} {broken}")).is_err(), "{topic} {broken}");
            }
        }
        // What it is about is there, and cannot be read: something was missed.
        assert!(read(r#"misp_json_attribute {"Attribute":{"uuid":5},"action":"edit"}"#).is_err());
        assert!(read(r#"misp_json_event {"Event":{"uuid":5},"action":"edit"}"#).is_err());
    }

    #[test]
    fn unknown_topics_only_say_that_the_publisher_lives() {
        assert_eq!(read("misp_json_workflow whatever").unwrap(), Content::Nothing);
    }
}
