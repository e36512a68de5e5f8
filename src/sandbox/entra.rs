//! Entra's token endpoint, as far as client credentials go:
//! <https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow>.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::fault::SignInFault;
use super::settings::Settings;
use super::state::Token;
use super::upload::Place;

/// A refusal: status, OAuth's word, code and sentence.
type No = (u16, &'static str, u32, String);

/// `POST /{tenant}/oauth2/v2.0/token`
pub(super) async fn token(
    State(place): State<Place>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(tenant): Path<String>,
    form: String,
) -> Response {
    let fault = place.world.with(|state| {
        state.sign_ins += 1;
        state.faults.sign_ins.pop_front()
    });
    match fault {
        Some(SignInFault::NeverAnswers) => return std::future::pending().await,
        Some(SignInFault::Reset) => {
            place.connections.cut(peer);
            return StatusCode::OK.into_response();
        }
        Some(SignInFault::Unavailable) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(SignInFault::Answer { status, body }) => return answer(status, body),
        None => {}
    }
    match check(&place.world.settings, &tenant, &form) {
        Ok(client_id) => issue(&place, client_id),
        Err(no) => refuse(no),
    }
}

fn issue(place: &Place, client_id: String) -> Response {
    let lifetime = place.world.settings.token_lifetime;
    let token = format!("sandbox.{}", Uuid::new_v4().simple());
    let ends = Instant::now() + lifetime;
    place.world.with(|state| {
        let now = Instant::now();
        state.tokens.retain(|_, token| token.ends > now);
        state.tokens.insert(token.clone(), Token { client_id, ends });
    });
    let seconds = lifetime.as_secs();
    let body = json!({
        "token_type": "Bearer",
        "expires_in": seconds,
        "ext_expires_in": seconds,
        "access_token": token,
    });
    answer(200, body.to_string())
}

/// The client id, where everything is right.
fn check(settings: &Settings, tenant: &str, form: &str) -> Result<String, No> {
    let pairs = pairs(form);
    let field = |name: &str| {
        let found = pairs.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    if !settings.accounts.iter().any(|account| account.tenant_id == tenant) {
        let text = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and \
             are signing into the correct cloud. Check with your subscription administrator, this \
             may happen if there are no active subscriptions for the tenant."
        );
        return Err((400, "invalid_request", 90_002, text));
    }
    if field("grant_type") != "client_credentials" {
        let text = "The app requested an unsupported grant type.".to_owned();
        return Err((400, "unsupported_grant_type", 70_003, text));
    }
    let client_id = field("client_id");
    let of_tenant = settings.accounts.iter().filter(|account| account.tenant_id == tenant);
    let Some(account) = of_tenant.clone().find(|account| account.client_id == client_id) else {
        let text = format!(
            "Application with identifier '{client_id}' was not found in the directory '{tenant}'."
        );
        return Err((400, "unauthorized_client", 700_016, text));
    };
    if account.client_secret.expose() != field("client_secret") {
        let text = format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the \
             client secret value, not the client secret ID, for a secret added to app '{client_id}'."
        );
        return Err((401, "invalid_client", 7_000_215, text));
    }
    let scope = field("scope");
    if !scope.ends_with("/.default") {
        let text = format!("The provided value for scope {scope} is not valid.");
        return Err((400, "invalid_scope", 1_002_012, text));
    }
    Ok(client_id.to_owned())
}

/// In Entra's shape, line breaks included.
fn refuse((status, error, code, text): No) -> Response {
    let [trace, correlation] = [Uuid::new_v4(), Uuid::new_v4()];
    let time = chrono::Utc::now().format("%Y-%m-%d %H:%M:%SZ").to_string();
    let body = json!({
        "error": error,
        "error_description": format!(
            "AADSTS{code}: {text}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\n\
             Timestamp: {time}"
        ),
        "error_codes": [code],
        "timestamp": time,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": Value::Null,
    });
    answer(status, body.to_string())
}

fn answer(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}

/// The fields of a form or a query.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    let Ok(mut url) = reqwest::Url::parse("https://form.invalid/") else { return Vec::new() };
    url.set_query(Some(text));
    url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}
