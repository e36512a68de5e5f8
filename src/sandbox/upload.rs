//! Serves the upload endpoint, with the documented rules and bodies and with the ordered faults:
//! <https://learn.microsoft.com/en-us/azure/sentinel/stix-objects-api>

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::fault::Fault;
use super::refusal::DraftAnswer;
use super::state::{self, World};
use super::validate::{self, UploadBatch};
use crate::http::fields::{Fields, bearer};

/// An upload API: the end of its path, its version, and the list in its body. The older two are those of
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

/// `POST /workspaces/{id}/threat-intelligence-stix-objects:upload?api-version=…`, the second of the older
/// APIs, and the first: `POST /{id}/threatintelligence:upload-indicators`.
pub(super) async fn upload(
    State(world): State<Arc<World>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path((workspace, action)): Path<(String, String)>,
    request: Request,
) -> Response {
    let world = world.as_ref();
    let workspace = Uuid::parse_str(&workspace).ok();
    let number = world.with(|state| state.arrived(state::Upload::arrives_now(workspace)));
    let (head, body) = request.into_parts();
    let has_version = head.uri.path().starts_with("/workspaces/");
    let mut apis = APIS.into_iter().filter(|api| api.version.is_some() == has_version);
    let Ok(body) = to_bytes(body, world.settings.max_bytes).await else {
        return finish(world, number, too_large());
    };
    world.note(number, |upload| {
        upload.bytes = body.len();
        if world.settings.keep_bodies {
            upload.body = body.clone();
        }
    });
    let asked = UploadRequest {
        number,
        token: bearer(&head.headers),
        workspace,
        api: apis.find(|api| api.action == action),
        query: head.uri.query().unwrap_or_default(),
        body: &body,
    };
    let (client_id, fault) = match world.with(|state| admit(world, state, &asked)) {
        Ok(admitted) => admitted,
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
        return reset(world, peer);
    }
    if let Fault::Late(delay) = fault {
        tokio::time::sleep(delay).await;
    }
    let mut answer = process(world, &asked, &client_id);
    if fault == Fault::NullLists {
        answer.body = with_null_lists(&answer.body);
    }
    if fault == Fault::ResetAfter {
        world.note(number, |_| ());
        return reset(world, peer);
    }
    finish(world, number, answer)
}

struct UploadRequest<'r> {
    number: usize,
    token: &'r str,
    workspace: Option<Uuid>,
    api: Option<UploadApi>,
    query: &'r str,
    body: &'r [u8],
}

/// Checks token and quota. Returns whose request it is, and its fault.
fn admit(
    world: &World,
    state: &mut state::SandboxState,
    asked: &UploadRequest<'_>,
) -> Result<(String, Fault), DraftAnswer> {
    let client_id = state.token(asked.token).ok_or_else(unauthorized)?.client_id.clone();
    state.change(asked.number, |upload| upload.client_id = Some(client_id.clone()));
    let (requests, window) = (world.settings.quota_requests, world.settings.quota_window);
    state.quota.admit(&client_id, Instant::now(), requests, window).map_err(|wait| {
        // The first whole second after the wait.
        let seconds = wait.as_secs() + 1;
        throttled(Some(seconds), world.settings.retry_after.then_some(seconds))
    })?;
    Ok((client_id, state.faults.take(asked.workspace)))
}

/// Sentinel's words for a missing role.
const NO_PERMISSION: &str = "The Object ID [00000000-0000-4000-8000-00000000000a] does not have required permission to perform this action on the workspace.";

/// Returns the answer of a fault; `None` if the fault is none or leaves the answer to [`process`].
#[expect(clippy::wildcard_enum_match_arm, reason = "all other faults lie around the answer")]
fn scripted(world: &World, fault: &Fault, token: &str) -> Option<DraftAnswer> {
    Some(match fault {
        Fault::Throttled { seconds, header } => throttled(*seconds, *header),
        Fault::ServerError => {
            let (message, activity) = ("Internal server error", Uuid::new_v4());
            let body = json!({"statusCode": 500, "message": message, "activityId": activity});
            DraftAnswer::new(500, body.to_string())
        }
        Fault::TokenRefused => {
            world.with(|state| state.tokens.remove(token));
            unauthorized()
        }
        Fault::BadRequest => DraftAnswer::error(400, "BadRequest", "The request is not valid."),
        Fault::Forbidden => DraftAnswer::error(403, "UnauthorizedAccess", NO_PERMISSION),
        Fault::ForbiddenPage => DraftAnswer::new(
            403,
            "<!DOCTYPE html><html><head><title>403</title></head><body><h2>You do not have permission to view this directory or page.</h2></body></html>",
        ),
        Fault::UnknownWorkspace => unknown_workspace(),
        Fault::TooLarge => too_large(),
        Fault::Answer { status, body } => DraftAnswer::new(*status, body),
        _ => return None,
    })
}

/// Does what Sentinel does with a request that it lets in.
fn process(world: &World, asked: &UploadRequest<'_>, client_id: &str) -> DraftAnswer {
    let Some(api) = asked.api else {
        return DraftAnswer::error(404, "NotFound", "Resource not found.");
    };
    let query = Fields::of(asked.query);
    if let Some(supported) = api.version.filter(|version| query.get("api-version") != *version) {
        let text = format!("The api-version is missing or unknown; supported: {supported}.");
        return DraftAnswer::error(400, "InvalidApiVersionParameter", &text);
    }
    let known = asked.workspace.filter(|workspace| world.settings.workspaces.contains(workspace));
    let Some(workspace) = known else { return unknown_workspace() };
    let mut accounts = world.settings.accounts.iter();
    let account = accounts.find(|account| account.client_id == client_id);
    if account.is_some_and(|account| !account.may_upload_to(workspace)) {
        return no_role(client_id, workspace);
    }
    match validate::batch(asked.body, api.list, world.settings.max_objects) {
        Ok(batch) => world.with(|state| {
            let objects = batch.objects.len();
            let (answer, rejected) = take(state, workspace, api, batch);
            state.change(asked.number, |upload| {
                upload.objects = objects;
                upload.accepted = rejected.as_ref().map_or(0, |rejected| objects - rejected.len());
                upload.rejected = rejected.unwrap_or_default();
            });
            answer
        }),
        Err(problem) => DraftAnswer::error(400, "BadRequest", &problem),
    }
}

/// Stores the objects that are sound. Returns the answer and the places of the rejected objects; `None` if the
/// request is rejected as a whole.
fn take(
    state: &mut state::SandboxState,
    workspace: Uuid,
    api: UploadApi,
    batch: UploadBatch,
) -> (DraftAnswer, Option<Vec<usize>>) {
    let objects = batch.objects.len();
    if state.faults.poisons(&batch.objects) {
        return (DraftAnswer::error(400, "BadRequest", "One of the objects is not valid."), None);
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
    let status = if errors.len() == objects { 400 } else { 200 };
    let body =
        if errors.is_empty() { String::new() } else { json!({"errors": errors}).to_string() };
    (DraftAnswer::new(status, body), Some(rejected))
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

/// Makes the refusal that was seen: <https://github.com/cudeso/misp2sentinel/issues/154>.
fn no_role(object_id: &str, workspace: Uuid) -> DraftAnswer {
    let message = format!(
        "The Object ID [{object_id}] does not have required permission to perform this action on the workspace [{workspace}]."
    );
    let body = json!({"error": {
        "code": "UnauthorizedAccess",
        "message": message,
        "details": [],
        "target": null,
        "additionalInfo": null,
    }});
    DraftAnswer::new(403, body.to_string())
}

fn unauthorized() -> DraftAnswer {
    DraftAnswer::error(401, "Unauthorized", "Access token is missing, invalid or expired.")
}

fn unknown_workspace() -> DraftAnswer {
    DraftAnswer::error(404, "WorkspaceNotFound", "The workspace could not be found.")
}

fn too_large() -> DraftAnswer {
    DraftAnswer::error(413, "RequestEntityTooLarge", "The request is too large.")
}

fn throttled(seconds: Option<u64>, header: Option<u64>) -> DraftAnswer {
    let body = seconds.map_or_else(String::new, |seconds| {
        let message = format!("Rate limit is exceeded. Try again in {seconds} seconds.");
        json!({"statusCode": 429, "message": message}).to_string()
    });
    DraftAnswer { status: 429, body, retry_after: header }
}

/// Resets the connection. The response that is returned is never written.
fn reset(world: &World, peer: SocketAddr) -> Response {
    world.connections.cut(peer);
    StatusCode::OK.into_response()
}

fn finish(world: &World, number: usize, answer: DraftAnswer) -> Response {
    world.note(number, |upload| {
        upload.answered = Some(Instant::now());
        upload.status = Some(answer.status);
    });
    answer.into_response()
}
