//! After a change of policy or rendering the relay judges all claims again, which takes a while for a large ledger.
//! This file keeps how far that has come. Until it is done, a target gets only objects that are judged already, and new
//! withdrawals.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sql::Result;
use super::start::unjudged;
use super::tables::pending::Pending;
use super::tables::{claims, counters};
use super::{Ledger, Views, WITHDRAWN};

/// How far the judging of all claims has come. Meanwhile only objects that are judged by the present policy are sent,
/// and new withdrawals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgingState {
    /// Observables that are judged.
    pub judged: usize,
    /// All observables that have a claim.
    pub observables: usize,
}

/// How far a view has come. Observables are judged in the order of their keys.
#[derive(Debug, Clone, Copy)]
struct JudgedUpTo {
    /// The last change before the start. Objects that were withdrawn up to it may be wanted again: if a target moves to
    /// another view, all that it was sent is copied there as withdrawn.
    before: i64,
    /// All observables up to this one are judged.
    judged: Uuid,
    state: JudgingState,
}

/// The views that are being judged again.
#[derive(Debug, Default)]
pub(super) struct BeingJudged {
    views: Mutex<HashMap<String, JudgedUpTo>>,
    /// Held during a walk over all claims. A second walk would only judge the same claims again.
    pub walk: tokio::sync::Mutex<()>,
}

impl BeingJudged {
    fn views(&self) -> MutexGuard<'_, HashMap<String, JudgedUpTo>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins: nothing in these views is judged yet.
    fn begin(&self, views: &Views, before: i64, observables: usize) {
        let state = JudgingState { judged: 0, observables };
        let progress = JudgedUpTo { before, judged: Uuid::nil(), state };
        self.views().extend(views.iter().map(|view| (view.name.clone(), progress)));
    }

    /// Notes that all observables up to `last` are judged in these views. `judged` is their number.
    pub(super) fn advance(&self, views: &Views, last: Uuid, judged: usize) {
        let mut judging = self.views();
        for view in views.iter() {
            if let Some(progress) = judging.get_mut(&view.name) {
                progress.judged = last.max(progress.judged);
                progress.state.judged = judged.max(progress.state.judged);
            }
        }
    }

    /// Ends: everything in these views is judged.
    pub(super) fn end(&self, views: &Views) {
        let mut judging = self.views();
        for view in views.iter() {
            judging.remove(&view.name);
        }
    }

    fn holds(&self, view: &str, pending: &Pending) -> bool {
        let judging = self.views();
        let Some(JudgedUpTo { before, judged, .. }) = judging.get(view) else { return false };
        let is_new_withdrawal = pending.version == WITHDRAWN && pending.change > *before;
        let is_judged = !pending.context && pending.observable <= *judged;
        !(is_new_withdrawal || is_judged)
    }
}

impl Ledger {
    /// Holds back the objects of those views that must be judged again, until [`Ledger::reevaluate`] has judged them.
    pub async fn begin_judging(&self, views: &Views) -> Result<()> {
        // A walk that ended between the look and the note would leave them held back until the next start.
        let _walk = self.shared.judging.walk.lock().await;
        let all = views.clone();
        let read = self.read(move |tx| Ok((unjudged(tx, &all)?, counters::last_change(tx)?)));
        let (unjudged, before) = read.await?;
        let observables = match unjudged.is_empty() {
            true => 0,
            false => self.read_counts(claims::count_objects).await?,
        };
        let observables = usize::try_from(observables).unwrap_or_default();
        self.shared.judging.begin(&unjudged, before, observables);
        Ok(())
    }

    /// Whether an object may not be sent yet, because the present policy has not judged it. Context objects wait for
    /// the end of the walk.
    #[must_use]
    pub fn is_unjudged(&self, view: &str, pending: &Pending) -> bool {
        self.shared.judging.holds(view, pending)
    }

    /// How far the slowest of the views that are being judged again has come. `None`: no view is being judged.
    #[must_use]
    pub fn judging(&self) -> Option<JudgingState> {
        let judging = self.shared.judging.views();
        judging.values().map(|view| view.state).min_by_key(|state| state.judged)
    }

    /// Whether views are being judged again.
    #[must_use]
    pub fn is_judging(&self) -> bool {
        !self.shared.judging.views().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::LedgerConfig;
    use crate::ledger::Member;
    use crate::pure::stix::{Identity, Withdraw};

    #[tokio::test]
    async fn a_walk_and_the_look_at_what_must_be_judged_wait_for_each_other() {
        let folder = tempfile::TempDir::new().unwrap();
        let config = LedgerConfig {
            data_dir: folder.path().to_owned(),
            fsync: false,
            tombstones: Duration::from_secs(1),
        };
        let ledger = Ledger::open(&config).await.unwrap();
        let none = tempfile::NamedTempFile::new().unwrap();
        let rules = crate::config::load_rules(Some(none.path()), std::iter::empty()).unwrap();
        let member = Member {
            target: "soc".to_owned(),
            name: "soc",
            enabled: true,
            policy: &rules.policy,
            identity: Identity::Observable,
            withdraw: Withdraw::Expire,
            only_indicators: false,
        };
        let views = Views::new(&[member], &rules.policy, &rules.rendering);
        let walk = ledger.shared.judging.walk.lock().await;
        let mut beginning = std::pin::pin!(ledger.begin_judging(&views));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut beginning).await;
        assert!(early.is_err() && !ledger.is_judging(), "a walk is under way");
        drop(walk);
        beginning.await.unwrap();
        assert!(ledger.is_judging());
        ledger.reevaluate(&views, 1, |_| {}).await.unwrap();
        assert!(!ledger.is_judging());
        ledger.begin_judging(&views).await.unwrap();
        assert!(!ledger.is_judging(), "all is judged");
        ledger.close().await;
    }
}
