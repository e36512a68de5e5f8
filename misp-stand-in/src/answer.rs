//! Builds the answers of the REST API, in the shapes that were recorded from MISP.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::body;
use super::fault::RestFault;
use super::key::Key;
use super::model::Event;
use super::render::{self, Shown};
use super::search::Found;
use super::wire::Json;

const NO_KEY: &str = "Authentication failed. Please make sure you pass the API key of an API enabled user along in the Authorization header.";

/// An answer in MISP's shape for what goes wrong; `/` is escaped.
pub(super) fn error(status: u16, message: &str, path: &str) -> Response {
    let path = path.replace('/', "\\/");
    let message = Value::from(message);
    let body = format!(r#"{{"name":{message},"message":{message},"url":"{path}"}}"#);
    document(status, body)
}

pub(super) fn no_key(path: &str) -> Response {
    error(403, NO_KEY, path)
}

pub(super) fn document(status: u16, body: impl Into<Body>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = [(header::CONTENT_TYPE, "application/json; charset=UTF-8")];
    (status, kind, body.into()).into_response()
}

fn page(status: u16, title: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = format!(
        "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    );
    (status, [(header::CONTENT_TYPE, "text/html; charset=UTF-8")], body).into_response()
}

/// The answer of a fault that is one; `None` where the request is treated as usual.
pub(super) fn of_fault(fault: &RestFault, path: &str) -> Option<Response> {
    Some(match fault {
        RestFault::Status(500) => error(500, "An Internal Error Has Occurred.", path),
        RestFault::Status(status) => page(*status, &format!("{status} from the proxy")),
        RestFault::RateLimited { reset } => {
            let mut response = error(429, "Rate limit exceeded.", path);
            for (name, value) in [
                ("x-rate-limit-limit", 3),
                ("x-rate-limit-remaining", 0),
                ("x-rate-limit-reset", *reset),
            ] {
                response.headers_mut().insert(name, value.into());
            }
            response
        }
        RestFault::LoginRedirect => {
            let location = [(header::LOCATION, "/users/login")];
            (StatusCode::FOUND, location).into_response()
        }
        RestFault::HtmlPage => page(200, "Users - MISP"),
        RestFault::None
        | RestFault::Truncated { .. }
        | RestFault::CutShort { .. }
        | RestFault::Late(_)
        | RestFault::Stall { .. }
        | RestFault::Reset
        | RestFault::Empty
        | RestFault::EndsEarly { .. }
        | RestFault::LacksPublication
        | RestFault::AnswerAs(_)
        | RestFault::Spoilt(_) => return None,
    })
}

/// `{"response": [{"Event":{…}},…]}` with MISP's headers.
pub(super) fn events(mut found: Found, shown: &Shown, fault: &RestFault) -> Response {
    if *fault == RestFault::Empty {
        found = Found { total: 0, events: Vec::new() };
    }
    if let RestFault::EndsEarly { missing } = fault {
        found.events.truncate(found.events.len().saturating_sub(*missing));
    }
    let lacks_publication = *fault == RestFault::LacksPublication;
    let shown = Shown { lacks_publication, ..shown.clone() };
    let mut response = document(200, body::of(found.events, shown, fault));
    let headers = response.headers_mut();
    headers.insert("x-result-count", found.total.into());
    headers.insert("x-export-module-used", HeaderValue::from_static("json"));
    headers.insert("x-response-format", HeaderValue::from_static("json"));
    headers.insert("x-skipped-elements-count", HeaderValue::from_static("0"));
    response
}

/// One event, `{"Event":{…}}`.
pub(super) fn event(event: &Event, shown: &Shown) -> Response {
    let mut json = Json::default();
    render::whole(&mut json, event, shown);
    document(200, json.0)
}

/// `/events/index` with `minimal`: without events that have no attributes.
pub(super) fn index(found: &Found) -> Response {
    let rows: Vec<Value> = found
        .events
        .iter()
        .filter(|event| event.attribute_count() > 0)
        .map(|event| {
            json!({
                "id": event.id.to_string(),
                "timestamp": event.timestamp.to_string(),
                "sighting_timestamp": "0",
                "published": event.published,
                "uuid": event.uuid,
                "orgc_uuid": event.organisation.uuid,
            })
        })
        .collect();
    let mut response = document(200, Value::from(rows.as_slice()).to_string());
    response.headers_mut().insert("x-result-count", rows.len().into());
    response
}

/// `/users/view/me`, without members that say nothing of what the key may.
pub(super) fn user(key: &Key) -> Response {
    let body = json!({
        "User": {
            "id": key.user_id.to_string(),
            "password": "*****",
            "org_id": key.org_id.to_string(),
            "email": "relay@misp.test",
            "autoalert": false,
            "invited_by": "0",
            "role_id": key.role_id.to_string(),
            "change_pw": false,
            "disabled": false,
            "expiration": null,
            "date_modified": "1795499259",
            "totp": "*****",
        },
        "Role": {
            "id": key.role_id.to_string(),
            "name": if key.site_admin { "admin" } else { "Read Only" },
            "perm_add": key.site_admin,
            "perm_sync": key.site_admin,
            "perm_admin": key.site_admin,
            "perm_audit": true,
            "perm_auth": key.may_search,
            "perm_site_admin": key.site_admin,
            "perm_sighting": key.role_may_sight(),
            "enforce_rate_limit": false,
            "rate_limit_count": "0",
            "permission": if key.site_admin { "3" } else { "0" },
            "permission_description": if key.site_admin { "publish" } else { "read_only" },
        },
        "UserSetting": [],
        "Organisation": {
            "id": key.org_id.to_string(),
            "name": if key.org_id == 1 { "TESTORG" } else { "RELAY & Söhne \"Org\"" },
            "uuid": if key.org_id == 1 {
                "4028eff6-8b64-45f8-ac36-ff18b327dc76"
            } else {
                "f188eb93-968b-4111-8fb2-22f7c662bcd5"
            },
            "local": true,
        },
    });
    document(200, body.to_string())
}

/// `/servers/getVersion`.
pub(super) fn version(key: &Key) -> Response {
    let body = json!({
        "version": "2.5.1",
        "pymisp_recommended_version": "2.5.1",
        "perm_sync": key.site_admin,
        "perm_sighting": key.role_may_sight(),
        "perm_galaxy_editor": key.site_admin,
        "perm_analyst_data": key.site_admin,
        "uuid": "5f0c7b4e-1111-4222-8333-c0ffee000001",
        "request_encoding": ["gzip"],
        "filter_sightings": true,
    });
    document(200, body.to_string())
}
