//! Takes events over from another MISP, as MISP 2.5 does when it pulls from a connected server. The rules are those of
//! MISP's `Server::pull`, `Event::_add` and `Event::_edit`, and of `Attribute::editAttribute`.

use super::frame::Frame;
use super::model::{Attribute, Event, Object, Tag};
use super::store::{Misp, Store, birth};

const COMMUNITY: u8 = 1;
const CONNECTED: u8 = 2;

impl Misp {
    /// Pulls an event that another MISP has published. What is for one organisation or a sharing group alone does not
    /// pass. An event that was made here is left alone, and so is one of which nothing newer is known.
    pub fn pull(&self, remote: &Event) -> Vec<Frame> {
        if !remote.published || !passes(remote.distribution) {
            return Vec::new();
        }
        self.with(|store| match store.event(remote.uuid) {
            None => store.add_pulled(remote),
            Some(known) if known.locked && remote.timestamp > known.timestamp => {
                store.edit_pulled(remote)
            }
            Some(_) => Vec::new(),
        })
    }
}

impl Store {
    fn add_pulled(&mut self, remote: &Event) -> Vec<Frame> {
        self.last_event += 1;
        let attributes = self.new_attributes(&remote.attributes);
        let objects = remote.objects.iter().filter(|one| !one.deleted && passes(one.distribution));
        let objects = objects.map(|object| self.new_object(object)).collect();
        let event = Event {
            id: self.last_event,
            distribution: lowered(remote.distribution),
            published: true,
            publish_timestamp: self.clock,
            locked: true,
            tags: self.own_tags(&remote.tags),
            attributes,
            objects,
            ..remote.clone()
        };
        let mut frames = birth(&event);
        frames.push(Frame::publication(&event));
        frames.push(Frame::pulled(remote.id, "add"));
        self.insert(event);
        frames
    }

    fn edit_pulled(&mut self, remote: &Event) -> Vec<Frame> {
        let Some(known) = self.event(remote.uuid).cloned() else { return Vec::new() };
        let mut event = Event::clone(&known);
        event.info.clone_from(&remote.info);
        event.timestamp = remote.timestamp;
        event.distribution = lowered(remote.distribution);
        self.renew_tags(&mut event.tags, &remote.tags);
        self.renew_attributes(&mut event.attributes, &remote.attributes);
        for object in remote.objects.iter().filter(|one| passes(one.distribution)) {
            match event.objects.iter_mut().find(|one| one.uuid == object.uuid) {
                Some(known) => self.renew_object(known, object),
                None if !object.deleted => event.objects.push(self.new_object(object)),
                None => {}
            }
        }
        let mut frames = changes(&known, &event);
        frames.push(Frame::publication(&event));
        frames.push(Frame::pulled(remote.id, "edit"));
        (event.published, event.publish_timestamp) = (true, self.clock);
        self.insert(event);
        frames
    }

    /// A deletion takes all attributes of the object along, as it did in the other MISP. What was deleted here later is
    /// left alone.
    fn renew_object(&mut self, known: &mut Object, remote: &Object) {
        let is_newer = remote.timestamp > known.timestamp;
        if known.deleted && !is_newer {
            return;
        }
        if is_newer {
            (known.deleted, known.timestamp) = (remote.deleted, remote.timestamp);
            known.distribution = lowered(remote.distribution);
        }
        self.renew_attributes(&mut known.attributes, &remote.attributes);
        if is_newer && known.deleted {
            for one in &mut known.attributes {
                one.timestamp = one.timestamp.max(remote.timestamp);
                one.deleted = true;
            }
        }
    }

    /// The newer version of each attribute stays. What is not shown any more stays as it is.
    fn renew_attributes(&mut self, known: &mut Vec<Attribute>, remote: &[Attribute]) {
        for one in remote.iter().filter(|one| passes(one.distribution)) {
            match known.iter_mut().find(|known| known.uuid == one.uuid) {
                Some(known) if one.timestamp > known.timestamp => self.renew_attribute(known, one),
                Some(_) => {}
                None => known.extend(self.new_attributes(std::slice::from_ref(one))),
            }
        }
    }

    fn renew_attribute(&mut self, known: &mut Attribute, remote: &Attribute) {
        let mut tags = std::mem::take(&mut known.tags);
        self.renew_tags(&mut tags, &remote.tags);
        *known = Attribute {
            id: known.id,
            distribution: lowered(remote.distribution),
            tags,
            ..remote.clone()
        };
    }

    fn new_attributes(&mut self, remote: &[Attribute]) -> Vec<Attribute> {
        let pass = remote.iter().filter(|one| !one.deleted && passes(one.distribution));
        pass.map(|one| {
            self.last_attribute += 1;
            Attribute {
                id: self.last_attribute,
                distribution: lowered(one.distribution),
                tags: self.own_tags(&one.tags),
                ..one.clone()
            }
        })
        .collect()
    }

    fn new_object(&mut self, remote: &Object) -> Object {
        self.last_object += 1;
        Object {
            id: self.last_object,
            distribution: lowered(remote.distribution),
            attributes: self.new_attributes(&remote.attributes),
            ..remote.clone()
        }
    }

    /// A local tag stays where it is. The others become those of the other MISP.
    fn renew_tags(&mut self, known: &mut Vec<Tag>, remote: &[Tag]) {
        known.retain(|tag| tag.local);
        for tag in self.own_tags(remote) {
            if known.iter().all(|one| one.name != tag.name) {
                known.push(tag);
            }
        }
    }

    /// The tags that pass, with the numbers that they have here.
    fn own_tags(&mut self, remote: &[Tag]) -> Vec<Tag> {
        let pass = remote.iter().filter(|tag| !tag.local);
        pass.map(|tag| self.tag(&tag.name, false).0).collect()
    }
}

fn passes(distribution: u8) -> bool {
    !matches!(distribution, 0 | 4)
}

/// Each server passes an event on to one less: what was for connected communities is for this one, and what was for
/// this one is for the organisation that pulled it.
fn lowered(distribution: u8) -> u8 {
    match distribution {
        COMMUNITY => 0,
        CONNECTED => COMMUNITY,
        other => other,
    }
}

/// What MISP says of an event that a pull has changed, but for its publication.
fn changes(before: &Event, after: &Event) -> Vec<Frame> {
    let changed = after.all().filter_map(|(object, one)| {
        let action = match before.attribute(one.uuid) {
            None => "add",
            Some((_, known)) if known == one => return None,
            Some(_) if one.deleted => "soft-delete",
            Some(_) => "edit",
        };
        Some(Frame::attribute(after, (object, one), before.published, action))
    });
    std::iter::once(Frame::event(after, "edit")).chain(changed).collect()
}
