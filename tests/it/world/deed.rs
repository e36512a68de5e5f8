//! The type `Deed`: one thing that people do in MISP, such as an edit or a publication.

use std::fmt;
use std::sync::Arc;

use misp_stand_in::{Audience, Edit, Event, Frame, Misp, NewAttribute, NewEvent, NewObject};
use uuid::Uuid;

/// One operation.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    AddEvent(Box<NewEvent>),
    /// Takes over what another MISP published.
    Pull(Arc<Event>),
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
    /// Puts a tag on an event and takes it off again at once.
    BlinkEvent(Uuid, String, bool),
    ShareEvent(Uuid, Audience),
    ShareObject(Uuid, Uuid, Audience),
    TagAttribute(Uuid, Uuid, String, bool),
    UntagAttribute(Uuid, Uuid, String),
}

impl Deed {
    /// The event that it is about.
    pub(super) fn event(&self) -> Uuid {
        match self {
            Self::AddEvent(new) => new.uuid,
            Self::Pull(event) => event.uuid,
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
            | Self::BlinkEvent(event, ..)
            | Self::ShareEvent(event, _)
            | Self::ShareObject(event, ..)
            | Self::TagAttribute(event, ..)
            | Self::UntagAttribute(event, ..) => *event,
        }
    }

    pub(super) fn is_about_tags(&self) -> bool {
        matches!(
            self,
            Self::TagEvent(..)
                | Self::UntagEvent(..)
                | Self::BlinkEvent(..)
                | Self::TagAttribute(..)
                | Self::UntagAttribute(..)
        )
    }

    /// Does it, and returns what MISP sends.
    pub(super) fn act(self, misp: &Misp) -> Vec<Frame> {
        match self {
            Self::AddEvent(new) => misp.add_event(*new),
            Self::Pull(event) => misp.pull(&event),
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
            Self::BlinkEvent(event, tag, local) => {
                let mut frames = misp.tag_event(event, &tag, local);
                frames.extend(misp.untag_event(event, &tag));
                frames
            }
            Self::ShareEvent(event, audience) => misp.share_event(event, audience),
            Self::ShareObject(event, object, audience) => {
                misp.share_object(event, object, audience)
            }
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
        write!(f, "{} ", short(&self.event()))?;
        match self {
            Self::AddEvent(new) => added_event(f, new),
            Self::Pull(_) => write!(f, "PULL"),
            Self::AddAttribute(_, new) => write!(f, "add {}", added(std::slice::from_ref(new))),
            Self::AddObject(_, new) => write!(f, "add {}", added_object(new)),
            Self::Publish(_) => write!(f, "PUBLISH"),
            Self::Push(_) => write!(f, "push to ZMQ"),
            Self::Unpublish(_) => write!(f, "unpublish"),
            Self::Rename(_, info) => write!(f, "rename to {info}"),
            Self::DeleteEvent(_) => write!(f, "delete event"),
            Self::Edit(_, one, edit) => write!(f, "edit {}: {edit:?}", short(one)),
            Self::Delete(_, one) => write!(f, "soft-delete {}", short(one)),
            Self::Restore(_, one) => write!(f, "restore {}", short(one)),
            Self::Remove(_, one) => write!(f, "hard-delete {}", short(one)),
            Self::DeleteObject(_, one) => write!(f, "soft-delete object {}", short(one)),
            Self::RemoveObject(_, one) => write!(f, "hard-delete object {}", short(one)),
            Self::TagEvent(_, tag, local) => write!(f, "tag {}", tagged(tag, *local)),
            Self::UntagEvent(_, tag) => write!(f, "untag {tag}"),
            Self::BlinkEvent(_, tag, local) => write!(f, "tag and untag {}", tagged(tag, *local)),
            Self::ShareEvent(_, with) => write!(f, "share event{}", shared(*with)),
            Self::ShareObject(_, one, with) => {
                write!(f, "share object {}{}", short(one), shared(*with))
            }
            Self::TagAttribute(_, one, tag, local) => {
                write!(f, "tag {} {}", short(one), tagged(tag, *local))
            }
            Self::UntagAttribute(_, one, tag) => write!(f, "untag {} {tag}", short(one)),
        }
    }
}

fn added_event(f: &mut fmt::Formatter<'_>, new: &NewEvent) -> fmt::Result {
    let tags: Vec<_> = new.tags.iter().map(|(tag, local)| tagged(tag, *local)).collect();
    let shared = shared(Audience { distribution: new.distribution, group: new.sharing_group });
    write!(f, "add event{shared} {} [{}]", tags.join(" "), added(&new.attributes))?;
    new.objects.iter().try_for_each(|object| write!(f, " {}", added_object(object)))
}

fn added_object(new: &NewObject) -> String {
    let shared = shared(Audience { distribution: new.distribution, group: new.sharing_group });
    format!("{}{shared}{{{}}}", short(&new.uuid), added(&new.attributes))
}

fn added(all: &[NewAttribute]) -> String {
    let one = |one: &NewAttribute| {
        let ids = if one.to_ids { "" } else { " no-ids" };
        let tags: Vec<_> = one.tags.iter().map(|(tag, local)| tagged(tag, *local)).collect();
        let shared = shared(Audience { distribution: one.distribution, group: one.sharing_group });
        let seen = one.first_seen.as_ref().map(|seen| format!(" seen {seen}")).unwrap_or_default();
        let (uuid, tags) = (short(&one.uuid), tags.join(" "));
        format!("{uuid}={} {}{ids}{shared}{seen} {tags}", one.kind, one.value)
    };
    all.iter().map(|new| one(new).trim_end().to_owned()).collect::<Vec<_>>().join(", ")
}

fn tagged(name: &str, local: bool) -> String {
    format!("{name}{}", if local { " (local)" } else { "" })
}

/// With whom, unless with all or as what it is part of.
fn shared(with: Audience) -> String {
    match with.distribution {
        3 | 5 => String::new(),
        4 => format!(" group {}", with.group),
        distribution => format!(" distribution {distribution}"),
    }
}
