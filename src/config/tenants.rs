//! Reads the list of tenants that misp2sentinel's Azure Function uses. Each entry becomes a target.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::layers::{Leaf, Leaves, Raw};
use super::mistake::Problem;
use super::reader::Reader;
use super::values::uuid;

const KEY: &str = "tenants";

/// Begins the names of its targets.
const PREFIX: &str = "tenant-";

const SHAPE: &str =
    "a JSON list of {\"tenantId\": …, \"id\": …, \"secret\": …, \"workspaceId\": …}";

/// As the function reads it; what else stands there means nothing to it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Tenant {
    tenant_id: String,
    id: String,
    secret: String,
    workspace_id: String,
}

/// What the configuration says of targets in sections of their own.
pub(super) struct Sections {
    /// A target's keys with their defaults.
    pub template: Leaves,
    pub names: BTreeSet<String>,
}

/// Adds the targets of the list to those with sections; keys of a section of the same name lay over an
/// entry. `None`: nobody has looked up the list yet, so nothing is known of its targets.
pub(super) fn read(reader: &mut Reader, sections: Sections) -> (BTreeSet<String>, bool) {
    let Sections { template, mut names } = sections;
    let list = reader.secret(KEY);
    if list.is_unread() {
        let of_list: Vec<String> =
            names.iter().filter(|name| name.starts_with(PREFIX)).cloned().collect();
        for name in of_list {
            reader.drop_section(&format!("target.{name}."));
            names.remove(&name);
        }
        return (names, true);
    }
    let text = list.expose().trim();
    if text.is_empty() {
        return (names, false);
    }
    let Some(entries) = parse(reader, text) else { return (names, false) };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (position, tenant) in (1..).zip(entries) {
        let Some(name) = tenant.name(reader, position) else { continue };
        if let Some(first) = seen.insert(name.clone(), position) {
            reader.fault(KEY, format!("entries {first} and {position} are the same workspace"));
            continue;
        }
        tenant.lay(reader, &name, &template);
        names.insert(name);
    }
    (names, false)
}

/// The words of a parser may repeat what it read: only the place is told.
fn parse(reader: &mut Reader, text: &str) -> Option<Vec<Tenant>> {
    let entries = match serde_json::from_str::<Vec<serde_json::Value>>(text) {
        Ok(entries) => entries,
        Err(error) => {
            let problem = format!("no JSON list: line {}, column {}", error.line(), error.column());
            reader.fault(KEY, Problem::new(problem).allowed(SHAPE));
            return None;
        }
    };
    let mut tenants = Vec::with_capacity(entries.len());
    for (position, entry) in (1..).zip(entries) {
        match serde_json::from_value(entry) {
            Ok(tenant) => tenants.push(tenant),
            Err(_) => {
                let problem = Problem::new(format!("entry {position} is no object of strings"));
                reader.fault(KEY, problem.allowed(SHAPE));
            }
        }
    }
    Some(tenants)
}

impl Tenant {
    /// Made of its workspace, so that it stays the same wherever the entry stands.
    fn name(&self, reader: &mut Reader, position: usize) -> Option<String> {
        let missing = [
            ("tenantId", &self.tenant_id),
            ("id", &self.id),
            ("secret", &self.secret),
            ("workspaceId", &self.workspace_id),
        ]
        .into_iter()
        .filter(|(_, value)| value.trim().is_empty())
        .map(|(key, _)| key)
        .collect::<Vec<_>>();
        if !missing.is_empty() {
            let problem = Problem::new(format!("entry {position} lacks {}", missing.join(", ")));
            reader.fault(KEY, problem.allowed(SHAPE));
            return None;
        }
        let Ok(workspace) = uuid(self.workspace_id.trim()) else {
            reader.fault(KEY, format!("workspaceId of entry {position} is no uuid"));
            return None;
        };
        let text = workspace.to_string();
        let first = text.split('-').next().unwrap_or_default();
        Some(format!("{PREFIX}{first}"))
    }

    fn lay(self, reader: &mut Reader, name: &str, template: &Leaves) {
        let origin = reader.origin(KEY);
        let key = |leaf: &str| format!("target.{name}.{leaf}");
        for (leaf, value) in [
            ("tenant_id", self.tenant_id),
            ("client_id", self.id),
            ("client_secret", self.secret),
            ("workspace_id", self.workspace_id),
        ] {
            let raw = Raw::Text(value.trim().to_owned());
            reader.lay_under(key(leaf), Leaf { raw, origin: origin.clone() });
        }
        for (leaf, default) in template {
            reader.lay_default(key(leaf), default);
        }
    }
}
