//! The type `Secret`: a string that never prints itself. It remembers its source (a file or a vault), so that
//! it can be read again. A `SharedSecret` is read again when it is refused, since it may have been replaced.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync;

use super::unreadable::why_unreadable;
use crate::log_event::LogEvent;

/// A password, key or token. `Debug` and `Display` print `[redacted]`; only [`Secret::expose`]
/// gives the text.
#[derive(Clone)]
pub struct Secret {
    text: Arc<str>,
    origin: SecretOrigin,
}

/// The source from which a secret can be read again.
#[derive(Clone)]
enum SecretOrigin {
    /// The secret was written directly and cannot be read again.
    Given,
    File(PathBuf),
    /// The secret's address in a Key Vault, and its reader. `None`: it has not been read yet.
    Vault(String, Option<Arc<dyn Vault>>),
}

/// A secret as a Key Vault keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultSecret {
    pub secret: Secret,
    /// When the vault says that it ends (`exp`).
    pub ends: Option<DateTime<Utc>>,
}

/// A reader for secrets in Key Vaults.
#[async_trait]
pub trait Vault: fmt::Debug + Send + Sync {
    /// Reads the secret at `address`.
    ///
    /// # Errors
    /// The reason, with the remedy.
    async fn read(&self, address: &str) -> Result<VaultSecret, String>;
}

/// The secrets that have been read from Key Vaults, by address.
#[derive(Debug, Clone, Default)]
pub struct FoundSecrets {
    /// The reader that read them, and that reads them again.
    pub vault: Option<Arc<dyn Vault>>,
    pub secrets: BTreeMap<String, Secret>,
    /// When they end, where the vault says so.
    pub ends: BTreeMap<String, DateTime<Utc>>,
}

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into().into(), origin: SecretOrigin::Given }
    }

    /// Reads a secret from a file, without the line breaks at its end.
    ///
    /// # Errors
    /// The file cannot be read, or is empty.
    pub fn from_file(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file);
        of_file(text).map(|text| Self { text, origin: SecretOrigin::File(file.to_owned()) })
    }

    /// Makes the secret for an address in a Key Vault. It has no text yet, unless it is among those
    /// `found`.
    pub(super) fn from_vault(address: &str, found: &FoundSecrets) -> Self {
        let text = found.secrets.get(address).map(|secret| Arc::clone(&secret.text));
        // Without a text the secret has not been read, and `is_unread` recognises that by the missing vault.
        let vault = text.as_ref().and(found.vault.clone());
        let origin = SecretOrigin::Vault(address.to_owned(), vault);
        Self { text: text.unwrap_or_default(), origin }
    }

    /// Returns whether a secret is set, even if it must still be read from a vault.
    pub fn is_given(&self) -> bool {
        !self.text.is_empty() || self.is_unread()
    }

    /// Returns whether it must still be read from a vault.
    pub fn is_unread(&self) -> bool {
        self.text.is_empty() && matches!(self.origin, SecretOrigin::Vault(_, None))
    }

    /// Returns the text, for the wire only and never for a log, an error or a file. It is empty if it must
    /// still be read from a vault.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Reads the secret again from its source. `None`: it is the same, or has no source to read.
    ///
    /// # Errors
    /// The reason why it cannot be read.
    pub async fn read_again(&self) -> Result<Option<Self>, String> {
        let text = match &self.origin {
            SecretOrigin::Given | SecretOrigin::Vault(_, None) => return Ok(None),
            SecretOrigin::File(file) => {
                let text = of_file(tokio::fs::read_to_string(file).await);
                text.map_err(|why| format!("{}: {why}", file.display()))?
            }
            SecretOrigin::Vault(address, Some(vault)) => vault.read(address).await?.secret.text,
        };
        Ok((text != self.text).then(|| Self { text, origin: self.origin.clone() }))
    }
}

fn of_file(text: std::io::Result<String>) -> Result<Arc<str>, String> {
    match text {
        Ok(text) if text.trim().is_empty() => Err("the file is empty".to_owned()),
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).into()),
        Err(error) => Err(why_unreadable(&error)),
    }
}

/// Compares the texts, whatever their sources. Secrets that are not read yet are compared by address.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let unread = |secret: &Self| match &secret.origin {
            SecretOrigin::Vault(address, None) => Some(address.clone()),
            SecretOrigin::Vault(_, Some(_)) | SecretOrigin::Given | SecretOrigin::File(_) => None,
        };
        self.text == other.text && unread(self) == unread(other)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The shortest time between two reads of a refused secret. Anybody may present a wrong secret, and must not
/// cause more reads.
pub const READ_AGAIN: Duration = Duration::from_secs(10);

/// A secret that is shared, and read again when it is refused.
#[derive(Debug)]
pub struct SharedSecret {
    secret: Mutex<Secret>,
    /// The time of the last read. The lock is held during a read, so that all who are refused share it.
    read_at: sync::Mutex<Option<Instant>>,
}

impl SharedSecret {
    pub fn new(secret: Secret) -> Self {
        Self { secret: Mutex::new(secret), read_at: sync::Mutex::default() }
    }

    /// Returns the secret as it was last read.
    pub fn now(&self) -> Secret {
        self.secret.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns a secret other than `refused`, read now or by another task meanwhile. `None`: there is none.
    /// The secret is read at most once in every [`READ_AGAIN`]. `what` names the secret in the log.
    pub async fn other_than(&self, refused: &Secret, what: &str) -> Option<Secret> {
        let mut read_at = self.read_at.lock().await;
        let secret = self.now();
        // Another task may have read it while this one waited for the lock.
        if secret != *refused {
            return Some(secret);
        }
        if read_at.is_some_and(|at| at.elapsed() < READ_AGAIN) {
            return None;
        }
        // This comes before the read, so that failed reads are limited too.
        *read_at = Some(Instant::now());
        match secret.read_again().await {
            Ok(None) => None,
            Ok(Some(new)) => {
                tracing::info!(
                    event = LogEvent::SecretChanged.word(),
                    secret = what,
                    "A secret was refused and has changed since, so the new one is tried"
                );
                *self.secret.lock().unwrap_or_else(PoisonError::into_inner) = new.clone();
                Some(new)
            }
            Err(why) => {
                tracing::warn!(
                    event = LogEvent::SecretUnreadable.word(),
                    secret = what,
                    %why,
                    "A secret was refused, and cannot be read again"
                );
                None
            }
        }
    }
}
