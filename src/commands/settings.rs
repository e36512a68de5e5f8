//! Loads the configuration for a command: from the file, the environment and key vaults, and only as much of
//! it as the command needs.

use std::fmt;
use std::path::PathBuf;

use anyhow::bail;

use crate::admin::Needs;
use crate::azure::vault;
use crate::config::{self, Admin, Config, FoundSecrets, LedgerConfig, Mistakes, Rules};

/// How often vaults are asked at most. A list of tenants in a vault may name further secrets, and those name
/// no more.
const ROUNDS: usize = 3;

/// The configuration file and the environment of this process.
#[derive(Clone)]
pub struct ConfigSource {
    /// The file that `--config` names; `None` for the default.
    pub file: Option<PathBuf>,
    pub environment: Vec<(String, String)>,
}

/// The environment is left out, since it holds secrets.
impl fmt::Debug for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigSource").field("file", &self.file).finish_non_exhaustive()
    }
}

impl ConfigSource {
    /// Loads as much of the configuration as `needs` says.
    ///
    /// # Errors
    /// The configuration has a mistake ([`Mistakes`]), or a secret cannot be read.
    pub async fn load(&self, needs: Needs) -> anyhow::Result<Config> {
        let config = self.with(FoundSecrets::default())?;
        match needs {
            Needs::Secrets => self.looked_up(config).await,
            // Without such a list all targets are known by now, and no vault has to be asked.
            Needs::Targets if config.has_unread_tenants => self.looked_up(config).await,
            Needs::Targets | Needs::Settings => Ok(config),
        }
    }

    /// Loads the section on the ledger. The running relay listens in the ledger's folder.
    ///
    /// # Errors
    /// That section has a mistake.
    pub fn ledger(&self) -> Result<LedgerConfig, Mistakes> {
        config::load_ledger(self.file.as_deref(), self.environment.iter().cloned())
    }

    /// Loads the section on the admin listener.
    ///
    /// # Errors
    /// That section has a mistake.
    pub fn admin(&self) -> Result<Admin, Mistakes> {
        config::load_admin(self.file.as_deref(), self.environment.iter().cloned())
    }

    /// Loads the sections that shape indicators.
    ///
    /// # Errors
    /// One of those sections has a mistake.
    pub fn rules(&self) -> Result<Rules, Mistakes> {
        config::load_rules(self.file.as_deref(), self.environment.iter().cloned())
    }

    fn with(&self, found: FoundSecrets) -> Result<Config, Mistakes> {
        config::load_with(self.file.as_deref(), self.environment.iter().cloned(), found)
    }

    /// Completes a configuration with the secrets that lie in vaults.
    async fn looked_up(&self, mut config: Config) -> anyhow::Result<Config> {
        let mut found = FoundSecrets::default();
        for _ in 0..ROUNDS {
            if config.lookups.is_empty() {
                return Ok(config);
            }
            // A secret may be a list that names further secrets, so the configuration is read again with it.
            found = vault::look_up(&config, found).await?;
            config = self.with(found.clone())?;
        }
        let left: Vec<&str> = config.lookups.iter().map(String::as_str).collect();
        bail!("too many secrets that name secrets: {}", left.join(", "))
    }
}
