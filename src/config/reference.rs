//! Secrets of the configuration: the text itself, or where it is: `env:NAME`, `file:/path`,
//! `vault:https://NAME.vault.azure.net/secrets/SECRET`, or the key with `_file` at its end.

use std::path::{Path, PathBuf};

use reqwest::Url;

use super::layers::Raw;
use super::mistake::Problem;
use super::reader::{KEY_VAULT, Reader, unresolved};
use super::secret::Secret;

const VAULT_SHAPE: &str = "vault:https://NAME.vault.azure.net/secrets/SECRET, or with /VERSION";

impl Reader {
    /// The secret at `key`, or in the file that `key_file` names; empty where neither is set.
    pub(super) fn secret(&mut self, key: &str) -> Secret {
        let file_key = format!("{key}_file");
        let direct = self.hidden_text(key);
        let file = self.path(&file_key);
        match file {
            None => self.referred(key, direct),
            Some(_) if !direct.is_empty() => {
                let problem = format!("set together with {file_key}");
                self.fault(key, |mistake| mistake.hint("keep one of the two"), problem);
                Secret::new(direct)
            }
            Some(file) => self.in_file(key, &file_key, &file),
        }
    }

    /// What a text stands for.
    fn referred(&mut self, key: &str, text: String) -> Secret {
        if let Some(name) = text.strip_prefix("env:") {
            return match self.environment(name) {
                Some(value) if value.contains(KEY_VAULT) => {
                    let Problem { text, hint } = unresolved();
                    self.fault(key, |m| m.hint(hint.unwrap_or_default()), text);
                    Secret::new("")
                }
                Some(value) if !value.is_empty() => Secret::new(value),
                _ => self.without(key, format!("the environment has no variable {name}")),
            };
        }
        if let Some(path) = text.strip_prefix("file:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            return self.in_file(key, key, &path);
        }
        let Some(address) = text.strip_prefix("vault:") else { return Secret::new(text) };
        if !is_vault_address(address) {
            let fault = Problem::new("is not the address of a Key Vault's secret");
            self.refuse(key, &text, VAULT_SHAPE, fault);
            return Secret::new("");
        }
        let secret = Secret::from_vault(address, &self.found);
        if secret.is_unread() {
            self.lookups.insert(address.to_owned());
        }
        secret
    }

    /// `named` is the key that names the file.
    fn in_file(&mut self, key: &str, named: &str, file: &Path) -> Secret {
        Secret::from_file(file).unwrap_or_else(|problem| {
            self.unreadable(named, file, problem);
            self.wrong(key);
            Secret::new("")
        })
    }

    fn without(&mut self, key: &str, problem: String) -> Secret {
        self.fault(key, |mistake| mistake, problem);
        Secret::new("")
    }

    fn hidden_text(&mut self, key: &str) -> String {
        let Some(leaf) = self.take(key) else { return String::new() };
        match leaf.raw {
            Raw::Text(text) | Raw::Toml(toml::Value::String(text)) => {
                if text.contains(KEY_VAULT) {
                    let Problem { text: problem, hint } = unresolved();
                    self.fault(key, |m| m.hint(hint.unwrap_or_default()), problem);
                }
                text
            }
            Raw::Toml(other) => {
                let problem = format!("is of type {}", other.type_str());
                self.fault(key, |mistake| mistake.allowed("a string"), problem);
                String::new()
            }
        }
    }
}

/// Its host's first label is the vault's name, all after it the resource of its tokens.
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
