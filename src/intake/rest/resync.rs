//! Runs full resyncs: every event of the window (`misp.window`) is read and compared with the ledger. A
//! resync survives a restart, since the events that are still to be read are rows of the ledger.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use chrono::Utc;
use serde_json::json;
use uuid::Uuid;

use super::catch_up::{ListingTimes, candidates, object, shown};
use super::resync_log::ResyncLog;
use super::{EXISTENCE, IntakeFault, RestIntake, now, unweighed};
use crate::ledger::{Listing, Resync, ResyncPhase};
use crate::log_event::LogEvent;

/// The time between two looks at whether a resync was asked for, or all its events are read.
const LOOK: Duration = Duration::from_millis(250);

/// The events that a listing named.
#[derive(Debug, Default)]
struct ListedEvents {
    events: HashSet<Uuid>,
    /// The sum of the attributes that the listing shows.
    attributes: i64,
}

impl RestIntake {
    /// Begins full resyncs by the schedule and runs those that were asked for. Never ends.
    pub(super) async fn keep_resyncing(&self) {
        let mut scheduled = self.next_resync();
        let (mut failures, mut progress) = (0, ResyncLog::new(self.progress_every));
        loop {
            match self.drive_resync(&mut scheduled, &mut progress).await {
                Ok(()) => {
                    failures = 0;
                    tokio::time::sleep(LOOK).await;
                }
                Err(fault) => {
                    failures += 1;
                    self.pause(&fault, failures, "resync").await;
                }
            }
        }
    }

    /// Returns when the schedule begins the next resync. `None`: there is no schedule.
    fn next_resync(&self) -> Option<SystemTime> {
        let next = self.source.resync.as_ref()?.after(Utc::now())?;
        Some(next.into())
    }

    async fn drive_resync(
        &self,
        scheduled: &mut Option<SystemTime>,
        progress: &mut ResyncLog,
    ) -> Result<(), IntakeFault> {
        // A clock that was ahead must not put the next resync off until then.
        *scheduled = match (*scheduled, self.next_resync()) {
            (Some(at), Some(next)) => Some(at.min(next)),
            (at, next) => at.or(next),
        };
        if scheduled.is_some_and(|at| at <= SystemTime::now()) {
            // Moved last: a resync that the ledger could not begin stays due.
            self.ledger.begin_resync(self.source(), None, now()).await?;
            *scheduled = self.next_resync();
        }
        // The phase is read from the ledger each time, so a restart goes on where the last run was.
        let Some(resync) = self.ledger.resync(self.source()).await? else { return Ok(()) };
        if resync.phase != ResyncPhase::Done {
            progress.begin(&self.ledger, self.source(), &resync);
        }
        match resync.phase {
            ResyncPhase::Done => Ok(()),
            ResyncPhase::Listing => self.list_everything(resync).await,
            ResyncPhase::Reading => self.finish_resync(resync, progress).await,
        }
    }

    /// Lists the events of the window and asks for a read of each that is worth it.
    async fn list_everything(&self, resync: Resync) -> Result<(), IntakeFault> {
        self.judge_key().await?;
        let mut query = object(json!({"published": [0, 1]}));
        query.extend(self.window().map(|since| ("publish_timestamp".to_owned(), json!(since))));
        query.extend(resync.since.map(|since| ("timestamp".to_owned(), json!(since))));
        query.extend(self.source.search.clone());
        let mut heads = self.client.heads(query);
        let (mut named, mut seen) = (ListedEvents::default(), ListingTimes::default());
        while let Some(page) = self.next_page(&mut heads).await? {
            seen.take(&page);
            let worth = self.ledger.worth_reading(self.source(), &shown(&page)).await?;
            named.events.extend(worth.iter().map(|head| head.event));
            named.attributes += worth.iter().map(|head| head.weight).sum::<i64>();
            // Asked for page by page, so that the reads begin before the listing is complete.
            self.ask_for(&candidates(&worth), Listing::Resync).await?;
        }
        // With `since` the listing is a part of MISP, so absence from it says nothing, and the cursors stay.
        if resync.since.is_none() {
            self.ask_for_unlisted(&mut named).await?;
            self.start_cursors(seen.newest).await?;
        }
        self.succeeded().await;
        let (events, attributes) = (named.events.len(), named.attributes);
        tracing::info!(
            event = LogEvent::ResyncListed.word(),
            events,
            attributes,
            "All events of the full resync are listed"
        );
        let events = i64::try_from(events).unwrap_or(i64::MAX);
        let phase = ResyncPhase::Reading;
        // The phase moves last, so a listing that fails half way is made again as a whole.
        let reading = Resync { phase, events, attributes, ..resync.clone() };
        Ok(self.ledger.advance_resync(self.source(), &resync, &reading).await?)
    }

    /// Asks for a read of each known event that the listing does not name: it is beyond the window or the
    /// search, or gone, and only a read tells. If MISP shows none of the known events, something is wrong
    /// with MISP.
    async fn ask_for_unlisted(&self, named: &mut ListedEvents) -> Result<(), IntakeFault> {
        let mut unlisted = self.known_events().await?;
        let known = unlisted.len();
        unlisted.retain(|event| !named.events.contains(event));
        if known > 0 && unlisted.len() == known {
            // One request is enough: a single event that MISP shows proves that it is not empty.
            let some = unlisted.get(..EXISTENCE).unwrap_or(&unlisted);
            let shown = self.listed(some).await?;
            if self.looks_empty(shown.is_empty()).await? {
                return Ok(());
            }
        }
        named.events.extend(&unlisted);
        self.ask_for(&unweighed(unlisted), Listing::Resync).await
    }

    /// Ends the resync once none of its events is left to read.
    async fn finish_resync(
        &self,
        resync: Resync,
        progress: &mut ResyncLog,
    ) -> Result<(), IntakeFault> {
        // The rows of the ledger tell what is left, also after a restart.
        let left = self.ledger.resync_left(self.source()).await?;
        if left.events > 0 {
            progress.goes_on(&resync, left);
            return Ok(());
        }
        // Objects that a passing fault of Sentinel rejected must not wait until an operator looks.
        let retried = match resync.is_whole() {
            true => self.ledger.retry_rejected(None, now()).await?,
            false => 0,
        };
        let done = resync.done(now());
        // If another resync was begun in its place meanwhile, that one stays.
        self.ledger.advance_resync(self.source(), &resync, &done).await?;
        progress.end(&self.ledger, self.source(), &done, retried);
        Ok(())
    }
}
