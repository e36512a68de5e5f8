//! The result of `ledger check` for one invariant: whether it holds, which rows break it, and what to do.

use serde::{Deserialize, Serialize};

/// Examples told of a broken invariant.
pub(super) const EXAMPLES: usize = 5;

/// How an invariant fares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its name, e.g. `claims-have-events`.
    pub invariant: String,
    /// How many rows break it.
    pub broken: u64,
    /// The first few of them, each a JSON object.
    pub examples: Vec<String>,
    /// What to do if it is broken.
    pub remedy: String,
    /// Why it could not be judged now.
    pub left_out: Option<String>,
}

impl Finding {
    pub(super) fn new(invariant: &str, remedy: &str) -> Self {
        Self { invariant: invariant.into(), remedy: remedy.into(), ..Self::default() }
    }

    pub(super) fn add(&mut self, example: impl FnOnce() -> String) {
        self.broken += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    #[must_use]
    pub fn holds(&self) -> bool {
        self.broken == 0
    }
}
