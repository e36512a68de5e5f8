//! The types for mistakes in a configuration. All mistakes are collected and reported together.

use std::fmt;
use std::path::PathBuf;

use super::excerpt::Excerpt;

/// The layer that set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingOrigin {
    /// The compiled-in `config.toml.example`.
    Default,
    File(PathBuf),
    /// The name of the environment variable.
    Environment(String),
    /// The name of an option of the command line.
    Option(&'static str),
    /// The answer to a question.
    Answer,
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Option(name) => write!(f, "option {name}"),
            Self::Answer => f.write_str("your answer"),
        }
    }
}

/// A mistake in one key, which the operator has to correct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The dotted path, e.g. `misp.zeromq.silence`.
    pub key: String,
    pub origin: SettingOrigin,
    pub problem: Problem,
}

impl Mistake {
    pub(super) fn new(key: &str, origin: SettingOrigin, problem: impl Into<Problem>) -> Self {
        Self { key: key.to_owned(), origin, problem: problem.into() }
    }

    /// Returns value, problem and origin, without the key, the allowed values and the hint.
    pub fn summary(&self) -> String {
        let value =
            self.problem.value.as_ref().map_or_else(String::new, |value| format!("{value}: "));
        format!("{value}{}", self.placed_problem())
    }

    fn placed_problem(&self) -> String {
        match self.origin {
            SettingOrigin::Default => self.problem.text.clone(),
            SettingOrigin::File(_)
            | SettingOrigin::Environment(_)
            | SettingOrigin::Option(_)
            | SettingOrigin::Answer => format!("{} ({})", self.problem.text, self.origin),
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
        if let Some(excerpt) = &self.problem.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        if let Some(allowed) = &self.problem.allowed {
            write!(f, "\n    allowed: {allowed}")?;
        }
        if let Some(hint) = &self.problem.hint {
            write!(f, "\n    hint: {hint}")?;
        }
        Ok(())
    }
}

/// A problem with a value, without its key and origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    pub text: String,
    /// The value as it was written. `None` for a secret or an unknown key.
    pub value: Option<String>,
    pub allowed: Option<String>,
    pub hint: Option<String>,
    /// The place in the file, with nothing that may be a secret.
    pub excerpt: Option<Box<Excerpt>>,
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

    /// Adds the value. It must not be called with a secret.
    pub(super) fn value(mut self, value: &str) -> Self {
        let bare = value.parse::<f64>().is_ok() || value.parse::<bool>().is_ok();
        // The value may be a URL with a password, and messages end up in logs.
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
        // A key that two sections need is read twice, and so its mistake is found twice.
        mistakes.dedup();
        Self(mistakes)
    }

    /// Returns `read` if there are no mistakes.
    pub(super) fn or<T>(mistakes: Vec<Mistake>, read: T) -> Result<T, Self> {
        if mistakes.is_empty() { Ok(read) } else { Err(Self::new(mistakes)) }
    }

    /// Puts a mistake before all others.
    pub(super) fn after(mut self, first: Mistake) -> Self {
        self.0.insert(0, first);
        self
    }

    /// Changes each mistake.
    #[must_use]
    pub fn each(mut self, change: impl FnMut(&mut Mistake)) -> Self {
        self.0.iter_mut().for_each(change);
        self
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

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

/// Removes the part before the `@` from `scheme://user:password@host`.
fn without_credentials(value: &str) -> String {
    match (value.split_once("://"), value.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://[redacted]@{host}"),
        (None, Some((_, host))) if value.contains(':') => format!("[redacted]@{host}"),
        _ => value.to_owned(),
    }
}
