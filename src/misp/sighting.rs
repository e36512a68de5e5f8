//! Sightings of an attribute that say that it is none or is over: false positives and expirations.
//! Plain sightings, of which there may be thousands, say nothing that the relay acts on.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::lenient::{self, Number, Text};

/// MISP's sighting types 1 and 2 (`Sighting::TYPE` in MISP's source).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SightingKind {
    FalsePositive,
    Expiration,
}

impl SightingKind {
    /// `None`: a plain sighting, or a type that MISP does not have.
    #[must_use]
    pub fn of(kind: i64) -> Option<Self> {
        match kind {
            1 => Some(Self::FalsePositive),
            2 => Some(Self::Expiration),
            _ => None,
        }
    }
}

/// A false positive or an expiration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    pub uuid: Uuid,
    /// MISP's number; 0 where the document has none.
    pub number: i64,
    pub kind: SightingKind,
    /// `date_sighting`, Unix seconds: when it was seen, or when it expires.
    pub at: i64,
}

impl Sighting {
    /// Without a uuid of its own it gets one that is a function of what it says.
    #[must_use]
    pub fn new(
        attribute: Uuid,
        uuid: Option<Uuid>,
        kind: SightingKind,
        (number, at): (i64, i64),
    ) -> Self {
        let made = || Uuid::new_v5(&attribute, format!("{kind:?} {at}").as_bytes());
        Self { uuid: uuid.unwrap_or_else(made), number, kind, at }
    }
}

/// How many of them say that it is none.
#[must_use]
pub fn false_positives(sightings: &[Sighting]) -> u32 {
    let all = sightings.iter().filter(|one| one.kind == SightingKind::FalsePositive);
    u32::try_from(all.count()).unwrap_or(u32::MAX)
}

/// The date of the newest expiration among them, Unix milliseconds.
#[must_use]
pub fn expires_at(sightings: &[Sighting]) -> Option<i64> {
    let expirations = sightings.iter().filter(|one| one.kind == SightingKind::Expiration);
    let newest = expirations.max_by_key(|one| (one.number, one.at))?;
    Some(newest.at.saturating_mul(1_000))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields<'a> {
    #[serde(borrow)]
    uuid: Text<'a>,
    id: Number,
    #[serde(rename = "type")]
    kind: Number,
    date_sighting: Number,
}

/// The false positives and expirations in the list that stands beside an attribute. What cannot be
/// read is left out.
pub(super) fn of_attribute(attribute: Uuid, list: &str) -> Vec<Sighting> {
    let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(list) else { return Vec::new() };
    let read = |raw: &&RawValue| {
        let fields: Fields<'_> = serde_json::from_str(raw.get()).ok()?;
        let kind = SightingKind::of(fields.kind.or_zero())?;
        let numbers = (fields.id.or_zero(), fields.date_sighting.or_zero());
        Some(Sighting::new(attribute, lenient::uuid(&fields.uuid.0), kind, numbers))
    };
    list.iter().filter_map(read).collect()
}
