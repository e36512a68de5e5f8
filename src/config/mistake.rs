//! The types for mistakes in a configuration. All mistakes are collected and reported together.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingOrigin {
    /// `config.toml.example`.
    Default,
    File(PathBuf),
    /// The name of the environment variable.
    Environment(String),
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// One thing the operator has to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Dotted path, e.g. `misp.zeromq.silence`.
    pub key: String,
    pub origin: SettingOrigin,
    pub problem: Problem,
}

impl Mistake {
    pub(super) fn new(key: &str, origin: SettingOrigin, problem: impl Into<Problem>) -> Self {
        Self { key: key.to_owned(), origin, problem: problem.into() }
    }

    /// Value, problem and where it stands, without the key and what to do.
    pub fn summary(&self) -> String {
        let value =
            self.problem.value.as_ref().map_or_else(String::new, |value| format!("{value}: "));
        format!("{value}{}", self.placed_problem())
    }

    fn placed_problem(&self) -> String {
        match self.origin {
            SettingOrigin::Default => self.problem.text.clone(),
            SettingOrigin::File(_) | SettingOrigin::Environment(_) => {
                format!("{} ({})", self.problem.text, self.origin)
            }
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.problem.value {
            write!(f, " = {value}")?;
        }
        write!(f, ": {}", self.placed_problem())?;
        if let Some(allowed) = &self.problem.allowed {
            write!(f, "\n    allowed: {allowed}")?;
        }
        if let Some(hint) = &self.problem.hint {
            write!(f, "\n    hint: {hint}")?;
        }
        Ok(())
    }
}

/// What is wrong with a value, wherever it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    pub text: String,
    /// As written. Never that of a secret or of an unknown key.
    pub value: Option<String>,
    pub allowed: Option<String>,
    pub hint: Option<String>,
}

impl<T: Into<String>> From<T> for Problem {
    fn from(text: T) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

impl Problem {
    pub(super) fn new(text: impl Into<String>) -> Self {
        text.into().into()
    }

    /// Not that of a secret.
    pub(super) fn value(mut self, value: &str) -> Self {
        let bare = value.parse::<f64>().is_ok() || value.parse::<bool>().is_ok();
        let value = without_credentials(value);
        self.value = Some(if bare { value } else { format!("{value:?}") });
        self
    }

    pub(super) fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = Some(allowed.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// All mistakes of a configuration, sorted by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(super) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by(|a, b| (&a.key, &a.problem.text).cmp(&(&b.key, &b.problem.text)));
        mistakes.dedup();
        Self(mistakes)
    }

    /// `read`, unless there are mistakes.
    pub(super) fn or<T>(mistakes: Vec<Mistake>, read: T) -> Result<T, Self> {
        if mistakes.is_empty() { Ok(read) } else { Err(Self::new(mistakes)) }
    }

    pub fn list(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("1 mistake in the configuration:")?,
            many => write!(f, "{many} mistakes in the configuration:")?,
        }
        for mistake in &self.0 {
            write!(f, "\n  {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// `scheme://user:password@host` without what stands before the `@`.
fn without_credentials(value: &str) -> String {
    match (value.split_once("://"), value.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://[redacted]@{host}"),
        (None, Some((_, host))) if value.contains(':') => format!("[redacted]@{host}"),
        _ => value.to_owned(),
    }
}
