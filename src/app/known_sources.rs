//! Compares the sources of the configuration with those that the ledger knows: which are new, and which are no longer
//! configured.

use anyhow::Context;

use crate::config::{Config, Source};
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
/// these claim goes on linking to them, and has the audience that it had: without a key nobody says who may see it. Their
/// scores of decaying models count as they did.
///
/// # Errors
/// The ledger cannot be read or written.
pub async fn remember_sources(config: &mut Config, ledger: &Ledger) -> anyhow::Result<()> {
    // First, so that a source of an earlier release whose section is gone is known as absent at once.
    let names: Vec<String> = config.sources.iter().map(|source| source.name.clone()).collect();
    ledger.register_sources(&names).await.context("note the sources")?;
    for source in &config.sources {
        ledger.remember_source(remembered(source)).await.context("remember a source")?;
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
    let all = || config.sources.iter().map(remembered).chain(absent.iter().cloned());
    let named = |is_one: fn(&RememberedSource) -> bool| -> Vec<String> {
        all().filter(is_one).map(|source| source.name).collect()
    };
    let (feed_only, without_decay) = (named(|one| !one.has_key), named(|one| !one.decay));
    let decay = all().any(|source| source.decay);
    let of_targets = config.targets.iter_mut().map(|target| &mut target.policy);
    for policy in of_targets.chain([&mut config.policy]) {
        // From here on it depends on the claim's own source.
        policy.is_feed_only = false;
        policy.feed_only.clone_from(&feed_only);
        policy.decay = decay;
        policy.without_decay.clone_from(&without_decay);
    }
    Ok(())
}

/// What is worth remembering of a configured source.
fn remembered(source: &Source) -> RememberedSource {
    RememberedSource {
        name: source.name.clone(),
        public_url: Some(source.public_url.clone()),
        has_key: source.rest.is_some(),
        decay: source.rest.as_ref().is_some_and(|rest| rest.decay),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A configuration with these sections, after what the ledger remembers was added to it.
    async fn completed(folder: &Path, ledger: &Ledger, sections: &str) -> Config {
        let file = folder.join("config.toml");
        let target = "[target.soc]\nmode = \"dry-run\"\n";
        std::fs::write(&file, format!("{sections}{target}")).unwrap();
        let mut config = crate::config::load(Some(&file), std::iter::empty()).unwrap();
        remember_sources(&mut config, ledger).await.unwrap();
        config
    }

    fn section(name: &str, settings: &str) -> String {
        format!(
            "[source.{name}]\nurl = \"https://{name}.example\"\nkey = \"{}\"\n{settings}",
            "k".repeat(40)
        )
    }

    #[tokio::test]
    async fn scores_of_a_source_that_is_no_longer_configured_count_as_they_did() {
        for (was, counts) in [("decay = true\n", true), ("decay = false\n", false)] {
            let folder = tempfile::TempDir::new().unwrap();
            let settings = crate::config::LedgerConfig {
                data_dir: folder.path().to_owned(),
                fsync: false,
                tombstones: std::time::Duration::from_secs(1),
            };
            let ledger = Ledger::open(&settings).await.unwrap();
            let (gone, other) = (section("gone", was), |decay| section("stays", decay));
            let both = gone + &other("decay = true\n");
            let config = completed(folder.path(), &ledger, &both).await;
            assert_eq!(config.policy.without_decay.iter().any(|name| name == "gone"), !counts);
            // What the others have decides for them alone.
            for (decay, of_the_other) in [("decay = true\n", true), ("", false)] {
                let config = completed(folder.path(), &ledger, &other(decay)).await;
                let of_target = config.targets.iter().map(|target| &target.policy);
                for policy in of_target.chain([&config.policy]) {
                    let counted = |name: &str| {
                        policy.decay && !policy.without_decay.iter().any(|one| one == name)
                    };
                    assert_eq!(counted("gone"), counts, "{was}");
                    assert_eq!(counted("stays"), of_the_other, "{decay}");
                }
            }
            ledger.close().await;
        }
    }
}
