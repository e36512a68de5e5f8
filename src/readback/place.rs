//! A target that can be read back.

use std::sync::Arc;

use uuid::Uuid;

use crate::azure::manage::Client;
use crate::azure::token::TokenSource;
use crate::config::{Config, Mode, Target};
use crate::deliver::Guest;
use crate::deliver::pacer::SharedPacer;
use crate::stix::{Identity, Withdraw};

/// A target's workspace on the management plane, and how its indicators are made.
#[derive(Debug, Clone)]
pub struct Place {
    pub target: String,
    pub sourcesystem: String,
    pub client: Client,
    /// For what is not the ledger's.
    pub guest: Guest,
    /// `None` where an id says nothing of its observable.
    pub namespace: Option<Uuid>,
    pub withdraw: Withdraw,
}

impl Place {
    /// `None` where the target is not to be asked.
    ///
    /// # Errors
    /// An address of the target is none.
    pub fn of(
        config: &Config,
        target: &Target,
        http: &reqwest::Client,
        (tokens, pacer): (Arc<TokenSource>, Option<SharedPacer>),
    ) -> anyhow::Result<Option<Self>> {
        let Some(managed) = target.managed.as_ref() else { return Ok(None) };
        if !is_asked(target) {
            return Ok(None);
        }
        let namespace = config.rendering.namespace;
        Ok(Some(Self {
            target: target.name.clone(),
            sourcesystem: target.sourcesystem.clone(),
            guest: Guest::new(config, target, http, (Arc::clone(&tokens), pacer))?,
            client: Client::new(http.clone(), managed, tokens, &config.management)?,
            namespace: (target.identity == Identity::Observable).then_some(namespace),
            withdraw: target.withdraw,
        }))
    }
}

/// Whether a target can be read back: it is sent to, and its workspace has names.
#[must_use]
pub fn is_asked(target: &Target) -> bool {
    target.enabled && target.mode == Mode::Live && target.managed.is_some()
}
