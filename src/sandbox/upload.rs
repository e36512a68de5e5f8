//! The upload endpoint, with the rules and bodies of
//! <https://learn.microsoft.com/en-us/azure/sentinel/stix-objects-api>, and the faults on order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::fault::Fault;
use super::form::pairs;
use super::state::{self, Service, World};
use super::validate::{self, UploadBatch};

/// An upload API: what ends its path, its version, and the list in its body. The older two are those of
/// <https://learn.microsoft.com/en-us/azure/sentinel/upload-indicators-api>.
#[derive(Debug, Clone, Copy)]
struct UploadApi {
    action: &'static str,
    version: Option<&'static str>,
    list: &'static str,
    only_indicators: bool,
}

const APIS: [UploadApi; 3] = [
    UploadApi {
        action: "threat-intelligence-stix-objects:upload",
        version: Some("2024-02-01-preview"),
        list: "stixobjects",
        only_indicators: false,
    },
    UploadApi {
        action: "threatintelligenceindicators:upload",
        version: Some("2022-07-01"),
        list: "indicators",
        only_indicators: true,
    },
    UploadApi {
        action: "threatintelligence:upload-indicators",
        version: None,
        list: "value",
        only_indicators: true,
    },
];

/// An answer before it is HTTP.
#[derive(Debug, Default)]
struct UploadAnswer {
    status: u16,
    body: String,
    retry_after: Option<u64>,
    objects: usize,
    accepted: usize,
    rejected: Vec<usize>,
}

/// `POST /workspaces/{id}/threat-intelligence-stix-objects:upload?api-version=…`, and the second of the
/// older APIs.
pub(super) async fn upload(
    service: State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path((workspace, action)): Path<(String, String)>,
    request: Request,
) -> Response {
    let mut apis = APIS.into_iter().filter(|api| api.version.is_some());
    let api = apis.find(|api| api.action == action);
    answer(service.0, peer, &workspace, api, request).await
}

/// `POST /{id}/threatintelligence:upload-indicators`
pub(super) async fn upload_v1(
    service: State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path((workspace, action)): Path<(String, String)>,
    request: Request,
) -> Response {
    let mut apis = APIS.into_iter().filter(|api| api.version.is_none());
    let api = apis.find(|api| api.action == action);
    answer(service.0, peer, &workspace, api, request).await
}

async fn answer(
    service: Service,
    peer: SocketAddr,
    workspace: &str,
    api: Option<UploadApi>,
    request: Request,
) -> Response {
    let world = &service.world;
    let workspace = Uuid::parse_str(workspace).ok();
    let number = world.with(|state| state.arrived(state::Upload::arrives_now(workspace)));
    let (head, body) = request.into_parts();
    let Some(body) = read(body, world.settings.max_bytes).await else {
        return finish(world, number, too_large());
    };
    world.note(number, |upload| {
        upload.bytes = body.len();
        if world.settings.keep_bodies {
            upload.body = body.clone();
        }
    });
    let bearer = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let asked = UploadRequest {
        token: bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default(),
        workspace,
        api,
        query: head.uri.query().unwrap_or_default(),
        body: &body,
    };
    let fault = match world.with(|state| admit(world, state, number, &asked)) {
        Ok(fault) => fault,
        Err(refusal) => return finish(world, number, refusal),
    };
    world.with(|state| state.change(number, |upload| upload.fault = fault.clone()));
    if let Some(answer) = scripted(world, &fault, asked.token) {
        return finish(world, number, answer);
    }
    if fault == Fault::NeverAnswers {
        return std::future::pending().await;
    }
    if fault == Fault::ResetBefore {
        return reset(&service, peer);
    }
    if let Fault::Late(delay) = fault {
        tokio::time::sleep(delay).await;
    }
    let mut answer = process(world, &asked);
    if fault == Fault::NullLists {
        answer.body = with_null_lists(&answer.body);
    }
    if fault == Fault::ResetAfter {
        world.note(number, |upload| {
            (upload.objects, upload.accepted) = (answer.objects, answer.accepted);
            upload.rejected.clone_from(&answer.rejected);
        });
        return reset(&service, peer);
    }
    finish(world, number, answer)
}

struct UploadRequest<'r> {
    token: &'r str,
    workspace: Option<Uuid>,
    api: Option<UploadApi>,
    query: &'r str,
    body: &'r [u8],
}

async fn read(body: Body, max_bytes: usize) -> Option<Bytes> {
    to_bytes(body, max_bytes).await.ok()
}

/// Token and quota, then the fault of this request.
fn admit(
    world: &World,
    state: &mut state::SandboxState,
    number: usize,
    asked: &UploadRequest<'_>,
) -> Result<Fault, UploadAnswer> {
    let now = Instant::now();
    let owner = state.tokens.get(asked.token).filter(|token| token.ends > now);
    let Some(client_id) = owner.map(|token| token.client_id.clone()) else {
        return Err(unauthorized());
    };
    state.change(number, |upload| upload.client_id = Some(client_id.clone()));
    let (requests, window) = (world.settings.quota_requests, world.settings.quota_window);
    state.quota.admit(&client_id, now, requests, window).map_err(|wait| {
        let seconds = whole_seconds(wait);
        throttled(Some(seconds), world.settings.retry_after.then_some(seconds))
    })?;
    Ok(state.faults.take(asked.workspace))
}

/// The first whole second after the wait.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + 1
}

/// The answer of a fault that is one; `None` where the request is processed.
fn scripted(world: &World, fault: &Fault, token: &str) -> Option<UploadAnswer> {
    Some(match fault {
        Fault::Throttled { seconds, header } => throttled(*seconds, *header),
        Fault::ServerError => UploadAnswer {
            status: 500,
            body: json!({
                "statusCode": 500,
                "message": "Internal server error",
                "activityId": Uuid::new_v4(),
            })
            .to_string(),
            ..UploadAnswer::default()
        },
        Fault::TokenRefused => {
            world.with(|state| state.tokens.remove(token));
            unauthorized()
        }
        Fault::BadRequest => error(400, "BadRequest", "The request is not valid."),
        Fault::Forbidden => error(
            403,
            "UnauthorizedAccess",
            "The Object ID [00000000-0000-4000-8000-00000000000a] does not have required \
             permission to perform this action on the workspace.",
        ),
        Fault::ForbiddenPage => UploadAnswer {
            status: 403,
            body: "<!DOCTYPE html><html><head><title>403</title></head><body><h2>You do not have \
                   permission to view this directory or page.</h2></body></html>"
                .to_owned(),
            ..UploadAnswer::default()
        },
        Fault::UnknownWorkspace => unknown_workspace(),
        Fault::TooLarge => too_large(),
        Fault::Answer { status, body } => {
            UploadAnswer { status: *status, body: body.clone(), ..UploadAnswer::default() }
        }
        Fault::None
        | Fault::ResetBefore
        | Fault::ResetAfter
        | Fault::NeverAnswers
        | Fault::NullLists
        | Fault::Late(_) => return None,
    })
}

/// What Sentinel does with a request that it lets in.
fn process(world: &World, asked: &UploadRequest<'_>) -> UploadAnswer {
    let Some(api) = asked.api else {
        return error(404, "NotFound", "Resource not found.");
    };
    let version = pairs(asked.query).into_iter().find(|(key, _)| key == "api-version");
    let version = version.as_ref().map(|(_, version)| version.as_str());
    if let Some(supported) = api.version.filter(|supported| version != Some(supported)) {
        let text = format!("The api-version is missing or unknown; supported: {supported}.");
        return error(400, "InvalidApiVersionParameter", &text);
    }
    let known = asked.workspace.filter(|workspace| world.settings.workspaces.contains(workspace));
    let Some(workspace) = known else { return unknown_workspace() };
    let client_id = world.with(|state| Some(state.tokens.get(asked.token)?.client_id.clone()));
    let mut accounts = world.settings.accounts.iter();
    let account = accounts.find(|one| Some(&one.client_id) == client_id.as_ref());
    if account.is_some_and(|account| !account.may_upload_to(workspace)) {
        return no_role(client_id.as_deref().unwrap_or_default(), workspace);
    }
    match validate::batch(asked.body, api.list, world.settings.max_objects) {
        Ok(batch) => world.with(|state| take(state, workspace, api, batch)),
        Err(problem) => error(400, "BadRequest", &problem),
    }
}

fn take(
    state: &mut state::SandboxState,
    workspace: Uuid,
    api: UploadApi,
    batch: UploadBatch,
) -> UploadAnswer {
    let objects = batch.objects.len();
    if state.faults.poisons(&batch.objects) {
        let refusal = error(400, "BadRequest", "One of the objects is not valid.");
        return UploadAnswer { objects, ..refusal };
    }
    let (mut errors, mut rejected) = (Vec::new(), Vec::new());
    for (index, object) in batch.objects.into_iter().enumerate() {
        let mut wrong = validate::object(&object);
        if api.only_indicators && object.get("type").and_then(Value::as_str) != Some("indicator") {
            wrong.push("Error for Property=type: Object type is not supported.".to_owned());
        }
        wrong.extend(state.faults.rejection(&object));
        let id = object.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        if wrong.is_empty() {
            state.store(workspace, &batch.sourcesystem, &id, object);
        } else {
            errors.push(json!({"recordIndex": index, "errorMessages": wrong}));
            rejected.push(index);
        }
    }
    let accepted = objects - errors.len();
    let status = if accepted == 0 { 400 } else { 200 };
    let body =
        if errors.is_empty() { String::new() } else { json!({"errors": errors}).to_string() };
    UploadAnswer { status, body, objects, accepted, rejected, ..UploadAnswer::default() }
}

fn with_null_lists(body: &str) -> String {
    let mut body = serde_json::from_str(body).unwrap_or_else(|_| json!({"errors": null}));
    for entry in body.get_mut("errors").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(messages) = entry.get_mut("errorMessages") {
            *messages = Value::Null;
        }
    }
    body.to_string()
}

fn error(status: u16, code: &str, message: &str) -> UploadAnswer {
    let body = json!({"error": {"code": code, "message": message}}).to_string();
    UploadAnswer { status, body, ..UploadAnswer::default() }
}

/// As it was seen: <https://github.com/cudeso/misp2sentinel/issues/154>.
fn no_role(object_id: &str, workspace: Uuid) -> UploadAnswer {
    let message = format!(
        "The Object ID [{object_id}] does not have required permission to perform this action on \
         the workspace [{workspace}]."
    );
    let body = json!({"error": {
        "code": "UnauthorizedAccess",
        "message": message,
        "details": [],
        "target": null,
        "additionalInfo": null,
    }});
    UploadAnswer { status: 403, body: body.to_string(), ..UploadAnswer::default() }
}

fn unauthorized() -> UploadAnswer {
    error(401, "Unauthorized", "Access token is missing, invalid or expired.")
}

fn unknown_workspace() -> UploadAnswer {
    error(404, "WorkspaceNotFound", "The workspace could not be found.")
}

fn too_large() -> UploadAnswer {
    error(413, "RequestEntityTooLarge", "The request is too large.")
}

fn throttled(seconds: Option<u64>, header: Option<u64>) -> UploadAnswer {
    let body = seconds.map_or_else(String::new, |seconds| {
        let message = format!("Rate limit is exceeded. Try again in {seconds} seconds.");
        json!({"statusCode": 429, "message": message}).to_string()
    });
    UploadAnswer { status: 429, body, retry_after: header, ..UploadAnswer::default() }
}

/// The response is never written: the connection is reset in its place.
fn reset(service: &Service, peer: SocketAddr) -> Response {
    service.connections.cut(peer);
    StatusCode::OK.into_response()
}

fn finish(world: &World, number: usize, answer: UploadAnswer) -> Response {
    world.note(number, |upload| {
        upload.answered = Some(Instant::now());
        upload.status = Some(answer.status);
        (upload.objects, upload.accepted) = (answer.objects, answer.accepted);
        upload.rejected.clone_from(&answer.rejected);
    });
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if answer.body.starts_with('<') { "text/html" } else { "application/json" };
    let mut response = (status, [(CONTENT_TYPE, kind)], answer.body).into_response();
    if let Some(seconds) = answer.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}
