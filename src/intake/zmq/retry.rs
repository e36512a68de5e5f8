//! Decides when to connect again, and when to log it again. Pure.

use std::time::{Duration, Instant};

/// The pauses between attempts. They double from a sixteenth of the longest.
#[derive(Debug)]
pub(super) struct Backoff {
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, next: longest / 16 }
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }

    pub(super) fn reset(&mut self) {
        self.next = self.longest / 16;
    }
}

/// Tells news from repetition, since an attempt a second would fill the log.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    last: Option<(String, Instant)>,
}

/// A line is logged again after so long.
const REMIND: Duration = Duration::from_secs(60);

impl Repeats {
    /// Whether the text differs from the last one, or was last logged a minute ago.
    pub(super) fn is_news(&mut self, text: &str, now: Instant) -> bool {
        let repeated = self
            .last
            .as_ref()
            .is_some_and(|(last, at)| last == text && now.saturating_duration_since(*at) < REMIND);
        if !repeated {
            self.last = Some((text.to_owned(), now));
        }
        !repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(1_600));
        let pauses: Vec<_> = (0..7).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 1_600, 1_600]);
        backoff.reset();
        assert_eq!(backoff.next().as_millis(), 100);
    }

    #[test]
    fn a_repetition_is_news_again_after_a_minute() {
        let start = Instant::now();
        let mut repeats = Repeats::default();
        assert!(repeats.is_news("refused", start));
        assert!(!repeats.is_news("refused", start + Duration::from_secs(59)));
        assert!(repeats.is_news("mute", start + Duration::from_secs(59)));
        assert!(repeats.is_news("mute", start + Duration::from_secs(119)));
    }
}
