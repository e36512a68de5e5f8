//! The type `HeldObject`: an object that a workspace of the sandbox holds. The type `Life` says whether a rule of
//! Sentinel can still match an indicator. Nearly all rules ask `IsActive and ValidUntil > now()`, but one does not
//! ask for `IsActive`. So only an indicator whose validity has ended is matched by none of them. Pure.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

/// A stored object: Sentinel keeps one for each id and source system, the newest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldObject {
    pub id: String,
    pub sourcesystem: String,
    /// The object as it was last accepted.
    pub json: Value,
    /// How often it was accepted. Each time is a billed row.
    pub writes: usize,
}

impl HeldObject {
    /// Returns the STIX type.
    pub(super) fn kind(&self) -> &str {
        self.json.get("type").and_then(Value::as_str).unwrap_or_default()
    }
}

/// The state of an indicator at a moment of Sentinel's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Its validity begins later. Whether Sentinel calls it active until then is not documented.
    NotYet,
    /// Rules match it.
    Live,
    /// It is revoked and its validity goes on: the rule that does not ask for `IsActive` matches it.
    Revoked,
    /// Its validity has ended: no rule matches it.
    Over,
}

impl Life {
    /// Returns the state of an object; `None` if it is no indicator. An indicator without a readable
    /// `valid_until` never ends.
    pub fn of(object: &Value, now: DateTime<Utc>) -> Option<Self> {
        if object.get("type")?.as_str()? != "indicator" {
            return None;
        }
        let is_revoked = object.get("revoked").and_then(Value::as_bool).unwrap_or_default();
        let is_over = time(object, "valid_until").is_some_and(|until| until <= now);
        Some(match (is_over, is_revoked) {
            (true, _) => Self::Over,
            (false, true) => Self::Revoked,
            (false, false) if time(object, "valid_from").is_some_and(|from| from > now) => {
                Self::NotYet
            }
            (false, false) => Self::Live,
        })
    }

    /// Returns whether it counts as withdrawn: no rule can match it any more.
    pub fn is_over(self) -> bool {
        self == Self::Over
    }
}

fn time(object: &Value, member: &str) -> Option<DateTime<Utc>> {
    object.get(member)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn life(from: &str, until: &str, revoked: bool) -> Option<Life> {
        let now = "2026-11-29T12:00:00Z".parse().unwrap();
        let object = json!({"type": "indicator", "valid_from": from, "valid_until": until, "revoked": revoked});
        Life::of(&object, now)
    }

    #[test]
    fn nothing_counts_as_withdrawn_that_a_rule_can_still_match() {
        let (past, now, later) =
            ("2026-11-29T11:59:58Z", "2026-11-29T12:00:00Z", "2026-11-29T12:00:00.001Z");
        assert_eq!(life(past, later, false), Some(Life::Live));
        assert_eq!(life(past, now, false), Some(Life::Over), "rules ask for ValidUntil > now()");
        assert_eq!(life(past, later, true), Some(Life::Revoked), "a rule ignores IsActive");
        assert_eq!(life(past, past, true), Some(Life::Over));
        assert_eq!(life(later, "2036-01-01T00:00:00Z", false), Some(Life::NotYet));
        assert_eq!(life(past, "", false), Some(Life::Live), "without an end it never ends");
        assert_eq!(Life::of(&json!({"type": "identity"}), Utc::now()), None);
    }
}
