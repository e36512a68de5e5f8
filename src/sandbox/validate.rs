//! Checks requests and objects against Microsoft's documented rules. Pure.
//! <https://learn.microsoft.com/en-us/azure/sentinel/stix-objects-api>

use chrono::{DateTime, FixedOffset};
use serde_json::{Map, Value};
use uuid::Uuid;

/// The source name that Microsoft keeps for itself.
const RESERVED: &str = "Microsoft Sentinel";

const MAX_SOURCE: usize = 256;

const TYPES: [&str; 5] =
    ["indicator", "attack-pattern", "identity", "threat-actor", "relationship"];

/// A request that could be read as a whole.
#[derive(Debug)]
pub(super) struct UploadBatch {
    pub(super) sourcesystem: String,
    pub(super) objects: Vec<Value>,
}

/// Reads a body whose objects are in `list`. The error says why the request as a whole is bad.
pub(super) fn batch(body: &[u8], list: &str, max_objects: usize) -> Result<UploadBatch, String> {
    let body: Value =
        serde_json::from_slice(body).map_err(|error| format!("The body is not JSON: {error}."))?;
    let Value::Object(mut body) = body else {
        return Err("The body is not a JSON object.".to_owned());
    };
    let Some(Value::String(sourcesystem)) = body.remove("sourcesystem") else {
        return Err("sourcesystem is required.".to_owned());
    };
    let length = sourcesystem.chars().count();
    if length == 0 || length > MAX_SOURCE {
        return Err(format!("sourcesystem must have 1 to {MAX_SOURCE} characters."));
    }
    if sourcesystem.eq_ignore_ascii_case(RESERVED) {
        return Err(format!("sourcesystem \"{RESERVED}\" is reserved."));
    }
    let Some(Value::Array(objects)) = body.remove(list) else {
        return Err(format!("{list} is required."));
    };
    if objects.is_empty() || objects.len() > max_objects {
        return Err(format!("{list} must hold 1 to {max_objects} objects."));
    }
    Ok(UploadBatch { sourcesystem, objects })
}

/// Returns what is wrong with an object; empty if nothing is.
pub(super) fn object(value: &Value) -> Vec<String> {
    let Value::Object(object) = value else {
        return vec!["The record is not a JSON object.".to_owned()];
    };
    let mut check = Check { object, wrong: Vec::new() };
    let kind = check.text("type").unwrap_or_default().to_owned();
    if !kind.is_empty() && !TYPES.contains(&kind.as_str()) {
        check.complain("type", "Object type is not supported.", &kind);
    }
    check.id(&kind);
    let created = check.time("created", true);
    let modified = check.time("modified", true);
    if let (Some(created), Some(modified)) = (created, modified)
        && modified < created
    {
        check.complain("modified", "Must not be before created.", &modified.to_rfc3339());
    }
    check.common();
    match kind.as_str() {
        "indicator" => check.indicator(),
        "relationship" => check.relationship(),
        // STIX 2.1: 4.1 Attack Pattern, 4.5 Identity, 4.17 Threat Actor.
        "attack-pattern" | "identity" | "threat-actor" => drop(check.text("name")),
        _ => {}
    }
    check.wrong
}

struct Check<'o> {
    object: &'o Map<String, Value>,
    wrong: Vec<String>,
}

impl<'o> Check<'o> {
    /// Notes a problem in the words of the documented sample.
    fn complain(&mut self, property: &str, problem: &str, actual: &str) {
        self.wrong
            .push(format!("Error for Property={property}: {problem} Actual value: {actual}."));
    }

    /// Reads a required string.
    fn text(&mut self, property: &str) -> Option<&'o str> {
        match self.object.get(property) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            None | Some(Value::Null) => {
                self.complain(property, "Required property is missing.", "NULL");
                None
            }
            Some(other) => {
                self.complain(property, "A string is expected.", &other.to_string());
                None
            }
        }
    }

    fn id(&mut self, kind: &str) {
        let Some(id) = self.text("id") else { return };
        let uuid = id.strip_prefix(kind).and_then(|rest| rest.strip_prefix("--"));
        if uuid.is_none_or(|uuid| Uuid::parse_str(uuid).is_err() || uuid.len() != 36) {
            self.complain("id", "Must be the type, two hyphens and a UUID.", id);
        }
    }

    fn time(&mut self, property: &str, required: bool) -> Option<DateTime<FixedOffset>> {
        if !required && self.object.get(property).is_none_or(Value::is_null) {
            return None;
        }
        let text = self.text(property)?;
        let time = DateTime::parse_from_rfc3339(text).ok().filter(|_| text.ends_with('Z'));
        if time.is_none() {
            self.complain(property, "Must be an RFC 3339 time in UTC.", text);
        }
        time
    }

    fn common(&mut self) {
        let is_percent = |value: &Value| value.as_i64().is_some_and(|n| (0..=100).contains(&n));
        self.optional("confidence", "Must be 0 to 100.", is_percent);
        let is_version = |value: &Value| matches!(value.as_str(), Some("2.0" | "2.1"));
        self.optional("spec_version", "Must be 2.0 or 2.1.", is_version);
        self.optional("revoked", "A boolean is expected.", Value::is_boolean);
        for list in ["labels", "object_marking_refs", "external_references"] {
            self.optional(list, "A list is expected.", Value::is_array);
        }
    }

    /// Checks a property that may be absent.
    fn optional(&mut self, property: &str, problem: &str, fits: impl Fn(&Value) -> bool) {
        let value = self.object.get(property).filter(|value| !value.is_null());
        if let Some(value) = value.filter(|value| !fits(value)) {
            self.complain(property, problem, &value.to_string());
        }
    }

    /// STIX 2.1, 5.1.
    fn relationship(&mut self) {
        let _type = self.text("relationship_type");
        for end in ["source_ref", "target_ref"] {
            let Some(reference) = self.text(end) else { continue };
            let uuid = reference.split_once("--").and_then(|(_, uuid)| Uuid::parse_str(uuid).ok());
            if uuid.is_none() {
                self.complain(end, "Must be the id of an object.", reference);
            }
        }
    }

    fn indicator(&mut self) {
        let _pattern = self.text("pattern");
        let _pattern_type = self.text("pattern_type");
        let from = self.time("valid_from", true);
        let until = self.time("valid_until", false);
        if let (Some(from), Some(until)) = (from, until)
            && until <= from
        {
            self.complain("valid_until", "Must be later than valid_from.", &until.to_rfc3339());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        json!({
            "type": "indicator",
            "spec_version": "2.1",
            "id": "indicator--10000003-71a2-445c-ab86-927291df48f8",
            "created": "2010-02-26T18:29:07.778Z",
            "modified": "2011-02-26T18:29:07.778Z",
            "pattern": "[ipv4-addr:value = '198.51.100.7']",
            "pattern_type": "stix",
            "valid_from": "2015-02-26T18:29:07.778Z",
            "unknown": {"is": "kept"},
        })
    }

    fn with(property: &str, value: Value) -> Vec<String> {
        let mut changed = good();
        changed[property] = value;
        object(&changed)
    }

    #[test]
    fn good_indicator_passes() {
        assert_eq!(object(&good()), [""; 0]);
        assert_eq!(with("valid_until", json!("2015-02-26T18:29:08Z")), [""; 0]);
        assert_eq!(with("confidence", json!(100)), [""; 0]);
    }

    #[test]
    fn missing_property_is_named_as_in_microsofts_sample() {
        for property in
            ["id", "type", "created", "modified", "pattern", "pattern_type", "valid_from"]
        {
            let mut changed = good();
            changed.as_object_mut().unwrap().remove(property);
            let expected = format!(
                "Error for Property={property}: Required property is missing. Actual value: NULL."
            );
            assert!(object(&changed).contains(&expected), "{property}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for (property, value) in [
            ("id", json!("indicator--7")),
            ("id", json!("identity--10000003-71a2-445c-ab86-927291df48f8")),
            ("type", json!("report")),
            ("created", json!("yesterday")),
            ("created", json!("2012-02-26T18:29:07Z")),
            ("valid_from", json!("2015-02-26T18:29:07+01:00")),
            ("valid_until", json!("2015-02-26T18:29:07.778Z")),
            ("confidence", json!(101)),
            ("confidence", json!("50")),
            ("spec_version", json!("3.0")),
            ("revoked", json!("true")),
            ("labels", json!("tlp:red")),
            ("pattern", json!(7)),
        ] {
            assert!(!with(property, value.clone()).is_empty(), "{property} = {value}");
        }
        assert!(!object(&json!(7)).is_empty());
    }

    #[test]
    fn each_type_has_what_stix_requires_of_it() {
        let end = "indicator--10000003-71a2-445c-ab86-927291df48f8";
        for (kind, required) in [
            ("identity", json!({"name": "CERT"})),
            ("attack-pattern", json!({"name": "Phishing"})),
            ("threat-actor", json!({"name": "APT29"})),
            (
                "relationship",
                json!({"relationship_type": "indicates", "source_ref": end, "target_ref": end}),
            ),
        ] {
            let mut sound = json!({
                "type": kind,
                "id": format!("{kind}--10000003-71a2-445c-ab86-927291df48f8"),
                "created": "2010-02-26T18:29:07.778Z",
                "modified": "2010-02-26T18:29:07.778Z",
            });
            let required = required.as_object().unwrap();
            sound.as_object_mut().unwrap().extend(required.clone());
            assert_eq!(object(&sound), [""; 0]);
            for property in required.keys() {
                let mut without = sound.clone();
                without.as_object_mut().unwrap().remove(property);
                assert!(object(&without)[0].contains(property), "{kind} without {property}");
            }
        }
        let nowhere = json!({
            "type": "relationship", "id": "relationship--10000003-71a2-445c-ab86-927291df48f8",
            "created": "2010-02-26T18:29:07.778Z", "modified": "2010-02-26T18:29:07.778Z",
            "relationship_type": "indicates", "source_ref": "indicator", "target_ref": end,
        });
        assert!(object(&nowhere)[0].contains("source_ref"));
    }

    #[test]
    fn whole_request_is_checked_first() {
        let refused = |body: &str| batch(body.as_bytes(), "stixobjects", 2).unwrap_err();
        assert!(refused("{").contains("not JSON"));
        assert!(refused("[]").contains("JSON object"));
        assert!(refused(r#"{"stixobjects":[{}]}"#).contains("sourcesystem"));
        assert!(refused(r#"{"sourcesystem":"x"}"#).contains("stixobjects"));
        assert!(refused(r#"{"sourcesystem":"x","stixobjects":[]}"#).contains("1 to 2"));
        assert!(refused(r#"{"sourcesystem":"x","stixobjects":[{},{},{}]}"#).contains("1 to 2"));
        let reserved = r#"{"sourcesystem":"Microsoft Sentinel","stixobjects":[{}]}"#;
        assert!(refused(reserved).contains("reserved"));
        let long = format!(r#"{{"sourcesystem":"{}","stixobjects":[{{}}]}}"#, "x".repeat(257));
        assert!(refused(&long).contains("256"));
        assert!(batch(br#"{"sourcesystem":"x","stixobjects":[{},{}]}"#, "stixobjects", 2).is_ok());
    }
}
