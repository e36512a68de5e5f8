//! Reads back from a rendered object what people need to know it by, and how far it may be shown.

use serde::Deserialize;
use uuid::Uuid;

use super::marking;
use crate::pure::policy::Tlp;

/// What an indicator says, as it was rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentIndicator {
    pub pattern: String,
    /// The events that it refers to, the newest first.
    pub events: Vec<Uuid>,
    /// The level that it was sent with.
    pub tlp: Tlp,
}

#[derive(Deserialize)]
struct Body {
    pattern: String,
    #[serde(default)]
    external_references: Vec<Reference>,
    #[serde(flatten)]
    marked: Marked,
}

#[derive(Deserialize)]
struct Marked {
    #[serde(default)]
    object_marking_refs: Vec<String>,
}

impl Marked {
    fn level(&self) -> Tlp {
        let levels = self.object_marking_refs.iter().map(|marking| marking::level(marking));
        levels.max().unwrap_or(Tlp::Clear)
    }
}

/// Returns the level that an object was sent with. `None`: it cannot be read.
#[must_use]
pub fn level_of(json: &str) -> Option<Tlp> {
    serde_json::from_str(json).ok().map(|marked: Marked| marked.level())
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default)]
    external_id: Option<String>,
}

impl SentIndicator {
    /// Reads a body. `None`: it is none of an indicator.
    #[must_use]
    pub fn read(body: &str) -> Option<Self> {
        let Body { pattern, external_references, marked } = serde_json::from_str(body).ok()?;
        let ids = external_references.iter().filter_map(|one| one.external_id.as_deref());
        Some(Self {
            pattern,
            events: ids.filter_map(|id| id.parse().ok()).collect(),
            tlp: marked.level(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = "5f0c1c1a-0000-4000-8000-000000000001";

    #[test]
    fn what_shares_a_marking_counts_as_the_stricter_one() {
        // STIX 2.1, 7.2.1.4 "TLP Marking".
        let amber = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82";
        let body = format!(
            r#"{{"pattern":"[url:value = 'a']","object_marking_refs":["{amber}"],"external_references":[{{"external_id":"{EVENT}"}},{{"url":"x"}}]}}"#
        );
        let read = SentIndicator::read(&body).unwrap();
        assert_eq!(read.pattern, "[url:value = 'a']");
        assert_eq!(read.events, [EVENT.parse::<Uuid>().unwrap()]);
        assert_eq!(read.tlp, Tlp::AmberStrict);
    }

    #[test]
    fn what_is_unmarked_is_clear_and_what_nobody_knows_is_red() {
        let read = |body| SentIndicator::read(body).map(|one| one.tlp);
        assert_eq!(read(r#"{"pattern":"p"}"#), Some(Tlp::Clear));
        assert_eq!(read(r#"{"pattern":"p","object_marking_refs":["x"]}"#), Some(Tlp::Red));
        assert_eq!(read("{}"), None);
        assert_eq!((level_of("{}"), level_of("[")), (Some(Tlp::Clear), None));
    }
}
