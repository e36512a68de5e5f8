//! The type `Report`: the result of one seed, and its text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a seed gave.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) counts: BTreeMap<&'static str, usize>,
    pub(super) violations: Vec<String>,
    /// All that was done, in its order.
    pub(super) log: Vec<String>,
    /// The end of the relay's own log.
    pub(super) relay: String,
}

impl Report {
    pub(super) fn panicked(seed: u64, error: &tokio::task::JoinError) -> Self {
        Self { seed, violations: vec![format!("panicked: {error}")], ..Self::default() }
    }

    pub(super) fn words(&self) -> String {
        let mut text = format!("==== seed {}\n", self.seed);
        for line in &self.log {
            // Writing to a String cannot fail.
            let _written = writeln!(text, "  {line}");
        }
        for violation in &self.violations {
            let _written = writeln!(text, "VIOLATION in seed {}: {violation}", self.seed);
        }
        let _written = writeln!(text, "{}", self.relay);
        text
    }
}
