//! Compares what the sandbox holds with what it must hold after a step of the demo.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;

use crate::sandbox::{HeldObject, Sandbox};

/// What the sandbox holds at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct InSandbox {
    /// The patterns that Sentinel would still match.
    pub live: BTreeSet<String>,
    /// The number of indicators that were withdrawn.
    pub withdrawn: usize,
    /// The number of indicators with the same pattern as another one.
    pub duplicates: usize,
    /// The number of objects accepted so far, including repeats.
    pub accepted: usize,
    pub requests: usize,
    /// When the last request with an accepted object was answered; `None` if none was.
    pub last: Option<Instant>,
}

/// Returns what the sandbox's first workspace holds.
pub(super) fn look(sandbox: &Sandbox) -> InSandbox {
    let uploads = sandbox.requests();
    let workspace = sandbox.settings().workspaces.first().copied().unwrap_or_default();
    let held = sandbox.lives(workspace);
    let patterns: BTreeSet<&str> = held.iter().map(|(held, _)| pattern(held)).collect();
    let live = held.iter().filter(|(_, life)| !life.is_over());
    InSandbox {
        withdrawn: held.iter().filter(|(_, life)| life.is_over()).count(),
        duplicates: held.len() - patterns.len(),
        live: live.map(|(held, _)| pattern(held).to_owned()).collect(),
        accepted: uploads.iter().map(|upload| upload.accepted).sum(),
        requests: uploads.len(),
        last: uploads.iter().filter(|upload| upload.accepted > 0).filter_map(|u| u.answered).max(),
    }
}

fn pattern(held: &HeldObject) -> &str {
    held.json.get("pattern").and_then(Value::as_str).unwrap_or_default()
}

/// What the sandbox must hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    pub live: BTreeSet<String>,
    /// The number of objects accepted since the beginning. It shows that nothing is sent again without a
    /// change.
    pub accepted: usize,
}

/// The most patterns that are named as missing, and as left over.
const NAMED: usize = 10;

impl Expected {
    pub(super) fn is_met_by(&self, found: &InSandbox) -> bool {
        self.differences(found).is_empty()
    }

    /// Returns in words where the sandbox differs from the expectation; empty if it does not.
    pub(super) fn differences(&self, found: &InSandbox) -> String {
        let mut lines = Vec::new();
        for (what, patterns) in [
            ("missing", self.live.difference(&found.live)),
            ("left over", found.live.difference(&self.live)),
        ] {
            let mut patterns = patterns.map(|pattern| format!("  {what}: {pattern}\n"));
            lines.extend(patterns.by_ref().take(NAMED));
            let more = patterns.count();
            lines.extend((more > 0).then(|| format!("  {what}: {more} more\n")));
        }
        let (accepted, expected) = (found.accepted, self.accepted);
        if accepted != expected {
            lines.push(format!("  objects accepted: {accepted}, expected {expected}\n"));
        }
        if found.duplicates > 0 {
            let duplicates = found.duplicates;
            lines.push(format!("  indicators for a pattern that has one already: {duplicates}\n"));
        }
        lines.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn each_kind_of_difference_is_named() {
        let found = InSandbox { live: patterns(&["a", "b"]), accepted: 2, ..InSandbox::default() };
        let right = Expected { live: patterns(&["a", "b"]), accepted: 2 };
        assert!(right.is_met_by(&found));
        assert_eq!(right.differences(&found), "");

        let wrong = Expected { live: patterns(&["b", "c"]), accepted: 3 };
        assert!(!wrong.is_met_by(&found));
        let told = wrong.differences(&found);
        assert_eq!(told, "  missing: c\n  left over: a\n  objects accepted: 2, expected 3\n");

        let twice = InSandbox { duplicates: 1, ..found };
        assert!(!right.is_met_by(&twice));
        assert!(right.differences(&twice).contains("has one already: 1"));
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..25).map(|n| format!("p{n:02}")).collect();
        let expected = Expected { live: names.into_iter().collect(), accepted: 0 };
        let told = expected.differences(&InSandbox::default());
        assert_eq!(told.lines().count(), 11);
        assert!(told.contains("missing: 15 more"), "{told}");
    }
}
