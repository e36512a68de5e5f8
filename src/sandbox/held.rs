//! The type `HeldObject`: an object that a workspace of the sandbox holds.

use serde::Serialize;
use serde_json::Value;

/// A stored object: Sentinel keeps one for each id and source system, the newest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldObject {
    pub id: String,
    pub sourcesystem: String,
    /// As it was last accepted.
    pub json: Value,
    /// How often it was accepted: each is a billed row.
    pub writes: usize,
}

impl HeldObject {
    /// The STIX type.
    pub(super) fn kind(&self) -> &str {
        self.json.get("type").and_then(Value::as_str).unwrap_or_default()
    }
}
