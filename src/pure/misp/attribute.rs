//! Parses one attribute on its own, so that an attribute that cannot be read does not affect the others.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::{Uuid, Variant};

use super::audience::{Audience, INHERIT};
use super::decay::{self, Decay};
use super::lenient::{self, Flag, Text, WholeNumber};
use super::sharing_group::{self, SharingGroup};
use super::sighting::{self, Sighting};
use super::tag::{self, Tag, Tags};
use super::time;

/// An attribute as MISP's core format has it. Texts borrow from the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute<'a> {
    pub uuid: Uuid,
    /// MISP's number; 0 where the document has none.
    pub id: i64,
    /// `type`, e.g. `ip-dst`.
    pub kind: Cow<'a, str>,
    pub category: Cow<'a, str>,
    pub value: Cow<'a, str>,
    pub to_ids: bool,
    /// Soft-deleted.
    pub deleted: bool,
    /// 0 to 5; 5 (also where it is missing) inherits.
    pub distribution: i64,
    pub sharing_group_id: i64,
    pub sharing_group: Option<SharingGroup<'a>>,
    /// Unix seconds.
    pub timestamp: i64,
    /// Unix microseconds.
    pub first_seen: Option<i64>,
    pub last_seen: Option<i64>,
    pub comment: Cow<'a, str>,
    /// `object_relation`: its role in the object around it.
    pub relation: Cow<'a, str>,
    pub tags: Vec<Tag<'a>>,
    /// Whether it has all fields that decide whether it counts and who may see it, as in every answer of MISP's REST
    /// API.
    pub is_whole: bool,
    /// The list `Sighting`, unread; empty: none.
    sightings: &'a str,
    decay: &'a str,
}

/// An element of a list of attributes or objects that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed<'a> {
    /// The element as it stands in the document.
    pub json: &'a str,
    /// Its uuid, type and value, where that much can be read. An object has no type and value.
    pub uuid: Option<Uuid>,
    pub kind: Option<Cow<'a, str>>,
    pub value: Option<Cow<'a, str>>,
    pub problem: String,
}

/// The fields that name an element. Each is read on its own.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ElementName<'a> {
    #[serde(borrow)]
    uuid: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

impl<'a> ElementName<'a> {
    /// Returns a field as text. If it is no text, returns its JSON.
    fn text(field: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
        let json = field?.get();
        let text = match serde_json::from_str(json) {
            Ok(Text(text)) => text,
            Err(_) => serde_json::from_str::<Value>(json).ok()?.to_string().into(),
        };
        (!text.is_empty()).then(|| cut(text))
    }
}

/// The most bytes of a field that names an element that cannot be read.
const MAX_NAMING: usize = 1_000;

fn cut(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= MAX_NAMING {
        return text;
    }
    let end = text.floor_char_boundary(MAX_NAMING);
    Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default()))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AttributeFields<'a> {
    #[serde(borrow)]
    uuid: Option<Text<'a>>,
    id: WholeNumber,
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    category: Text<'a>,
    #[serde(borrow)]
    value: Option<Text<'a>>,
    to_ids: Option<Flag>,
    deleted: Flag,
    distribution: WholeNumber,
    sharing_group_id: WholeNumber,
    #[serde(borrow, rename = "SharingGroup", deserialize_with = "sharing_group::read")]
    sharing_group: Option<SharingGroup<'a>>,
    timestamp: WholeNumber,
    #[serde(deserialize_with = "time::moment")]
    first_seen: Option<i64>,
    #[serde(deserialize_with = "time::moment")]
    last_seen: Option<i64>,
    #[serde(borrow)]
    comment: Text<'a>,
    #[serde(borrow)]
    object_relation: Text<'a>,
    #[serde(borrow, rename = "Tag")]
    tags: Tags<'a>,
    #[serde(borrow, rename = "AttributeTag")]
    attribute_tags: Tags<'a>,
    #[serde(borrow, rename = "Sighting")]
    sightings: Option<&'a RawValue>,
    #[serde(borrow)]
    decay_score: Option<&'a RawValue>,
}

impl<'a> Attribute<'a> {
    pub fn audience(&self) -> Audience {
        Audience::new(self.distribution, self.sharing_group_id)
    }

    /// Reads an element of a list of attributes. `None` is a phantom: MISP puts elements without
    /// uuid, type and value between the attributes of an object when `includeGranularCorrelations`
    /// is asked for.
    ///
    /// # Errors
    /// [`Malformed`]: no object, a field of another kind, no value, or no RFC 4122 uuid.
    pub fn parse(raw: &'a RawValue) -> Option<Result<Self, Malformed<'a>>> {
        match AttributeFields::parse(raw) {
            Ok(fields) if fields.is_phantom() => None,
            Ok(fields) => Some(Self::from_fields(fields, raw)),
            Err(malformed) => Some(Err(malformed)),
        }
    }

    fn from_fields(fields: AttributeFields<'a>, raw: &'a RawValue) -> Result<Self, Malformed<'a>> {
        let uuid = fields
            .uuid
            .and_then(|Text(uuid)| lenient::uuid(&uuid))
            .filter(|uuid| uuid.get_variant() == Variant::RFC4122)
            .ok_or_else(|| Malformed::new(raw, "it has no RFC 4122 uuid"))?;
        let kind = fields.kind.ok_or_else(|| Malformed::new(raw, "it has no type"))?;
        let value = fields.value.ok_or_else(|| Malformed::new(raw, "it has no value"))?;
        // An answer that leaves one of them out does not say that it is off, zero or inherited.
        let is_whole = fields.to_ids.is_some()
            && fields.timestamp.0.is_some()
            && fields.distribution.0.is_some();
        let mut tags = Vec::new();
        tag::collect(fields.tags, &mut tags);
        tag::collect(fields.attribute_tags, &mut tags);
        Ok(Self {
            uuid,
            id: fields.id.or_zero(),
            kind: kind.0,
            category: fields.category.0,
            value: value.0,
            to_ids: fields.to_ids.unwrap_or_default().0,
            deleted: fields.deleted.0,
            distribution: fields.distribution.0.unwrap_or(INHERIT),
            sharing_group_id: fields.sharing_group_id.or_zero(),
            sharing_group: fields.sharing_group,
            timestamp: fields.timestamp.or_zero(),
            first_seen: fields.first_seen,
            last_seen: fields.last_seen,
            comment: fields.comment.0,
            relation: fields.object_relation.0,
            tags,
            is_whole,
            sightings: fields.sightings.map_or("", RawValue::get),
            decay: fields.decay_score.map_or("", RawValue::get),
        })
    }

    /// Its score by the decaying models. `None`: no model applies, or the read did not ask for scores.
    pub fn decay(&self) -> Option<Decay> {
        if self.decay.is_empty() { None } else { decay::of_attribute(self.decay) }
    }

    /// The false positives and expirations that were reported of it.
    pub fn sightings(&self) -> Vec<Sighting> {
        match self.sightings {
            "" | "[]" => Vec::new(),
            list => sighting::of_attribute(self.uuid, list),
        }
    }
}

impl<'a> AttributeFields<'a> {
    fn parse(raw: &'a RawValue) -> Result<Self, Malformed<'a>> {
        if !raw.get().starts_with('{') {
            return Err(Malformed::new(raw, "it is no object"));
        }
        serde_json::from_str(raw.get()).map_err(|error| Malformed::new(raw, &error.to_string()))
    }

    fn is_phantom(&self) -> bool {
        self.uuid.is_none() && self.kind.is_none() && self.value.is_none()
    }
}

impl<'a> Malformed<'a> {
    pub(super) fn new(raw: &'a RawValue, problem: &str) -> Self {
        let named: ElementName<'a> = serde_json::from_str(raw.get()).unwrap_or_default();
        Self {
            json: raw.get(),
            uuid: ElementName::text(named.uuid).and_then(|uuid| lenient::uuid(&uuid)),
            kind: ElementName::text(named.kind),
            value: ElementName::text(named.value),
            problem: problem.to_owned(),
        }
    }
}
