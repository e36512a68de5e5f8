//! Draws random deeds from a seed.

use std::sync::Arc;

use misp_stand_in::{
    Attribute, Audience, Edit, Event, NewAttribute, NewEvent, NewObject, Organisation,
};
use rand::RngExt as _;
use rand::rngs::StdRng;
use uuid::Uuid;

use super::deed::Deed;
use super::plan::Plan;
use super::site::Site;

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

impl Deed {
    /// Draws one that a MISP, as it is, allows. The anchor is never touched.
    pub(super) fn draw(draw: &mut StdRng, sites: &[Site], place: usize) -> Self {
        let (events, plan) = (sites[place].events(), &sites[place].plan);
        if let Some(pull) = Self::pull(draw, sites, place) {
            return pull;
        }
        if events.is_empty() || (events.len() < MOST_EVENTS && draw.random_ratio(1, 8)) {
            return Self::AddEvent(Box::new(new_event(draw, plan)));
        }
        let event = &events[draw.random_range(0..events.len())];
        if let Some(deed) = Self::of_plan(draw, event, plan) {
            return deed;
        }
        // Publications are what everything else is measured by.
        if draw.random_ratio(if event.published { 1 } else { 6 }, 16) {
            return Self::Publish(event.uuid);
        }
        let drawn = match draw.random_range(0..100) {
            0..12 => Self::of_event(draw, event),
            12..22 => Self::of_object(draw, event),
            22..29 => Self::addition(draw, event, plan),
            29..37 => Some(Self::event_tag(draw, event)),
            _ => Self::of_attribute(draw, event, plan.outsider),
        };
        drawn.unwrap_or(Self::Publish(event.uuid))
    }

    /// Of an event that another MISP has published.
    fn pull(draw: &mut StdRng, sites: &[Site], place: usize) -> Option<Self> {
        if sites.len() == 1 || !draw.random_ratio(1, 4) {
            return None;
        }
        let others = sites.iter().enumerate().filter(|(other, _)| *other != place);
        let mut published: Vec<_> = others.flat_map(|(_, site)| site.events()).collect();
        published.retain(|event| event.published);
        (!published.is_empty())
            .then(|| Self::Pull(published.swap_remove(draw.random_range(0..published.len()))))
    }

    /// What only some plans allow; those without draw nothing, and are as they always were.
    fn of_plan(draw: &mut StdRng, event: &Event, plan: &Plan) -> Option<Self> {
        if plan.blinks && draw.random_ratio(1, 10) {
            let (name, local) = tag(draw);
            let is_on = event.tags.iter().any(|tag| tag.name == name);
            return (!is_on).then_some(Self::BlinkEvent(event.uuid, name, local));
        }
        if plan.audiences.is_some() && draw.random_ratio(1, 10) {
            return Self::sharing(draw, event);
        }
        if plan.first_seen && draw.random_ratio(1, 12) {
            let live: Vec<_> = event.all().filter(|(_, one)| !one.deleted).collect();
            let (_, one) = live.get(draw.random_range(0..live.len().max(1)))?;
            let edit = Edit::FirstSeen(Some(first_seen(draw)));
            return Some(Self::Edit(event.uuid, one.uuid, edit));
        }
        None
    }

    /// Of event, object or attribute.
    fn sharing(draw: &mut StdRng, event: &Event) -> Option<Self> {
        let objects: Vec<_> = event.objects.iter().filter(|one| !one.deleted).collect();
        let attributes: Vec<_> = event.all().filter(|(_, one)| !one.deleted).collect();
        match draw.random_range(0..3) {
            0 => Some(Self::ShareEvent(event.uuid, audience(draw, None))),
            1 => {
                let object = objects.get(draw.random_range(0..objects.len().max(1)))?;
                Some(Self::ShareObject(event.uuid, object.uuid, audience(draw, Some(5))))
            }
            _ => {
                let (_, one) = attributes.get(draw.random_range(0..attributes.len().max(1)))?;
                let edit = Edit::Audience(audience(draw, Some(5)));
                Some(Self::Edit(event.uuid, one.uuid, edit))
            }
        }
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

    fn addition(draw: &mut StdRng, event: &Event, plan: &Plan) -> Option<Self> {
        if event.all().count() >= MOST_ATTRIBUTES {
            return None;
        }
        Some(if draw.random_ratio(1, 3) {
            Self::AddObject(event.uuid, Box::new(new_object(draw, plan)))
        } else {
            Self::AddAttribute(event.uuid, Box::new(new_attribute(draw, plan)))
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

/// Any level, and both sharing groups; `inherited` where a part is as open as its whole.
fn audience(draw: &mut StdRng, inherited: Option<u8>) -> Audience {
    let likely = inherited.unwrap_or(3);
    let (distribution, group) = match draw.random_range(0..10) {
        0..4 => (likely, 0),
        4 => (0, 0),
        5 => (1, 0),
        6 => (2, 0),
        7 => (3, 0),
        8 => (4, 1),
        _ => (4, 2),
    };
    Audience { distribution, group }
}

fn new_attribute(draw: &mut StdRng, plan: &Plan) -> NewAttribute {
    let (kind, value) = value(draw);
    let mut new = NewAttribute {
        uuid: uuid(draw),
        to_ids: draw.random_ratio(7, 8),
        distribution: distribution(draw, plan.outsider, 5),
        tags: some_tags(draw),
        ..NewAttribute::new(&kind, &value)
    };
    if plan.audiences.is_some() {
        let with = audience(draw, Some(5));
        (new.distribution, new.sharing_group) = (with.distribution, with.group);
    }
    if plan.first_seen && draw.random_ratio(1, 3) {
        new.first_seen = Some(first_seen(draw));
    }
    new
}

/// Of the past and of the future.
fn first_seen(draw: &mut StdRng) -> String {
    let all = ["2020-02-29T00:00:00.000000+00:00", "2096-10-01T10:34:56.123456+00:00"];
    all[draw.random_range(0..all.len())].to_owned()
}

fn new_object(draw: &mut StdRng, plan: &Plan) -> NewObject {
    let attributes = (0..draw.random_range(1..=2)).map(|_| new_attribute(draw, plan)).collect();
    let mut new = NewObject { attributes, uuid: uuid(draw), ..NewObject::default() };
    if plan.audiences.is_some() {
        let with = audience(draw, Some(5));
        (new.distribution, new.sharing_group) = (with.distribution, with.group);
    }
    new
}

fn new_event(draw: &mut StdRng, plan: &Plan) -> NewEvent {
    let attributes = (0..draw.random_range(0..=5)).map(|_| new_attribute(draw, plan)).collect();
    let objects = (0..draw.random_range(0..=2)).map(|_| new_object(draw, plan)).collect();
    let hides = plan.outsider && draw.random_ratio(1, 3);
    let mut new = NewEvent {
        uuid: uuid(draw),
        info: "An event".to_owned(),
        organisation: Organisation::own(),
        distribution: distribution(draw, hides, 3),
        tags: some_tags(draw),
        attributes,
        objects,
        ..NewEvent::default()
    };
    if plan.audiences.is_some() {
        let with = audience(draw, None);
        (new.distribution, new.sharing_group) = (with.distribution, with.group);
    }
    new
}
