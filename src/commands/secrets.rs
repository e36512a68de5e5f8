//! The configuration with the secrets that lie in Key Vaults.

use std::path::Path;

use super::Failure;
use crate::azure::vault;
use crate::config::{self, Config, Found};

/// A list of tenants in a vault may name further secrets, and those no more.
const ROUNDS: usize = 3;

/// Loads the configuration with all its targets: what lies in vaults is looked up only where that names
/// them.
///
/// # Errors
/// As [`load`].
pub(super) async fn load_targets(
    file: Option<&Path>,
    environment: &[(String, String)],
) -> Result<Config, Failure> {
    let config = config::load(file, environment.iter().cloned())?;
    if config.has_unread_tenants { load(file, environment).await } else { Ok(config) }
}

/// Loads the configuration, looks up what lies in vaults, and loads it with that.
///
/// # Errors
/// A mistake of the configuration, or a secret that cannot be read.
pub(super) async fn load(
    file: Option<&Path>,
    environment: &[(String, String)],
) -> Result<Config, Failure> {
    let mut found = Found::default();
    let mut config = config::load(file, environment.iter().cloned())?;
    for _ in 0..ROUNDS {
        if config.lookups.is_empty() {
            return Ok(config);
        }
        found = vault::look_up(&config, found).await?;
        config = config::load_with(file, environment.iter().cloned(), found.clone())?;
    }
    let left: Vec<&str> = config.lookups.iter().map(String::as_str).collect();
    Err(Failure::Fault(anyhow::anyhow!("too many secrets that name secrets: {}", left.join(", "))))
}
