//! Plays Entra's token endpoint for the flow of client credentials:
//! <https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{self, ConnectInfo, Path};
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::access::{Access, object_id};
use super::assertion;
use super::fault::SignInFault;
use super::refusal::{EntraRefusal, answer};
use super::settings::{Account, Settings};
use super::state::{SandboxState, Token, World};
use crate::config::Secret;
use crate::http::fields::{Fields, header};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// `POST /{tenant}/oauth2/v2.0/token`
pub(super) async fn token(
    extract::State(world): extract::State<Arc<World>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    form: String,
) -> Response {
    let fault = world.with(|state| {
        state.sign_ins += 1;
        state.faults.take_sign_in()
    });
    if fault == Some(SignInFault::Reset) {
        world.connections.cut(peer);
    }
    let settings = &world.settings;
    let told = match told_lifetime(fault, settings.token_lifetime).await {
        Ok(told) => told,
        Err(response) => return response,
    };
    let endpoint = format!("https://{}/{tenant}/oauth2/v2.0/token", header(&headers, HOST));
    let granted = world.with(|state| {
        let now = state.now();
        check(settings, &mut state.access, &tenant, &endpoint, now, &form)
            .map(|(client, scope)| remember(state, client, scope, settings.token_lifetime))
    });
    match granted {
        Ok(token) => issue(&token, told),
        Err(refusal) => refusal.into_response(),
    }
}

/// Returns how long the answer says that the token lasts, or the answer of a fault that gives no token. The
/// connection makes the reset.
pub(super) async fn told_lifetime(
    fault: Option<SignInFault>,
    usual: Duration,
) -> Result<Option<i64>, Response> {
    Err(match fault {
        None => return Ok(Some(i64::try_from(usual.as_secs()).unwrap_or(i64::MAX))),
        Some(SignInFault::Lifetime(told)) => return Ok(told),
        Some(SignInFault::NeverAnswers) => std::future::pending().await,
        Some(SignInFault::Reset) => StatusCode::OK.into_response(),
        Some(SignInFault::Unavailable) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(SignInFault::Answer { status, body }) => answer(status, body),
    })
}

/// Makes a token and remembers it.
pub(super) fn remember(
    state: &mut SandboxState,
    client_id: String,
    scope: String,
    lifetime: Duration,
) -> String {
    let token = new_token(&client_id);
    let now = Instant::now();
    state.tokens.retain(|_, token| token.ends > now);
    let held = Token { client_id, scope, ends: now + lifetime };
    state.tokens.insert(token.clone(), held);
    token
}

/// Makes a token in Entra's form, with what clients may read in it. Nobody checks the signature.
fn new_token(client_id: &str) -> String {
    let claims = json!({"appid": client_id, "oid": object_id(client_id), "ver": "1.0"});
    let [head, claims] = [r#"{"typ":"JWT","alg":"none"}"#, &claims.to_string()]
        .map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{head}.{claims}.sandbox-{}", Uuid::new_v4().simple())
}

fn issue(token: &str, lasts: Option<i64>) -> Response {
    let mut body = json!({"token_type": "Bearer", "access_token": token});
    if let (Some(seconds), Some(members)) = (lasts, body.as_object_mut()) {
        members.insert("expires_in".to_owned(), seconds.into());
        members.insert("ext_expires_in".to_owned(), seconds.into());
    }
    answer(200, body.to_string())
}

/// Returns client id and scope if everything is right.
fn check(
    settings: &Settings,
    access: &mut Access,
    tenant: &str,
    endpoint: &str,
    now: DateTime<Utc>,
    form: &str,
) -> Result<(String, String), EntraRefusal> {
    let form = Fields::of(form);
    if !settings.accounts.iter().any(|account| account.tenant_id == tenant) {
        let text = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."
        );
        return Err(EntraRefusal::of_request("invalid_request", 90_002, text));
    }
    if form.get("grant_type") != "client_credentials" {
        let text = "The app requested an unsupported grant type.";
        return Err(EntraRefusal::of_request("unsupported_grant_type", 70_003, text));
    }
    let client_id = form.get("client_id");
    let is_known =
        |account: &Account| account.tenant_id == tenant && account.client_id == client_id;
    if !settings.accounts.iter().any(is_known) {
        let text = format!(
            "Application with identifier '{client_id}' was not found in the directory '{tenant}'."
        );
        return Err(EntraRefusal::of_request("unauthorized_client", 700_016, text));
    }
    match form.get("client_assertion") {
        "" => secret(access, client_id, form.get("client_secret"))?,
        assertion => {
            if form.get("client_assertion_type") != ASSERTION {
                let text = "The client_assertion_type is not supported.";
                return Err(EntraRefusal::of_request("invalid_request", 50_126, text));
            }
            assertion::check(access, client_id, endpoint, assertion, now)?;
        }
    }
    let scope = form.get("scope");
    if !scope.ends_with("/.default") {
        let text = format!("The provided value for scope {scope} is not valid.");
        return Err(EntraRefusal::of_request("invalid_scope", 1_002_012, text));
    }
    Ok((client_id.to_owned(), scope.to_owned()))
}

fn secret(access: &Access, client_id: &str, given: &str) -> Result<(), EntraRefusal> {
    let secrets = access.secrets.get(client_id);
    let is_given = |secret: &Secret| secret.expose() == given;
    if secrets.is_some_and(|secrets| is_given(&secrets.good)) {
        return Ok(());
    }
    if secrets.is_some_and(|secrets| secrets.expired.iter().any(is_given)) {
        let text = format!(
            "The provided client secret keys for app '{client_id}' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."
        );
        return Err(EntraRefusal::of_client(7_000_222, text));
    }
    let text = format!(
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{client_id}'."
    );
    Err(EntraRefusal::of_client(7_000_215, text))
}
