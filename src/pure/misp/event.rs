//! Parses the head of an event. Its attributes are parsed one by one, when the caller asks for them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::attribute::{Attribute, Malformed};
use super::audience::{Audience, stands_under};
use super::lenient::{self, Flag, Maybe, Text, TolerantList, WholeNumber};
use super::object::Object;
use super::sharing_group::{self, SharingGroup};
use super::tag::{self, Tag, Tags};

/// An event in any of MISP's shapes. Everything borrows from the document.
#[derive(Debug, Clone, Default)]
pub struct Event<'a> {
    /// Nil only where an objects answer of restSearch names none.
    pub uuid: Uuid,
    /// MISP's number; 0 where the document has none.
    pub id: i64,
    pub info: Cow<'a, str>,
    /// `YYYY-MM-DD`.
    pub date: Cow<'a, str>,
    /// The creator organisation (`Orgc`).
    pub org_uuid: Option<Uuid>,
    pub org_name: Cow<'a, str>,
    pub threat_level: i64,
    pub analysis: i64,
    /// 0 to 4; 0 where it is missing.
    pub distribution: i64,
    pub sharing_group_id: i64,
    pub sharing_group: Option<SharingGroup<'a>>,
    /// Not to be trusted in pushed documents: they are snapshots from before the publication is
    /// saved.
    pub published: bool,
    /// Unix seconds.
    pub timestamp: i64,
    /// Unix seconds; 0 if never published.
    pub publish_timestamp: i64,
    pub tags: Vec<Tag<'a>>,
    /// Fields that every answer of MISP's REST API has and this document lacks: they decide whether
    /// the event is published, and to whom.
    pub lacking: Vec<&'static str>,
    pub(super) attributes: Vec<&'a RawValue>,
    pub(super) objects: Vec<Result<Object<'a>, Malformed<'a>>>,
    pub(super) raw_objects: Vec<&'a RawValue>,
    pub(super) galaxies: Option<&'a RawValue>,
}

/// The fields of `Event`, as every endpoint and topic spells them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventFields<'a> {
    #[serde(borrow)]
    uuid: Text<'a>,
    id: WholeNumber,
    #[serde(borrow)]
    info: Text<'a>,
    #[serde(borrow)]
    date: Text<'a>,
    threat_level_id: WholeNumber,
    analysis: WholeNumber,
    distribution: WholeNumber,
    sharing_group_id: WholeNumber,
    #[serde(borrow, rename = "SharingGroup", deserialize_with = "sharing_group::read")]
    sharing_group: Option<SharingGroup<'a>>,
    published: Option<Flag>,
    timestamp: WholeNumber,
    publish_timestamp: WholeNumber,
    #[serde(borrow, rename = "Orgc")]
    pub(super) creator: Maybe<Org<'a>>,
    #[serde(borrow, rename = "Attribute")]
    pub(super) attributes: Option<TolerantList<&'a RawValue>>,
    #[serde(borrow, rename = "Object")]
    pub(super) objects: Option<TolerantList<&'a RawValue>>,
    #[serde(borrow, rename = "Tag")]
    tags: Tags<'a>,
    #[serde(borrow, rename = "EventTag")]
    event_tags: Tags<'a>,
    #[serde(borrow, rename = "Galaxy")]
    galaxies: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Org<'a> {
    #[serde(borrow)]
    uuid: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
}

impl EventFields<'_> {
    fn lacking(&self) -> Vec<&'static str> {
        let fields = [
            ("published", self.published.is_some()),
            ("publish_timestamp", self.publish_timestamp.0.is_some()),
            ("timestamp", self.timestamp.0.is_some()),
            ("distribution", self.distribution.0.is_some()),
        ];
        fields.into_iter().filter(|(_, told)| !told).map(|(name, _)| name).collect()
    }
}

impl<'a> Event<'a> {
    pub(super) fn from_body(body: EventFields<'a>) -> Self {
        let lacking = body.lacking();
        let creator = body.creator.0.unwrap_or_default();
        let mut tags = Vec::new();
        tag::collect(body.tags, &mut tags);
        tag::collect(body.event_tags, &mut tags);
        let mut event = Self {
            uuid: lenient::uuid(&body.uuid.0).unwrap_or_default(),
            id: body.id.or_zero(),
            info: body.info.0,
            date: body.date.0,
            org_uuid: lenient::uuid(&creator.uuid.0),
            org_name: creator.name.0,
            threat_level: body.threat_level_id.or_zero(),
            analysis: body.analysis.or_zero(),
            distribution: body.distribution.or_zero(),
            sharing_group_id: body.sharing_group_id.or_zero(),
            sharing_group: body.sharing_group,
            published: body.published.unwrap_or_default().0,
            timestamp: body.timestamp.or_zero(),
            publish_timestamp: body.publish_timestamp.or_zero(),
            tags,
            lacking,
            attributes: body.attributes.unwrap_or_default().0,
            objects: Vec::new(),
            raw_objects: Vec::new(),
            galaxies: body.galaxies,
        };
        event.hold(body.objects.unwrap_or_default().0);
        event
    }

    /// Takes in an attribute of an attributes answer, with what that tells of its object.
    pub(super) fn hold_attribute(&mut self, object: &'a RawValue, attribute: &'a RawValue) {
        self.objects = vec![Object::parse(object).map(|mut object| {
            object.attributes = vec![attribute];
            object
        })];
        self.raw_objects = vec![object, attribute];
    }

    /// Takes `objects` in, each read on its own.
    pub(super) fn hold(&mut self, objects: Vec<&'a RawValue>) {
        self.objects = objects.iter().map(|raw| Object::parse(raw)).collect();
        self.raw_objects = objects;
    }

    /// Returns every attribute, including those of objects, in the document's order. Proposals (`ShadowAttribute`) do
    /// not count. An attribute or a whole object that cannot be read becomes one [`Malformed`].
    pub fn attributes(
        &self,
    ) -> impl Iterator<Item = Result<(Attribute<'a>, Option<&Object<'a>>), Malformed<'a>>> {
        let alone = self.attributes.iter().map(|raw| (Ok(*raw), None));
        let held = self.objects.iter().flat_map(|object| {
            let (object, broken) = match object {
                Ok(object) => (Some(object), None),
                Err(malformed) => (None, Some((Err(malformed.clone()), None))),
            };
            let attributes = object.into_iter().flat_map(|object| {
                object.attributes.iter().map(move |raw| (Ok(*raw), Some(object)))
            });
            broken.into_iter().chain(attributes)
        });
        alone.chain(held).filter_map(|(raw, object)| match raw {
            Ok(raw) => Attribute::parse(raw).map(|read| read.map(|attribute| (attribute, object))),
            Err(malformed) => Some(Err(malformed)),
        })
    }

    pub fn audience(&self) -> Audience {
        Audience::new(self.distribution, self.sharing_group_id)
    }

    /// Whether any part of it is only for its own organisation or a sharing group, so that a key of another
    /// organisation may not see it.
    pub fn is_restricted(&self) -> bool {
        let is_open = |object: Option<&Object<'_>>, attribute| {
            let below = object.map(Object::audience).into_iter().chain([attribute]);
            stands_under(self.audience(), below).all(Audience::is_open)
        };
        !self.audience().is_open()
            || self.attributes().flatten().any(|(one, object)| !is_open(object, one.audience()))
    }

    /// How many attributes are listed, including phantoms. It is used for sizes only.
    pub fn listed(&self) -> usize {
        let held: usize = self.objects.iter().flatten().map(|object| object.attributes.len()).sum();
        self.attributes.len() + held
    }

    /// Whether it has neither attributes nor objects.
    pub fn lists_nothing(&self) -> bool {
        self.attributes.is_empty() && self.objects.is_empty()
    }

    /// An event with the audience of this one that lists only `attributes`.
    pub(super) fn with_attributes<'t>(&self, attributes: Vec<&'t RawValue>) -> Event<'t> {
        let (distribution, sharing_group_id) = (self.distribution, self.sharing_group_id);
        Event { distribution, sharing_group_id, attributes, ..Event::default() }
    }

    /// An event with the audience of this one that lists only `objects`.
    pub(super) fn with_objects<'t>(&self, objects: Vec<&'t RawValue>) -> Event<'t> {
        let mut event = self.with_attributes(Vec::new());
        event.hold(objects);
        event
    }

    /// Gives `take` everything of the event that counts, piece by piece, for hashing. `published`
    /// and `publish_timestamp` are left out, so that a republication without change gives the same
    /// pieces. Each piece is preceded by its length.
    // The length before each piece keeps two neighbours from passing for another two.
    pub fn content(&self, mut take: impl FnMut(&[u8])) {
        self.content_of_head(self.attributes.len(), &mut take);
        self.content_of_lists(take);
    }

    /// The first pieces of [`Event::content`], of an event that lists so many attributes outside of objects.
    pub fn content_of_head(&self, attributes: usize, mut take: impl FnMut(&[u8])) {
        let mut piece = |bytes: &[u8]| in_piece(&mut take, bytes);
        piece(self.uuid.as_bytes());
        piece(self.org_uuid.unwrap_or_default().as_bytes());
        for number in [
            self.id,
            self.timestamp,
            self.threat_level,
            self.analysis,
            self.distribution,
            self.sharing_group_id,
        ] {
            piece(&number.to_le_bytes());
        }
        for text in [&self.info, &self.date, &self.org_name] {
            piece(text.as_bytes());
        }
        if let Some(group) = &self.sharing_group {
            piece(group.uuid.as_bytes());
            piece(group.name.as_bytes());
        }
        piece(&self.tags.len().to_le_bytes());
        for tag in &self.tags {
            piece(tag.name.as_bytes());
            piece(&[u8::from(tag.local)]);
        }
        piece(self.galaxies.map_or("", RawValue::get).as_bytes());
        piece(&attributes.to_le_bytes());
    }

    /// The pieces of [`Event::content`] that follow those of the head.
    pub fn content_of_lists(&self, mut take: impl FnMut(&[u8])) {
        for raw in self.attributes.iter().chain(&self.raw_objects) {
            in_piece(&mut take, raw.get().as_bytes());
        }
    }
}

fn in_piece(take: &mut impl FnMut(&[u8]), bytes: &[u8]) {
    take(&bytes.len().to_le_bytes());
    take(bytes);
}
