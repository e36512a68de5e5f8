//! Loads the configuration for a command: from the file, the environment and key vaults, and only as much of
//! it as the command needs.

use anyhow::bail;

use crate::admin::Needs;
use crate::azure::vault;
use crate::config::{Config, ConfigSource, FoundSecrets};

/// How often vaults are asked at most. A list of tenants in a vault may name further secrets, and those name
/// no more.
const ROUNDS: usize = 3;

impl ConfigSource {
    /// Loads as much of the configuration as `needs` says.
    ///
    /// # Errors
    /// The configuration has a mistake ([`Mistakes`](crate::config::Mistakes)), or a secret cannot be read.
    pub async fn load(&self, needs: Needs) -> anyhow::Result<Config> {
        let config = self.read(FoundSecrets::default())?;
        match needs {
            Needs::Secrets => self.looked_up(config).await,
            // Without such a list all targets are known by now, and no vault has to be asked.
            Needs::Targets if config.has_unread_tenants => self.looked_up(config).await,
            Needs::Targets | Needs::Settings => Ok(config),
        }
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
            config = self.read(found.clone())?;
        }
        let left: Vec<&str> = config.lookups.iter().map(String::as_str).collect();
        bail!("too many secrets that name secrets: {}", left.join(", "))
    }
}
