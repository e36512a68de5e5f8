//! The full resync: every event of the window is read and compared. It survives a restart: the
//! events still to be read are rows of the ledger.

use std::time::SystemTime;

use chrono::Utc;
use serde_json::json;

use super::catch_up::{candidates, newest, shown};
use super::{Fault, RestIntake, now};
use crate::ledger::{Resync, ResyncPhase};

impl RestIntake {
    /// When the schedule begins the next one.
    pub(super) fn next_resync(&self) -> Option<SystemTime> {
        let next = self.misp.resync.as_ref()?.after(Utc::now())?;
        Some(next.into())
    }

    /// Begins a resync of what was touched since `since` (Unix seconds), or of everything; one that
    /// is under way goes on instead.
    pub(super) async fn begin_resync(&self, since: Option<i64>) -> Result<(), Fault> {
        Ok(self.ledger.begin_resync(self.source(), since, now()).await?)
    }

    /// Does the next part of a resync. Whether one is under way.
    pub(super) async fn drive_resync(&self) -> Result<bool, Fault> {
        let Some(resync) = self.ledger.resync(self.source()).await? else { return Ok(false) };
        match resync.phase {
            ResyncPhase::Done => Ok(false),
            ResyncPhase::Listing => {
                self.list_everything(resync).await?;
                Ok(true)
            }
            ResyncPhase::Reading => self.finish_resync(resync).await,
        }
    }

    async fn list_everything(&self, resync: Resync) -> Result<(), Fault> {
        let mut query = self.narrowed(json!({"published": [0, 1]}));
        query.extend(resync.since.map(|since| ("timestamp".to_owned(), json!(since))));
        query.extend(self.misp.search.clone());
        let mut heads = self.client.heads(query);
        let (mut events, mut attributes, mut newest_seen) = (0, 0, 0);
        while let Some(page) = heads.next().await? {
            newest_seen = newest_seen.max(newest(&page));
            let worth = self.ledger.worth_reading(self.source(), &shown(&page)).await?;
            events += worth.len();
            attributes += worth.iter().map(|head| head.weight).sum::<i64>();
            self.ledger.ask_for(self.source(), &candidates(&worth), (true, now())).await?;
        }
        if resync.since.is_none() {
            self.check_existence(true).await?;
            self.start_cursors(newest_seen).await?;
        }
        tracing::info!(events, attributes, "full resync: the listing is complete");
        let events = i64::try_from(events).unwrap_or(i64::MAX);
        let reading = Resync { phase: ResyncPhase::Reading, events, attributes, ..resync };
        Ok(self.ledger.store_resync(self.source(), &reading).await?)
    }

    async fn finish_resync(&self, resync: Resync) -> Result<bool, Fault> {
        let left = self.ledger.resync_left(self.source()).await?;
        if left.events > 0 {
            return Ok(true);
        }
        let done = Resync { phase: ResyncPhase::Done, finished_at: Some(now()), ..resync };
        self.ledger.store_resync(self.source(), &done).await?;
        let seconds = (now() - done.began_at) / 1_000;
        tracing::info!(
            events = done.events,
            attributes = done.attributes,
            seconds,
            "full resync: all events are read and compared"
        );
        Ok(false)
    }
}
