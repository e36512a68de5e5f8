//! Reads secrets from the configuration. A key holds the secret itself or a reference to it: `env:NAME`,
//! `file:/path` or `vault:https://NAME.vault.azure.net/secrets/SECRET`. The same key with `_file` at its end
//! names a file.

use std::path::{Path, PathBuf};

use reqwest::Url;

use super::layers::Raw;
use super::mistake::{Problem, SettingOrigin};
use super::reader::{KEY_VAULT, Reader, of_type, unresolved};
use super::secret::Secret;

const VAULT_SHAPE: &str = "vault:https://NAME.vault.azure.net/secrets/SECRET, or with /VERSION";

impl Reader {
    /// Reads the secret at `key`, or in the file that `key_file` names. It is empty if neither is set. If both
    /// are, a variable wins over the configuration's file, as for every other key.
    pub(super) fn secret(&mut self, key: &str) -> Secret {
        let file_key = format!("{key}_file");
        let direct = self.hidden_text(key);
        let Some(file) = self.path(&file_key) else { return self.resolved(key, direct) };
        let is_variable = |key: &str| matches!(self.origin(key), SettingOrigin::Environment(_));
        match (is_variable(key), is_variable(&file_key)) {
            _ if direct.is_empty() => self.in_file(key, &file_key, &file),
            (true, false) => self.resolved(key, direct),
            (false, true) => self.in_file(key, &file_key, &file),
            (true, true) | (false, false) => {
                let problem = Problem::new(format!("set together with {file_key}"));
                self.fault(key, problem.hint("keep one of the two"));
                Secret::new(direct)
            }
        }
    }

    /// Resolves a text as [`Reader::referred`] does, and notes the mistake in it.
    fn resolved(&mut self, key: &str, text: String) -> Secret {
        self.referred(key, text).unwrap_or_else(|problem| {
            self.fault(key, problem);
            Secret::new("")
        })
    }

    /// Resolves a text that may be a reference to a secret.
    fn referred(&mut self, key: &str, text: String) -> Result<Secret, Problem> {
        if let Some(name) = text.strip_prefix("env:") {
            return match self.environment(name) {
                Some(value) if value.contains(KEY_VAULT) => Err(unresolved()),
                Some(value) if !value.is_empty() => Ok(Secret::new(value)),
                _ => Err(format!("the environment has no variable {name}").into()),
            };
        }
        if let Some(path) = text.strip_prefix("file:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            return Ok(self.in_file(key, key, &path));
        }
        let Some(address) = text.strip_prefix("vault:") else { return Ok(Secret::new(text)) };
        if !is_vault_address(address) {
            let problem = Problem::new("is not the address of a Key Vault's secret");
            return Err(problem.value(&text).allowed(VAULT_SHAPE));
        }
        let secret = Secret::from_vault(address, &self.found);
        if secret.is_unread() {
            self.lookups.insert(address.to_owned());
        }
        Ok(secret)
    }

    /// Reads a secret from a file. `named` is the key that names the file.
    fn in_file(&mut self, key: &str, named: &str, file: &Path) -> Secret {
        Secret::from_file(file).unwrap_or_else(|problem| {
            self.unreadable(named, file, problem);
            self.wrong(key);
            Secret::new("")
        })
    }

    fn hidden_text(&mut self, key: &str) -> String {
        let Some(leaf) = self.take(key) else { return String::new() };
        match leaf.raw {
            Raw::Text(text) | Raw::Toml(toml::Value::String(text)) => {
                if text.contains(KEY_VAULT) {
                    self.fault(key, unresolved());
                }
                text
            }
            Raw::Toml(other) => {
                self.fault(key, of_type(&other).allowed("a string"));
                String::new()
            }
        }
    }
}

/// Returns whether it is the URL of a secret in a Key Vault. The first label of the host is the vault's name,
/// the rest is the resource for tokens.
fn is_vault_address(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else { return false };
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let host = url.host_str().unwrap_or_default();
    let parts: Vec<&str> = url.path().split('/').skip(1).collect();
    let names_secret = match parts.as_slice() {
        ["secrets", name] => !name.is_empty(),
        ["secrets", name, version] => !name.is_empty() && !version.is_empty(),
        _ => false,
    };
    plain && url.scheme() == "https" && host.contains('.') && names_secret
}
