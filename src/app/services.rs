//! Builds the `Services` that answer operators: from the parts of the running relay, or from parts made for
//! one command.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;

use super::sources::SourceParts;
use super::{Relay, readback, remembered, views};
use crate::admin::{Means, Needs, RunningRelay, Services, SourceServices};
use crate::compare::Readback;
use crate::config::{Config, Source, Target};
use crate::ledger::{Ledger, Views};
use crate::misp_api::MispClient;

/// Collects what the running relay answers requests from.
pub(super) fn of_relay(relay: &Relay) -> Services {
    let running = RunningRelay { started: SystemTime::now(), health: relay.health.clone() };
    Services {
        sources: relay.sources.iter().map(SourceParts::services).collect(),
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
    let mut readback = Readback::new(Vec::new(), config.management.ingestion);
    if needs == Needs::Secrets {
        readback = readback::of_config(config)?;
    }
    let views = Arc::new(views(config));
    let sources = config.enabled_sources().map(|source| idle(source, needs));
    let sources = sources.collect::<anyhow::Result<Vec<_>>>()?.into();
    Ok(Services { sources, ..services(config, ledger, &views, &Arc::new(readback)) })
}

/// Describes a source that no relay reads now.
fn idle(source: &Source, needs: Needs) -> anyhow::Result<SourceServices> {
    let rest = source.rest.as_ref().filter(|_| needs == Needs::Secrets);
    Ok(SourceServices {
        name: source.name.clone(),
        section: source.section.clone(),
        means: Means { webhook: source.webhook.is_some(), rest: source.rest.is_some() },
        misp: rest.map(MispClient::new).transpose()?,
        webhook: None,
        rest: None,
        endpoints: None,
    })
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
        sources: Arc::default(),
        targets: config.targets.iter().map(named).collect(),
        readback: Arc::clone(readback),
        relay: None,
        long_read: Arc::new(Semaphore::new(1)),
    }
}
