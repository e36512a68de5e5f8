//! Stores how far a full resync has come, so that it continues after a restart.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sql::Result;
use super::sql::encode;
use super::tables::settings;
use super::{Candidate, Ledger, Listing, ResyncCount};

/// A full resync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resync {
    pub phase: ResyncPhase,
    /// Only events that were changed since then, MISP's time, Unix seconds.
    pub since: Option<i64>,
    /// Only this event.
    #[serde(default)]
    pub event: Option<Uuid>,
    /// Unix milliseconds; RFC 3339 in JSON.
    #[serde(with = "crate::ledger::rfc3339")]
    pub began_at: i64,
    #[serde(with = "crate::ledger::rfc3339_option", default)]
    pub finished_at: Option<i64>,
    /// When the last resync of everything ended. Smaller resyncs since then do not count.
    #[serde(with = "crate::ledger::rfc3339_option", default)]
    pub whole_at: Option<i64>,
    /// The number of events that the listing named.
    pub events: i64,
    pub attributes: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResyncPhase {
    /// MISP is asked which events there are.
    Listing,
    /// The events are read.
    Reading,
    Done,
}

/// The name of the setting that says until when an operator accepts that MISP shows no events.
#[must_use]
pub fn may_empty(source: &str) -> String {
    format!("may empty {source}")
}

impl Resync {
    /// A resync that begins now, after the resync `last`.
    fn begun(since: Option<i64>, event: Option<Uuid>, last: Option<&Self>, now: i64) -> Self {
        let whole_at = last.and_then(|last| last.whole_at);
        let (phase, events) = match event {
            None => (ResyncPhase::Listing, 0),
            Some(_) => (ResyncPhase::Reading, 1),
        };
        Self {
            phase,
            since,
            event,
            began_at: now,
            finished_at: None,
            whole_at,
            events,
            attributes: 0,
        }
    }

    /// The same resync after everything in it was compared.
    #[must_use]
    pub fn done(&self, now: i64) -> Self {
        let whole_at = if self.is_whole() { Some(now) } else { self.whole_at };
        Self { phase: ResyncPhase::Done, finished_at: Some(now), whole_at, ..self.clone() }
    }

    /// Whether it compares everything.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.since.is_none() && self.event.is_none()
    }

    /// Whether it compares everything that another one with `since` would compare.
    fn covers(&self, since: Option<i64>) -> bool {
        self.phase != ResyncPhase::Done
            && self.event.is_none()
            && (self.since.is_none() || since.is_some_and(|wanted| self.since <= Some(wanted)))
    }
}

impl Ledger {
    /// Begins a full resync. If one is under way that compares as much, that one goes on instead.
    pub async fn begin_resync(&self, source: &str, since: Option<i64>, now: i64) -> Result<()> {
        if !self.resync(source).await?.is_some_and(|one| one.covers(since)) {
            self.restart_resync(source, since, now).await?;
        }
        Ok(())
    }

    /// Begins a full resync in place of any that is under way.
    pub async fn restart_resync(&self, source: &str, since: Option<i64>, now: i64) -> Result<()> {
        let last = self.resync(source).await?;
        self.store_resync(source, &Resync::begun(since, None, last.as_ref(), now)).await?;
        self.shared.asked.notify_waiters();
        Ok(())
    }

    /// Asks for one event to be read and compared.
    pub async fn resync_event(&self, source: &str, event: Uuid, now: i64) -> Result<()> {
        self.ask_for(source, &[Candidate { event, weight: 0 }], Listing::Resync, now).await?;
        // A resync under way waits for this read too, and a smaller one must not take its place.
        let last = self.resync(source).await?;
        if last.as_ref().is_none_or(|one| one.phase == ResyncPhase::Done) {
            let begun = Resync::begun(None, Some(event), last.as_ref(), now);
            self.store_resync(source, &begun).await?;
        }
        self.shared.asked.notify_waiters();
        Ok(())
    }

    /// The last resync, under way or done.
    pub async fn resync(&self, source: &str) -> Result<Option<Resync>> {
        let stored = self.remembered(&name(source)).await?;
        Ok(stored.and_then(|stored| serde_json::from_value(stored).ok()))
    }

    /// Stores the progress of a resync, unless another one was begun in its place meanwhile.
    pub async fn advance_resync(&self, source: &str, before: &Resync, now: &Resync) -> Result<()> {
        let (name, before, now) = (name(source), encode(before)?, encode(now)?);
        self.write(move |unit| settings::replace(unit, &name, &before, &now)).await
    }

    /// Stores the state of a resync.
    pub async fn store_resync(&self, source: &str, resync: &Resync) -> Result<()> {
        let (name, resync) = (name(source), encode(resync)?);
        self.write(move |unit| settings::store(unit, &name, &resync)).await
    }

    /// How far the resync has come.
    pub async fn resync_progress(&self, source: &str) -> Result<Option<(Resync, ResyncCount)>> {
        let Some(resync) = self.resync(source).await? else { return Ok(None) };
        Ok(Some((resync, self.resync_left(source).await?)))
    }
}

fn name(source: &str) -> String {
    format!("resync {source}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resync_that_compares_less_stands_in_no_others_way() {
        let full = Resync::begun(None, None, None, 0);
        assert!(full.covers(None) && full.covers(Some(7)));
        let partial = Resync::begun(Some(5), None, None, 0);
        assert!(partial.covers(Some(7)) && !partial.covers(Some(3)) && !partial.covers(None));
        let event = Resync::begun(None, Some(Uuid::nil()), None, 0);
        assert!(!event.covers(None) && !event.covers(Some(7)));
        assert!(!Resync { phase: ResyncPhase::Done, ..full }.covers(None));
    }

    #[test]
    fn the_last_resync_of_everything_is_remembered_through_smaller_ones() {
        let full = Resync::begun(None, None, None, 1).done(5);
        assert_eq!(full.whole_at, Some(5));
        let event = Resync::begun(None, Some(Uuid::nil()), Some(&full), 6).done(7);
        assert_eq!((event.finished_at, event.whole_at), (Some(7), Some(5)));
        let next = Resync::begun(None, None, Some(&event), 8);
        assert_eq!((next.whole_at, next.done(9).whole_at), (Some(5), Some(9)));
    }
}
