//! MISP objects: what holds several attributes together.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::attribute::{Attribute, Malformed};
use super::audience::{Audience, INHERIT};
use super::lenient::{self, Flag, Maybe, Number, Text, TolerantList};
use super::sharing_group::{self, SharingGroup};
use super::time::TimeText;

/// Of an object with thousands of attributes no more are kept for the others' sake.
const MAX_BESIDE: usize = 16;

/// An object, with its attributes still to be read.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    /// Nil where an attributes answer gives no more than the object's distribution.
    pub uuid: Uuid,
    /// The template's name, e.g. `file`.
    pub name: Cow<'a, str>,
    pub comment: Cow<'a, str>,
    /// 0 to 5; 5 (also where it is missing) inherits the event's.
    pub distribution: i64,
    pub sharing_group_id: i64,
    pub sharing_group: Option<SharingGroup<'a>>,
    /// Soft-deleted, and all its attributes with it.
    pub deleted: bool,
    /// Unix seconds.
    pub timestamp: i64,
    /// Unix microseconds; attributes without their own inherit it.
    pub first_seen: Option<i64>,
    pub last_seen: Option<i64>,
    pub(super) attributes: Vec<&'a RawValue>,
    beside: OnceLock<Vec<Attribute<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ObjectFields<'a> {
    #[serde(borrow)]
    uuid: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    comment: Text<'a>,
    distribution: Number,
    sharing_group_id: Number,
    #[serde(borrow, rename = "SharingGroup")]
    sharing_group: Maybe<sharing_group::SharingGroupFields<'a>>,
    deleted: Flag,
    timestamp: Number,
    first_seen: TimeText,
    last_seen: TimeText,
    #[serde(borrow, rename = "Attribute")]
    attributes: TolerantList<&'a RawValue>,
}

impl<'a> Object<'a> {
    /// Reads an element of a list of objects.
    ///
    /// # Errors
    /// [`Malformed`]: no object, a field of another kind, or attributes that are no list.
    pub fn parse(raw: &'a RawValue) -> Result<Self, Malformed<'a>> {
        if !raw.get().starts_with('{') {
            return Err(Malformed::new(raw, "it is no object"));
        }
        let fields: ObjectFields<'_> = serde_json::from_str(raw.get())
            .map_err(|error| Malformed::new(raw, &error.to_string()))?;
        Ok(Self {
            uuid: lenient::uuid(&fields.uuid.0).unwrap_or_default(),
            name: fields.name.0,
            comment: fields.comment.0,
            distribution: fields.distribution.0.unwrap_or(INHERIT),
            sharing_group_id: fields.sharing_group_id.or_zero(),
            sharing_group: sharing_group::SharingGroupFields::read(fields.sharing_group),
            deleted: fields.deleted.0,
            timestamp: fields.timestamp.or_zero(),
            first_seen: fields.first_seen.0,
            last_seen: fields.last_seen.0,
            attributes: fields.attributes.0,
            beside: OnceLock::new(),
        })
    }

    #[must_use]
    pub fn audience(&self) -> Audience {
        Audience::new(self.distribution, self.sharing_group_id)
    }

    /// The first attributes that `chosen` takes, for what they say of the others. Read at the first
    /// call, whose choice stands: once for an object, not once for each of its attributes.
    pub fn beside(&self, chosen: fn(&Attribute<'_>) -> bool) -> &[Attribute<'a>] {
        self.beside.get_or_init(|| {
            let read = self.attributes.iter().filter_map(|raw| Attribute::parse(raw)?.ok());
            read.filter(chosen).take(MAX_BESIDE).collect()
        })
    }
}
