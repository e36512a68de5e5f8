//! The sources that the ledger knows, in the order in which it came to know them. Of the copies of an attribute in
//! several sources the one that was known first makes what is sent.

use super::Ledger;
use super::sql::{Result, Transaction, decode, encode};
use super::tables::{events, settings};

/// The setting that remembers the order.
const SETTING: &str = "sources";

/// The names of all sources that the ledger knows, the first one first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sources(Vec<String>);

impl Sources {
    pub(super) fn load(tx: &Transaction<'_>) -> Result<Self> {
        let stored = settings::value(tx, SETTING)?;
        Ok(Self(stored.map(|stored| decode(&stored)).transpose()?.unwrap_or_default()))
    }

    /// Whether an attribute may stand in more than one source.
    pub(super) fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// The place of a source in the order.
    pub(super) fn place(&self, name: &str) -> usize {
        self.0.iter().position(|known| known == name).unwrap_or(self.0.len())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// All sources but this one.
    pub(super) fn others(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str).filter(move |known| *known != name)
    }
}

impl Ledger {
    /// Notes the sources of the configuration. Those that the ledger does not know yet come last, in the order of their
    /// names.
    pub async fn register_sources(&self, configured: &[String]) -> Result<()> {
        let configured = configured.to_vec();
        self.write(move |unit| register(unit, &configured)).await
    }
}

/// The name of the setting that remembers where browsers reach a source.
fn url_of(source: &str) -> String {
    format!("public url {source}")
}

/// The name of the setting that remembers whether a source has a key.
fn key_of(source: &str) -> String {
    format!("has key {source}")
}

/// The name of the setting that remembers whether the scores of a source's decaying models count.
fn decay_of(source: &str) -> String {
    format!("decay {source}")
}

/// What is remembered of a source for the time when it is no longer configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedSource {
    pub name: String,
    /// Where browsers reach it.
    pub public_url: Option<String>,
    /// Whether MISP could be asked what the relay may see. A source of which this is not known had none.
    pub has_key: bool,
    /// Whether the scores of decaying models count that it showed. If this is not known, they do: what has decayed stays
    /// away.
    pub decay: bool,
}

impl Ledger {
    /// The names of all sources that the ledger knows.
    pub(super) async fn known_sources(&self) -> Result<Vec<String>> {
        let Sources(known) = self.read(Sources::load).await?;
        Ok(known)
    }

    /// Remembers a source of the configuration.
    pub async fn remember_source(&self, source: RememberedSource) -> Result<()> {
        self.write(move |unit| {
            let RememberedSource { name, public_url, has_key, decay } = &source;
            if let Some(url) = public_url {
                settings::store(unit, &url_of(name), url)?;
            }
            settings::store(unit, &key_of(name), yes_or_no(*has_key))?;
            settings::store(unit, &decay_of(name), yes_or_no(*decay))
        })
        .await
    }

    /// What is remembered of each source that the ledger knows.
    pub async fn remembered_sources(&self) -> Result<Vec<RememberedSource>> {
        self.read(|tx| {
            let remembered = |name: String| {
                let public_url = settings::value(tx, &url_of(&name))?;
                let has_key = settings::value(tx, &key_of(&name))?.as_deref() == Some("yes");
                let decay = settings::value(tx, &decay_of(&name))?.as_deref() != Some("no");
                Ok(RememberedSource { name, public_url, has_key, decay })
            };
            Sources::load(tx)?.0.into_iter().map(remembered).collect()
        })
        .await
    }
}

/// Forgets a source, its place and its address.
pub(super) fn forget(tx: &Transaction<'_>, source: &str) -> Result<()> {
    let Sources(mut known) = Sources::load(tx)?;
    known.retain(|name| name != source);
    settings::store(tx, SETTING, &encode(&known)?)?;
    settings::forget(tx, &url_of(source))?;
    settings::forget(tx, &key_of(source))?;
    settings::forget(tx, &decay_of(source))
}

fn yes_or_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

fn register(tx: &Transaction<'_>, configured: &[String]) -> Result<()> {
    let Sources(mut known) = Sources::load(tx)?;
    if known.is_empty() {
        // A ledger from before the order was remembered has one source.
        known = events::sources(tx)?;
    }
    let mut new: Vec<&String> = configured.iter().filter(|name| !known.contains(name)).collect();
    new.sort();
    new.dedup();
    known.extend(new.into_iter().cloned());
    settings::store(tx, SETTING, &encode(&known)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::LedgerConfig;
    use crate::ledger::tables::events::DeletedAt;
    use crate::ledger::tables::keys::EventKey;

    async fn ledger(folder: &tempfile::TempDir) -> Ledger {
        let config = LedgerConfig {
            data_dir: folder.path().to_owned(),
            fsync: false,
            tombstones: Duration::from_secs(1),
        };
        Ledger::open(&config).await.unwrap()
    }

    async fn registered(ledger: &Ledger, configured: &[&str]) -> Vec<String> {
        let configured: Vec<String> = configured.iter().map(|name| (*name).to_owned()).collect();
        ledger.register_sources(&configured).await.unwrap();
        let Sources(known) = ledger.read(Sources::load).await.unwrap();
        known
    }

    #[tokio::test]
    async fn new_sources_come_last_and_in_the_order_of_their_names() {
        let folder = tempfile::TempDir::new().unwrap();
        let ledger = ledger(&folder).await;
        assert_eq!(registered(&ledger, &["sector", "own"]).await, ["own", "sector"]);
        assert_eq!(
            registered(&ledger, &["sector", "national"]).await,
            ["own", "sector", "national"]
        );
        ledger.close().await;
    }

    #[tokio::test]
    async fn the_source_of_an_older_ledger_comes_first() {
        let folder = tempfile::TempDir::new().unwrap();
        let ledger = ledger(&folder).await;
        let delete = |unit: &super::super::Unit<'_>| {
            let key = EventKey::new("misp", uuid::Uuid::from_u128(1));
            events::delete(unit, key, DeletedAt { timestamp: 1, heard: 1 })
        };
        ledger.write(delete).await.unwrap();
        assert_eq!(registered(&ledger, &["central", "misp"]).await, ["misp", "central"]);
        ledger.close().await;
    }
}
