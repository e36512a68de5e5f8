//! Explains a refusal of Log Analytics' query API:
//! <https://learn.microsoft.com/en-us/azure/azure-monitor/logs/api/errors>.

use serde_json::Value;
use uuid::Uuid;

use super::{LogsError, answer};
use crate::azure::reply::Reply;

pub(super) fn explain(reply: &Reply, workspace: Uuid) -> LogsError {
    let said = said(reply);
    let remedy = match reply.status {
        401 | 403 if said.contains("Token") => {
            "the token is not for this host: check logs, logs_scope and cloud of the target".to_owned()
        }
        401 | 403 => format!(
            "give the application the role \"Microsoft Sentinel Contributor\" (or \"Log Analytics Reader\") on the \
             workspace {workspace}; a new role may take 60 minutes to count. If it has the role, give it the \
             application permission Data.Read of \"Log Analytics API\" too, with admin consent"
        ),
        404 => format!("there is no workspace {workspace}, or it was deleted: check workspace_id of the target"),
        400 => "if it names a table or column that is missing, the workspace has no alerts yet: turn Microsoft Sentinel on there".to_owned(),
        300..=399 => "redirects are not followed: check logs and azure.proxy".to_owned(),
        _ => return LogsError::Unreadable(said),
    };
    LogsError::Refused(format!("{said} -- {remedy}"))
}

/// What the API said, with the inner error, which names the fault.
fn said(reply: &Reply) -> String {
    let body: Option<Value> = serde_json::from_slice(&reply.body).ok();
    match body.as_ref().and_then(|body| body.get("error")) {
        Some(error) => format!("HTTP {} {}", reply.status, answer::words(error)),
        None => reply.words(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, body: &str) -> String {
        let reply = Reply { status, body: body.as_bytes().to_vec(), ..Reply::default() };
        explain(&reply, Uuid::nil()).to_string()
    }

    #[test]
    fn a_missing_right_is_told_with_both_that_it_may_be() {
        let body = r#"{"error":{"message":"The provided credentials have insufficient access to perform the requested operation","code":"InsufficientAccessError","correlationId":"c"}}"#;
        let told = told(403, body);
        for words in ["InsufficientAccessError", "Sentinel Contributor", "60 minutes", "Data.Read"]
        {
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn the_inner_error_is_told() {
        let body = r#"{"error":{"message":"The request had some invalid properties","code":"BadArgumentError","innererror":{"code":"SemanticError","message":"A semantic error occurred."}}}"#;
        assert!(told(400, body).contains("SemanticError A semantic error occurred."));
    }
}
