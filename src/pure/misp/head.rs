//! Finds the event's uuid in a document without reading the rest. This also works if the document is cut off
//! or broken after the uuid.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use uuid::Uuid;

use super::lenient::{self, Text};

/// The uuid of a single-event document, read no further than it stands; also of a document that is
/// cut off or broken behind it.
pub fn event_uuid(document: &[u8]) -> Option<Uuid> {
    let mut found = None;
    let mut deserializer = serde_json::Deserializer::from_slice(document);
    let search = Search { inside: false, found: &mut found };
    // The search ends by an error when it has found what it looks for.
    search.deserialize(&mut deserializer).err();
    found
}

struct Search<'f> {
    inside: bool,
    found: &'f mut Option<Uuid>,
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = entries.next_key()? {
            if self.inside && key == "uuid" {
                let Text(uuid) = entries.next_value()?;
                *self.found = lenient::uuid(&uuid).filter(|uuid| !uuid.is_nil());
                return Err(A::Error::custom("found"));
            }
            if !self.inside && key == "Event" {
                let inner = Search { inside: true, found: self.found };
                return entries.next_value_seed(inner);
            }
            entries.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uuid_of_a_publication_is_read_from_its_head() {
        let uuid = "62724408-1cb5-4198-8ceb-3e542ad28bcd";
        let broken_later =
            format!(r#"{{"Event":{{"id":"1","info":"a \"b\"","uuid":"{uuid}","Attribute":[{{"#);
        assert_eq!(event_uuid(broken_later.as_bytes()), Some(uuid.parse().unwrap()));
        let beside =
            format!(r#"{{"response":[],"Event":{{"Org":{{"uuid":"x"}},"uuid":"{uuid}"}}}}"#);
        assert_eq!(event_uuid(beside.as_bytes()), Some(uuid.parse().unwrap()));
        for without in ["{}", "[]", "", r#"{"Event":{"uuid":7}}"#, r#"{"Event":[]}"#] {
            assert_eq!(event_uuid(without.as_bytes()), None, "{without}");
        }
    }
}
