//! Sums up what a target takes of the backlog: a first fill, a resync or a changed policy. It has too many events for
//! a line each. Pure.

use std::time::{Duration, Instant};

/// What a target took of the backlog since the last time that nothing of it waited.
#[derive(Debug)]
pub(super) struct BacklogSum {
    /// How often it is told.
    every: Duration,
    run: Option<Run>,
}

#[derive(Debug)]
struct Run {
    began: Instant,
    told: Instant,
    /// When something was last taken.
    last: Instant,
    objects: u64,
    events: u64,
}

/// How much was sent, and in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub objects: u64,
    /// Events of which everything was taken.
    pub events: u64,
    pub took: Duration,
}

/// What is to be told of the backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BacklogNews {
    GoesOn(Sent),
    Over(Sent),
}

impl BacklogSum {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, run: None }
    }

    /// Notes that the target took objects of the backlog.
    pub(super) fn accepted(&mut self, objects: u64, now: Instant) {
        if objects > 0 {
            let new = Run { began: now, told: now, last: now, objects: 0, events: 0 };
            let run = self.run.get_or_insert(new);
            run.objects += objects;
            run.last = now;
        }
    }

    /// Notes that the target took the last of an event.
    pub(super) fn closed(&mut self) {
        if let Some(run) = &mut self.run {
            run.events += 1;
        }
    }

    /// Returns what is to be told now. It is over once nothing has waited for a while, since a resync that is read
    /// more slowly than it is sent empties the lane again and again.
    pub(super) fn news(&mut self, is_waiting: bool, now: Instant) -> Option<BacklogNews> {
        let run = self.run.as_mut()?;
        if !is_waiting && now.saturating_duration_since(run.last) >= self.every {
            let sent = run.sent(run.last);
            self.run = None;
            return Some(BacklogNews::Over(sent));
        }
        if !is_waiting || now.saturating_duration_since(run.told) < self.every {
            return None;
        }
        // Nothing was taken since: the line on the fault says why.
        if run.last < run.told {
            return None;
        }
        run.told = now;
        Some(BacklogNews::GoesOn(run.sent(now)))
    }
}

impl Run {
    fn sent(&self, until: Instant) -> Sent {
        let took = until.saturating_duration_since(self.began);
        Sent { objects: self.objects, events: self.events, took }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_told_every_so_often_and_once_at_its_end() {
        let (mut sum, start) = (BacklogSum::new(Duration::from_secs(60)), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let sent =
            |objects, events, seconds| Sent { objects, events, took: Duration::from_secs(seconds) };
        assert_eq!(sum.news(true, start), None, "nothing was sent");
        sum.accepted(100, start);
        sum.closed();
        assert_eq!(sum.news(true, at(59)), None);
        assert_eq!(sum.news(true, at(60)), Some(BacklogNews::GoesOn(sent(100, 1, 60))));
        assert_eq!(sum.news(true, at(61)), None);
        sum.accepted(50, at(70));
        assert_eq!(sum.news(true, at(121)), Some(BacklogNews::GoesOn(sent(150, 1, 121))));
        assert_eq!(sum.news(false, at(129)), None, "more may come");
        assert_eq!(sum.news(true, at(200)), None, "the target takes nothing");
        assert_eq!(sum.news(false, at(201)), Some(BacklogNews::Over(sent(150, 1, 70))));
        assert_eq!(sum.news(false, at(500)), None);
    }
}
