//! Parses MISP objects, each of which groups several attributes. The attributes of an object are parsed
//! later, each on its own.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::attribute::{Attribute, Malformed};
use super::audience::{self, Audience};
use super::sharing_group::{self, SharingGroup};
use super::{lenient, time};

/// The most attributes that an object keeps for the descriptions of its other attributes.
const MAX_BESIDE: usize = 16;

/// An object, with its attributes still to be read.
#[derive(Debug, Clone, Deserialize)]
pub struct Object<'a> {
    /// Nil if an answer of `/attributes/restSearch` gives only the object's distribution.
    #[serde(default, deserialize_with = "lenient::uuid_or_nil")]
    pub uuid: Uuid,
    /// The template's name, e.g. `file`.
    #[serde(borrow, default, deserialize_with = "lenient::borrowed")]
    pub name: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "lenient::borrowed")]
    pub comment: Cow<'a, str>,
    /// 0 to 5; 5 (also where it is missing) inherits the event's.
    #[serde(default = "audience::inherited", deserialize_with = "audience::distribution")]
    pub distribution: i64,
    #[serde(default, deserialize_with = "lenient::number")]
    pub sharing_group_id: i64,
    #[serde(borrow, default, rename = "SharingGroup", deserialize_with = "sharing_group::read")]
    pub sharing_group: Option<SharingGroup<'a>>,
    /// Soft-deleted, and all its attributes with it.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub deleted: bool,
    /// Unix seconds.
    #[serde(default, deserialize_with = "lenient::number")]
    pub timestamp: i64,
    /// Unix microseconds; attributes without their own inherit it.
    #[serde(default, deserialize_with = "time::moment")]
    pub first_seen: Option<i64>,
    #[serde(default, deserialize_with = "time::moment")]
    pub last_seen: Option<i64>,
    #[serde(borrow, default, rename = "Attribute", deserialize_with = "lenient::list")]
    pub(super) attributes: Vec<&'a RawValue>,
    #[serde(skip)]
    beside: OnceLock<Vec<Attribute<'a>>>,
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
        serde_json::from_str(raw.get()).map_err(|error| Malformed::new(raw, &error.to_string()))
    }

    pub fn audience(&self) -> Audience {
        Audience::new(self.distribution, self.sharing_group_id)
    }

    /// Returns the first attributes that `chosen` takes, for the descriptions of the others. They are read once for the
    /// object, at the first call, and later calls return the same ones.
    pub fn beside(&self, chosen: fn(&Attribute<'_>) -> bool) -> &[Attribute<'a>] {
        self.beside.get_or_init(|| {
            let read = self.attributes.iter().filter_map(|raw| Attribute::parse(raw)?.ok());
            read.filter(chosen).take(MAX_BESIDE).collect()
        })
    }
}
