//! Holds the warninglists in force, which every judgement of a claim reads, and replaces them by new ones.

pub(super) mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub(super) use file::ListsFile;
pub use file::{copy, load};

use super::Ledger;
use crate::pure::convert::ClaimFacts;
use crate::pure::outage::{Down, Outage};
use crate::pure::policy::{OnLists, Warned};
use crate::pure::stix::Observable;
use crate::pure::warninglist::Lists;

/// The lists of a source.
#[derive(Debug, Clone, Default)]
pub enum InForce {
    /// No policy asks for them, or there is no way to get them.
    #[default]
    Unused,
    /// They were never loaded: the source's claims wait.
    Pending,
    Lists(Arc<Lists>),
}

/// The lists of all sources, by their names. Those of every source apply to every claim.
#[derive(Debug, Clone, Default)]
pub struct AllLists(BTreeMap<String, InForce>);

impl AllLists {
    /// What they say of a claim of this source. It waits for the lists of its own source alone: another source that is
    /// down must not hold it up.
    #[must_use]
    pub fn warned(&self, source: &str, claim: &ClaimFacts, observable: &Observable) -> Warned {
        if matches!(self.0.get(source), Some(InForce::Pending)) {
            return Warned::Pending;
        }
        let mut on = OnLists::default();
        for (source, lists) in self.lists() {
            on.add(source, lists, claim, observable);
        }
        let is_any = !(on.attribute.is_empty() && on.host.is_empty());
        on.are_of_several = is_any && self.lists().nth(1).is_some();
        Warned::On(on)
    }

    /// The lists of one source.
    #[must_use]
    pub fn of(&self, source: &str) -> InForce {
        self.0.get(source).cloned().unwrap_or_default()
    }

    /// The same with other lists of one source.
    pub(super) fn with(&self, source: &str, in_force: InForce) -> Self {
        let mut all = self.clone();
        all.0.insert(source.to_owned(), in_force);
        all
    }

    /// Whether any source has lists.
    pub(super) fn are_any(&self) -> bool {
        self.lists().next().is_some()
    }

    fn lists(&self) -> impl Iterator<Item = (&str, &Lists)> {
        self.0.iter().filter_map(|(source, in_force)| match in_force {
            InForce::Lists(lists) => Some((source.as_str(), &**lists)),
            InForce::Unused | InForce::Pending => None,
        })
    }

    /// The mark under which the ledger remembers by which lists its claims were judged.
    pub(super) fn mark(&self) -> String {
        let marks = self.0.iter().filter_map(|(source, in_force)| match in_force {
            InForce::Unused => None,
            InForce::Pending => Some((source, "pending".to_owned())),
            InForce::Lists(lists) => Some((source, mark(lists))),
        });
        let marks: Vec<(&String, String)> = marks.collect();
        match marks.as_slice() {
            // As with one source: its name decides nothing then.
            [(_, only)] => only.clone(),
            several => {
                let each = several.iter().map(|(source, mark)| format!("{source}={mark}"));
                each.collect::<Vec<_>>().join(" ")
            }
        }
    }
}

impl FromIterator<(String, InForce)> for AllLists {
    fn from_iter<I: IntoIterator<Item = (String, InForce)>>(lists: I) -> Self {
        Self(lists.into_iter().collect())
    }
}

pub(super) fn mark(lists: &Lists) -> String {
    blake3::Hash::from_bytes(lists.fingerprint()).to_hex().to_string()
}

/// How it is with the lists, for `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListsState {
    /// Claims wait until they are loaded.
    pub pending: bool,
    pub lists: usize,
    pub entries: usize,
    /// When MISP was last asked for them with success, Unix milliseconds; RFC 3339 in JSON.
    #[serde(with = "crate::ledger::rfc3339_option", default)]
    pub read_at: Option<i64>,
    /// Why MISP cannot be asked for them, with the remedy.
    pub error: Option<String>,
    /// Lists with regular expressions that this program cannot read.
    pub unreadable: Vec<String>,
}

/// A handle on the lists in force. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Warninglists(Arc<Mutex<SharedLists>>);

#[derive(Debug, Default)]
struct SharedLists {
    in_force: Arc<AllLists>,
    /// By source.
    asked: BTreeMap<String, Asked>,
}

impl SharedLists {
    fn state_of(&self, source: &str) -> Option<ListsState> {
        let asked = self.asked.get(source);
        let state = |pending| ListsState {
            pending,
            read_at: asked.and_then(|asked| asked.read_at),
            error: asked.and_then(|asked| asked.error.clone()),
            ..ListsState::default()
        };
        match self.in_force.of(source) {
            InForce::Unused => None,
            InForce::Pending => Some(state(true)),
            InForce::Lists(lists) => {
                let unreadable = lists.iter().filter(|list| !list.unreadable.is_empty());
                Some(ListsState {
                    lists: lists.len(),
                    entries: lists.entries(),
                    unreadable: unreadable.map(|list| list.head.name.clone()).collect(),
                    ..state(false)
                })
            }
        }
    }
}

/// How it went when a source was asked for its lists.
#[derive(Debug, Default)]
struct Asked {
    read_at: Option<i64>,
    error: Option<String>,
    outage: Outage,
}

impl Warninglists {
    #[must_use]
    pub fn new(in_force: AllLists) -> Self {
        let in_force = Arc::new(in_force);
        Self(Arc::new(Mutex::new(SharedLists { in_force, ..SharedLists::default() })))
    }

    #[must_use]
    pub fn now(&self) -> Arc<AllLists> {
        Arc::clone(&self.shared().in_force)
    }

    /// The lists of one source.
    #[must_use]
    pub fn of(&self, source: &str) -> InForce {
        self.shared().in_force.of(source)
    }

    pub(super) fn set(&self, source: &str, in_force: InForce) {
        let mut shared = self.shared();
        shared.in_force = Arc::new(shared.in_force.with(source, in_force));
    }

    /// A source was asked, with success; the outage that this ends.
    pub fn succeeded(&self, source: &str, at: i64) -> Option<Down> {
        let mut shared = self.shared();
        let asked = shared.asked.entry(source.to_owned()).or_default();
        asked.read_at = Some(at);
        asked.error = None;
        asked.outage.over(Instant::now())
    }

    /// A source was asked in vain; the outage, if it is to be told.
    pub fn failed(&self, source: &str, error: &str) -> Option<Down> {
        let mut shared = self.shared();
        let asked = shared.asked.entry(source.to_owned()).or_default();
        asked.error = Some(error.to_owned());
        asked.outage.failed(error, Instant::now())
    }

    /// How it is with the lists of all sources together. `None`: they are not used.
    #[must_use]
    pub fn state(&self) -> Option<ListsState> {
        let shared = self.shared();
        let sources = shared.in_force.0.keys();
        let states: Vec<(&String, ListsState)> =
            sources.filter_map(|source| Some((source, shared.state_of(source)?))).collect();
        let mut all = ListsState::default();
        for (source, one) in &states {
            all.pending |= one.pending;
            all.lists += one.lists;
            all.entries += one.entries;
            // One that was not read for long is not hidden by the others.
            all.read_at = match (all.read_at, one.read_at) {
                (Some(known), Some(at)) => Some(at.min(known)),
                (known, at) => known.or(at),
            };
            let told = |error: &String| match states.len() {
                1 => error.clone(),
                _ => format!("{source}: {error}"),
            };
            all.error = all.error.take().or_else(|| one.error.as_ref().map(told));
            all.unreadable.extend(one.unreadable.iter().cloned());
        }
        all.unreadable.sort_unstable();
        all.unreadable.dedup();
        (!states.is_empty()).then_some(all)
    }

    /// How it is with the lists of one source. `None`: they are not used.
    #[must_use]
    pub fn state_of(&self, source: &str) -> Option<ListsState> {
        self.shared().state_of(source)
    }

    fn shared(&self) -> MutexGuard<'_, SharedLists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lists of which their MISPs said that they changed.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// By source.
    sources: Mutex<BTreeMap<String, ToldOfSource>>,
    /// Held while lists come into force: what two sources bring at a time is judged one after the other.
    pub adopting: tokio::sync::Mutex<()>,
}

/// By their numbers.
#[derive(Debug, Default)]
struct ToldOfSource {
    ids: BTreeSet<u64>,
    news: Arc<tokio::sync::Notify>,
}

impl Told {
    fn of<T>(&self, source: &str, look: impl FnOnce(&mut ToldOfSource) -> T) -> T {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        look(sources.entry(source.to_owned()).or_default())
    }
}

impl Ledger {
    /// A source says that one of its lists changed, or was switched on or off.
    pub(super) fn note_warninglist(&self, source: &str, id: Option<u64>) {
        self.shared.told.of(source, |told| {
            told.ids.extend(id);
            // `notify_one` keeps the news for a task that does not wait just now.
            told.news.notify_one();
        });
    }

    /// Completes when a source has said that a list changed, now or since the last call.
    pub async fn warninglist_told(&self, source: &str) {
        let news = self.shared.told.of(source, |told| Arc::clone(&told.news));
        news.notified().await;
    }

    /// The lists of which a source said so since the last call.
    #[must_use]
    pub fn take_told(&self, source: &str) -> BTreeSet<u64> {
        self.shared.told.of(source, |told| std::mem::take(&mut told.ids))
    }
}
