//! Answers queries and counts as the management plane does. It adds members of its own to each object, and
//! writes times with more digits than the upload had.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::life::HeldObject;
use super::super::refusal::DraftAnswer;
use super::super::state::World;
use super::condition::{Paging, QueryCondition};
use super::{API_VERSION, ManageRequest, ok, resource_name, scope};

const LARGEST_PAGE: usize = 1_000;

const TIMES: [&str; 4] = ["created", "modified", "valid_from", "valid_until"];

/// What a count asks: a query without a page, one level deeper.
#[derive(Debug, Deserialize)]
struct CountQuery {
    properties: Query,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Query {
    condition: QueryCondition,
    max_page_size: Option<usize>,
}

pub(super) fn query(world: &World, workspace: Uuid, asked: &ManageRequest) -> DraftAnswer {
    let query: Query = match serde_json::from_slice(&asked.body) {
        Ok(query) => query,
        Err(wrong) => return DraftAnswer::error(400, "BadRequest", &wrong.to_string()),
    };
    let page = query.max_page_size.unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE);
    let after = (String::new(), String::new());
    show(world, workspace, asked, Paging { condition: query.condition, page, after })
}

pub(super) fn next_page(world: &World, workspace: Uuid, asked: &ManageRequest) -> DraftAnswer {
    let token = asked.query.get("$skipToken");
    match world.with(|state| state.pagings.get(token).cloned()) {
        Some(paging) => show(world, workspace, asked, paging),
        None => DraftAnswer::error(400, "BadRequest", "The skip token is unknown."),
    }
}

fn show(world: &World, workspace: Uuid, asked: &ManageRequest, paging: Paging) -> DraftAnswer {
    let Paging { condition, page, after } = paging;
    let (mut found, more) = world.with(|state| {
        state.page(workspace, &after.0, &after.1, page, |held| condition.holds(held))
    });
    let value: Vec<Value> = found.iter().map(|held| resource(asked, held)).collect();
    let mut next = Value::Null;
    if let (true, Some(last)) = (more, found.pop()) {
        let token = Uuid::new_v4().simple().to_string();
        let paging = Paging { condition, page, after: (last.sourcesystem, last.id) };
        world.with(|state| state.pagings.insert(token.clone(), paging));
        let (host, scope) = (&asked.host, scope(&asked.path));
        next = Value::from(format!(
            "https://{host}{scope}/threatIntelligence/main/query?api-version={API_VERSION}&$skipToken={token}"
        ));
    }
    ok(&json!({"value": value, "nextLink": next}))
}

pub(super) fn count(world: &World, workspace: Uuid, body: &[u8]) -> DraftAnswer {
    let condition = match serde_json::from_slice::<CountQuery>(body) {
        Ok(query) => query.properties.condition,
        Err(wrong) => return DraftAnswer::error(400, "BadRequest", &wrong.to_string()),
    };
    let count = world.with(|state| state.count(workspace, |held| condition.holds(held)));
    ok(&json!({"count": count}))
}

fn resource(asked: &ManageRequest, held: &HeldObject) -> Value {
    let name = resource_name(&held.sourcesystem, &held.id);
    let kind = match held.kind() {
        "attack-pattern" => "AttackPattern",
        "identity" => "Identity",
        "relationship" => "Relationship",
        "threat-actor" => "ThreatActor",
        _ => "Indicator",
    };
    let nobody = json!({"name": "", "email": "", "objectId": Uuid::nil()});
    json!({
        "id": format!("{}/threatintelligence/{name}", scope(&asked.path)),
        "name": name,
        "type": "Microsoft.SecurityInsights/threatintelligence",
        "kind": kind,
        "properties": {
            "createdBy": nobody,
            "data": data(&held.json),
            "ingestionRulesVersion": Uuid::nil(),
            "lastModifiedBy": nobody,
            "lastUpdateMethod": "Upload API",
            "relationshipHints": null,
            "source": held.sourcesystem,
        }
    })
}

fn data(stored: &Value) -> Value {
    let mut data: Map<String, Value> = stored.as_object().cloned().unwrap_or_default();
    for time in TIMES {
        let said = data.get(time).and_then(Value::as_str);
        let said = said.and_then(|text| text.parse::<DateTime<Utc>>().ok());
        if let Some(said) = said {
            data.insert(time.to_owned(), said.format("%Y-%m-%dT%H:%M:%S%.6f0Z").to_string().into());
        }
    }
    if data.get("revoked") == Some(&Value::Bool(false)) {
        data.remove("revoked");
    }
    data.insert("granular_markings".to_owned(), Value::Null);
    data.insert("lang".to_owned(), Value::Null);
    data.insert("extensions".to_owned(), json!({"sentinel-ext": {"severity": null}}));
    Value::Object(data)
}
