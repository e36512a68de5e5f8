//! The answers so far: those that options and variables gave, and those that the operator typed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf, absolute};

use anyhow::ensure;
use reqwest::Url;

use super::InitOptions;
use crate::config::{ConfigSource, FILE_VARIABLE, Mistakes, Secret, SettingOrigin, variable};

/// The keys that no question is about. They are written if a variable gives them.
const UNASKED: [&str; 5] =
    ["azure.ca_file", "azure.proxy", "target.authority", "target.endpoint", "misp.verify_tls"];

/// The keys of secrets.
pub(super) const SECRETS: [&str; 3] = ["misp.key", "misp.zeromq.password", "target.client_secret"];

/// The usual way to sign in.
const CLIENT_SECRET: &str = "client-secret";

/// The answers by key. Those of the target stand without its name.
#[derive(Debug)]
pub(super) struct Answers {
    pub target: String,
    texts: BTreeMap<&'static str, String>,
    secrets: BTreeMap<&'static str, Secret>,
    /// The keys that options gave.
    settled: BTreeSet<&'static str>,
    /// Where the answers come from that no variable gave.
    origins: BTreeMap<&'static str, SettingOrigin>,
    defaults: BTreeMap<&'static str, String>,
}

impl Answers {
    /// Takes what the options and the `MSR_` variables give. An option wins.
    ///
    /// # Errors
    /// The target's name is none.
    pub(super) fn given(
        options: &InitOptions,
        settings: &ConfigSource,
        file: &Path,
    ) -> anyhow::Result<Self> {
        let target = options.target.clone();
        let is_fit = |sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '-';
        ensure!(
            !target.is_empty() && target.chars().all(is_fit),
            "--target {target:?} is no name: a-z, 0-9 and -"
        );
        let mut answers = Self {
            target,
            texts: BTreeMap::new(),
            secrets: BTreeMap::new(),
            settled: BTreeSet::new(),
            origins: BTreeMap::new(),
            defaults: defaults(file),
        };
        let given = of_options(options);
        for key in given.iter().map(|(key, ..)| *key).chain(UNASKED).chain(SECRETS) {
            answers.take_variable(key, settings);
        }
        for (key, option, text) in given {
            if let Some(text) = text {
                answers.texts.insert(key, from_root(key, text));
                answers.settled.insert(key);
                answers.origins.insert(key, SettingOrigin::Option(option));
            }
        }
        Ok(answers)
    }

    fn take_variable(&mut self, key: &'static str, settings: &ConfigSource) {
        let name = variable(&self.path(key));
        let value = settings.environment.iter().find(|(other, _)| *other == name);
        let Some((_, value)) = value.filter(|(_, value)| !value.is_empty()) else { return };
        if SECRETS.contains(&key) {
            self.secrets.insert(key, Secret::new(value.clone()));
        } else {
            self.set(key, value.clone());
        }
    }

    /// Returns the path of a key in the configuration.
    pub(super) fn path(&self, key: &str) -> String {
        match key.strip_prefix("target.") {
            Some(leaf) => format!("target.{}.{leaf}", self.target),
            None => key.to_owned(),
        }
    }

    /// Returns whether an option gave the answer.
    pub(super) fn is_settled(&self, key: &str) -> bool {
        self.settled.contains(key)
    }

    /// Returns the answer; empty if there is none.
    pub(super) fn text(&self, key: &str) -> &str {
        self.texts.get(key).map_or("", String::as_str)
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.texts.iter().map(|(key, text)| (*key, text.as_str()))
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = (&'static str, &Secret)> {
        self.secrets.iter().map(|(key, secret)| (*key, secret))
    }

    /// Returns the names of the variables that set something which is no answer.
    pub(super) fn left_in_environment<'s>(&self, settings: &'s ConfigSource) -> Vec<&'s str> {
        let keys = self.texts.keys().chain(self.secrets.keys());
        let written: BTreeSet<String> = keys.map(|key| variable(&self.path(key))).collect();
        let is_empty = |name: &str| {
            let mut set = settings.environment.iter();
            set.any(|(other, value)| other == name && value.is_empty())
        };
        let mut left = settings.variables();
        left.retain(|name| *name != FILE_VARIABLE && !written.contains(*name) && !is_empty(name));
        left
    }

    /// Returns whether there is an answer that is not empty.
    pub(super) fn holds(&self, key: &str) -> bool {
        !self.text(key).is_empty() || self.secrets.contains_key(key)
    }

    /// Returns the answer that an empty line stands for: the one before, or else the default.
    pub(super) fn suggestion(&self, key: &str) -> String {
        let before = self.texts.get(key).cloned();
        let default = || match key {
            "misp.zeromq.endpoints" => self.publisher(),
            key => self.defaults.get(key).cloned(),
        };
        before.or_else(default).unwrap_or_default()
    }

    /// Returns the usual publisher on MISP's host.
    fn publisher(&self) -> Option<String> {
        let url = Url::parse(self.text("misp.url")).ok()?;
        Some(format!("tcp://{}:50000", url.host_str()?))
    }

    /// Answers as an empty line would.
    pub(super) fn take_suggestion(&mut self, key: &'static str) {
        if !self.texts.contains_key(key) {
            self.origins.insert(key, SettingOrigin::Default);
        }
        self.set(key, self.suggestion(key));
    }

    /// Takes what the operator typed. What was suggested keeps its origin.
    pub(super) fn answer(&mut self, key: &'static str, text: String) {
        if self.text(key) != text {
            self.origins.insert(key, SettingOrigin::Answer);
        }
        self.set(key, text);
    }

    /// Sets an answer. An empty one is none.
    pub(super) fn set(&mut self, key: &'static str, text: String) {
        if text.is_empty() {
            self.texts.remove(key);
        } else {
            self.texts.insert(key, from_root(key, text));
        }
    }

    /// Takes a secret that the operator typed.
    pub(super) fn answer_secret(&mut self, key: &'static str, secret: Secret) {
        self.secrets.insert(key, secret);
        self.origins.insert(key, SettingOrigin::Answer);
    }

    pub(super) fn forget_secret(&mut self, key: &'static str) {
        self.secrets.remove(key);
    }

    /// Blames the options and the answers for their mistakes, and not the variables as which they are tried. Of an
    /// answer that is missing, it names the option.
    pub(super) fn blamed(&self, mistakes: Mistakes) -> Mistakes {
        let options = of_options(&InitOptions::default());
        mistakes.each(|mistake| {
            // What is empty is no answer, and its key is missing.
            let is_of = |key: &str| self.holds(key) && self.path(key) == mistake.key;
            if let Some((_, origin)) = self.origins.iter().find(|(key, _)| is_of(key)) {
                mistake.origin = origin.clone();
            }
            // A secret is given as a file.
            let is_meant = |key: &str| {
                let path = self.path(key);
                path.strip_suffix("_file").is_some_and(|path| path == mistake.key)
                    || path == mistake.key
            };
            let option = options.iter().find(|(key, ..)| is_meant(key));
            if let (SettingOrigin::Default, Some((_, option, _))) = (&mistake.origin, option) {
                let rest = mistake.problem.hint.take();
                let rest = rest.map_or_else(String::new, |hint| format!("; {hint}"));
                mistake.problem.hint = Some(format!("answer it by {option}{rest}"));
            }
        })
    }

    /// Returns whether the dialogue may ask for a secret. Only its own questions tell for sure.
    pub(super) fn may_ask_for(&self, key: &str) -> bool {
        let is_needed =
            key != "target.client_secret" || self.suggestion("target.credential") == CLIENT_SECRET;
        is_needed && !self.holds(key) && !self.holds(&format!("{key}_file"))
    }

    /// Returns whether the host of MISP's address has no dot: browsers probably do not reach it.
    pub(super) fn has_bare_host(&self) -> bool {
        let url = Url::parse(self.text("misp.url")).ok();
        url.is_some_and(|url| url.host_str().is_some_and(|host| !host.contains('.')))
    }

    /// Returns whether an application signs in, and not the machine or a person.
    pub(super) fn is_application(&self) -> bool {
        let kinds = [CLIENT_SECRET, "certificate", "federated-managed-identity"];
        kinds.contains(&self.text("target.credential"))
    }
}

/// Makes an answer that is a path absolute, because the relay may start in another folder.
fn from_root(key: &str, text: String) -> String {
    let is_path = key == "ledger.data_dir" || key.ends_with("_file");
    let path = is_path.then(|| absolute(&text).ok()).flatten();
    path.map_or(text, |path| path.display().to_string())
}

fn defaults(file: &Path) -> BTreeMap<&'static str, String> {
    let beside = |name: &str| file.with_file_name(name).display().to_string();
    // The relay's own folder is for the one that a service runs, with the file where it looks by itself.
    let is_usual = file == Path::new(crate::config::DEFAULT_FILE);
    let data_dir =
        if is_usual { "/var/lib/misp-sentinel-relay".to_owned() } else { beside("ledger") };
    BTreeMap::from([
        ("target.credential", CLIENT_SECRET.to_owned()),
        ("target.mode", "live".to_owned()),
        ("ledger.data_dir", data_dir),
    ])
}

/// The keys that options give, and the options.
fn of_options(options: &InitOptions) -> [(&'static str, &'static str, Option<String>); 15] {
    let file = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let text = Option::<String>::clone;
    [
        ("misp.url", "--misp-url", text(&options.misp_url)),
        ("misp.public_url", "--public-url", text(&options.public_url)),
        ("misp.key_file", "--misp-key-file", file(&options.misp_key_file)),
        ("misp.ca_file", "--misp-ca-file", file(&options.misp_ca_file)),
        ("misp.zeromq.endpoints", "--zeromq", text(&options.zeromq)),
        ("misp.zeromq.username", "--zeromq-username", text(&options.zeromq_username)),
        (
            "misp.zeromq.password_file",
            "--zeromq-password-file",
            file(&options.zeromq_password_file),
        ),
        ("target.workspace_id", "--workspace-id", text(&options.workspace_id)),
        ("target.credential", "--credential", text(&options.credential)),
        ("target.tenant_id", "--tenant-id", text(&options.tenant_id)),
        ("target.client_id", "--client-id", text(&options.client_id)),
        ("target.client_secret_file", "--client-secret-file", file(&options.client_secret_file)),
        ("target.certificate_file", "--certificate-file", file(&options.certificate_file)),
        ("target.mode", "--mode", text(&options.mode)),
        ("ledger.data_dir", "--data-dir", file(&options.data_dir)),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;

    #[test]
    fn every_option_that_is_blamed_exists() {
        let command = InitOptions::augment_args(clap::Command::new("init"));
        let known: Vec<String> = command
            .get_arguments()
            .filter_map(|one| Some(format!("--{}", one.get_long()?)))
            .collect();
        for (key, option, _) in of_options(&InitOptions::default()) {
            assert!(known.iter().any(|known| known == option), "{key}: {option}");
        }
    }
}
