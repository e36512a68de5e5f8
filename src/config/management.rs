//! Reads the settings of the management plane: how it is asked, and the names of each target's workspace
//! there.

use std::time::Duration;

use uuid::Uuid;

use super::address::https;
use super::mistake::Problem;
use super::reader::Reader;
use super::values::{MILLISECOND, fitting, uuid};

/// A workspace by its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedWorkspace {
    pub subscription_id: Uuid,
    pub resource_group: String,
    pub workspace_name: String,
    /// e.g. `https://management.azure.com`.
    pub management: String,
    pub api_version: String,
}

/// How the management plane is asked, and what for.
#[derive(Debug, Clone)]
pub struct Management {
    /// Objects a page.
    pub page: u32,
    /// One request, from connect to the last byte of the answer.
    pub request_timeout: Duration,
    /// Between two requests, once some were made at once.
    pub request_pause: Duration,
    /// Repeats of a request after a fault or a 429.
    pub retries: u32,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// How long Sentinel may take to show what it has accepted.
    pub ingestion: Duration,
    /// How long after a withdrawal the indicator is deleted, under `withdraw = "delete"`, and after
    /// which time it is looked for again.
    pub delete_after: Duration,
    /// Between two deletions.
    pub delete_pause: Duration,
}

pub(super) fn read(reader: &mut Reader) -> Management {
    let key = |leaf: &str| format!("azure.management.{leaf}");
    Management {
        page: reader.number(&key("page"), 1..=1000),
        request_timeout: reader.duration(&key("request_timeout"), MILLISECOND),
        request_pause: reader.duration(&key("request_pause"), Duration::ZERO),
        retries: reader.number(&key("retries"), 0..=100),
        backoff_min: reader.duration(&key("backoff_min"), MILLISECOND),
        backoff_max: reader.duration(&key("backoff_max"), MILLISECOND),
        ingestion: reader.duration(&key("ingestion"), Duration::ZERO),
        delete_after: reader.duration(&key("delete_after"), Duration::ZERO),
        delete_pause: reader.duration(&key("delete_pause"), Duration::ZERO),
    }
}

/// All three names, or none.
pub(super) fn of_target(
    reader: &mut Reader,
    name: &str,
    management: &str,
) -> Option<ManagedWorkspace> {
    let key = |leaf: &str| format!("target.{name}.{leaf}");
    let subscription = reader.optional(&key("subscription_id"), "a uuid", uuid);
    let group = reader.optional(
        &key("resource_group"),
        "1 to 90 letters, digits, '.', '_', '-' and brackets",
        resource_group,
    );
    let workspace =
        reader.optional(&key("workspace_name"), "4 to 63 letters, digits and '-'", workspace_name);
    let management = https(reader, &key("management"), management);
    let api_version =
        reader.required(&key("management_api_version"), "the management API is versioned");
    let given = [subscription.is_some(), group.is_some(), workspace.is_some()];
    for (leaf, is_given) in
        ["subscription_id", "resource_group", "workspace_name"].iter().zip(given)
    {
        if given.contains(&true) && !is_given && reader.sound(&key(leaf)) {
            let hint = "the management plane knows a workspace by subscription_id, resource_group and workspace_name: set all three, or none";
            reader.missing(&key(leaf), hint);
        }
    }
    Some(ManagedWorkspace {
        subscription_id: subscription?,
        resource_group: group?,
        workspace_name: workspace?,
        management,
        api_version,
    })
}

/// <https://learn.microsoft.com/en-us/azure/azure-resource-manager/management/resource-name-rules>
fn resource_group(text: &str) -> Result<String, Problem> {
    let allowed = |c: char| c.is_alphanumeric() || "._-()".contains(c);
    let fits = text.chars().all(allowed) && text.chars().count() <= 90 && !text.ends_with('.');
    fitting(text, fits, "no name of a resource group")
}

fn workspace_name(text: &str) -> Result<String, Problem> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let fits = text.chars().all(allowed) && (4..=63).contains(&text.len());
    fitting(text, fits, "no name of a Log Analytics workspace")
        .map_err(|problem| problem.hint("its name, neither its ID nor its resource ID"))
}
