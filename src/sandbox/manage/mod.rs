//! Plays the management plane for threat intelligence: `query`, `count` and the deletion of a resource. It
//! follows the swagger 2025-07-01-preview (`ThreatIntelligenceQuery.json`, `ThreatIntelligenceCount.json`)
//! and reports of clients.

pub(super) mod condition;
mod query;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Bytes, to_bytes};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::HOST;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::access::object_id;
use super::fault::Fault;
use super::refusal::DraftAnswer;
use super::state::{Managed, World};
use crate::http::fields::{Fields, bearer, header};

const API_VERSION: &str = "2025-07-01-preview";

/// The API version for workspaces themselves.
const WORKSPACE_VERSION: &str = "2023-09-01";

/// The most bytes of a request's body.
const MAX_BYTES: usize = 1 << 20;

/// The parts of a path.
#[derive(Debug, Deserialize)]
pub(super) struct ManagePath {
    subscription: String,
    group: String,
    name: String,
    /// `query`, `count`, or a resource as `query` gave it. Empty: the workspace itself.
    #[serde(default)]
    what: String,
}

struct ManageRequest {
    path: ManagePath,
    query: Fields,
    /// The host and port at which the sandbox is reached.
    host: String,
    method: Method,
    body: Bytes,
    token: String,
}

/// `POST …/threatIntelligence/main/{query|count}`, `GET` of a `nextLink`,
/// `DELETE …/threatIntelligence/{resource}`, and `GET …/workspaces/{name}`.
pub(super) async fn serve(
    State(world): State<Arc<World>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(path): Path<ManagePath>,
    request: Request,
) -> Response {
    let world = world.as_ref();
    let (head, body) = request.into_parts();
    let asked = ManageRequest {
        path,
        query: Fields::of(head.uri.query().unwrap_or_default()),
        host: header(&head.headers, HOST).to_owned(),
        token: bearer(&head.headers).to_owned(),
        method: head.method,
        body: to_bytes(body, MAX_BYTES).await.unwrap_or_default(),
    };
    let (fault, owner) = world.with(|state| {
        let owner = state.token(&asked.token).map(|token| token.client_id.clone());
        (state.faults.management.pop_front().unwrap_or(Fault::None), owner)
    });
    let note = |status: u16| {
        let (what, method) = (asked.path.what.clone(), asked.method.to_string());
        let arrived = Instant::now();
        let done = Managed { arrived, client_id: owner.clone(), what, method, status };
        world.with(|state| state.managed.push(done));
    };
    if matches!(fault, Fault::NeverAnswers | Fault::ResetBefore) {
        note(0);
        if fault == Fault::NeverAnswers {
            return std::future::pending().await;
        }
        world.connections.cut(peer);
        return StatusCode::OK.into_response();
    }
    let answer = answer(world, &asked, &fault, owner.as_deref());
    note(answer.status);
    answer.into_response()
}

/// Returns the answer. `owner` is the client id of the token; `None` if the token is not valid.
fn answer(world: &World, asked: &ManageRequest, fault: &Fault, owner: Option<&str>) -> DraftAnswer {
    let ManageRequest { path, query, method, body, .. } = asked;
    let what = path.what.as_str();
    let Some(owner) = owner else {
        let text = "The access token expiry is in the past.";
        return DraftAnswer::error(401, "ExpiredAuthenticationToken", text);
    };
    if let Some(answer) = scripted(world, fault, &asked.token) {
        return answer;
    }
    if world.settings.unprivileged.iter().any(|client| client == owner) {
        return forbidden(path, owner);
    }
    let known = if what.is_empty() { WORKSPACE_VERSION } else { API_VERSION };
    if query.get("api-version") != known {
        let text = "The api-version is missing or unknown.";
        return DraftAnswer::error(400, "InvalidApiVersionParameter", text);
    }
    let Some(workspace) = workspace(world, path) else {
        let ManagePath { name, group, .. } = path;
        let text = format!(
            "The Resource 'Microsoft.OperationalInsights/workspaces/{name}' under resource group '{group}' was not found."
        );
        return DraftAnswer::error(404, "ResourceNotFound", &text);
    };
    match (what, method) {
        ("", &Method::GET) => ok(&json!({
            "name": path.name,
            "type": "Microsoft.OperationalInsights/workspaces",
            "properties": {"customerId": workspace, "provisioningState": "Succeeded"},
        })),
        ("query", &Method::POST) => query::query(world, workspace, asked),
        ("query", &Method::GET) => query::next_page(world, workspace, asked),
        ("count", &Method::POST) => query::count(world, workspace, body),
        (name, &Method::DELETE) => delete(world, workspace, name),
        _ => DraftAnswer::error(405, "MethodNotAllowed", "The method is not allowed."),
    }
}

fn ok(body: &Value) -> DraftAnswer {
    DraftAnswer::new(200, body.to_string())
}

/// Returns the answer of a fault that the management plane and Log Analytics know; `None` if there is none.
#[expect(clippy::wildcard_enum_match_arm, reason = "tests order these faults alone")]
pub(super) fn scripted(world: &World, fault: &Fault, token: &str) -> Option<DraftAnswer> {
    Some(match fault {
        Fault::Throttled { header, .. } => DraftAnswer {
            retry_after: *header,
            ..DraftAnswer::error(429, "TooManyRequests", "The request is being throttled.")
        },
        Fault::ServerError => {
            DraftAnswer::error(500, "InternalServerError", "Internal server error")
        }
        Fault::TokenRefused => {
            world.with(|state| state.tokens.remove(token));
            DraftAnswer::error(401, "InvalidAuthenticationToken", "The access token is invalid.")
        }
        Fault::Answer { status, body } => DraftAnswer::new(*status, body),
        _ => return None,
    })
}

/// Makes a refusal in the words of Azure Resource Manager.
fn forbidden(path: &ManagePath, client: &str) -> DraftAnswer {
    let (object, what, scope) = (object_id(client), &path.what, scope(path));
    let text = format!(
        "The client '{client}' with object id '{object}' does not have authorization to perform action 'Microsoft.SecurityInsights/threatIntelligence/{what}/action' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials."
    );
    DraftAnswer::error(403, "AuthorizationFailed", &text)
}

fn scope(path: &ManagePath) -> String {
    let ManagePath { subscription, group, name, .. } = path;
    format!(
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.OperationalInsights/workspaces/{name}/providers/Microsoft.SecurityInsights"
    )
}

/// Returns the workspace of these names.
fn workspace(world: &World, path: &ManagePath) -> Option<Uuid> {
    let settings = &world.settings;
    let same = path.subscription == settings.subscription_id.to_string()
        && path.group.eq_ignore_ascii_case(&settings.resource_group);
    let number: usize = path.name.strip_prefix("workspace-").filter(|_| same)?.parse().ok()?;
    settings.workspaces.get(number.checked_sub(1)?).copied()
}

/// Returns a resource's name as rows of Log Analytics have it: the source in base64, `---`, the STIX id.
fn resource_name(source: &str, id: &str) -> String {
    format!("{}---{id}", BASE64.encode(source))
}

fn delete(world: &World, workspace: Uuid, name: &str) -> DraftAnswer {
    let named = name
        .split_once("---")
        .and_then(|(source, id)| Some((String::from_utf8(BASE64.decode(source).ok()?).ok()?, id)));
    let gone = named.is_some_and(|(source, id)| {
        world.with(|state| {
            state.faults.idle_deletions || state.remove(workspace, &source, id).is_some()
        })
    });
    DraftAnswer::new(if gone { 200 } else { 204 }, "")
}
