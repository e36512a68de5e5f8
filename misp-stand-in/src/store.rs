//! Holds the stand-in's data and clock behind one lock. It also adds, publishes and deletes whole events; the
//! file `change` alters their attributes and objects.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::frame::Frame;
use super::model::{Attribute, Audience, Event, NewAttribute, NewEvent, NewObject, Object, Tag};
use super::sightings::Sighting;
use super::warninglists::Warninglist;

/// MISP: a handle that is cheap to clone.
///
/// Each operation changes the data as MISP 2.5.1 does, at the time of [`Misp::now`], and returns
/// the frames that MISP would send, in its order. What does not exist is left alone, without frames,
/// where MISP would answer 404. [`Misp::event`] is a copy to compare with.
///
/// ```
/// use misp_stand_in::{Edit, Misp, NewAttribute, NewEvent};
///
/// let misp = Misp::new(1_795_499_521);
/// let attribute = NewAttribute::new("ip-dst", "198.51.100.7");
/// let (event, indicator) = (uuid::Uuid::new_v4(), attribute.uuid);
/// misp.add_event(NewEvent { uuid: event, attributes: vec![attribute], ..NewEvent::default() });
/// for frame in misp.publish(event) {
///     assert_eq!(frame.topic, "misp_json"); // frame.bytes is what goes over the wire
/// }
/// misp.advance(5);
/// misp.edit_attribute(event, indicator, Edit::ToIds(false));
/// assert!(!misp.event(event).is_some_and(|event| event.published));
/// ```
#[derive(Debug, Clone)]
pub struct Misp(Arc<Mutex<Store>>);

/// All that changes.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) clock: i64,
    /// By number; shared with answers that are still being written.
    pub(super) events: BTreeMap<u64, Arc<Event>>,
    pub(super) numbers: HashMap<Uuid, u64>,
    /// Every tag's number by its name.
    tags: HashMap<String, u64>,
    /// By number.
    pub(super) warninglists: BTreeMap<u64, Warninglist>,
    /// Settings that are off.
    pub(super) off: BTreeSet<String>,
    /// In the order of their numbers.
    pub(super) sightings: Vec<Sighting>,
    /// What MISP published of them since somebody looked.
    pub(super) sighting_frames: Vec<Frame>,
    pub(super) last_event: u64,
    pub(super) last_attribute: u64,
    pub(super) last_object: u64,
}

impl Misp {
    /// An empty one whose clock stands at `clock`, Unix seconds.
    #[must_use]
    pub fn new(clock: i64) -> Self {
        Self(Arc::new(Mutex::new(Store {
            clock,
            events: BTreeMap::new(),
            numbers: HashMap::new(),
            tags: HashMap::new(),
            warninglists: BTreeMap::new(),
            off: BTreeSet::new(),
            sightings: Vec::new(),
            sighting_frames: Vec::new(),
            last_event: 0,
            last_attribute: 0,
            last_object: 0,
        })))
    }

    /// MISP's clock, Unix seconds. It stands still unless told otherwise.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.with(|store| store.clock)
    }

    /// Sets the clock, also back.
    pub fn set_clock(&self, clock: i64) {
        self.with(|store| store.clock = clock);
    }

    /// Moves the clock, back where `seconds` is negative.
    pub fn advance(&self, seconds: i64) {
        self.with(|store| store.clock += seconds);
    }

    /// The event as it is now.
    #[must_use]
    pub fn event(&self, uuid: Uuid) -> Option<Arc<Event>> {
        self.with(|store| store.event(uuid).map(Arc::clone))
    }

    /// All events in the order of their numbers.
    #[must_use]
    pub fn events(&self) -> Vec<Arc<Event>> {
        self.with(|store| store.events.values().map(Arc::clone).collect())
    }

    /// A new, unpublished event. An existing uuid is refused.
    pub fn add_event(&self, new: NewEvent) -> Vec<Frame> {
        self.with(|store| {
            if store.numbers.contains_key(&new.uuid) {
                return Vec::new();
            }
            let mut frames = store.name_tags(&new);
            let event = store.make(new);
            frames.extend(birth(&event));
            store.insert(event);
            frames
        })
    }

    /// An event that was published at the clock's time, without any frame: what was there before.
    pub fn load_event(&self, new: NewEvent) {
        self.with(|store| {
            let _nobody_listens = store.name_tags(&new);
            let mut event = store.make(new);
            (event.published, event.publish_timestamp) = (true, store.clock);
            store.insert(event);
        });
    }

    /// The publication carries the state before it: `published` is false but for a repeat.
    pub fn publish(&self, event: Uuid) -> Vec<Frame> {
        self.change(event, |event, now| {
            let frame = Frame::publication(event);
            (event.published, event.publish_timestamp) = (true, now);
            vec![frame]
        })
    }

    /// "Publish event to ZMQ": a publication that changes nothing.
    #[must_use]
    pub fn push(&self, event: Uuid) -> Vec<Frame> {
        self.event(event).map(|event| Frame::publication(&event)).into_iter().collect()
    }

    /// By hand; no timestamp changes.
    pub fn unpublish(&self, event: Uuid) -> Vec<Frame> {
        self.change(event, |event, _| {
            event.published = false;
            vec![Frame::event(event, "edit")]
        })
    }

    /// Edits the event itself.
    pub fn rename_event(&self, event: Uuid, info: &str) -> Vec<Frame> {
        self.change(event, |event, now| {
            event.info = info.to_owned();
            touch(event, now);
            vec![Frame::event(event, "edit")]
        })
    }

    /// Who may see the event, edited.
    pub fn share_event(&self, event: Uuid, audience: Audience) -> Vec<Frame> {
        self.change(event, |event, now| {
            (event.distribution, event.sharing_group) = (audience.distribution, audience.group);
            touch(event, now);
            vec![Frame::event(event, "edit")]
        })
    }

    /// As a restored database does: the next event, attribute and object get the lowest number above
    /// those that are there, also one that a deleted one had.
    pub fn reset_counters(&self) {
        self.with(|store| {
            let highest = |numbers: &mut dyn Iterator<Item = u64>| numbers.max().unwrap_or(0);
            let events = || store.events.values();
            let event = highest(&mut store.events.keys().copied());
            let attribute = highest(
                &mut events().flat_map(|event| event.all()).map(|(_, attribute)| attribute.id),
            );
            let object =
                highest(&mut events().flat_map(|event| &event.objects).map(|object| object.id));
            (store.last_event, store.last_attribute, store.last_object) =
                (event, attribute, object);
        });
    }

    /// For good, with all that it holds; only the event itself is told of.
    pub fn delete_event(&self, event: Uuid) -> Vec<Frame> {
        self.with(|store| {
            let number = store.numbers.remove(&event);
            let event = number.and_then(|number| store.events.remove(&number));
            event.map(|event| Frame::event(&event, "delete")).into_iter().collect()
        })
    }

    /// Applies a change to an event that exists, with the clock's time.
    pub(super) fn change(
        &self,
        event: Uuid,
        how: impl FnOnce(&mut Event, i64) -> Vec<Frame>,
    ) -> Vec<Frame> {
        self.with(|store| {
            let now = store.clock;
            store.event_mut(event).map(|event| how(event, now)).unwrap_or_default()
        })
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Store) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Every edit of an event unpublishes it.
pub(super) fn touch(event: &mut Event, now: i64) {
    event.timestamp = now;
    event.published = false;
}

/// What MISP says of a new event: it is saved before its tags and attributes.
pub(super) fn birth(event: &Event) -> Vec<Frame> {
    let bare = Event { tags: vec![], attributes: vec![], objects: vec![], ..event.clone() };
    let mut frames = vec![Frame::event(&bare, "add")];
    frames.extend(event.tags.iter().map(|tag| Frame::tag(event, None, tag, true)));
    for (object, attribute) in event.all() {
        frames.extend(attribute_birth(event, object, attribute, false));
    }
    frames.extend(event.objects.iter().map(|object| Frame::object(event, object, "add")));
    frames
}

/// What MISP says of a new attribute; the event was `published` before.
pub(super) fn attribute_birth(
    event: &Event,
    object: Option<&Object>,
    attribute: &Attribute,
    published: bool,
) -> Vec<Frame> {
    let mut frames = vec![Frame::attribute(event, (object, attribute), published, "add")];
    let tags = attribute.tags.iter();
    frames.extend(tags.map(|tag| Frame::tag(event, Some(attribute.id), tag, true)));
    frames
}

impl Store {
    pub(super) fn event(&self, uuid: Uuid) -> Option<&Arc<Event>> {
        self.events.get(self.numbers.get(&uuid)?)
    }

    /// Copied first where an answer still reads it.
    pub(super) fn event_mut(&mut self, uuid: Uuid) -> Option<&mut Event> {
        self.events.get_mut(self.numbers.get(&uuid)?).map(Arc::make_mut)
    }

    pub(super) fn insert(&mut self, event: Event) {
        self.numbers.insert(event.uuid, event.id);
        self.events.insert(event.id, Arc::new(event));
    }

    /// Gives numbers to tags that have none, and says so.
    fn name_tags(&mut self, new: &NewEvent) -> Vec<Frame> {
        let inside = new.objects.iter().flat_map(|object| &object.attributes);
        let attributes = new.attributes.iter().chain(inside);
        let tags = new.tags.iter().chain(attributes.flat_map(|one| &one.tags));
        self.new_tags(tags)
    }

    /// The tag, and the frame that announces it where it is new to MISP.
    pub(super) fn tag(&mut self, name: &str, local: bool) -> (Tag, Option<Frame>) {
        let next = self.tags.len() as u64 + 1;
        let id = *self.tags.entry(name.to_owned()).or_insert(next);
        let tag = Tag { id, name: name.to_owned(), local };
        let frame = (id == next).then(|| Frame::new_tag(&tag));
        (tag, frame)
    }

    fn make(&mut self, new: NewEvent) -> Event {
        self.last_event += 1;
        let tags = self.known(&new.tags);
        Event {
            id: self.last_event,
            uuid: new.uuid,
            info: new.info,
            date: "2026-11-24".to_owned(),
            organisation: new.organisation,
            distribution: new.distribution,
            sharing_group: new.sharing_group,
            threat_level: 3,
            analysis: 1,
            timestamp: self.clock,
            published: false,
            publish_timestamp: 0,
            locked: false,
            tags,
            attributes: new.attributes.into_iter().map(|one| self.attribute(one)).collect(),
            objects: new.objects.into_iter().map(|one| self.object(one)).collect(),
        }
    }

    pub(super) fn attribute(&mut self, new: NewAttribute) -> Attribute {
        self.last_attribute += 1;
        let tags = self.known(&new.tags);
        Attribute {
            id: self.last_attribute,
            uuid: new.uuid,
            kind: new.kind,
            category: new.category,
            value: new.value,
            comment: new.comment,
            to_ids: new.to_ids,
            deleted: false,
            distribution: new.distribution,
            sharing_group: new.sharing_group,
            first_seen: new.first_seen,
            timestamp: self.clock,
            decay: None,
            relation: None,
            tags,
        }
    }

    pub(super) fn object(&mut self, new: NewObject) -> Object {
        self.last_object += 1;
        let id = self.last_object;
        let of_object = |mut attribute: Attribute| {
            attribute.relation = Some(attribute.kind.clone());
            attribute
        };
        let attributes = new.attributes.into_iter().map(|one| of_object(self.attribute(one)));
        Object {
            id,
            uuid: new.uuid,
            name: new.name,
            deleted: false,
            distribution: new.distribution,
            sharing_group: new.sharing_group,
            attributes: attributes.collect(),
            timestamp: self.clock,
        }
    }

    pub(super) fn known(&mut self, tags: &[(String, bool)]) -> Vec<Tag> {
        tags.iter().map(|(name, local)| self.tag(name, *local).0).collect()
    }
}
