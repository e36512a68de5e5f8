//! What people do in MISP, drawn from a seed.

use std::fmt;
use std::sync::Arc;

use misp_sentinel_relay::sandbox::misp::{
    Attribute, Edit, Event, Frame, Misp, NewAttribute, NewEvent, NewObject, Organisation,
};
use rand::RngExt as _;
use rand::rngs::StdRng;
use uuid::Uuid;

/// Few observables, so that many attributes share them: some under several types, in halves of
/// composites, and what is no indicator at all.
pub(super) const VALUES: [(&str, &str); 18] = [
    ("ip-dst", "198.51.100.7"),
    ("ip-src", "198.51.100.7"),
    ("ip-dst", "203.0.113.9"),
    ("ip-dst|port", "203.0.113.9|8443"),
    ("ip-dst", "192.0.2.77"),
    ("ip-src", "2001:db8::7"),
    ("domain", "a.example"),
    ("hostname", "a.example"),
    ("domain", "b.example"),
    ("domain|ip", "b.example|192.0.2.77"),
    ("domain", "c.example"),
    ("url", "http://c.example/x?y='z'"),
    ("sha256", "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111"),
    ("filename|sha256", "x.exe|252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111"),
    ("md5", "d95679752134a2d9eb61dbd7b91c4bcc"),
    ("email-src", "mallory@d.example"),
    ("domain", "e.example"),
    ("text", "no indicator"),
];

/// Tags that policy looks at, and one that it does not.
const TAGS: [&str; 8] = [
    "tlp:red",
    "tlp:clear",
    "tlp:green",
    "tlp:green",
    "tlp:amber",
    "tlp:amber+strict",
    "tlp:nonsense",
    "relay:checked",
];

/// Only ever local: must never be seen in Sentinel.
pub(super) const LOCAL_ONLY: &str = "relay:for-us-alone";

const MOST_EVENTS: usize = 6;
const MOST_ATTRIBUTES: usize = 10;

/// One operation.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    AddEvent(Box<NewEvent>),
    AddAttribute(Uuid, Box<NewAttribute>),
    AddObject(Uuid, Box<NewObject>),
    Publish(Uuid),
    Push(Uuid),
    Unpublish(Uuid),
    Rename(Uuid, String),
    DeleteEvent(Uuid),
    Edit(Uuid, Uuid, Edit),
    Delete(Uuid, Uuid),
    Restore(Uuid, Uuid),
    Remove(Uuid, Uuid),
    DeleteObject(Uuid, Uuid),
    RemoveObject(Uuid, Uuid),
    TagEvent(Uuid, String, bool),
    UntagEvent(Uuid, String),
    TagAttribute(Uuid, Uuid, String, bool),
    UntagAttribute(Uuid, Uuid, String),
}

impl Deed {
    /// Draws one that MISP, as it is, allows. `left_alone` is never touched.
    pub(super) fn draw(draw: &mut StdRng, misp: &Misp, left_alone: Uuid, outsider: bool) -> Self {
        let mut events = misp.events();
        events.retain(|event| event.uuid != left_alone);
        if events.is_empty() || (events.len() < MOST_EVENTS && draw.random_ratio(1, 8)) {
            return Self::AddEvent(Box::new(new_event(draw, outsider)));
        }
        let event = &events[draw.random_range(0..events.len())];
        // Publications are what everything else is measured by.
        if draw.random_ratio(if event.published { 1 } else { 6 }, 16) {
            return Self::Publish(event.uuid);
        }
        let drawn = match draw.random_range(0..100) {
            0..12 => Self::of_event(draw, event),
            12..22 => Self::of_object(draw, event),
            22..29 => Self::addition(draw, event, outsider),
            29..37 => Some(Self::event_tag(draw, event)),
            _ => Self::of_attribute(draw, event, outsider),
        };
        drawn.unwrap_or(Self::Publish(event.uuid))
    }

    fn of_event(draw: &mut StdRng, event: &Event) -> Option<Self> {
        Some(match draw.random_range(0..12) {
            0 => Self::DeleteEvent(event.uuid),
            1..4 => Self::Unpublish(event.uuid),
            // Of an unpublished event it would be byte for byte the frame of a publication.
            4..7 if event.published => Self::Push(event.uuid),
            7..9 => Self::Rename(event.uuid, format!("Renamed {}", draw.random_range(0..1000))),
            _ => return None,
        })
    }

    fn of_object(draw: &mut StdRng, event: &Event) -> Option<Self> {
        let live: Vec<_> = event.objects.iter().filter(|object| !object.deleted).collect();
        if live.is_empty() {
            return None;
        }
        let object = live[draw.random_range(0..live.len())].uuid;
        let soft = draw.random_bool(0.5);
        Some(if soft {
            Self::DeleteObject(event.uuid, object)
        } else {
            Self::RemoveObject(event.uuid, object)
        })
    }

    fn addition(draw: &mut StdRng, event: &Event, outsider: bool) -> Option<Self> {
        if event.all().count() >= MOST_ATTRIBUTES {
            return None;
        }
        Some(if draw.random_ratio(1, 3) {
            Self::AddObject(event.uuid, Box::new(new_object(draw, outsider)))
        } else {
            Self::AddAttribute(event.uuid, Box::new(new_attribute(draw, outsider)))
        })
    }

    fn event_tag(draw: &mut StdRng, event: &Event) -> Self {
        let on = event.tags.iter().map(|tag| tag.name.clone()).collect::<Vec<_>>();
        match untag(draw, &on) {
            Some(name) => Self::UntagEvent(event.uuid, name),
            None => {
                let (name, local) = tag(draw);
                Self::TagEvent(event.uuid, name, local)
            }
        }
    }

    fn of_attribute(draw: &mut StdRng, event: &Arc<Event>, outsider: bool) -> Option<Self> {
        let all: Vec<_> = event.all().collect();
        if all.is_empty() {
            return None;
        }
        let (object, one) = all[draw.random_range(0..all.len())];
        let (event, uuid) = (event.uuid, one.uuid);
        if one.deleted {
            // What is deleted with its object comes back with it only.
            let alone = object.is_none_or(|object| !object.deleted);
            return alone.then_some(Self::Restore(event, uuid));
        }
        let edit = |edit| Self::Edit(event, uuid, edit);
        Some(match draw.random_range(0..100) {
            0..20 => {
                let (kind, value) = value(draw);
                edit(Edit::Kind { kind, value })
            }
            20..32 => edit(Edit::Comment(format!("comment {}", draw.random_range(0..1000)))),
            32..55 => edit(Edit::ToIds(!one.to_ids)),
            55..68 => Self::Delete(event, uuid),
            68..76 => Self::Remove(event, uuid),
            76..80 if outsider => {
                edit(Edit::Distribution(if one.distribution == 0 { 5 } else { 0 }))
            }
            _ => Self::attribute_tag(draw, event, one),
        })
    }

    fn attribute_tag(draw: &mut StdRng, event: Uuid, one: &Attribute) -> Self {
        let on = one.tags.iter().map(|tag| tag.name.clone()).collect::<Vec<_>>();
        match untag(draw, &on) {
            Some(name) => Self::UntagAttribute(event, one.uuid, name),
            None => {
                let (name, local) = tag(draw);
                Self::TagAttribute(event, one.uuid, name, local)
            }
        }
    }

    /// The event that it is about.
    pub(super) fn event(&self) -> Uuid {
        match self {
            Self::AddEvent(new) => new.uuid,
            Self::AddAttribute(event, _)
            | Self::AddObject(event, _)
            | Self::Publish(event)
            | Self::Push(event)
            | Self::Unpublish(event)
            | Self::Rename(event, _)
            | Self::DeleteEvent(event)
            | Self::Edit(event, ..)
            | Self::Delete(event, _)
            | Self::Restore(event, _)
            | Self::Remove(event, _)
            | Self::DeleteObject(event, _)
            | Self::RemoveObject(event, _)
            | Self::TagEvent(event, ..)
            | Self::UntagEvent(event, _)
            | Self::TagAttribute(event, ..)
            | Self::UntagAttribute(event, ..) => *event,
        }
    }

    /// Does it, and returns what MISP sends.
    pub(super) fn act(self, misp: &Misp) -> Vec<Frame> {
        match self {
            Self::AddEvent(new) => misp.add_event(*new),
            Self::AddAttribute(event, new) => misp.add_attribute(event, *new),
            Self::AddObject(event, new) => misp.add_object(event, *new),
            Self::Publish(event) => misp.publish(event),
            Self::Push(event) => misp.push(event),
            Self::Unpublish(event) => misp.unpublish(event),
            Self::Rename(event, info) => misp.rename_event(event, &info),
            Self::DeleteEvent(event) => misp.delete_event(event),
            Self::Edit(event, attribute, edit) => misp.edit_attribute(event, attribute, edit),
            Self::Delete(event, attribute) => misp.delete_attribute(event, attribute),
            Self::Restore(event, attribute) => misp.restore_attribute(event, attribute),
            Self::Remove(event, attribute) => misp.remove_attribute(event, attribute),
            Self::DeleteObject(event, object) => misp.delete_object(event, object),
            Self::RemoveObject(event, object) => misp.remove_object(event, object),
            Self::TagEvent(event, tag, local) => misp.tag_event(event, &tag, local),
            Self::UntagEvent(event, tag) => misp.untag_event(event, &tag),
            Self::TagAttribute(event, attribute, tag, local) => {
                misp.tag_attribute(event, attribute, &tag, local)
            }
            Self::UntagAttribute(event, attribute, tag) => {
                misp.untag_attribute(event, attribute, &tag)
            }
        }
    }
}

/// The beginning of a uuid names it well enough.
fn short(uuid: &Uuid) -> String {
    uuid.simple().to_string().chars().take(6).collect()
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attributes = |all: &[NewAttribute]| {
            let one = |one: &NewAttribute| {
                let ids = if one.to_ids { "" } else { " no-ids" };
                let tags: Vec<_> =
                    one.tags.iter().map(|(tag, local)| tagged(tag, *local)).collect();
                let own = if one.distribution == 0 { " own" } else { "" };
                format!(
                    "{}={} {}{ids}{own} {}",
                    short(&one.uuid),
                    one.kind,
                    one.value,
                    tags.join(" ")
                )
            };
            all.iter().map(|new| one(new).trim_end().to_owned()).collect::<Vec<_>>().join(", ")
        };
        let tagged = |name: &str, local: bool| tagged(name, local);
        let event = short(&self.event());
        match self {
            Self::AddEvent(new) => {
                let tags: Vec<_> =
                    new.tags.iter().map(|(tag, local)| tagged(tag, *local)).collect();
                write!(
                    f,
                    "{event} add event {} [{}]",
                    tags.join(" "),
                    attributes(&new.attributes)
                )?;
                for object in &new.objects {
                    write!(f, " {}{{{}}}", short(&object.uuid), attributes(&object.attributes))?;
                }
                Ok(())
            }
            Self::AddAttribute(_, new) => {
                write!(f, "{event} add {}", attributes(std::slice::from_ref(new)))
            }
            Self::AddObject(_, new) => {
                write!(f, "{event} add {}{{{}}}", short(&new.uuid), attributes(&new.attributes))
            }
            Self::Publish(_) => write!(f, "{event} PUBLISH"),
            Self::Push(_) => write!(f, "{event} push to ZMQ"),
            Self::Unpublish(_) => write!(f, "{event} unpublish"),
            Self::Rename(_, info) => write!(f, "{event} rename to {info}"),
            Self::DeleteEvent(_) => write!(f, "{event} delete event"),
            Self::Edit(_, one, edit) => write!(f, "{event} edit {}: {edit:?}", short(one)),
            Self::Delete(_, one) => write!(f, "{event} soft-delete {}", short(one)),
            Self::Restore(_, one) => write!(f, "{event} restore {}", short(one)),
            Self::Remove(_, one) => write!(f, "{event} hard-delete {}", short(one)),
            Self::DeleteObject(_, one) => write!(f, "{event} soft-delete object {}", short(one)),
            Self::RemoveObject(_, one) => write!(f, "{event} hard-delete object {}", short(one)),
            Self::TagEvent(_, tag, local) => write!(f, "{event} tag {}", tagged(tag, *local)),
            Self::UntagEvent(_, tag) => write!(f, "{event} untag {tag}"),
            Self::TagAttribute(_, one, tag, local) => {
                write!(f, "{event} tag {} {}", short(one), tagged(tag, *local))
            }
            Self::UntagAttribute(_, one, tag) => write!(f, "{event} untag {} {tag}", short(one)),
        }
    }
}

fn tagged(name: &str, local: bool) -> String {
    format!("{name}{}", if local { " (local)" } else { "" })
}

fn uuid(draw: &mut StdRng) -> Uuid {
    uuid::Builder::from_random_bytes(draw.random()).into_uuid()
}

fn value(draw: &mut StdRng) -> (String, String) {
    let (kind, value) = VALUES[draw.random_range(0..VALUES.len())];
    (kind.to_owned(), value.to_owned())
}

fn tag(draw: &mut StdRng) -> (String, bool) {
    if draw.random_ratio(1, 8) {
        return (LOCAL_ONLY.to_owned(), true);
    }
    (TAGS[draw.random_range(0..TAGS.len())].to_owned(), draw.random_ratio(1, 4))
}

/// One of those that are on, more often than not.
fn untag(draw: &mut StdRng, on: &[String]) -> Option<String> {
    if on.is_empty() || draw.random_ratio(1, 3) {
        return None;
    }
    Some(on[draw.random_range(0..on.len())].clone())
}

fn some_tags(draw: &mut StdRng) -> Vec<(String, bool)> {
    if draw.random_ratio(5, 6) { Vec::new() } else { vec![tag(draw)] }
}

fn distribution(draw: &mut StdRng, outsider: bool, otherwise: u8) -> u8 {
    if outsider && draw.random_ratio(1, 4) { 0 } else { otherwise }
}

fn new_attribute(draw: &mut StdRng, outsider: bool) -> NewAttribute {
    let (kind, value) = value(draw);
    NewAttribute {
        uuid: uuid(draw),
        to_ids: draw.random_ratio(7, 8),
        distribution: distribution(draw, outsider, 5),
        tags: some_tags(draw),
        ..NewAttribute::new(&kind, &value)
    }
}

fn new_object(draw: &mut StdRng, outsider: bool) -> NewObject {
    let attributes = (0..draw.random_range(1..=2)).map(|_| new_attribute(draw, outsider));
    NewObject { attributes: attributes.collect(), uuid: uuid(draw), ..NewObject::default() }
}

fn new_event(draw: &mut StdRng, outsider: bool) -> NewEvent {
    let attributes = (0..draw.random_range(0..=5)).map(|_| new_attribute(draw, outsider)).collect();
    let objects = (0..draw.random_range(0..=2)).map(|_| new_object(draw, outsider)).collect();
    let hides = outsider && draw.random_ratio(1, 3);
    NewEvent {
        uuid: uuid(draw),
        info: "An event".to_owned(),
        organisation: Organisation::own(),
        distribution: distribution(draw, hides, 3),
        tags: some_tags(draw),
        attributes,
        objects,
    }
}
