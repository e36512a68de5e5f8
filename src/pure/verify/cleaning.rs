//! The report of `cleanup` on one target, as data and as text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::listed::{CountedExamples, Example, list};
use crate::pure::count::Count;
use crate::pure::safe;

/// What a workspace holds from another product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaning {
    pub target: String,
    pub sourcesystem: String,
    /// Indicators that are neither revoked nor expired.
    pub live: CountedExamples,
    /// The number of all other indicators.
    pub over: u64,
    /// The number of live indicators by what their patterns compare, e.g. `ipv4-addr:value`.
    pub kinds: BTreeMap<String, u64>,
    /// How many were ended. `None`: nothing was to be ended.
    pub ended: Option<u64>,
    /// Those whose end Sentinel rejected.
    pub rejected: CountedExamples,
    /// The reason why the work stopped early.
    pub error: Option<String>,
}

impl Cleaning {
    /// Whether nothing is left for an operator to do.
    pub fn is_done(&self) -> bool {
        self.error.is_none() && self.rejected.count == 0
    }

    /// Prints the report for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |words: String| {
            text.push_str(&safe::line(&words));
            text.push('\n');
        };
        let Self { target, sourcesystem, live, over, .. } = self;
        line(format!(
            "{target}: {} of {sourcesystem}, and {over} whose time is over",
            Count(live.count, "live indicator")
        ));
        for (kind, count) in &self.kinds {
            line(format!("  {count:>8}  {kind}"));
        }
        list(&mut line, "Live", live);
        list(&mut line, "Not taken by Sentinel", &self.rejected);
        if let Some(error) = &self.error {
            line(format!("  not done to the end: {error}"));
        }
        match self.ended {
            Some(ended) => line(format!("  ended: {ended} of {}", live.count)),
            None if live.count > 0 => line("  Nothing was changed: --apply ends them.".to_owned()),
            None => {}
        }
        text
    }
}

/// Returns what the pattern of an indicator compares: what stands before the first operator.
pub fn kind_of(object: &Value) -> String {
    let pattern = object.get("pattern").and_then(Value::as_str).unwrap_or_default();
    let path = pattern.trim_start_matches(['[', '(', ' ']).split(['=', '<', '>', '!', ' ']).next();
    match path {
        Some(path) if path.contains(':') => path.to_owned(),
        _ => "another pattern".to_owned(),
    }
}

/// Makes the example of an object that was rejected, with Sentinel's words.
pub fn rejected(object: &str, why: &str) -> Example {
    let object: Value = serde_json::from_str(object).unwrap_or_default();
    let id = object.get("id").and_then(Value::as_str).unwrap_or_default();
    Example { id: id.to_owned(), what: why.to_owned(), properties: Vec::new() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_are_told_by_what_is_compared() {
        for (pattern, kind) in [
            ("[ipv4-addr:value = '1.2.3.4']", "ipv4-addr:value"),
            ("[file:hashes.'SHA-256'='ab']", "file:hashes.'SHA-256'"),
            ("([domain-name:value = 'a'] OR [x:y = 1])", "domain-name:value"),
            ("DE89370400440532013000", "another pattern"),
        ] {
            assert_eq!(kind_of(&json!({"pattern": pattern})), kind);
        }
    }
}
