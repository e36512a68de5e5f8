//! Reads and writes columns that hold JSON.

use super::Result;

/// Reads JSON that the relay wrote.
pub(in crate::ledger) fn decode<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    Ok(serde_json::from_str(json)?)
}

/// Writes JSON for a column.
pub(in crate::ledger) fn encode<T: serde::Serialize>(value: &T) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}
