//! Compares the sources that are read with those that the ledger holds: what begins, and what has ended.

use serde::{Deserialize, Serialize};

use super::LedgerSource;
use crate::config::Source;
use crate::pure::count::Count;

/// A source that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadSource<'s> {
    pub name: &'s str,
    /// Whether MISP can be asked over REST, so that a catch-up finds what the feed did not tell.
    pub has_key: bool,
}

impl<'s> From<&'s Source> for ReadSource<'s> {
    fn from(source: &'s Source) -> Self {
        Self { name: &source.name, has_key: source.rest.is_some() }
    }
}

/// A source that either the configuration or the ledger does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum SourceNews {
    /// It is read, and the ledger holds nothing of it yet.
    New { source: String, has_key: bool },
    /// The ledger holds claims of it, and it is not read.
    Absent { source: String, claims: i64 },
}

impl SourceNews {
    /// Returns all news, in the order of the names. `resynced` are the sources of which a full resync began. A ledger that
    /// holds no source is new itself, and then no source is.
    pub fn all<'s>(
        held: &'s [LedgerSource],
        resynced: impl IntoIterator<Item = &'s str>,
        read: impl IntoIterator<Item = ReadSource<'s>>,
    ) -> Vec<Self> {
        let read: Vec<ReadSource<'_>> = read.into_iter().collect();
        let mut known: Vec<&str> = held.iter().map(|one| one.source.as_str()).collect();
        known.extend(resynced);
        let is_new = |one: &&ReadSource<'_>| !held.is_empty() && !known.contains(&one.name);
        let new = read
            .iter()
            .filter(is_new)
            .map(|one| Self::New { source: one.name.to_owned(), has_key: one.has_key });
        let is_read = |held: &LedgerSource| read.iter().any(|one| one.name == held.source);
        let absent = held
            .iter()
            .filter(|one| !is_read(one))
            .map(|one| Self::Absent { source: one.source.clone(), claims: one.claims });
        let mut all: Vec<Self> = absent.chain(new).collect();
        all.sort_by(|one, other| one.source().cmp(other.source()));
        all
    }

    /// Returns the name of the source.
    pub fn source(&self) -> &str {
        let (Self::New { source, .. } | Self::Absent { source, .. }) = self;
        source
    }

    /// Returns what is so, in words that follow the name of the source.
    pub fn words(&self) -> String {
        match self {
            Self::New { has_key: true, .. } => {
                "is new to the ledger, and a full resync fills it; what others have sent already is not sent again".to_owned()
            }
            Self::New { has_key: false, .. } => {
                "is new to the ledger and has no key: only what it publishes from now on arrives".to_owned()
            }
            Self::Absent { claims, .. } => {
                format!("is no longer read, and what it claims stays ({})", Count(*claims, "claim"))
            }
        }
    }

    /// Returns what an operator can do about it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::New { .. } => None,
            Self::Absent { source, .. } => Some(format!(
                "`forget-source {source}` ends it; with --dry-run it first shows what that withdraws"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_one_side_has_is_news() {
        let held = |source: &str, claims| LedgerSource {
            source: source.to_owned(),
            claims,
            ..LedgerSource::default()
        };
        let read = |name, has_key| ReadSource { name, has_key };
        let held = [held("misp", 3), held("old", 1)];
        let reads = [read("misp", true), read("sector", true), read("feed", false)];
        let all = SourceNews::all(&held, [], reads);
        let told: Vec<String> =
            all.iter().map(|one| format!("{} {}", one.source(), one.words())).collect();
        assert!(told[0].starts_with("feed is new to the ledger and has no key"), "{told:?}");
        assert!(told[1].starts_with("old is no longer read") && told[1].contains("1 claim"));
        assert!(told[2].starts_with("sector is new to the ledger, and a full resync"), "{told:?}");
        assert!(all[1].remedy().unwrap().contains("`forget-source old`"));
        assert_eq!(
            SourceNews::all(&held, ["sector"], [reads[0], reads[1]]).len(),
            1,
            "its resync began"
        );
        assert_eq!(SourceNews::all(&[], [], reads), [], "a new ledger");
    }
}
