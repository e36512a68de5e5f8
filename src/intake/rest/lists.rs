//! Keeps MISP's warninglists up to date: reads them at start, at intervals, and when the feed reports a
//! change.

use std::collections::{BTreeSet, HashMap};
use std::future;
use std::sync::Arc;
use std::time::SystemTime;

use super::{IntakeFault, RestIntake, now};
use crate::ledger::{Adopted, InForce};
use crate::log_event::{LogEvent, ms};
use crate::pure::outage::Down;
use crate::pure::warninglist::{List, Lists};

impl RestIntake {
    /// Keeps the lists in force equal to MISP's. Never ends.
    pub(super) async fn keep_lists(&self) {
        if !self.views.use_warninglists() {
            return future::pending().await;
        }
        let (mut failures, mut told) = (0, BTreeSet::new());
        loop {
            // Taken before the lists are read: what MISP tells of during that is read in the next round.
            told.extend(self.ledger.take_told(self.source()));
            match self.refresh_lists(&told).await {
                Ok(()) => {
                    failures = 0;
                    // Only now: after a failure, what was told must be read again.
                    told.clear();
                    if let Some(Down { lasted, failures }) =
                        self.views.warninglists().succeeded(self.source(), now())
                    {
                        tracing::info!(
                            event = LogEvent::WarninglistsRecovered.word(),
                            down_ms = ms(lasted),
                            failures,
                            "MISP's warninglists can be read again"
                        );
                    }
                    tokio::select! {
                        () = self.news_of_lists() => {}
                        () = tokio::time::sleep(self.source.warninglists.refresh_every) => {}
                    }
                }
                Err(fault) => {
                    failures += 1;
                    self.pause_lists(&fault, failures).await;
                }
            }
        }
    }

    /// Waits until the feed tells of a change, and a little longer: MISP tells of it before it saves it, and
    /// of many changes one by one.
    async fn news_of_lists(&self) {
        self.ledger.warninglist_told(self.source()).await;
        tokio::time::sleep(self.rest.read_back_after).await;
    }

    /// Waits before the next attempt. Unlike `pause` it shows the fault as the warninglists',
    /// since all else may go well.
    async fn pause_lists(&self, fault: &IntakeFault, failures: u32) {
        let pause = self.pause_after(fault, failures);
        let error = fault.to_string();
        if let Some(Down { lasted, failures }) =
            self.views.warninglists().failed(self.source(), &error)
        {
            tracing::warn!(
                event = LogEvent::WarninglistsFailing.word(),
                error,
                down_ms = ms(lasted),
                failures,
                "MISP's warninglists cannot be read. The last ones stay in force, or claims wait for the first"
            );
        }
        tokio::time::sleep(pause).await;
    }

    /// Reads the lists that changed. A list stays if the index shows it as before, unless the feed told of
    /// it: the index does not show every change.
    async fn refresh_lists(&self, told: &BTreeSet<u64>) -> Result<(), IntakeFault> {
        let known: HashMap<u64, Arc<List>> = match self.views.warninglists().of(self.source()) {
            InForce::Unused | InForce::Pending => HashMap::new(),
            InForce::Lists(lists) => {
                lists.iter().map(|list| (list.head.id, Arc::clone(list))).collect()
            }
        };
        let mut lists = Vec::new();
        for head in self.client.warninglists().await? {
            let same = known.get(&head.id).filter(|list| list.head == head);
            lists.push(match same.filter(|_| !told.contains(&head.id)) {
                Some(list) => Arc::clone(list),
                None => {
                    let most = self.source.warninglists.max_list;
                    Arc::new(self.client.warninglist(head, most).await?)
                }
            });
        }
        drop(known);
        // Adopted as a whole: a fault before leaves all lists in force as they were.
        let lists = Arc::new(Lists::new(lists));
        tell_unreadable(&lists);
        let began = SystemTime::now();
        let (source, guard) = (self.source(), Some(&self.guard));
        let adopted = self.ledger.adopt(&self.views, Arc::clone(&lists), source, guard).await?;
        tell(&lists, adopted, began);
        Ok(())
    }
}

/// Logs the lists with regular expressions that the relay cannot read.
fn tell_unreadable(lists: &Lists) {
    for list in lists.iter().filter(|list| !list.unreadable.is_empty()) {
        tracing::debug!(
            list = list.head.name,
            patterns = list.unreadable.len(),
            "A warninglist has regular expressions that this program cannot read"
        );
    }
}

fn tell(lists: &Lists, adopted: Adopted, began: SystemTime) {
    let (altered, withdrawn) = match adopted {
        Adopted::Same => return,
        Adopted::Waiting { going, news } => return tell_waiting(going, news),
        // All claims were judged.
        Adopted::First => (None, None),
        Adopted::InForce { altered, withdrawn } => (Some(altered), Some(withdrawn)),
    };
    let (lists, entries) = (lists.len(), lists.entries());
    // `elapsed` fails if the clock was set back meanwhile.
    let took_ms = ms(began.elapsed().unwrap_or_default());
    tracing::info!(
        event = LogEvent::WarninglistsInForce.word(),
        lists,
        entries,
        altered,
        withdrawn,
        took_ms,
        "MISP's warninglists are in force, and what they concern was judged anew"
    );
}

fn tell_waiting(going: i64, news: bool) {
    if news {
        tracing::error!(
            event = LogEvent::WarninglistsHeld.word(),
            going,
            "MISP's warninglists would withdraw more indicators than guard.max and guard.percent allow, so the ones before stay in force. Look at them in MISP, then `release --warninglists`"
        );
    } else {
        tracing::debug!(going, "MISP's warninglists still wait for a release");
    }
}
