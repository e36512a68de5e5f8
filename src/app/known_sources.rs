//! Compares the sources of the configuration with those that the ledger knows: which are new, and which are no longer
//! configured.

use anyhow::Context;

use crate::config::Config;
use crate::ledger::{Ledger, ReadSource, RememberedSource, SourceNews, SqlResult};
use crate::log_event::LogEvent;

/// Tells which sources are new to the ledger, and which it holds that are no longer read. A new ledger holds none.
pub(super) async fn tell(config: &Config, ledger: &Ledger) -> anyhow::Result<()> {
    for news in news(config, ledger).await.context("read what the ledger holds")? {
        let source = news.source();
        match &news {
            SourceNews::Absent { claims, .. } => tracing::warn!(
                event = LogEvent::SourceAbsent.word(),
                source,
                claims,
                "The ledger holds a source that is no longer read. What it claims stays until `forget-source` ends it"
            ),
            SourceNews::New { has_key: true, .. } => tracing::info!(
                event = LogEvent::SourceNew.word(),
                source,
                "A source is new to the ledger, and a full resync fills it. What others have sent already is not sent again"
            ),
            SourceNews::New { has_key: false, .. } => tracing::info!(
                event = LogEvent::SourceNew.word(),
                source,
                "A source is new to the ledger. It has no key, so only what it publishes from now on arrives"
            ),
        }
    }
    Ok(())
}

async fn news(config: &Config, ledger: &Ledger) -> SqlResult<Vec<SourceNews>> {
    let (held, resynced) = (ledger.sources().await?, ledger.resynced_sources().await?);
    let read = config.enabled_sources().map(ReadSource::from);
    Ok(SourceNews::all(&held, resynced.iter().map(String::as_str), read))
}

/// Remembers the sources, and completes the settings by what is remembered of those that are no longer configured. What
/// these claim goes on linking to them, and has the audience that it had: without a key nobody says who may see it.
///
/// # Errors
/// The ledger cannot be read or written.
pub async fn remember_sources(config: &mut Config, ledger: &Ledger) -> anyhow::Result<()> {
    // First, so that a source of an earlier release whose section is gone is known as absent at once.
    let names: Vec<String> = config.sources.iter().map(|source| source.name.clone()).collect();
    ledger.register_sources(&names).await.context("note the sources")?;
    for source in &config.sources {
        let remembered = RememberedSource {
            name: source.name.clone(),
            public_url: Some(source.public_url.clone()),
            has_key: source.rest.is_some(),
        };
        ledger.remember_source(remembered).await.context("remember a source")?;
    }
    let known = ledger.remembered_sources().await.context("read what is known of the sources")?;
    let is_configured = |name: &str| config.sources.iter().any(|source| source.name == name);
    let absent: Vec<RememberedSource> =
        known.into_iter().filter(|source| !is_configured(&source.name)).collect();
    if absent.is_empty() {
        return Ok(());
    }
    let urls = absent.iter().filter_map(|one| Some((one.name.clone(), one.public_url.clone()?)));
    config.rendering.public_urls.extend(urls);
    let without = config.sources.iter().filter(|source| source.rest.is_none());
    let without = without.map(|source| source.name.clone());
    let feed_only: Vec<String> = without
        .chain(absent.iter().filter(|one| !one.has_key).map(|one| one.name.clone()))
        .collect();
    let of_targets = config.targets.iter_mut().map(|target| &mut target.policy);
    for policy in of_targets.chain([&mut config.policy]) {
        // From here on it depends on the claim's own source.
        policy.is_feed_only = false;
        policy.feed_only.clone_from(&feed_only);
    }
    Ok(())
}
