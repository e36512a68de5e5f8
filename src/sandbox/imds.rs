//! Plays the metadata service of an Azure machine over plain HTTP, as far as managed identities need it:
//! <https://learn.microsoft.com/en-us/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::Sandbox;
use super::access::{Access, Federated, MachineIdentity};
use super::entra;
use super::refusal::answer;
use super::state::World;
use crate::http::fields::Fields;

const PATH: &str = "/metadata/identity/oauth2/token";
const API_VERSIONS: [&str; 2] = ["2018-02-01", "2019-08-01"];

/// The beginning of the resources whose tokens are assertions for applications that trust the identity.
const EXCHANGE: &str = "api://AzureADTokenExchange";

impl Sandbox {
    /// Starts the metadata service on a free port, until the sandbox is dropped.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn serve_metadata(&mut self) -> anyhow::Result<SocketAddr> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let bound = listener.local_addr()?;
        let app = Router::new().route(PATH, get(token)).with_state(Arc::clone(&self.world));
        self.metadata.spawn(async move { axum::serve(listener, app).await });
        Ok(bound)
    }
}

/// `GET /metadata/identity/oauth2/token?api-version=…&resource=…`
async fn token(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let fault = world.with(|state| {
        state.access.metadata_requests += 1;
        state.faults.metadata.pop_front()
    });
    let lifetime = world.settings.token_lifetime;
    let told = match entra::told_lifetime(fault, lifetime).await {
        Ok(told) => told,
        Err(response) => return response,
    };
    if headers.get("metadata").is_none_or(|value| value != "true") {
        return refuse("Required metadata header not specified");
    }
    let query = Fields::of(&query.unwrap_or_default());
    if !API_VERSIONS.contains(&query.get("api-version")) {
        return refuse("The requested version is invalid");
    }
    let resource = query.get("resource");
    if resource.is_empty() {
        return refuse("The value of the parameter resource is missing");
    }
    let issued = world.with(|state| {
        let identity = named(&state.access, &query)?.clone();
        let token = if resource.starts_with(EXCHANGE) {
            state.access.issue(of(&identity, resource), lifetime)
        } else {
            let scope = format!("{resource}/.default");
            entra::remember(state, identity.client_id.clone(), scope, lifetime)
        };
        Some((identity, token))
    });
    match issued {
        Some((identity, token)) => granted(&identity, resource, &token, told.unwrap_or_default()),
        None => refuse("Identity not found"),
    }
}

fn named<'a>(access: &'a Access, query: &Fields) -> Option<&'a MachineIdentity> {
    let named = ["client_id", "object_id", "msi_res_id"].map(|name| query.get(name));
    access.identities.iter().find(|identity| match named {
        ["", "", ""] => identity.is_system_assigned,
        [client, "", ""] => identity.client_id == client,
        ["", object, ""] => identity.object_id == object,
        [_, _, resource] => identity.resource_id.eq_ignore_ascii_case(resource),
    })
}

/// Returns a managed identity's token as another application sees it.
fn of(identity: &MachineIdentity, audience: &str) -> Federated {
    Federated {
        issuer: format!("https://login.microsoftonline.com/{}/v2.0", identity.tenant_id),
        subject: identity.object_id.clone(),
        audience: audience.to_owned(),
    }
}

/// Answers with a token. Numbers are strings, as the service writes them.
fn granted(identity: &MachineIdentity, resource: &str, token: &str, seconds: i64) -> Response {
    let now = chrono::Utc::now().timestamp();
    let body = json!({
        "access_token": token,
        "client_id": identity.client_id,
        "expires_in": seconds.to_string(),
        "expires_on": now.saturating_add(seconds).to_string(),
        "ext_expires_in": seconds.to_string(),
        "not_before": now.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    answer(200, body.to_string())
}

fn refuse(description: &str) -> Response {
    let body = json!({"error": "invalid_request", "error_description": description});
    answer(400, body.to_string())
}
