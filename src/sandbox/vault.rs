//! Plays Azure Key Vault, as far as reading a secret needs it. The host name selects the vault.
//! <https://learn.microsoft.com/en-us/rest/api/keyvault/secrets/get-secret/get-secret>

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{HOST, WWW_AUTHENTICATE};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::access::Kept;
use super::refusal::answer;
use super::state::World;
use crate::http::fields::{bearer, header};

/// `GET /secrets/{name}` and, with an empty version too, `GET /secrets/{name}/{version}`
pub(super) async fn secret(
    State(world): State<Arc<World>>,
    Path(parts): Path<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let part = |at: usize| parts.get(at).map(|(_, value)| value.clone()).unwrap_or_default();
    let (name, version) = (part(0), part(1));
    let host = header(&headers, HOST).split(':').next().unwrap_or_default();
    let Some((vault, resource)) = host.split_once('.') else {
        return refuse(404, "NotFound", "", "no vault has this name");
    };
    world.with(|state| {
        // The token must be one for vaults of this cloud.
        let scope = format!("https://{resource}/.default");
        let token = state.token(bearer(&headers)).filter(|token| token.scope == scope);
        let Some(client_id) = token.map(|token| token.client_id.clone()) else {
            let tenant = world.settings.accounts.first();
            let tenant = tenant.map(|account| account.tenant_id.as_str()).unwrap_or_default();
            let own = format!("https://{resource}");
            return challenge(tenant, state.access.vault_resource.as_ref().unwrap_or(&own));
        };
        let key = (vault.to_owned(), name.clone());
        let Some(kept) = state.access.vaults.get(&key).cloned() else {
            let text = format!("A secret with (name/id) {name} was not found in this key vault.");
            return refuse(404, "SecretNotFound", "", &text);
        };
        if !kept.readers.is_empty() && !kept.readers.contains(&client_id) {
            let text = format!(
                "Caller is not authorized to perform action on resource. Caller: appid={client_id}. Action: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'. Vault: {vault}"
            );
            return refuse(403, "Forbidden", "ForbiddenByRbac", &text);
        }
        state.access.vault_reads += 1;
        found(&kept, &format!("https://{host}/secrets/{name}"), &version)
    })
}

fn found(kept: &Kept, id: &str, version: &str) -> Response {
    let version = match version {
        "" => kept.versions.last(),
        version => kept.versions.iter().find(|(known, _)| known == version),
    };
    let Some((version, text)) = version else {
        return refuse(404, "SecretNotFound", "", "A secret with this version was not found.");
    };
    let (enabled, level) = (true, "Recoverable+Purgeable");
    let attributes = match kept.ends {
        Some(ends) => json!({"enabled": enabled, "recoveryLevel": level, "exp": ends}),
        None => json!({"enabled": enabled, "recoveryLevel": level}),
    };
    let body = json!({
        "value": text.expose(),
        "id": format!("{id}/{version}"),
        "attributes": attributes,
    });
    answer(200, body.to_string())
}

fn challenge(tenant: &str, resource: &str) -> Response {
    let words = format!(
        "Bearer authorization=\"https://login.microsoftonline.com/{tenant}\", resource=\"{resource}\""
    );
    let answer =
        refuse(401, "Unauthorized", "", "AKV10000: Request is missing a Bearer or PoP token.");
    ([(WWW_AUTHENTICATE, words)], answer).into_response()
}

fn refuse(status: u16, code: &str, inner: &str, message: &str) -> Response {
    let inner = if inner.is_empty() { json!(null) } else { json!({"code": inner}) };
    let error = json!({"code": code, "message": message, "innererror": inner});
    answer(status, json!({"error": error}).to_string())
}
