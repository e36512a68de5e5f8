//! Remembers in memory what happened in the last hour: counts for each minute, and the last events on their way from
//! MISP to the targets. It is for people who look at the relay. It starts empty, and nothing is decided by it.

mod minutes;
mod timeline;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use minutes::{MINUTES, Minute};
pub use timeline::{Acceptance, Committed, EVENTS, RecentEvent, TITLE};

use crate::pure::policy::Tlp;
use minutes::Minutes;
use timeline::Timeline;

/// How news of MISP came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter)]
pub enum Arrival {
    /// A frame of the feed that says something of an event.
    Feed,
    /// A body of the webhook.
    Webhook,
    /// An event that was read over REST.
    Rest,
}

/// The recent past of a relay. A cheap handle: clones share it.
#[derive(Debug, Clone)]
pub struct Recent(Arc<Remembered>);

#[derive(Debug)]
struct Remembered {
    since: DateTime<Utc>,
    /// Minutes are counted from here by the steady clock, whatever the other one does.
    began: Instant,
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    minutes: Minutes,
    timeline: Timeline,
    /// By source.
    last: BTreeMap<String, LastArrivals>,
}

/// When each way to a source brought the last news.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastArrivals {
    pub feed: Option<DateTime<Utc>>,
    pub webhook: Option<DateTime<Utc>>,
    pub rest: Option<DateTime<Utc>>,
}

/// The recent past at one moment.
#[derive(Debug, Clone)]
pub struct History {
    /// The start of the relay: nothing before it is known.
    pub since: DateTime<Utc>,
    /// The last hour, the oldest minute first. The last minute is not over.
    pub minutes: Vec<Minute>,
    /// The last events, the newest first.
    pub events: Vec<RecentEvent>,
    /// By source. A source that brought no news is left out.
    pub last: BTreeMap<String, LastArrivals>,
}

impl History {
    /// Returns when each way to a source brought the last news.
    pub fn last(&self, source: &str) -> LastArrivals {
        self.last.get(source).copied().unwrap_or_default()
    }
}

impl Default for Recent {
    fn default() -> Self {
        let past = Mutex::new(Past::default());
        Self(Arc::new(Remembered { since: Utc::now(), began: Instant::now(), past }))
    }
}

impl Recent {
    /// Counts news of a source that came at `received`.
    pub fn arrived(&self, source: &str, how: Arrival, received: Instant) {
        let age = chrono::TimeDelta::from_std(received.elapsed()).unwrap_or_default();
        let at = Some(Utc::now() - age);
        let mut past = self.past();
        let last = past.last.entry(source.to_owned()).or_default();
        match how {
            Arrival::Feed => last.feed = at,
            Arrival::Webhook => last.webhook = at,
            Arrival::Rest => last.rest = at,
        }
        let minute = number(received.saturating_duration_since(self.0.began));
        past.minutes.at(minute, |counts| match how {
            Arrival::Feed => counts.feed += 1,
            Arrival::Webhook => counts.webhook += 1,
            Arrival::Rest => counts.rest += 1,
        });
    }

    /// Counts an event whose news was committed, and begins its line of the timeline.
    pub fn committed(&self, event: Committed) {
        let mut past = self.past();
        past.minutes.at(self.minute(), |counts| counts.committed += 1);
        past.timeline.committed(event, Utc::now());
    }

    /// Counts attributes and claims that were left out. `reason` is one of few words.
    pub fn skipped(&self, reason: &'static str, count: u64) {
        self.past().minutes.at(self.minute(), |counts| {
            *counts.skipped.entry(reason).or_default() += count;
        });
    }

    /// Counts objects that a target accepted, and those of them that are withdrawals.
    pub fn accepted(&self, objects: usize, withdrawals: usize) {
        self.past().minutes.at(self.minute(), |counts| {
            counts.accepted += objects as u64;
            counts.withdrawn += withdrawals as u64;
        });
    }

    pub fn rejected(&self, objects: usize) {
        self.past().minutes.at(self.minute(), |counts| counts.rejected += objects as u64);
    }

    /// Notes that a target accepted all that the news of `heard` (Unix milliseconds) about an event altered.
    pub fn taken(&self, event: Uuid, heard: i64, target: &str) {
        self.past().timeline.taken(event, heard, target, Utc::now());
    }

    /// Notes that an event, or one of its attributes, carries a tag which says this level.
    pub fn marked(&self, event: Uuid, level: Tlp) {
        self.past().timeline.marked(event, level);
    }

    /// Forgets how far an event may be shown: one of its tags was renamed or deleted.
    pub fn retagged(&self, event: Uuid) {
        self.past().timeline.retagged(event);
    }

    pub fn now(&self) -> History {
        let mut past = self.past();
        History {
            since: self.0.since,
            minutes: past.minutes.until(self.minute()),
            events: past.timeline.newest_first(),
            last: past.last.clone(),
        }
    }

    fn minute(&self) -> u64 {
        number(self.0.began.elapsed())
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.0.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(since: Duration) -> u64 {
    since.as_secs() / 60
}
