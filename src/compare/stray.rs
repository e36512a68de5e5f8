//! Turns an object that Sentinel holds and the ledger does not know into a row of `wanted`, so that the ledger can
//! withdraw it.

use serde_json::Value;
use uuid::Uuid;

use crate::azure::manage::WorkspaceObject;
use crate::ledger::{Ledger, Stray};
use crate::pure::stix::timestamp;
use crate::pure::verify::{Ours, time};

/// The members that are added when an object is sent, so the stored body lacks them.
const ADDED: [&str; 4] = ["valid_until", "created", "modified", "revoked"];

/// How long an indicator without an end counts as valid from now, milliseconds: a hundred years.
const LONG: i64 = 100 * 366 * 86_400_000;

/// Makes the row. `ours` is known where the id is made from the observable. Otherwise the ledger already
/// knows the object and its key.
pub(super) fn stray(
    found: &WorkspaceObject,
    object: Uuid,
    stix_id: Uuid,
    ours: Option<&Ours>,
) -> Stray {
    let now = Ledger::now();
    let of = |member| time(&found.data, member);
    Stray {
        object,
        stix_id,
        key: ours.map_or(object, |ours| ours.key),
        generation: ours.map_or(0, |ours| ours.generation),
        body: body(&found.data),
        valid_from: of("valid_from").unwrap_or_default(),
        valid_until: of("valid_until").unwrap_or(now.saturating_add(LONG)),
        created: of("created").unwrap_or(now),
        modified: of("modified").unwrap_or(now),
    }
}

/// Returns the object without what sending adds and what Sentinel adds: empty members, its own extension, and
/// extra digits of a time.
pub(super) fn body(data: &Value) -> String {
    let valid_from = time(data, "valid_from").map(timestamp);
    let Value::Object(mut members) = without_nulls(data) else { return "{}".to_owned() };
    members.retain(|name, _| !ADDED.contains(&name.as_str()));
    if let Some(valid_from) = valid_from {
        members.insert("valid_from".to_owned(), valid_from.into());
    }
    if let Some(Value::Object(extensions)) = members.get_mut("extensions") {
        // Sentinel itself adds this extension when it stores an object.
        extensions.remove("sentinel-ext");
        if extensions.is_empty() {
            members.remove("extensions");
        }
    }
    Value::Object(members).to_string()
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        Value::Array(list) => list.iter().map(without_nulls).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
