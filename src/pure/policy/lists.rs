//! Matches texts against the include and exclude lists of the policy. `*` is a wildcard, and case does not
//! matter.

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
