//! Builds the `Services` that answer operators: from the parts of the running relay, or from parts made for
//! one command.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;

use super::{Relay, readback, remembered, views};
use crate::admin::{Means, Needs, RunningRelay, Services};
use crate::compare::Readback;
use crate::config::{Config, Target};
use crate::ledger::{Ledger, Views};
use crate::misp_api::MispClient;

/// Collects what the running relay answers requests from.
pub(super) fn of_relay(relay: &Relay) -> Services {
    let running = RunningRelay {
        started: SystemTime::now(),
        webhook: relay.config.misp.webhook.as_ref().map(|webhook| webhook.listen),
        rest: relay.rest.as_ref().map(|asking| asking.status.clone()),
        endpoints: relay.feed.subscribe(),
        health: relay.health.clone(),
    };
    Services {
        misp: relay.rest.as_ref().map(|asking| asking.client.clone()),
        relay: Some(running),
        ..services(&relay.config, &relay.ledger, &relay.views, &relay.readback)
    }
}

/// Collects what a command answers from where no relay runs. Without [`Needs::Secrets`] neither MISP nor
/// Azure can be asked.
///
/// # Errors
/// A client for MISP or Azure cannot be made.
pub fn services_of(config: &Config, ledger: &Ledger, needs: Needs) -> anyhow::Result<Services> {
    let (mut misp, mut readback) = (None, Readback::new(Vec::new(), config.management.ingestion));
    if needs == Needs::Secrets {
        misp = config.misp.rest.as_ref().map(MispClient::new).transpose()?;
        readback = readback::of_config(config)?;
    }
    let views = Arc::new(views(config));
    Ok(Services { misp, ..services(config, ledger, &views, &Arc::new(readback)) })
}

fn services(
    config: &Config,
    ledger: &Ledger,
    views: &Arc<Views>,
    readback: &Arc<Readback>,
) -> Services {
    let named = |target: &Target| Target { name: remembered(target), ..target.clone() };
    Services {
        ledger: ledger.clone(),
        views: Arc::clone(views),
        source: config.misp.name.clone(),
        targets: config.targets.iter().map(named).collect(),
        means: Means { webhook: config.misp.webhook.is_some(), rest: config.misp.rest.is_some() },
        misp: None,
        readback: Arc::clone(readback),
        relay: None,
        long_read: Arc::new(Semaphore::new(1)),
    }
}
