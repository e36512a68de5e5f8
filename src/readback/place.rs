//! A target that can be read back.

use std::sync::Arc;

use uuid::Uuid;

use crate::azure::manage::{BadAddress, Client};
use crate::azure::token::TokenSource;
use crate::config::{Config, Mode, Target};
use crate::stix::{Identity, Withdraw};

/// A target's workspace on the management plane, and how its indicators are made.
#[derive(Debug, Clone)]
pub struct Place {
    pub target: String,
    pub sourcesystem: String,
    pub client: Client,
    /// `None` where an id says nothing of its observable.
    pub namespace: Option<Uuid>,
    pub withdraw: Withdraw,
}

impl Place {
    /// `None` where the target has no workspace names, or is not sent to.
    ///
    /// # Errors
    /// [`BadAddress`].
    pub fn of(
        config: &Config,
        target: &Target,
        http: &reqwest::Client,
        tokens: Arc<TokenSource>,
    ) -> Result<Option<Self>, BadAddress> {
        let Some(managed) = target.managed.as_ref().filter(|_| is_asked(target)) else {
            return Ok(None);
        };
        let rendering = &config.rendering;
        Ok(Some(Self {
            target: target.name.clone(),
            sourcesystem: target.sourcesystem.clone(),
            client: Client::new(http.clone(), managed, tokens, &config.management)?,
            namespace: (rendering.identity == Identity::Observable).then_some(rendering.namespace),
            withdraw: rendering.withdraw,
        }))
    }
}

/// Whether a target is read back, if it has names.
fn is_asked(target: &Target) -> bool {
    target.enabled && target.mode == Mode::Live
}
