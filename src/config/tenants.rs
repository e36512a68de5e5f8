//! Reads the list of tenants that misp2sentinel's Azure Function uses. Each entry becomes a target.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::layers::{Leaf, Leaves, Raw};
use super::mistake::Problem;
use super::reader::Reader;
use super::values::uuid;

const KEY: &str = "tenants";

/// The beginning of the names of its targets.
const PREFIX: &str = "tenant-";

const SHAPE: &str =
    "a JSON list of {\"tenantId\": …, \"id\": …, \"secret\": …, \"workspaceId\": …}";

/// The members of an entry that the function reads, and the key of the target that each sets. The function
/// ignores other members.
const MEMBERS: [(&str, &str); 4] = [
    ("tenantId", "tenant_id"),
    ("id", "client_id"),
    ("secret", "client_secret"),
    ("workspaceId", "workspace_id"),
];

/// Adds the targets of the list to `names`. Keys of a section with the same name override an entry, and an
/// entry overrides `template`. Returns whether the list must still be read from a vault, so that its targets
/// are unknown.
pub(super) fn read(reader: &mut Reader, template: &Leaves, names: &mut BTreeSet<String>) -> bool {
    let list = reader.secret(KEY);
    if list.is_unread() {
        // Without the list, its targets' sections would look like targets that lack everything.
        reader.drop_section(&format!("target.{PREFIX}"));
        names.retain(|name| !name.starts_with(PREFIX));
        return true;
    }
    let mut seen = BTreeMap::new();
    for (position, entry) in (1..).zip(&entries(reader, list.expose().trim())) {
        let (name, texts) = match target(position, entry) {
            Ok(target) => target,
            Err(problem) => {
                reader.fault(KEY, problem);
                continue;
            }
        };
        if let Some(first) = seen.insert(name.clone(), position) {
            reader.fault(KEY, format!("entries {first} and {position} are the same workspace"));
            continue;
        }
        let key = |leaf: &str| format!("target.{name}.{leaf}");
        for ((_, leaf), text) in MEMBERS.iter().zip(texts) {
            let raw = Raw::Text(text.to_owned());
            reader.lay_under(key(leaf), Leaf { raw, origin: reader.origin(KEY) });
        }
        for (leaf, default) in template {
            reader.lay_default(key(leaf), default);
        }
        names.insert(name);
    }
    false
}

fn entries(reader: &mut Reader, text: &str) -> Vec<Value> {
    if text.is_empty() {
        return Vec::new();
    }
    serde_json::from_str(text).unwrap_or_else(|error| {
        // The parser's message may repeat the secret that it read, so only the position is shown.
        let problem = format!("no JSON list: line {}, column {}", error.line(), error.column());
        reader.fault(KEY, Problem::new(problem).allowed(SHAPE));
        Vec::new()
    })
}

/// Returns the name of an entry's target and the texts of its [`MEMBERS`]. The name is made from the
/// workspace, so that it does not depend on the position of the entry.
fn target(position: u32, entry: &Value) -> Result<(String, [&str; 4]), Problem> {
    let misshapen = |what: &str| Problem::new(format!("entry {position} {what}")).allowed(SHAPE);
    let no_strings = || misshapen("is no object of strings");
    let entry = entry.as_object().ok_or_else(no_strings)?;
    let (mut texts, mut missing) = ([""; 4], Vec::new());
    for ((member, _), text) in MEMBERS.iter().zip(&mut texts) {
        if let Some(value) = entry.get(*member) {
            *text = value.as_str().ok_or_else(no_strings)?.trim();
        }
        if text.is_empty() {
            missing.push(*member);
        }
    }
    if !missing.is_empty() {
        return Err(misshapen(&format!("lacks {}", missing.join(", "))));
    }
    let [.., workspace] = texts;
    let workspace =
        uuid(workspace).map_err(|_| format!("workspaceId of entry {position} is no uuid"))?;
    let workspace = workspace.to_string();
    let first = workspace.split('-').next().unwrap_or_default();
    Ok((format!("{PREFIX}{first}"), texts))
}
