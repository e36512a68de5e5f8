//! Holds the warninglists in force, which every judgement of a claim reads, and replaces them by new ones.

pub(super) mod file;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use file::{copy, load};

use super::Ledger;
use crate::pure::convert::ClaimFacts;
use crate::pure::outage::{Down, Outage};
use crate::pure::policy::{OnLists, Warned};
use crate::pure::stix::Observable;
use crate::pure::warninglist::Lists;

/// The lists by which claims are judged.
#[derive(Debug, Clone, Default)]
pub enum InForce {
    /// No policy asks for them, or there is no way to get them.
    #[default]
    Unused,
    /// They were never loaded: claims wait.
    Pending,
    Lists(Arc<Lists>),
}

impl InForce {
    /// What they say of a claim.
    #[must_use]
    pub fn warned(&self, claim: &ClaimFacts, observable: &Observable) -> Warned {
        match self {
            Self::Unused => Warned::default(),
            Self::Pending => Warned::Pending,
            Self::Lists(lists) => Warned::On(OnLists::of(lists, claim, observable)),
        }
    }

    /// The mark under which the ledger remembers by which lists its claims were judged.
    pub(super) fn mark(&self) -> String {
        match self {
            Self::Unused => String::new(),
            Self::Pending => "pending".to_owned(),
            Self::Lists(lists) => mark(lists),
        }
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
    in_force: InForce,
    read_at: Option<i64>,
    error: Option<String>,
    outage: Outage,
}

impl Warninglists {
    #[must_use]
    pub fn new(in_force: InForce) -> Self {
        Self(Arc::new(Mutex::new(SharedLists { in_force, ..SharedLists::default() })))
    }

    #[must_use]
    pub fn now(&self) -> InForce {
        self.shared().in_force.clone()
    }

    pub(super) fn set(&self, in_force: InForce) {
        self.shared().in_force = in_force;
    }

    /// MISP was asked, with success; the outage that this ends.
    pub fn succeeded(&self, at: i64) -> Option<Down> {
        let mut shared = self.shared();
        shared.read_at = Some(at);
        shared.error = None;
        shared.outage.over(Instant::now())
    }

    /// MISP was asked in vain; the outage, if it is to be told.
    pub fn failed(&self, error: &str) -> Option<Down> {
        let mut shared = self.shared();
        shared.error = Some(error.to_owned());
        shared.outage.failed(error, Instant::now())
    }

    /// `None`: they are not used.
    #[must_use]
    pub fn state(&self) -> Option<ListsState> {
        let shared = self.shared();
        let state = |pending| ListsState {
            pending,
            read_at: shared.read_at,
            error: shared.error.clone(),
            ..ListsState::default()
        };
        match &shared.in_force {
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

    fn shared(&self) -> MutexGuard<'_, SharedLists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lists of which MISP said that they changed, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Told {
    ids: Mutex<BTreeSet<u64>>,
    news: tokio::sync::Notify,
}

impl Ledger {
    /// MISP says that a list changed, or was switched on or off.
    pub(super) fn note_warninglist(&self, id: Option<u64>) {
        let told = &self.shared.told;
        told.ids.lock().unwrap_or_else(PoisonError::into_inner).extend(id);
        // `notify_one` keeps the news for a task that does not wait just now.
        told.news.notify_one();
    }

    /// Completes when MISP has said that a list changed, now or since the last call.
    pub async fn warninglist_told(&self) {
        self.shared.told.news.notified().await;
    }

    /// The lists of which MISP said so since the last call.
    #[must_use]
    pub fn take_told(&self) -> BTreeSet<u64> {
        std::mem::take(&mut *self.shared.told.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
