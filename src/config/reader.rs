//! Gives typed access to the values of the layers. Each accessor takes its key out of the map and records any
//! mistake, so that one run names every mistake. Keys that are left at the end are unknown.

use std::collections::{BTreeMap, BTreeSet};

use strum::IntoEnumIterator;

use super::layers::{Leaf, Leaves, Raw};
use super::mistake::{Mistake, Problem, SettingOrigin};
use super::secret::FoundSecrets;
use super::unseen::{bare, unseen};

/// What a Key Vault reference looks like that nobody resolved.
pub(super) const KEY_VAULT: &str = "@Microsoft.KeyVault(";

#[derive(Debug, Default)]
pub(super) struct Reader {
    left: Leaves,
    taken: Leaves,
    wrong: BTreeSet<String>,
    /// Known, and not set.
    open: BTreeSet<String>,
    mistakes: Vec<Mistake>,
    /// The environment beside `MSR_` variables.
    environment: BTreeMap<String, String>,
    /// Secrets that were looked up already.
    pub(super) found: FoundSecrets,
    /// Addresses of those that still have to be.
    pub(super) lookups: BTreeSet<String>,
}

impl Reader {
    pub(super) fn new(
        leaves: Leaves,
        environment: BTreeMap<String, String>,
        found: FoundSecrets,
    ) -> Self {
        Self { left: leaves, environment, found, ..Self::default() }
    }

    /// A string; `""` where nothing is set.
    pub(super) fn text(&mut self, key: &str) -> String {
        self.parsed(key, "a string", |text| Ok(text.to_owned()))
    }

    /// A string that is anything but empty.
    pub(super) fn required(&mut self, key: &str, hint: &str) -> String {
        let text = self.text(key);
        if text.is_empty() {
            self.missing(key, hint);
        }
        text
    }

    /// As [`Reader::read`]; a mistake is the type's default.
    pub(super) fn parsed<T: Default>(
        &mut self,
        key: &str,
        allowed: &str,
        parse: impl FnMut(&str) -> Result<T, Problem>,
    ) -> T {
        self.read(key, allowed, parse).unwrap_or_default()
    }

    /// A string as `parse` understands it; `None` where that is a mistake.
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
                    // What is wrong with it as a text may tell what to do, as with a time without a unit.
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

    /// A value as `read` understands it; `None` where that is a mistake.
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

    /// As [`Reader::parsed`]; `None` for `""`.
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

    /// One of the words of an enum.
    pub(super) fn word<T: Word>(&mut self, key: &str, placeholder: T) -> T {
        self.one_of(key, &words(), placeholder)
    }

    /// The same where the key may be empty.
    pub(super) fn own_word<T: Word>(&mut self, key: &str) -> Option<T> {
        let words = words();
        self.optional(key, &listed(&words), |text| chosen(&words, text))
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(&mut self, key: &str, words: &[(&str, T)], placeholder: T) -> T {
        self.read(key, &listed(words), |text| chosen(words, text)).unwrap_or(placeholder)
    }

    /// The keys below `section`, without it.
    pub(super) fn keys_below(&self, section: &str) -> Vec<String> {
        let prefix = format!("{section}.");
        self.left.keys().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    /// Whether the key, which may be left out, is set.
    pub(super) fn holds(&mut self, key: &str) -> bool {
        let holds = self.left.contains_key(key);
        if !holds {
            self.open.insert(key.to_owned());
        }
        holds
    }

    /// Whether a key that nobody read yet is set to something.
    pub(super) fn is_filled(&self, key: &str) -> bool {
        self.left.get(key).is_some_and(|leaf| match &leaf.raw {
            Raw::Toml(toml::Value::Array(items)) => !items.is_empty(),
            Raw::Toml(_) | Raw::Text(_) => !leaf.is_empty(),
        })
    }

    /// Whether the key was read without a mistake, so that rules across keys make sense.
    pub(super) fn sound(&self, key: &str) -> bool {
        !self.wrong.contains(key)
    }

    /// Notes that the key has a mistake, which is told of another key.
    pub(super) fn wrong(&mut self, key: &str) {
        self.wrong.insert(key.to_owned());
    }

    /// Whether somebody else than the defaults set the key.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.taken.get(key).is_some_and(|leaf| leaf.origin != SettingOrigin::Default)
    }

    /// Whether the key is set to something by somebody else than the defaults.
    pub(super) fn says_something(&self, key: &str) -> bool {
        self.is_set(key) && self.taken.get(key).is_some_and(|leaf| !leaf.is_empty())
    }

    /// A variable of the environment that is no key of ours.
    pub(super) fn environment(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }

    /// Notes that nothing is set where something must be, unless what is set was a mistake.
    pub(super) fn missing(&mut self, key: &str, hint: &str) {
        if !self.sound(key) {
            return;
        }
        let name = super::layers::variable(key);
        let hint = match hint {
            "" => format!("set {key}, or {name} in the environment"),
            some => format!("{some}; set {key}, or {name} in the environment"),
        };
        self.fault(key, Problem::new("required, and not set").hint(hint));
    }

    /// Notes a mistake of a key that was read.
    pub(super) fn fault(&mut self, key: &str, problem: impl Into<Problem>) {
        self.wrong.insert(key.to_owned());
        self.mistakes.push(Mistake::new(key, self.origin(key), problem));
    }

    /// The mistakes of the keys that were read.
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes
    }

    /// Every mistake, the unknown keys included.
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

    /// Where a key that was taken came from.
    pub(super) fn origin(&self, key: &str) -> SettingOrigin {
        self.taken.get(key).map_or(SettingOrigin::Default, |leaf| leaf.origin.clone())
    }

    /// Sets a key that the operator did not set.
    pub(super) fn lay_under(&mut self, key: String, leaf: Leaf) {
        if self.left.get(&key).is_none_or(|known| known.origin == SettingOrigin::Default) {
            self.left.insert(key, leaf);
        }
    }

    /// Sets a key that has no value at all.
    pub(super) fn lay_default(&mut self, key: String, leaf: &Leaf) {
        self.left.entry(key).or_insert_with(|| leaf.clone());
    }

    /// Forgets all keys that begin so.
    pub(super) fn drop_section(&mut self, beginning: &str) {
        self.left.retain(|key, _| !key.starts_with(beginning));
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Leaf> {
        // A key that two sections need is read twice.
        let leaf = self.left.remove(key).or_else(|| self.taken.get(key).cloned());
        let Some(leaf) = leaf else {
            self.fault(key, "has no default in config.toml.example");
            return None;
        };
        self.taken.insert(key.to_owned(), leaf.clone());
        Some(leaf)
    }

    /// Notes that the value of a key that was read is none.
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

/// An enum each of whose variants has a word in the configuration.
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
        "App Service resolves these; elsewhere a secret is looked up as \
             \"vault:https://NAME.vault.azure.net/secrets/SECRET\"",
    )
}

/// A value of TOML as an operator would write it.
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

/// The most similar of `words`, if it is similar at all.
pub(super) fn nearest<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let lower = word.to_lowercase();
    words
        .map(|known| (strsim::damerau_levenshtein(&lower, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 5)
        .min()
        .map(|(_, known)| known)
}
