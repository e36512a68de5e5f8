//! Reads the settings of the management plane: how it is asked, and the names of each target's workspace
//! there.

use std::time::Duration;

use uuid::Uuid;

use super::address::https;
use super::mistake::Problem;
use super::reader::Reader;
use super::section::section;
use super::values::{fitting, uuid};

/// A workspace, by its names on the management plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedWorkspace {
    pub subscription_id: Uuid,
    pub resource_group: String,
    pub workspace_name: String,
    /// The base URL of the management plane, e.g. `https://management.azure.com`.
    pub management: String,
    pub api_version: String,
}

section! {
    /// How the management plane is asked, and for what.
    #[derive(Debug, Clone)]
    pub struct Management at "azure.management" {
        /// The number of objects in a page.
        page: u32 = |reader, key| reader.number(key, 1..=1000),
        /// The time-out of a request, from connect to the last byte of the answer.
        request_timeout: Duration = Reader::time,
        /// The pause between two requests, after the first few.
        request_pause: Duration = Reader::time_or_zero,
        /// The number of retries after a failure or a 429.
        retries: u32 = |reader, key| reader.number(key, 0..=100),
        backoff_min: Duration = Reader::time,
        backoff_max: Duration = Reader::time,
        /// The time that Sentinel may take to show an accepted object.
        ingestion: Duration = Reader::time_or_zero,
        /// The time after a withdrawal until the indicator is deleted, under `withdraw = "delete"`, and
        /// until it is looked for again.
        delete_after: Duration = Reader::time_or_zero,
        /// The pause between two deletions.
        delete_pause: Duration = Reader::time_or_zero,
    }
}

const RESOURCE_GROUP: &str = "1 to 90 letters, digits, '.', '_', '-' and brackets";
const WORKSPACE_NAME: &str = "4 to 63 letters, digits and '-'";

/// Reads the names of a target's workspace. `None`: not all three are set. To set only some is a mistake.
pub(super) fn of_target(
    reader: &mut Reader,
    name: &str,
    management: &str,
) -> Option<ManagedWorkspace> {
    let key = |leaf: &str| format!("target.{name}.{leaf}");
    let subscription = reader.optional(&key("subscription_id"), "a uuid", uuid);
    let group = reader.optional(&key("resource_group"), RESOURCE_GROUP, resource_group);
    let workspace = reader.optional(&key("workspace_name"), WORKSPACE_NAME, workspace_name);
    let management = https(reader, &key("management"), management);
    let api_version =
        reader.required(&key("management_api_version"), "the management API is versioned");
    let given = [
        ("subscription_id", subscription.is_some()),
        ("resource_group", group.is_some()),
        ("workspace_name", workspace.is_some()),
    ];
    for (leaf, _) in given.iter().filter(|(_, is_given)| !is_given) {
        if given.iter().any(|(_, is_given)| *is_given) {
            reader.missing(&key(leaf), "the management plane knows a workspace by subscription_id, resource_group and workspace_name: set all three, or none");
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
