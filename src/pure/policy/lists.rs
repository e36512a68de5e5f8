//! Matches texts against the include and exclude lists of the policy. `*` is a wildcard, and case does not
//! matter.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use wildmatch::WildMatch;

/// What must and what must not match.
#[derive(Debug, Clone)]
pub(super) struct IncludeExclude {
    pub(super) include: Vec<WildMatch>,
    exclude: Vec<WildMatch>,
}

impl IncludeExclude {
    pub(super) fn new(include: &[String], exclude: &[String]) -> Self {
        let compile = |list: &[String]| {
            list.iter().map(|pattern| WildMatch::new_case_insensitive(pattern)).collect()
        };
        Self { include: compile(include), exclude: compile(exclude) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    pub(super) fn includes(&self, text: &str) -> bool {
        self.include.iter().any(|pattern| pattern.matches(text))
    }

    pub(super) fn excludes(&self, text: &str) -> bool {
        self.exclude.iter().any(|pattern| pattern.matches(text))
    }

    pub(super) fn allow(&self, text: &str) -> bool {
        (self.include.is_empty() || self.includes(text)) && !self.excludes(text)
    }
}

/// A table whose keys are texts with wildcards. Keys without a wildcard come first, and then the longer ones.
#[derive(Debug, Clone)]
pub(super) struct Ranked<T>(Vec<RankedLine<T>>);

#[derive(Debug, Clone)]
pub(super) struct RankedLine<T> {
    /// As it is written.
    pub(super) key: String,
    pattern: WildMatch,
    pub(super) says: T,
}

impl<T: Copy> Ranked<T> {
    pub(super) fn new(table: &BTreeMap<String, T>) -> Self {
        let line = |(key, says): (&String, &T)| RankedLine {
            key: key.clone(),
            pattern: WildMatch::new_case_insensitive(key),
            says: *says,
        };
        let mut lines: Vec<RankedLine<T>> = table.iter().map(line).collect();
        lines.sort_by_key(|line| (line.key.contains('*'), Reverse(line.key.len())));
        Self(lines)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the line that decides about a text: the first one that matches.
    pub(super) fn find(&self, text: &str) -> Option<&RankedLine<T>> {
        self.0.iter().find(|line| line.pattern.matches(text))
    }

    pub(super) fn says(&self, text: &str) -> Option<T> {
        self.find(text).map(|line| line.says)
    }
}
