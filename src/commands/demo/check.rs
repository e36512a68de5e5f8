//! What the sandbox holds, against what it must hold.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

use serde_json::Value;

use crate::sandbox::{HeldObject, Sandbox};

/// What a look into the sandbox finds.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// Patterns that Sentinel would still match.
    pub live: BTreeSet<String>,
    /// Indicators that were withdrawn.
    pub withdrawn: usize,
    /// Indicators whose pattern another one has as well.
    pub duplicates: usize,
    /// Objects accepted so far, repeats included.
    pub accepted: usize,
    pub requests: usize,
    /// When the last request with an accepted object was answered.
    pub last: Option<Instant>,
}

/// Looks into the sandbox's first workspace.
pub(super) fn look(sandbox: &Sandbox) -> Found {
    let uploads = sandbox.requests();
    let workspace = sandbox.settings().workspaces.first().copied().unwrap_or_default();
    let held = sandbox.lives(workspace);
    let patterns: BTreeSet<&str> = held.iter().map(|(held, _)| pattern(held)).collect();
    let (over, others): (Vec<_>, Vec<_>) = held.iter().partition(|(_, life)| life.is_over());
    let live: BTreeSet<String> =
        others.into_iter().map(|(held, _)| pattern(held).to_owned()).collect();
    Found {
        withdrawn: over.len(),
        duplicates: held.len() - patterns.len(),
        live,
        accepted: uploads.iter().map(|upload| upload.accepted).sum(),
        requests: uploads.len(),
        last: uploads.iter().filter(|upload| upload.accepted > 0).filter_map(|u| u.answered).max(),
    }
}

fn pattern(held: &HeldObject) -> &str {
    held.json.get("pattern").and_then(Value::as_str).unwrap_or_default()
}

/// What must be found.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    pub live: BTreeSet<String>,
    /// Objects accepted since the beginning: what did not change is not sent again.
    pub accepted: usize,
}

impl Expected {
    pub(super) fn is_met_by(&self, found: &Found) -> bool {
        self.live == found.live && self.accepted == found.accepted && found.duplicates == 0
    }

    /// In words; empty where it is met.
    pub(super) fn differs(&self, found: &Found) -> Differences {
        Differences {
            missing: self.live.difference(&found.live).cloned().collect(),
            left_over: found.live.difference(&self.live).cloned().collect(),
            accepted: (found.accepted, self.accepted),
            duplicates: found.duplicates,
        }
    }
}

/// Where sandbox and expectation part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Differences {
    missing: Vec<String>,
    left_over: Vec<String>,
    /// Found and expected.
    accepted: (usize, usize),
    duplicates: usize,
}

/// Patterns named of each kind.
const NAMED: usize = 10;

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, patterns) in [("missing", &self.missing), ("left over", &self.left_over)] {
            for pattern in patterns.iter().take(NAMED) {
                writeln!(f, "  {what}: {pattern}")?;
            }
            if let Some(more) = patterns.len().checked_sub(NAMED + 1) {
                writeln!(f, "  {what}: {} more", more + 1)?;
            }
        }
        let (found, expected) = self.accepted;
        if found != expected {
            writeln!(f, "  objects accepted: {found}, expected {expected}")?;
        }
        if self.duplicates > 0 {
            writeln!(f, "  indicators for a pattern that has one already: {}", self.duplicates)?;
        }
        Ok(())
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
        let found = Found { live: patterns(&["a", "b"]), accepted: 2, ..Found::default() };
        let right = Expected { live: patterns(&["a", "b"]), accepted: 2 };
        assert!(right.is_met_by(&found));
        assert_eq!(right.differs(&found).to_string(), "");

        let wrong = Expected { live: patterns(&["b", "c"]), accepted: 3 };
        assert!(!wrong.is_met_by(&found));
        let told = wrong.differs(&found).to_string();
        assert_eq!(told, "  missing: c\n  left over: a\n  objects accepted: 2, expected 3\n");

        let twice = Found { duplicates: 1, ..found };
        assert!(!right.is_met_by(&twice));
        assert!(right.differs(&twice).to_string().contains("has one already: 1"));
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..25).map(|n| format!("p{n:02}")).collect();
        let expected = Expected { live: names.into_iter().collect(), accepted: 0 };
        let told = expected.differs(&Found::default()).to_string();
        assert_eq!(told.lines().count(), 11);
        assert!(told.contains("missing: 15 more"), "{told}");
    }
}
