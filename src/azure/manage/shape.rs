//! Writes the JSON bodies of requests to the management plane, and reads those of its answers.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::ManageError;

/// A condition on objects: the kind, and optionally the source system and ids.
#[derive(Debug, Clone, Copy, Default)]
pub struct Condition<'a> {
    /// The STIX type, e.g. `indicator`.
    pub kind: &'a str,
    /// The source system. `None`: any.
    pub source: Option<&'a str>,
    /// The STIX ids. Empty: any.
    pub ids: &'a [String],
}

/// An object as the workspace holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkspaceObject {
    /// The resource ID, by which it is deleted.
    pub resource: String,
    /// The source system under which it was uploaded. Empty if the answer names none.
    pub source: String,
    /// The STIX object, as Sentinel shows it.
    pub data: Value,
}

impl WorkspaceObject {
    /// Returns the STIX id. Empty if the object has none.
    pub fn id(&self) -> &str {
        self.data.get("id").and_then(Value::as_str).unwrap_or_default()
    }
}

fn condition(condition: &Condition<'_>) -> Value {
    let mut clauses = Vec::new();
    if let Some(source) = condition.source {
        clauses.push(json!({"field": "source", "operator": "Equals", "values": [source]}));
    }
    if !condition.ids.is_empty() {
        clauses.push(json!({
            "clauseConnective": "Or",
            "field": "id",
            "operator": "Equals",
            "values": condition.ids,
        }));
    }
    json!({
        "stixObjectType": condition.kind,
        "conditionConnective": "And",
        "clauses": clauses,
    })
}

pub(super) fn query_body(of: &Condition<'_>, page: u32) -> String {
    json!({"condition": condition(of), "maxPageSize": page}).to_string()
}

pub(super) fn count_body(of: &Condition<'_>) -> String {
    json!({"properties": {"condition": condition(of)}}).to_string()
}

pub(super) fn count(body: &[u8]) -> Result<u64, ManageError> {
    #[derive(Deserialize)]
    struct Counted {
        count: u64,
    }
    read(body).map(|Counted { count }| count)
}

/// Returns the objects of a page, and the URL of the next page. Entries that are no objects are left out.
pub(super) fn page(body: &[u8]) -> Result<(Vec<WorkspaceObject>, Option<String>), ManageError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        value: Vec<Value>,
        next_link: Option<String>,
    }
    let Page { value, next_link } = read(body)?;
    let found = value.into_iter().filter_map(object).collect();
    Ok((found, next_link.filter(|link| !link.is_empty())))
}

fn object(mut item: Value) -> Option<WorkspaceObject> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let resource = text(item.get("id"))?;
    let properties = item.get_mut("properties")?;
    let source = text(properties.get("source")).unwrap_or_default();
    let data = properties.get_mut("data")?.take();
    Some(WorkspaceObject { resource, source, data })
}

pub(super) fn workspace_id(body: &[u8]) -> Result<Uuid, ManageError> {
    #[derive(Deserialize)]
    struct Workspace {
        properties: Properties,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Properties {
        customer_id: Uuid,
    }
    read(body).map(|workspace: Workspace| workspace.properties.customer_id)
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, ManageError> {
    serde_json::from_slice(body).map_err(|error| ManageError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected body has the form of the example in the swagger.
    #[test]
    fn a_query_says_what_is_meant() {
        let ids = ["indicator--1".to_owned()];
        let of = Condition { kind: "indicator", source: Some("a \"b\""), ids: &ids };
        let body: Value = serde_json::from_str(&query_body(&of, 50)).unwrap();
        let expected = json!({
            "condition": {
                "stixObjectType": "indicator",
                "conditionConnective": "And",
                "clauses": [
                    {"field": "source", "operator": "Equals", "values": ["a \"b\""]},
                    {"clauseConnective": "Or", "field": "id", "operator": "Equals",
                     "values": ["indicator--1"]},
                ],
            },
            "maxPageSize": 50,
        });
        assert_eq!(body, expected);
        let body: Value = serde_json::from_str(&count_body(&of)).unwrap();
        assert_eq!(body, json!({"properties": {"condition": expected["condition"]}}));
    }

    #[test]
    fn one_strange_object_harms_only_itself() {
        let body = json!({
            "value": [
                {"kind": "Indicator"},
                7,
                {"id": "/subscriptions/x", "properties": {"source": "s", "data": {"id": "a"}}},
            ],
            "nextLink": "",
        });
        let (found, next) = page(body.to_string().as_bytes()).unwrap();
        assert_eq!(next, None);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id(), &*found[0].source), ("a", "s"));
    }

    #[test]
    fn another_answer_is_an_error() {
        assert!(page(b"<html>").is_err());
        assert!(page(b"{}").is_err());
        assert!(count(b"{\"count\":-1}").is_err());
        assert_eq!(count(b"{\"count\":3}").unwrap(), 3);
    }
}
