//! Plays Log Analytics' query API: it answers the queries of the relay from tables that tests write, and refuses all
//! others. <https://learn.microsoft.com/en-us/azure/azure-monitor/logs/api/request-format>

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::fault::Fault;
use super::manage::scripted;
use super::refusal::DraftAnswer;
use super::state::World;
use crate::http::fields::bearer;

/// The relay's query for alerts, in which two times stand for those that are asked for.
const ALERTS: &str = include_str!("../../sentinel/kql/hits/alerts.kql");

/// The columns of its answer.
const COLUMNS: [&str; 7] = [
    "TimeGenerated",
    "SystemAlertId",
    "AlertName",
    "StartTime",
    "EndTime",
    "Entities",
    "ExtendedProperties",
];

/// How the lines of a query begin that hold the times.
const AFTER: &str = "let After = datetime(";
const UNTIL: &str = "let Until = datetime(";

/// What the names of the hosts in scopes have in common, which a token must be for.
const AUDIENCE: &str = "loganalytics";

#[derive(Debug, Deserialize)]
pub(super) struct Query {
    query: String,
}

/// `POST /v1/workspaces/{workspace}/query`
pub(super) async fn query(
    State(world): State<Arc<World>>,
    Path(workspace): Path<Uuid>,
    headers: HeaderMap,
    Json(Query { query }): Json<Query>,
) -> Response {
    let token = bearer(&headers);
    let fault = world.with(|state| {
        state.log_queries += 1;
        state.faults.logs.pop_front().unwrap_or(Fault::None)
    });
    if let Some(answer) = scripted(&world, &fault, token) {
        return answer.into_response();
    }
    let answer =
        refusal(&world, workspace, token).unwrap_or_else(|| rows(&world, workspace, &query));
    answer.into_response()
}

/// Refuses who may not ask, and workspaces that are not there.
fn refusal(world: &World, workspace: Uuid, token: &str) -> Option<DraftAnswer> {
    let known = world.with(|state| {
        state.token(token).map(|token| (token.client_id.clone(), token.scope.contains(AUDIENCE)))
    });
    let error = |status, code, text| Some(DraftAnswer::error(status, code, text));
    match known {
        None => error(401, "InvalidTokenError", "The provided authentication token is expired."),
        Some((_, false)) => error(
            403,
            "InvalidTokenError",
            "The provided authentication is not valid for this resource",
        ),
        Some((client, true)) if world.settings.unprivileged.contains(&client) => error(
            403,
            "InsufficientAccessError",
            "The provided credentials have insufficient access to perform the requested operation",
        ),
        Some(_) if !world.settings.workspaces.contains(&workspace) => {
            error(404, "WorkspaceNotFoundError", "The workspace could not be found")
        }
        Some(_) => None,
    }
}

fn rows(world: &World, workspace: Uuid, query: &str) -> DraftAnswer {
    let (after, until) = (time(query, AFTER), time(query, UNTIL));
    let (Some(after), Some(until), true) = (after, until, same_query(query)) else {
        let text = "The sandbox answers the relay's own queries alone: a table, column or operator in this one is not known.";
        let inner = json!({"code": "SemanticError", "message": text});
        let error = json!({"code": "BadArgumentError", "innererror": inner,
                           "message": "The request had some invalid properties"});
        return DraftAnswer::new(400, json!({ "error": error }).to_string());
    };
    let alerts = world.with(|state| state.alerts.get(&workspace).cloned().unwrap_or_default());
    let mut rows: Vec<Map<String, Value>> = Vec::new();
    for alert in alerts.into_iter().filter(|alert| (after < at(alert)) && at(alert) <= until) {
        // Of an alert that was told again, the last row counts.
        rows.retain(|row| row.get("SystemAlertId") != alert.get("SystemAlertId"));
        rows.push(alert);
    }
    rows.sort_by_key(at);
    let rows: Vec<Vec<Value>> = rows
        .into_iter()
        .map(|row| COLUMNS.map(|name| row.get(name).cloned().unwrap_or_default()).into())
        .collect();
    let columns = COLUMNS.map(|name| json!({"name": name, "type": "string"}));
    let table = json!({"name": "PrimaryResult", "columns": columns, "rows": rows});
    DraftAnswer::new(200, json!({ "tables": [table] }).to_string())
}

/// `TimeGenerated` of a row; the beginning of time if it has none.
fn at(row: &Map<String, Value>) -> DateTime<Utc> {
    let text = row.get("TimeGenerated").and_then(Value::as_str).unwrap_or_default();
    text.parse().unwrap_or_default()
}

/// The time in the line of a query that begins so.
fn time(query: &str, begin: &str) -> Option<DateTime<Utc>> {
    let line = query.lines().find_map(|line| line.strip_prefix(begin))?;
    line.strip_suffix(");")?.parse().ok()
}

/// Whether it is the relay's query, whatever its times are.
fn same_query(query: &str) -> bool {
    let rest = |text: &str| {
        let is_time = |line: &&str| line.starts_with(AFTER) || line.starts_with(UNTIL);
        text.lines().filter(|line| !is_time(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    rest(query) == rest(ALERTS)
}
