//! Explains a refusal of the management plane: which role is missing, on which scope, and for which identity.

use super::ManageError;
use crate::azure::reply::Reply;
use crate::azure::token;
use crate::config::Secret;

pub(super) fn explain(reply: &Reply, scope: &str, token: Option<&Secret>) -> ManageError {
    let said = reply.words();
    let remedy = match reply.status {
        401 | 403 => {
            let who = object_id(&said).or_else(|| token::object_id(token?));
            let who = who.map_or_else(String::new, |id| format!(" (object id {id})"));
            format!(
                "give the application{who} the role \"Microsoft Sentinel Reader\" (\"Microsoft \
                 Sentinel Contributor\" for deletions) on {scope}; a new role takes some minutes to \
                 count"
            )
        }
        404 => format!(
            "there is no {scope}, or the application may not see it: check subscription_id, \
             resource_group and workspace_name of the target"
        ),
        400 => "check management_api_version of the target".to_owned(),
        300..=399 => "redirects are not followed: check management and proxy".to_owned(),
        _ => return ManageError::Unreadable(said),
    };
    ManageError::Refused(format!("{said} -- {remedy}"))
}

/// Returns the object ID in "The client '…' with object id '…' does not have authorization …".
fn object_id(said: &str) -> Option<String> {
    let (_, behind) = said.split_once("object id '")?;
    let (id, _) = behind.split_once('\'')?;
    Some(id.to_owned())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        let body = body.as_bytes().to_vec();
        Reply { status, body, ..Reply::default() }
    }

    #[test]
    fn a_missing_role_is_named_with_scope_and_object_id() {
        let body = r#"{"error":{"code":"AuthorizationFailed","message":"The client 'c' with object id 'o-1' does not have authorization to perform action 'x' over scope '/y' or the scope is invalid."}}"#;
        let told = explain(&reply(403, body), "/subscriptions/s", None).to_string();
        for words in ["Sentinel Reader", "/subscriptions/s", "object id o-1", "AuthorizationFailed"]
        {
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn the_token_names_the_object_id_where_the_answer_does_not() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"oid":"o-2","tid":"t"}"#);
        let token = Secret::new(format!("e30.{claims}.sig"));
        let told = explain(&reply(403, ""), "/s", Some(&token)).to_string();
        assert!(told.contains("object id o-2"), "{told}");
        let opaque = Secret::new("opaque");
        assert!(
            explain(&reply(403, ""), "/s", Some(&opaque)).to_string().contains("application the")
        );
    }
}
