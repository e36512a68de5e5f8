//! Puts tags on events and attributes, and takes them off. A local tag changes no timestamp and does not
//! unpublish the event.

use uuid::Uuid;

use super::frame::Frame;
use super::model::Tag;
use super::store::{Misp, Store, touch};

impl Misp {
    /// Puts a tag on an event.
    pub fn tag_event(&self, event: Uuid, name: &str, local: bool) -> Vec<Frame> {
        self.with(|store| {
            let (now, mut frames) = (store.clock, Vec::new());
            if store.event(event).is_none_or(|event| has(&event.tags, name)) {
                return frames;
            }
            let (tag, made) = store.tag(name, local);
            frames.extend(made);
            if let Some(event) = store.event_mut(event) {
                if !local {
                    touch(event, now);
                }
                frames.push(Frame::tag(event, None, &tag, true));
                event.tags.push(tag);
            }
            frames
        })
    }

    /// Takes a tag off an event.
    pub fn untag_event(&self, event: Uuid, name: &str) -> Vec<Frame> {
        self.change(event, |event, now| {
            let Some(tag) = take(&mut event.tags, name) else { return Vec::new() };
            if !tag.local {
                touch(event, now);
            }
            vec![Frame::tag(event, None, &tag, false)]
        })
    }

    /// Puts a tag on an attribute. Unless it is local, the attribute counts as edited.
    pub fn tag_attribute(
        &self,
        event: Uuid,
        attribute: Uuid,
        name: &str,
        local: bool,
    ) -> Vec<Frame> {
        let may = self.event(event).is_some_and(|event| {
            event.attribute(attribute).is_some_and(|(_, one)| !one.deleted && !has(&one.tags, name))
        });
        if !may {
            return Vec::new();
        }
        let (tag, made) = self.with(|store| store.tag(name, local));
        let mut frames: Vec<Frame> = made.into_iter().collect();
        let put = tag.clone();
        frames.extend(self.retag(event, attribute, &tag, true, move |tags| tags.push(put)));
        frames
    }

    /// Takes a tag off an attribute.
    pub fn untag_attribute(&self, event: Uuid, attribute: Uuid, name: &str) -> Vec<Frame> {
        let found = self.event(event).and_then(|event| {
            let (_, one) = event.attribute(attribute).filter(|(_, one)| !one.deleted)?;
            one.tags.iter().find(|tag| tag.name == name).cloned()
        });
        let Some(tag) = found else { return Vec::new() };
        self.retag(event, attribute, &tag, false, |tags| drop(take(tags, name)))
    }

    fn retag(
        &self,
        event: Uuid,
        attribute: Uuid,
        tag: &Tag,
        attached: bool,
        how: impl FnOnce(&mut Vec<Tag>),
    ) -> Vec<Frame> {
        let told = |misp: &Self| {
            let event = misp.event(event)?;
            let (_, one) = event.attribute(attribute)?;
            Some(Frame::tag(&event, Some(one.id), tag, attached))
        };
        let edited = if tag.local {
            self.change(event, |event, _| {
                if let Some(one) = event.attribute_mut(attribute) {
                    how(&mut one.tags);
                }
                Vec::new()
            })
        } else {
            self.change_attribute(event, attribute, "edit", |one| {
                how(&mut one.tags);
                true
            })
        };
        told(self).into_iter().chain(edited).collect()
    }
}

impl Store {
    /// The frames that announce those of these tags that are new to MISP.
    pub(super) fn new_tags<'t>(
        &mut self,
        tags: impl IntoIterator<Item = &'t (String, bool)>,
    ) -> Vec<Frame> {
        tags.into_iter().filter_map(|(name, local)| self.tag(name, *local).1).collect()
    }
}

fn has(tags: &[Tag], name: &str) -> bool {
    tags.iter().any(|tag| tag.name == name)
}

fn take(tags: &mut Vec<Tag>, name: &str) -> Option<Tag> {
    let index = tags.iter().position(|tag| tag.name == name)?;
    Some(tags.remove(index))
}
