//! The type `Secret`: a string that never prints itself. It remembers its source (a file or a vault), so that
//! it can be read again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

/// A password, key or token. `Debug` and `Display` print `[redacted]`; only [`Secret::expose`]
/// gives the text.
#[derive(Clone)]
pub struct Secret {
    text: Arc<str>,
    origin: SecretOrigin,
}

/// Where a secret can be read again.
#[derive(Clone)]
enum SecretOrigin {
    /// Nowhere: it is as it was written.
    Given,
    File(PathBuf),
    /// Its address, and who reads there; nobody has yet where that is `None`.
    Vault(String, Option<Arc<dyn Vault>>),
}

/// Reads secrets of a Key Vault.
#[async_trait]
pub trait Vault: fmt::Debug + Send + Sync {
    /// The text of the secret at `address`.
    ///
    /// # Errors
    /// Why not, with the remedy.
    async fn read(&self, address: &str) -> Result<String, String>;
}

/// Secrets that were looked up, by address.
#[derive(Debug, Clone, Default)]
pub struct FoundSecrets {
    /// Who looked them up, and will again.
    pub vault: Option<Arc<dyn Vault>>,
    pub secrets: BTreeMap<String, Secret>,
}

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into().into(), origin: SecretOrigin::Given }
    }

    /// The secret in a file, without the line breaks at its end.
    ///
    /// # Errors
    /// The file cannot be read, or is empty.
    pub fn from_file(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file);
        of_file(text).map(|text| Self { text, origin: SecretOrigin::File(file.to_owned()) })
    }

    /// The secret at an address of a Key Vault, of which nobody has read it yet, unless it is among
    /// those `found`.
    pub(super) fn from_vault(address: &str, found: &FoundSecrets) -> Self {
        let text = found.secrets.get(address).map(|secret| Arc::clone(&secret.text));
        let vault = text.as_ref().and(found.vault.clone());
        let origin = SecretOrigin::Vault(address.to_owned(), vault);
        Self { text: text.unwrap_or_default(), origin }
    }

    /// Whether there is one, be it still to be looked up.
    pub fn is_given(&self) -> bool {
        !self.text.is_empty() || self.is_unread()
    }

    /// Whether it still has to be looked up.
    pub fn is_unread(&self) -> bool {
        self.text.is_empty() && matches!(self.origin, SecretOrigin::Vault(_, None))
    }

    /// The text itself: for the wire only, never for a log, an error or a file. Empty where it
    /// still has to be looked up.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Reads it again where it came from; `None`: it is still the same, or cannot be another.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn read_again(&self) -> Result<Option<Self>, String> {
        let text = match &self.origin {
            SecretOrigin::Given | SecretOrigin::Vault(_, None) => return Ok(None),
            SecretOrigin::File(file) => {
                let text = of_file(tokio::fs::read_to_string(file).await);
                text.map_err(|why| format!("{}: {why}", file.display()))?
            }
            SecretOrigin::Vault(address, Some(vault)) => vault.read(address).await?.into(),
        };
        Ok((text != self.text).then(|| Self { text, origin: self.origin.clone() }))
    }
}

fn of_file(text: std::io::Result<String>) -> Result<Arc<str>, String> {
    match text {
        Ok(text) if text.trim().is_empty() => Err("the file is empty".to_owned()),
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).into()),
        Err(error) => Err(format!("cannot read the file: {error}")),
    }
}

/// By the text, wherever it came from; what still has to be looked up, by its address.
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
