//! Who beside the own organisation may see something: MISP names a sharing group by a number of its
//! own, and where it shows more, by uuid and name.

use std::borrow::Cow;

use serde::Deserialize;
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
pub(super) struct SharingGroupFields<'a> {
    #[serde(borrow)]
    uuid: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
}

impl<'a> SharingGroupFields<'a> {
    pub(super) fn read(fields: Maybe<Self>) -> Option<SharingGroup<'a>> {
        let Self { uuid, name } = fields.0?;
        Some(SharingGroup { uuid: lenient::uuid(&uuid.0)?, name: name.0 })
    }
}
