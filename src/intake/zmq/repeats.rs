//! Decides whether a failed attempt to connect is logged: only if the failure is a new one, or a minute has passed.
//! Pure.

use std::time::{Duration, Instant};

/// The last text that was logged. A repeated text is not logged again at once, since one attempt per second would fill
/// the log.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    last: Option<(String, Instant)>,
}

/// The time after which a repeated line is logged again.
const REMIND: Duration = Duration::from_secs(60);

impl Repeats {
    /// Decides whether to log the text: if it differs from the last one, or was last logged a minute ago.
    pub(super) fn is_news(&mut self, text: &str, now: Instant) -> bool {
        let repeated = self
            .last
            .as_ref()
            .is_some_and(|(last, at)| last == text && now.saturating_duration_since(*at) < REMIND);
        // Only a logged text moves the time, so that a lasting failure is logged once in each minute.
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
    fn a_repetition_is_news_again_after_a_minute() {
        let start = Instant::now();
        let mut repeats = Repeats::default();
        assert!(repeats.is_news("refused", start));
        assert!(!repeats.is_news("refused", start + Duration::from_secs(59)));
        assert!(repeats.is_news("mute", start + Duration::from_secs(59)));
        assert!(repeats.is_news("mute", start + Duration::from_secs(119)));
    }
}
