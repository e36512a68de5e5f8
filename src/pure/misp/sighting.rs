//! Parses the sightings that the relay acts on: reports that an attribute is a false positive or has expired.
//! Plain sightings, of which there may be thousands, are ignored.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::lenient::{self, Text, WholeNumber};

/// MISP's sighting types 1 and 2 (`Sighting::TYPE` in MISP's source).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SightingKind {
    FalsePositive,
    Expiration,
}

impl SightingKind {
    /// `None`: a plain sighting, or a type that MISP does not have.
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
    /// `date_sighting`, Unix seconds: when it was seen, or when it expires. Dates before 1970 and
    /// after 9999 are cut to these.
    pub at: i64,
}

/// The last second of the year 9999. MISP takes any number as a date; the milliseconds of later ones would
/// not fit.
const LATEST: i64 = 253_402_300_799;

impl Sighting {
    /// Without a uuid of its own it gets one that is a function of what it says.
    pub fn new(
        attribute: Uuid,
        uuid: Option<Uuid>,
        kind: SightingKind,
        number: i64,
        at: i64,
    ) -> Self {
        let made = || Uuid::new_v5(&attribute, format!("{kind:?} {at}").as_bytes());
        Self { uuid: uuid.unwrap_or_else(made), number, kind, at: at.clamp(0, LATEST) }
    }
}

/// How many of them say that it is none.
pub fn false_positives(sightings: &[Sighting]) -> u32 {
    let all = sightings.iter().filter(|one| one.kind == SightingKind::FalsePositive);
    u32::try_from(all.count()).unwrap_or(u32::MAX)
}

/// The date of the newest expiration among them, Unix milliseconds.
pub fn expires_at(sightings: &[Sighting]) -> Option<i64> {
    let expirations = sightings.iter().filter(|one| one.kind == SightingKind::Expiration);
    // MISP numbers sightings as they come; their dates are what people typed.
    let newest = expirations.max_by_key(|one| (one.number, one.at))?;
    Some(newest.at * 1_000)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SightingFields<'a> {
    #[serde(borrow)]
    uuid: Text<'a>,
    id: WholeNumber,
    #[serde(rename = "type")]
    kind: WholeNumber,
    date_sighting: WholeNumber,
}

/// The false positives and expirations in the list that stands beside an attribute. What cannot be
/// read is left out.
pub(super) fn of_attribute(attribute: Uuid, list: &str) -> Vec<Sighting> {
    let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(list) else { return Vec::new() };
    let read = |raw: &&RawValue| {
        let fields: SightingFields<'_> = serde_json::from_str(raw.get()).ok()?;
        let kind = SightingKind::of(fields.kind.or_zero())?;
        let (number, at) = (fields.id.or_zero(), fields.date_sighting.or_zero());
        Some(Sighting::new(attribute, lenient::uuid(&fields.uuid.0), kind, number, at))
    };
    list.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTRIBUTE: Uuid = Uuid::from_u128(0x002a_1a24_d008_4c35_ae4b_cad8_cf94_787a);

    fn sighting(number: i64, kind: SightingKind, at: i64) -> Sighting {
        Sighting { uuid: Uuid::from_u128(number.unsigned_abs().into()), number, kind, at }
    }

    /// The fields and numbers that a MISP 2.5.1 answered with (`includeSightings`).
    #[test]
    fn of_an_attributes_sightings_those_are_read_that_speak_against_it() {
        let list = r#"[
            {"id":"1","date_sighting":"1795499563","uuid":"3be2722d-a9b6-4518-a33a-81918a90cf37",
             "source":"relay","type":"0"},
            {"id":"2","date_sighting":"1795499565","uuid":"07df7139-e219-4a0e-af62-8b074792cb86",
             "source":"relay","type":"1"},
            {"id":"3","date_sighting":"1795585967","uuid":"33289d6e-a535-4cc0-91a0-7c1685b7cd1f",
             "source":"","type":"2"},
            {"id":"4","date_sighting":"1795585968","type":"3"}, {"id":[]}, 7]"#;
        let expected = [
            Sighting {
                uuid: "07df7139-e219-4a0e-af62-8b074792cb86".parse().unwrap(),
                number: 2,
                kind: SightingKind::FalsePositive,
                at: 1_795_499_565,
            },
            Sighting {
                uuid: "33289d6e-a535-4cc0-91a0-7c1685b7cd1f".parse().unwrap(),
                number: 3,
                kind: SightingKind::Expiration,
                at: 1_795_585_967,
            },
        ];
        assert_eq!(of_attribute(ATTRIBUTE, list), expected);
        assert_eq!(of_attribute(ATTRIBUTE, "{}"), []);
    }

    #[test]
    fn a_sighting_without_a_uuid_has_one_that_is_a_function_of_what_it_says() {
        let made = |attribute, kind, at| Sighting::new(attribute, None, kind, 7, at).uuid;
        let one = made(ATTRIBUTE, SightingKind::FalsePositive, 5);
        assert_eq!(made(ATTRIBUTE, SightingKind::FalsePositive, 5), one);
        let others = [
            made(Uuid::from_u128(1), SightingKind::FalsePositive, 5),
            made(ATTRIBUTE, SightingKind::Expiration, 5),
            made(ATTRIBUTE, SightingKind::FalsePositive, 6),
        ];
        assert!(!others.contains(&one));
    }

    #[test]
    fn false_positives_are_counted_and_the_newest_expiration_is_the_end() {
        use SightingKind::{Expiration, FalsePositive};
        let all = [
            sighting(1, FalsePositive, 900),
            sighting(3, Expiration, 500),
            sighting(2, Expiration, 700),
            sighting(4, FalsePositive, 800),
        ];
        assert_eq!(false_positives(&all), 2);
        assert_eq!(expires_at(&all), Some(500_000), "by MISP's number, in milliseconds");
        assert_eq!(false_positives(&all[1..3]), 0);
        assert_eq!(expires_at(&all[..1]), None);
    }
}
