//! Gives typed access to the values of the layers. Each accessor takes its key out of the map and records any
//! mistake, so that one run names every mistake. Keys that are left at the end are unknown.

use std::collections::{BTreeMap, BTreeSet};

use strum::IntoEnumIterator;

use super::layers::{Layers, Leaf, Leaves, ONE_SOURCE, Raw, SOURCE};
use super::mistake::{Mistake, Problem, SettingOrigin};
use super::secret::FoundSecrets;
use super::unseen::{bare, unseen};

/// The beginning of a Key Vault reference of App Service. If it is still there, nobody resolved it.
pub(super) const KEY_VAULT: &str = "@Microsoft.KeyVault(";

#[derive(Debug, Default)]
pub(super) struct Reader {
    left: Leaves,
    taken: Leaves,
    wrong: BTreeSet<String>,
    /// The keys that are known but not set.
    open: BTreeSet<String>,
    mistakes: Vec<Mistake>,
    /// The names of all sources. Empty: `[misp]` is the only one.
    sources: BTreeSet<String>,
    /// The name of the source that is read now. `None`: it is that of `[misp]`.
    source: Option<SourceSection>,
    /// The environment without the `MSR_` variables.
    environment: BTreeMap<String, String>,
    /// The secrets that have been read from vaults.
    pub(super) found: FoundSecrets,
    /// The addresses of secrets that must still be read from vaults.
    pub(super) lookups: BTreeSet<String>,
}

/// A section `[source.NAME]`.
#[derive(Debug)]
struct SourceSection {
    name: String,
    /// `source.NAME`.
    path: String,
}

impl Reader {
    pub(super) fn new(layers: Layers, found: FoundSecrets) -> Self {
        let Layers { leaves, sources, environment, .. } = layers;
        Self { left: leaves, sources, environment, found, ..Self::default() }
    }

    /// Calls `read` while the keys `misp.…` stand for those of `[source.NAME]`. `None`: for those of `[misp]`.
    pub(super) fn of_source<T>(
        &mut self,
        name: Option<&str>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.source = name
            .map(|name| SourceSection { name: name.to_owned(), path: format!("{SOURCE}{name}") });
        let done = read(self);
        self.source = None;
        done
    }

    /// Calls `read` once for each source, while the keys `misp.…` stand for those of that source.
    pub(super) fn each_source<T>(&mut self, read: impl Fn(&mut Self) -> T) -> Vec<T> {
        if self.sources.is_empty() {
            return vec![read(self)];
        }
        let names = self.sources.clone();
        names.iter().map(|name| self.of_source(Some(name), &read)).collect()
    }

    /// Returns the name of the source that is read now. `None`: it is that of `[misp]`.
    pub(super) fn source_name(&self) -> Option<&str> {
        self.source.as_ref().map(|source| source.name.as_str())
    }

    /// Returns the section of the source that is read now.
    pub(super) fn source_section(&self) -> &str {
        self.source.as_ref().map_or(ONE_SOURCE, |source| source.path.as_str())
    }

    /// Returns a key as the operator writes it.
    fn written(&self, key: &str) -> String {
        let of_source = key.strip_prefix(ONE_SOURCE).filter(|leaf| leaf.starts_with('.'));
        match (of_source, &self.source) {
            (Some(leaf), Some(source)) => format!("{}{leaf}", source.path),
            _ => key.to_owned(),
        }
    }

    /// Returns a sentence with the keys in it as the operator writes them.
    fn written_in(&self, words: &str) -> String {
        words.split_inclusive(' ').map(|word| self.written(word)).collect()
    }

    /// Reads a string. Returns `""` if it is empty or a mistake.
    pub(super) fn text(&mut self, key: &str) -> String {
        self.parsed(key, "a string", |text| Ok(text.to_owned()))
    }

    /// Reads a string that must not be empty.
    pub(super) fn required(&mut self, key: &str, hint: &str) -> String {
        let text = self.text(key);
        if text.is_empty() {
            self.missing(key, hint);
        }
        text
    }

    /// Does the same as [`Reader::read`], and returns the type's default after a mistake.
    pub(super) fn parsed<T: Default>(
        &mut self,
        key: &str,
        allowed: &str,
        parse: impl FnMut(&str) -> Result<T, Problem>,
    ) -> T {
        self.read(key, allowed, parse).unwrap_or_default()
    }

    /// Reads a string and parses it with `parse`. `None`: there was a mistake.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        allowed: &str,
        mut parse: impl FnMut(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        self.value(key, allowed, |raw| {
            let text = match raw {
                Raw::Text(text) | Raw::Toml(toml::Value::String(text)) => text,
                Raw::Toml(other) => {
                    // The hint for the same value as a text may help, e.g. for a time without a unit.
                    let hint = parse(&shown(other)).err().and_then(|problem| problem.hint);
                    return Err(Problem { hint, ..of_type(other) });
                }
            };
            let mut read =
                |text: &str| if text.contains(KEY_VAULT) { Err(unresolved()) } else { parse(text) };
            match (read(text), unseen(text)) {
                (Err(_), Some(unseen)) => Err(match read(bare(text)) {
                    Ok(_) => Problem::new(unseen),
                    Err(problem) => {
                        Problem { text: format!("{}; it also {unseen}", problem.text), ..problem }
                    }
                }),
                (read, _) => read,
            }
        })
    }

    /// Reads a value with `read`. `None`: there was a mistake.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        allowed: &str,
        read: impl FnOnce(&Raw) -> Result<T, Problem>,
    ) -> Option<T> {
        let Leaf { raw, .. } = self.take(key)?;
        let read = read(&raw).map_err(|problem| match &raw {
            Raw::Text(text) => self.refuse(key, text, allowed, problem),
            Raw::Toml(value) => self.refuse(key, &shown(value), allowed, problem),
        });
        read.ok()
    }

    /// Does the same as [`Reader::parsed`], and returns `None` for `""`.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        allowed: &str,
        mut parse: impl FnMut(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        self.parsed(key, allowed, |text| match text {
            "" => Ok(None),
            some => parse(some).map(Some),
        })
    }

    /// Reads one of the words of an enum. Returns `placeholder` after a mistake.
    pub(super) fn word<T: Word>(&mut self, key: &str, placeholder: T) -> T {
        self.one_of(key, &words(), placeholder)
    }

    /// Reads one of the words of an enum. `None`: the key is empty.
    pub(super) fn own_word<T: Word>(&mut self, key: &str) -> Option<T> {
        let words = words();
        self.optional(key, &listed(&words), |text| chosen(&words, text))
    }

    /// Reads one of `words`. Returns `placeholder` after a mistake.
    pub(super) fn one_of<T: Copy>(&mut self, key: &str, words: &[(&str, T)], placeholder: T) -> T {
        self.read(key, &listed(words), |text| chosen(words, text)).unwrap_or(placeholder)
    }

    /// Returns the keys below `section`, without the section's name.
    pub(super) fn keys_below(&self, section: &str) -> Vec<String> {
        let prefix = format!("{}.", self.written(section));
        self.left.keys().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    /// Returns whether an optional key is set.
    pub(super) fn holds(&mut self, key: &str) -> bool {
        let key = self.written(key);
        let holds = self.left.contains_key(&key);
        if !holds {
            self.open.insert(key);
        }
        holds
    }

    /// Returns whether a key that is not read yet holds a value.
    pub(super) fn is_filled(&self, key: &str) -> bool {
        self.left.get(&self.written(key)).is_some_and(|leaf| match &leaf.raw {
            Raw::Toml(toml::Value::Array(items)) => !items.is_empty(),
            Raw::Toml(_) | Raw::Text(_) => !leaf.is_empty(),
        })
    }

    /// Returns whether the key has no mistake so far. Only then can rules across keys be checked.
    pub(super) fn sound(&self, key: &str) -> bool {
        !self.wrong.contains(&self.written(key))
    }

    /// Notes that the key has a mistake that is reported under another key.
    pub(super) fn wrong(&mut self, key: &str) {
        self.wrong.insert(self.written(key));
    }

    /// Returns whether the file, the environment or `tenants` set the key.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.taken.get(&self.written(key)).is_some_and(|leaf| leaf.origin != SettingOrigin::Default)
    }

    /// Returns whether the key is set by something else than the defaults, and is not empty.
    pub(super) fn says_something(&self, key: &str) -> bool {
        let taken = self.taken.get(&self.written(key));
        self.is_set(key) && taken.is_some_and(|leaf| !leaf.is_empty())
    }

    /// Returns an environment variable without the prefix `MSR_`.
    pub(super) fn environment(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }

    /// Notes that a required key is not set, unless it already has a mistake.
    pub(super) fn missing(&mut self, key: &str, hint: &str) {
        if !self.sound(key) {
            return;
        }
        let key = &self.written(key);
        let name = super::layers::variable(key);
        let hint = match hint {
            "" => format!("set {key}, or {name} in the environment"),
            some => format!("{some}; set {key}, or {name} in the environment"),
        };
        self.fault(key, Problem::new("required, and not set").hint(hint));
    }

    /// Notes a mistake of a key that was read.
    pub(super) fn fault(&mut self, key: &str, problem: impl Into<Problem>) {
        let (key, problem) = (self.written(key), problem.into());
        let text = self.written_in(&problem.text);
        let hint = problem.hint.as_ref().map(|hint| self.written_in(hint));
        let problem = Problem { text, hint, ..problem };
        self.mistakes.push(Mistake::new(&key, self.origin(&key), problem));
        self.wrong.insert(key);
    }

    /// Returns the mistakes of the keys that were read.
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes
    }

    /// Returns every mistake, including unknown keys. Every known key must have been read before.
    pub(super) fn finish(mut self) -> Vec<Mistake> {
        for (key, leaf) in std::mem::take(&mut self.left) {
            let inside = format!("{key}.");
            let known = self.taken.keys().chain(&self.open).map(String::as_str);
            let hint = if self.taken.keys().any(|known| known.starts_with(&inside)) {
                Some(format!("this is a section: [{key}]"))
            } else {
                nearest(&key, known).map(did_you_mean)
            };
            let problem = Problem { hint, ..Problem::new("unknown key") };
            self.mistakes.push(Mistake::new(&key, leaf.origin, problem));
        }
        self.mistakes
    }

    /// Returns the origin of a key that was read.
    pub(super) fn origin(&self, key: &str) -> SettingOrigin {
        self.taken
            .get(&self.written(key))
            .map_or(SettingOrigin::Default, |leaf| leaf.origin.clone())
    }

    /// Sets a key unless the operator has set it.
    pub(super) fn lay_under(&mut self, key: String, leaf: Leaf) {
        if self.left.get(&key).is_none_or(|known| known.origin == SettingOrigin::Default) {
            self.left.insert(key, leaf);
        }
    }

    /// Sets a key unless it has a value.
    pub(super) fn lay_default(&mut self, key: String, leaf: &Leaf) {
        self.left.entry(key).or_insert_with(|| leaf.clone());
    }

    /// Removes all keys with this beginning.
    pub(super) fn drop_section(&mut self, beginning: &str) {
        self.left.retain(|key, _| !key.starts_with(beginning));
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Leaf> {
        // A key that two sections need is read twice.
        let written = self.written(key);
        let leaf = self.left.remove(&written).or_else(|| self.taken.get(&written).cloned());
        let Some(leaf) = leaf else {
            self.fault(key, "has no default in config.toml.example");
            return None;
        };
        self.taken.insert(written, leaf.clone());
        Some(leaf)
    }

    /// Notes that the value of a key that was read is not allowed.
    pub(super) fn refuse(
        &mut self,
        key: &str,
        value: &str,
        allowed: &str,
        why: impl Into<Problem>,
    ) {
        self.fault(key, why.into().value(value).allowed(allowed));
    }
}

pub(super) fn of_type(value: &toml::Value) -> Problem {
    Problem::new(format!("is of type {}", value.type_str()))
}

/// An enum whose variants each have a word in the configuration.
pub(super) trait Word: Copy + IntoEnumIterator + Into<&'static str> {}

impl<T: Copy + IntoEnumIterator + Into<&'static str>> Word for T {}

fn words<T: Word>() -> Vec<(&'static str, T)> {
    T::iter().map(|value| (value.into(), value)).collect()
}

fn listed<T>(words: &[(&str, T)]) -> String {
    words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
}

fn chosen<T: Copy>(words: &[(&str, T)], text: &str) -> Result<T, Problem> {
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let near = nearest(text, words.iter().map(|(word, _)| *word));
        Problem { hint: near.map(did_you_mean), ..Problem::new("not one of the words") }
    })
}

pub(super) fn unresolved() -> Problem {
    Problem::new("is a Key Vault reference that was not resolved").hint(
        "App Service resolves these; elsewhere a secret is looked up as \"vault:https://NAME.vault.azure.net/secrets/SECRET\"",
    )
}

/// Returns a TOML value as an operator would write it.
pub(super) fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        toml::Value::Table(_) => "a section".to_owned(),
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => value.to_string(),
    }
}

pub(super) fn did_you_mean(word: &str) -> String {
    format!("did you mean {word}?")
}

/// Returns the most similar of `words`. `None`: none is similar enough.
pub(super) fn nearest<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let lower = word.to_lowercase();
    words
        .map(|known| (strsim::damerau_levenshtein(&lower, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 5)
        .min()
        .map(|(_, known)| known)
}
