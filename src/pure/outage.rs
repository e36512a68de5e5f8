//! Follows a fault from its first failure to its end. It decides which failures are told, so that a lasting
//! fault fills no log, and knows at the end how long it was. Pure.

use std::time::{Duration, Instant};

/// A part that may be failing.
#[derive(Debug, Default)]
pub struct Outage(Option<Lasting>);

#[derive(Debug)]
struct Lasting {
    began: Instant,
    failures: u64,
    /// The kind of the failure that was told last, and when it was.
    told: (String, Instant),
}

/// An outage as it is, or as it was at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Down {
    /// How long it has lasted.
    pub lasted: Duration,
    /// The failures in it.
    pub failures: u64,
}

/// The time after which a failure of the same kind is told again.
const REMIND: Duration = Duration::from_secs(60);

impl Outage {
    /// Notes a failure. Returns the outage if it is to be told: it is of another kind than the last one that was
    /// told, or that was a minute ago.
    pub fn failed(&mut self, kind: &str, now: Instant) -> Option<Down> {
        let Some(lasting) = &mut self.0 else {
            self.0 = Some(Lasting { began: now, failures: 1, told: (kind.to_owned(), now) });
            return Some(Down { lasted: Duration::ZERO, failures: 1 });
        };
        lasting.failures += 1;
        let (told, at) = &lasting.told;
        if told == kind && now.saturating_duration_since(*at) < REMIND {
            return None;
        }
        // Only what is told moves the time, so that a lasting fault is told once in each minute.
        lasting.told = (kind.to_owned(), now);
        Some(lasting.down(now))
    }

    /// Returns the outage, if there is one.
    pub fn so_far(&self, now: Instant) -> Option<Down> {
        self.0.as_ref().map(|lasting| lasting.down(now))
    }

    /// Notes that it works. Returns the outage that has ended.
    pub fn over(&mut self, now: Instant) -> Option<Down> {
        self.0.take().map(|lasting| lasting.down(now))
    }
}

impl Lasting {
    fn down(&self, now: Instant) -> Down {
        Down { lasted: now.saturating_duration_since(self.began), failures: self.failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(seconds: u64, failures: u64) -> Down {
        Down { lasted: Duration::from_secs(seconds), failures }
    }

    #[test]
    fn a_failure_is_told_when_it_is_new_and_once_a_minute() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(outage.failed("refused", start), Some(down(0, 1)));
        assert_eq!(outage.failed("refused", at(59)), None);
        assert_eq!(outage.failed("mute", at(59)), Some(down(59, 3)));
        assert_eq!(outage.failed("mute", at(118)), None);
        assert_eq!(outage.failed("mute", at(119)), Some(down(119, 5)));
    }

    #[test]
    fn the_end_tells_how_long_it_was_once() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        assert_eq!(outage.over(start), None);
        outage.failed("refused", start);
        outage.failed("refused", start + REMIND / 2);
        assert_eq!(outage.over(start + REMIND), Some(down(60, 2)));
        assert_eq!(outage.over(start + REMIND), None);
        assert_eq!(outage.failed("refused", start + REMIND), Some(down(0, 1)), "a new one");
    }
}
