//! Changes attributes and objects as users of MISP do, and returns the frames that MISP would send.

use uuid::Uuid;

use super::frame::Frame;
use super::model::{Attribute, Audience, Event, NewAttribute, NewObject};
use super::store::{Misp, attribute_birth, touch};

/// An edit of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    Value(String),
    /// MISP's `type`, with a value that fits.
    Kind {
        kind: String,
        value: String,
    },
    Comment(String),
    ToIds(bool),
    Distribution(u8),
    /// Distribution and sharing group at once.
    Audience(Audience),
    FirstSeen(Option<String>),
}

impl Edit {
    fn apply(self, attribute: &mut Attribute) {
        match self {
            Self::Value(value) => attribute.value = value,
            Self::Kind { kind, value } => (attribute.kind, attribute.value) = (kind, value),
            Self::Comment(comment) => attribute.comment = comment,
            Self::ToIds(to_ids) => attribute.to_ids = to_ids,
            Self::Distribution(distribution) => attribute.distribution = distribution,
            Self::Audience(audience) => {
                (attribute.distribution, attribute.sharing_group) =
                    (audience.distribution, audience.group);
            }
            Self::FirstSeen(first_seen) => attribute.first_seen = first_seen,
        }
    }
}

impl Misp {
    /// Adds an attribute to an event, outside of objects; the event is unpublished silently.
    pub fn add_attribute(&self, event: Uuid, new: NewAttribute) -> Vec<Frame> {
        self.with(|store| {
            if store.event(event).is_none() {
                return Vec::new();
            }
            let mut frames = store.new_tags(&new.tags);
            let (now, attribute) = (store.clock, store.attribute(new));
            let Some(event) = store.event_mut(event) else { return Vec::new() };
            let published = event.published;
            touch(event, now);
            frames.extend(attribute_birth(event, None, &attribute, published));
            event.attributes.push(attribute);
            frames
        })
    }

    /// Adds an object with its attributes to an event.
    pub fn add_object(&self, event: Uuid, new: NewObject) -> Vec<Frame> {
        self.with(|store| {
            if store.event(event).is_none() {
                return Vec::new();
            }
            let mut frames = store.new_tags(new.attributes.iter().flat_map(|one| &one.tags));
            let (now, object) = (store.clock, store.object(new));
            let Some(event) = store.event_mut(event) else { return Vec::new() };
            let published = event.published;
            touch(event, now);
            for attribute in &object.attributes {
                frames.extend(attribute_birth(event, Some(&object), attribute, published));
            }
            frames.push(Frame::object(event, &object, "add"));
            event.objects.push(object);
            frames
        })
    }

    /// Time passes: what the decaying model says now, of which MISP tells nobody.
    pub fn set_decay(&self, event: Uuid, attribute: Uuid, score: u8, decayed: bool) {
        self.with(|store| {
            let found = store.event_mut(event).and_then(|event| event.attribute_mut(attribute));
            if let Some(attribute) = found {
                attribute.decay = Some((score, decayed));
            }
        });
    }

    /// The attribute's frame may still say that the event is published, though no longer true.
    pub fn edit_attribute(&self, event: Uuid, attribute: Uuid, edit: Edit) -> Vec<Frame> {
        self.change_attribute(event, attribute, "edit", |one| {
            (!one.deleted).then(|| edit.apply(one)).is_some()
        })
    }

    /// Soft: it stays, for those who ask for deleted ones.
    pub fn delete_attribute(&self, event: Uuid, attribute: Uuid) -> Vec<Frame> {
        self.change_attribute(event, attribute, "soft-delete", |one| {
            !std::mem::replace(&mut one.deleted, true)
        })
    }

    /// Takes back a soft delete. Alone among the changes of attributes, the event says so too.
    pub fn restore_attribute(&self, event: Uuid, attribute: Uuid) -> Vec<Frame> {
        let mut frames = self.change_attribute(event, attribute, "edit", |one| {
            std::mem::replace(&mut one.deleted, false)
        });
        if !frames.is_empty() {
            frames.extend(self.event(event).map(|event| Frame::event(&event, "edit")));
        }
        frames
    }

    /// Hard: gone without a trace in the attributes; its last frame keeps the old timestamp.
    pub fn remove_attribute(&self, event: Uuid, attribute: Uuid) -> Vec<Frame> {
        self.change(event, |event, now| {
            let Some(found) = event.attribute(attribute) else { return Vec::new() };
            let frame = Frame::attribute(event, found, event.published, "delete");
            touch(event, now);
            event.attributes.retain(|one| one.uuid != attribute);
            for object in &mut event.objects {
                object.attributes.retain(|one| one.uuid != attribute);
            }
            vec![frame]
        })
    }

    /// Who may see an object, edited: the event is unpublished.
    pub fn share_object(&self, event: Uuid, object: Uuid, audience: Audience) -> Vec<Frame> {
        self.change(event, |event, now| {
            let mut objects = event.objects.iter_mut();
            let Some(found) = objects.find(|one| one.uuid == object && !one.deleted) else {
                return Vec::new();
            };
            (found.distribution, found.sharing_group) = (audience.distribution, audience.group);
            found.timestamp = now;
            touch(event, now);
            let found = event.objects.iter().find(|one| one.uuid == object);
            found.map(|object| Frame::object(event, object, "edit")).into_iter().collect()
        })
    }

    /// Soft, with all its attributes, each of which is told of twice.
    pub fn delete_object(&self, event: Uuid, object: Uuid) -> Vec<Frame> {
        self.change(event, |event, now| {
            let mut objects = event.objects.iter_mut();
            let found = objects.find(|one| one.uuid == object && !one.deleted);
            let Some(found) = found else { return Vec::new() };
            (found.deleted, found.timestamp) = (true, now);
            for attribute in &mut found.attributes {
                (attribute.deleted, attribute.timestamp) = (true, now);
            }
            let published = event.published;
            touch(event, now);
            object_deletion(event, object, published)
        })
    }

    /// Hard: the event keeps its timestamp and stays published; only attributes are told of.
    pub fn remove_object(&self, event: Uuid, object: Uuid) -> Vec<Frame> {
        self.change(event, |event, _| {
            let found = event.objects.iter().find(|one| one.uuid == object);
            let Some(found) = found else { return Vec::new() };
            let attributes = found.attributes.iter();
            let frames = attributes
                .map(|one| Frame::attribute(event, (Some(found), one), event.published, "delete"));
            let frames = frames.collect();
            event.objects.retain(|one| one.uuid != object);
            frames
        })
    }

    /// A change that touches attribute and event; nothing happens where `how` says so.
    pub(super) fn change_attribute(
        &self,
        event: Uuid,
        attribute: Uuid,
        action: &str,
        how: impl FnOnce(&mut Attribute) -> bool,
    ) -> Vec<Frame> {
        self.change(event, |event, now| {
            let Some(one) = event.attribute_mut(attribute) else { return Vec::new() };
            if !how(one) {
                return Vec::new();
            }
            one.timestamp = now;
            let published = event.published;
            touch(event, now);
            let found = event.attribute(attribute);
            found.map(|one| Frame::attribute(event, one, published, action)).into_iter().collect()
        })
    }
}

fn object_deletion(event: &Event, object: Uuid, published: bool) -> Vec<Frame> {
    let Some(object) = event.objects.iter().find(|one| one.uuid == object) else {
        return Vec::new();
    };
    let attributes = || {
        let all = object.attributes.iter();
        all.map(|one| Frame::attribute(event, (Some(object), one), published, "soft-delete"))
    };
    let itself = std::iter::once(Frame::object(event, object, "soft-delete"));
    attributes().chain(itself).chain(attributes()).collect()
}
