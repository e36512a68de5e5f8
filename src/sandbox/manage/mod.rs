//! The management plane's part for threat intelligence: `query`, `count` and deletion of a resource,
//! after the swagger 2025-07-01-preview (`ThreatIntelligenceQuery.json`, `…Count.json`) and what
//! clients of it report.

pub(super) mod condition;
mod query;

use std::net::SocketAddr;
use std::time::Instant;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use uuid::Uuid;

use super::access::object_id;
use super::fault::Fault;
use super::form::pairs;
use super::state::{Managed, Service, World};

const API_VERSION: &str = "2025-07-01-preview";

/// Of workspaces themselves.
const WORKSPACE_VERSION: &str = "2023-09-01";

/// Of a request's body, bytes.
const MAX_BYTES: usize = 1 << 20;

/// An answer before it is HTTP.
struct ManageAnswer {
    status: u16,
    body: String,
    retry_after: Option<u64>,
}

impl ManageAnswer {
    fn ok(body: &Value) -> Self {
        Self { status: 200, body: body.to_string(), retry_after: None }
    }
}

/// What was asked, as far as every request says it.
struct ManageRequest {
    subscription: String,
    group: String,
    name: String,
    query: String,
    /// As `https://host` leads here.
    host: String,
}

/// `POST …/threatIntelligence/main/{query|count}`, and `GET` of a `nextLink`.
pub(super) async fn main(
    state: State<Service>,
    peer: ConnectInfo<SocketAddr>,
    Path((subscription, group, name, action)): Path<(String, String, String, String)>,
    request: Request,
) -> Response {
    serve(state, peer, [subscription, group, name], action, request).await
}

/// `GET …/workspaces/{name}`: the workspace itself.
pub(super) async fn workspace_itself(
    state: State<Service>,
    peer: ConnectInfo<SocketAddr>,
    Path((subscription, group, name)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    serve(state, peer, [subscription, group, name], String::new(), request).await
}

/// `DELETE …/threatIntelligence/{resource}`: a resource id as `query` gave it.
pub(super) async fn resource(
    state: State<Service>,
    peer: ConnectInfo<SocketAddr>,
    Path((subscription, group, name, resource)): Path<(String, String, String, String)>,
    request: Request,
) -> Response {
    serve(state, peer, [subscription, group, name], resource, request).await
}

async fn serve(
    State(service): State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    [subscription, group, name]: [String; 3],
    what: String,
    request: Request,
) -> Response {
    let world = &service.world;
    let (head, body) = request.into_parts();
    let bearer = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let asked = ManageRequest {
        subscription,
        group,
        name,
        query: head.uri.query().unwrap_or_default().to_owned(),
        host: header("host").unwrap_or("localhost").to_owned(),
    };
    let body = to_bytes(body, MAX_BYTES).await.unwrap_or_default();
    let (fault, owner) = world.with(|state| {
        let now = Instant::now();
        let owner = state.tokens.get(token).filter(|token| token.ends > now);
        let owner = owner.map(|token| token.client_id.clone());
        (state.faults.management.pop_front().unwrap_or(Fault::None), owner)
    });
    let note = |what: String, status: u16| {
        let (arrived, method) = (Instant::now(), head.method.to_string());
        let done = Managed { arrived, client_id: owner.clone(), what, method, status };
        world.with(|state| state.managed.push(done));
    };
    if matches!(fault, Fault::NeverAnswers | Fault::ResetBefore) {
        note(what, 0);
        if fault == Fault::NeverAnswers {
            return std::future::pending().await;
        }
        service.connections.cut(peer);
        return StatusCode::OK.into_response();
    }
    let call = Call { what: &what, method: &head.method, body: &body, token };
    let answer = answer(world, &asked, call, &fault, owner.as_deref());
    note(what, answer.status);
    respond(answer)
}

/// What is called of a workspace, and with which token.
#[derive(Clone, Copy)]
struct Call<'r> {
    /// Nothing: the workspace itself.
    what: &'r str,
    method: &'r Method,
    body: &'r [u8],
    token: &'r str,
}

/// `owner`: whose token it is, if it is one.
fn answer(
    world: &World,
    asked: &ManageRequest,
    call: Call<'_>,
    fault: &Fault,
    owner: Option<&str>,
) -> ManageAnswer {
    let Call { what, method, body, token } = call;
    let Some(owner) = owner else {
        return error(401, "ExpiredAuthenticationToken", "The access token expiry is in the past.");
    };
    if let Some(answer) = scripted(world, fault, token) {
        return answer;
    }
    if world.settings.unprivileged.iter().any(|client| client == owner) {
        return forbidden(asked, what, owner);
    }
    let version = pairs(&asked.query).into_iter().find(|(key, _)| key == "api-version");
    let known = if what.is_empty() { WORKSPACE_VERSION } else { API_VERSION };
    if version.is_none_or(|(_, version)| version != known) {
        return error(400, "InvalidApiVersionParameter", "The api-version is missing or unknown.");
    }
    let Some(workspace) = workspace(world, asked) else {
        let text = format!(
            "The Resource 'Microsoft.OperationalInsights/workspaces/{}' under resource group '{}' \
             was not found.",
            asked.name, asked.group
        );
        return error(404, "ResourceNotFound", &text);
    };
    match (what, method) {
        ("", &Method::GET) => ManageAnswer::ok(&json!({
            "name": asked.name,
            "type": "Microsoft.OperationalInsights/workspaces",
            "properties": {"customerId": workspace, "provisioningState": "Succeeded"},
        })),
        ("query", &Method::POST) => query::query(world, workspace, asked, body),
        ("query", &Method::GET) => query::next_page(world, workspace, asked),
        ("count", &Method::POST) => query::count(world, workspace, body),
        (name, &Method::DELETE) => delete(world, workspace, name),
        _ => error(405, "MethodNotAllowed", "The method is not allowed."),
    }
}

fn scripted(world: &World, fault: &Fault, token: &str) -> Option<ManageAnswer> {
    Some(match fault {
        Fault::Throttled { header, .. } => ManageAnswer {
            retry_after: *header,
            ..error(429, "TooManyRequests", "The request is being throttled.")
        },
        Fault::ServerError => error(500, "InternalServerError", "Internal server error"),
        Fault::TokenRefused => {
            world.with(|state| state.tokens.remove(token));
            error(401, "InvalidAuthenticationToken", "The access token is invalid.")
        }
        Fault::Answer { status, body } => {
            ManageAnswer { status: *status, body: body.clone(), retry_after: None }
        }
        Fault::None
        | Fault::ResetBefore
        | Fault::ResetAfter
        | Fault::NeverAnswers
        | Fault::BadRequest
        | Fault::Forbidden
        | Fault::ForbiddenPage
        | Fault::UnknownWorkspace
        | Fault::TooLarge
        | Fault::NullLists
        | Fault::Late(_) => return None,
    })
}

/// In the words of Azure Resource Manager.
fn forbidden(asked: &ManageRequest, what: &str, client: &str) -> ManageAnswer {
    let object = object_id(client);
    let (action, scope) = (format!("{what}/action"), scope(asked));
    let text = format!(
        "The client '{client}' with object id '{object}' does not have authorization to perform \
         action 'Microsoft.SecurityInsights/threatIntelligence/{action}' over scope '{scope}' or \
         the scope is invalid. If access was recently granted, please refresh your credentials."
    );
    error(403, "AuthorizationFailed", &text)
}

fn scope(asked: &ManageRequest) -> String {
    let ManageRequest { subscription, group, name, .. } = asked;
    format!(
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.OperationalInsights/workspaces/{name}/providers/Microsoft.SecurityInsights"
    )
}

/// The workspace of these names.
fn workspace(world: &World, asked: &ManageRequest) -> Option<Uuid> {
    let settings = &world.settings;
    let same = asked.subscription == settings.subscription_id.to_string()
        && asked.group.eq_ignore_ascii_case(&settings.resource_group);
    let number: usize = asked.name.strip_prefix("workspace-").filter(|_| same)?.parse().ok()?;
    settings.workspaces.get(number.checked_sub(1)?).copied()
}

/// A resource's name, as rows of Log Analytics have it: the source in base64, `---`, the STIX id.
fn resource_name(source: &str, id: &str) -> String {
    format!("{}---{id}", BASE64.encode(source))
}

fn delete(world: &World, workspace: Uuid, name: &str) -> ManageAnswer {
    let named = name
        .split_once("---")
        .and_then(|(source, id)| Some((String::from_utf8(BASE64.decode(source).ok()?).ok()?, id)));
    let gone = named.is_some_and(|(source, id)| {
        world.with(|state| {
            state.faults.idle_deletions || state.remove(workspace, &source, id).is_some()
        })
    });
    let status = if gone { 200 } else { 204 };
    ManageAnswer { status, body: String::new(), retry_after: None }
}

fn error(status: u16, code: &str, message: &str) -> ManageAnswer {
    let body = json!({"error": {"code": code, "message": message}}).to_string();
    ManageAnswer { status, body, retry_after: None }
}

fn respond(answer: ManageAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(CONTENT_TYPE, "application/json")], answer.body).into_response();
    if let Some(seconds) = answer.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}
