//! Finds the ids of indicators in the details that a rule adds to its alerts:
//! <https://learn.microsoft.com/en-us/azure/sentinel/surface-custom-details-in-alerts>.

use serde_json::Value;

/// How an id begins, and how long it is: the word and a uuid.
const BEGIN: &str = "indicator--";
const LENGTH: usize = BEGIN.len() + 36;

/// The property of an alert that holds the details: JSON in a string.
const DETAILS: &str = "Custom Details";

/// The details that hold ids. Others repeat what strangers wrote, such as the labels of events.
const OF_IDS: [&str; 2] = ["IndicatorId", "IndicatorIds"];

/// Returns the ids of indicators in `ExtendedProperties`, each once, at most `most`: one alone, and a list, which our rule
/// may have cut within an id.
pub(super) fn indicators(extended_properties: &str, most: usize) -> Vec<String> {
    let text = details(extended_properties).unwrap_or_default();
    let mut found: Vec<String> = Vec::new();
    for (place, _) in text.match_indices(BEGIN) {
        let id = text.get(place..place + LENGTH).filter(|id| is_id(id));
        let is_new = |id: &&str| !found.iter().any(|one| one == id);
        if let Some(id) = id.filter(is_new) {
            found.push(id.to_owned());
        }
        if found.len() >= most {
            break;
        }
    }
    found
}

/// Returns the name of the rule, which scheduled alerts have as a property (general knowledge, seen in public schemas).
pub(super) fn rule(extended_properties: &str) -> Option<String> {
    let properties: Value = serde_json::from_str(extended_properties).ok()?;
    properties.get("Analytic Rule Name")?.as_str().map(str::to_owned)
}

/// Returns the details that hold ids, as text.
fn details(extended_properties: &str) -> Option<String> {
    let properties: Value = serde_json::from_str(extended_properties).ok()?;
    let details: Value = serde_json::from_str(properties.get(DETAILS)?.as_str()?).ok()?;
    Some(OF_IDS.iter().filter_map(|key| details.get(key)).map(Value::to_string).collect())
}

fn is_id(text: &str) -> bool {
    let uuid = text.strip_prefix(BEGIN).unwrap_or_default();
    uuid::Uuid::try_parse(uuid).is_ok_and(|read| read.hyphenated().to_string() == uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "indicator--11111111-2222-4333-8444-555555555555";
    const TWO: &str = "indicator--11111111-2222-4333-8444-666666666666";

    fn properties(details: &Value) -> String {
        serde_json::json!({"Query": "x", "Custom Details": details.to_string()}).to_string()
    }

    #[test]
    fn ids_are_found_alone_in_lists_and_in_lists_that_are_text() {
        // General knowledge: each detail is a list of texts, and all of it a text in `ExtendedProperties`.
        let list = format!("[\"{ONE}\",\"{TWO}\",\"indicator--1111");
        let details = serde_json::json!({"IndicatorId": [ONE], "IndicatorIds": [list]});
        assert_eq!(indicators(&properties(&details), 10), [ONE, TWO]);
        assert_eq!(indicators(&properties(&details), 1), [ONE]);
    }

    #[test]
    fn nothing_is_found_elsewhere() {
        let other = serde_json::json!({"Query": format!("Id == '{ONE}'")}).to_string();
        for text in [other.as_str(), "", "{", "[]", "null", r#"{"Custom Details":null}"#] {
            assert_eq!(indicators(text, 10), [""; 0], "{text}");
        }
        let label = serde_json::json!({"Labels": [ONE]});
        assert_eq!(indicators(&properties(&label), 10), [""; 0], "a stranger may write this");
        let wrong =
            serde_json::json!({"IndicatorId": ["indicator--11111111x2222-4333-8444-555555555555"]});
        assert_eq!(indicators(&properties(&wrong), 10), [""; 0]);
    }
}
