//! Parses the sharing group that MISP shows beside a distribution of 4: its uuid and its name. Some documents
//! name the group only by a number, which each MISP instance gives by itself.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use super::lenient::{self, Maybe, Text};

/// A sharing group, as `SharingGroup` beside a distribution of 4 has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharingGroup<'a> {
    pub uuid: Uuid,
    pub name: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SharingGroupFields<'a> {
    #[serde(borrow)]
    uuid: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
}

/// `None` where there is none, or none with a uuid.
pub(super) fn read<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SharingGroup<'a>>, D::Error> {
    let Maybe(fields): Maybe<SharingGroupFields<'a>> = Deserialize::deserialize(deserializer)?;
    let of = |SharingGroupFields { uuid, name }| {
        Some(SharingGroup { uuid: lenient::uuid(&uuid.0)?, name: name.0 })
    };
    Ok(fields.and_then(of))
}
