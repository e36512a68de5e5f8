//! What operators are answered from: the parts of the running relay, or parts made for one command.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;

use super::{Relay, readback, remembered, views};
use crate::admin::{ConfiguredTarget, Means, Needs, RunningRelay, Services, TargetHealth};
use crate::compare::Readback;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::misp_api::MispClient;

/// What the running relay answers from.
pub(super) fn of_relay(relay: &Relay) -> Services {
    let (feed, health) = (relay.feed.clone(), relay.health.clone());
    let enabled: Vec<_> =
        relay.config.targets.iter().filter(|target| target.enabled).cloned().collect();
    let running = RunningRelay {
        started: SystemTime::now(),
        webhook: relay.config.misp.webhook.as_ref().map(|webhook| webhook.listen),
        rest: relay.rest.as_ref().map(|asking| asking.status.clone()),
        endpoints: Arc::new(move || feed.now().iter().map(Into::into).collect()),
        targets: Arc::new(move || {
            let now = health.now();
            let health = |name| now.get(name).cloned().unwrap_or_default();
            enabled.iter().map(|one| TargetHealth::new(one, health(&one.name))).collect()
        }),
    };
    Services {
        ledger: relay.ledger.clone(),
        views: Arc::clone(&relay.views),
        source: relay.config.misp.name.clone(),
        targets: targets(&relay.config),
        means: means(&relay.config),
        misp: relay.rest.as_ref().map(|asking| asking.client.clone()),
        readback: Arc::clone(&relay.readback),
        relay: Some(running),
        long_read: Arc::new(Semaphore::new(1)),
    }
}

/// What a command answers from where no relay runs. Without [`Needs::Secrets`] neither MISP nor Azure
/// can be asked.
///
/// # Errors
/// A client of MISP or Azure cannot be made.
pub fn services_of(config: &Config, ledger: Ledger, needs: Needs) -> anyhow::Result<Services> {
    let has_secrets = needs == Needs::Secrets;
    let rest = config.misp.rest.as_ref().filter(|_| has_secrets);
    let readback = match has_secrets {
        true => readback::of_config(config)?,
        false => Readback::new(Vec::new(), config.management.ingestion),
    };
    Ok(Services {
        ledger,
        views: Arc::new(views(config)),
        source: config.misp.name.clone(),
        targets: targets(config),
        means: means(config),
        misp: rest.map(MispClient::new).transpose()?,
        readback: Arc::new(readback),
        relay: None,
        long_read: Arc::new(Semaphore::new(1)),
    })
}

fn targets(config: &Config) -> Arc<[ConfiguredTarget]> {
    let targets = config.targets.iter().map(|target| ConfiguredTarget {
        name: remembered(target),
        sourcesystem: target.sourcesystem.clone(),
        is_enabled: target.enabled,
    });
    targets.collect()
}

fn means(config: &Config) -> Means {
    Means { webhook: config.misp.webhook.is_some(), rest: config.misp.rest.is_some() }
}
