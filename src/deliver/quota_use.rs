//! Counts the requests and objects that were sent under a quota lately, for `status` and the metrics. It limits
//! nothing: `pure::pacer` keeps the quota.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::pure::pacer::Pacer;

/// How much of a quota is used. The requests of commands, such as `cleanup`, are not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaStatus {
    /// The time that the quota is for, seconds.
    pub window_seconds: u64,
    /// The requests that left in the last window.
    pub requests: u64,
    /// The most requests in any window; 0: there is no limit.
    pub requests_limit: u64,
    /// The objects that left in the last window.
    pub objects: u64,
    /// The most objects that so many requests can hold; 0: there is no limit.
    pub objects_limit: u64,
    /// The targets that share the quota, in the order of the configuration.
    pub targets: Vec<String>,
}

/// A quota: its pacer, and how much of it is used. Clones share both.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    pub pacer: Pacer,
    pub used: QuotaUse,
}

/// The use of one quota. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct QuotaUse(Arc<Mutex<Used>>);

#[derive(Debug)]
struct Used {
    requests_limit: u32,
    /// The most objects in a request, of all targets.
    most_objects: usize,
    window: Duration,
    /// What left, by the part of the window: bounded also where nothing limits the requests.
    left: VecDeque<Departures>,
    targets: Vec<String>,
}

/// The requests and objects that were sent within a sixtieth of the window.
#[derive(Debug)]
struct Departures {
    began: Instant,
    requests: u64,
    objects: u64,
}

/// The number of parts into which the window is divided for counting.
const PARTS: u32 = 60;

impl QuotaUse {
    pub(super) fn new(requests_limit: u32, window: Duration) -> Self {
        let (left, targets) = (VecDeque::new(), Vec::new());
        Self(Arc::new(Mutex::new(Used { requests_limit, most_objects: 0, window, left, targets })))
    }

    /// Notes that a target sends under this quota, with at most this many objects in a request.
    pub(super) fn share(&self, target: &str, most_objects: usize) {
        let mut used = self.used();
        used.targets.push(target.to_owned());
        used.most_objects = used.most_objects.max(most_objects);
    }

    /// Notes that a request with this many objects is sent.
    pub(super) fn sent(&self, objects: usize, now: Instant) {
        let mut used = self.used();
        used.forget(now);
        let part = used.window / PARTS;
        let objects = objects as u64;
        match used.left.back_mut() {
            Some(last) if now.saturating_duration_since(last.began) < part => {
                last.requests += 1;
                last.objects += objects;
            }
            _ => used.left.push_back(Departures { began: now, requests: 1, objects }),
        }
    }

    pub(super) fn status(&self, now: Instant) -> QuotaStatus {
        let mut used = self.used();
        used.forget(now);
        let requests_limit = u64::from(used.requests_limit);
        QuotaStatus {
            window_seconds: used.window.as_secs(),
            requests: used.left.iter().map(|one| one.requests).sum(),
            requests_limit,
            objects: used.left.iter().map(|one| one.objects).sum(),
            objects_limit: requests_limit * used.most_objects as u64,
            targets: used.targets.clone(),
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    /// Forgets what was sent before the window.
    fn forget(&mut self, now: Instant) {
        let window = self.window;
        let is_over = |one: &Departures| now.saturating_duration_since(one.began) >= window;
        while self.left.front().is_some_and(is_over) {
            self.left.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_left_in_the_last_minute_is_counted() {
        let (quota, start) = (QuotaUse::new(99, MINUTE), Instant::now());
        quota.share("soc", 100);
        quota.share("csirt", 50);
        for second in 0..90 {
            quota.sent(10, start + Duration::from_secs(second));
        }
        let status = quota.status(start + Duration::from_secs(89));
        assert_eq!((status.requests, status.objects), (60, 600));
        assert_eq!((status.requests_limit, status.objects_limit), (99, 9_900));
        assert_eq!(status.targets, ["soc", "csirt"]);
        let later = quota.status(start + Duration::from_secs(200));
        assert_eq!((later.requests, later.objects), (0, 0));
    }

    #[test]
    fn a_quota_without_a_limit_takes_no_more_memory() {
        let (quota, start) = (QuotaUse::new(0, MINUTE), Instant::now());
        for millis in 0..100_000 {
            quota.sent(1, start + Duration::from_millis(millis));
        }
        assert!(quota.used().left.len() <= 61, "{}", quota.used().left.len());
        assert_eq!(quota.status(start).objects_limit, 0);
    }
}
