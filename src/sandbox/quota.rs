//! Enforces Sentinel's quota: each credential may make a fixed number of requests in any window. Pure: the
//! caller passes the time.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// The admitted requests of the last window, by client id. Refused ones do not count.
#[derive(Debug, Default)]
pub(super) struct Quota(HashMap<String, VecDeque<Instant>>);

impl Quota {
    /// Counts a request of `client`, or refuses it and says when the next one would be admitted.
    pub(super) fn admit(
        &mut self,
        client: &str,
        now: Instant,
        requests: u32,
        window: Duration,
    ) -> Result<(), Duration> {
        if requests == 0 {
            return Ok(());
        }
        let admitted = self.0.entry(client.to_owned()).or_default();
        while admitted.front().is_some_and(|oldest| now.duration_since(*oldest) > window) {
            admitted.pop_front();
        }
        if admitted.len() >= usize::try_from(requests).unwrap_or(usize::MAX) {
            let since = admitted.front().map_or(Duration::ZERO, |oldest| now - *oldest);
            return Err(window.saturating_sub(since));
        }
        admitted.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn window_slides() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut quota = Quota::default();
        let mut ask = |at: u64| quota.admit("a", start + second * at as u32, 3, WINDOW);
        assert_eq!([ask(0), ask(30), ask(59)], [Ok(()), Ok(()), Ok(())]);
        assert_eq!(ask(59), Err(second));
        assert_eq!(ask(60), Err(Duration::ZERO));
        assert_eq!(ask(61), Ok(()));
        assert_eq!(ask(62), Err(second * 28));
    }

    #[test]
    fn each_credential_has_its_own() {
        let start = Instant::now();
        let mut quota = Quota::default();
        assert_eq!(quota.admit("a", start, 1, WINDOW), Ok(()));
        assert_eq!(quota.admit("b", start, 1, WINDOW), Ok(()));
        assert_eq!(quota.admit("a", start, 1, WINDOW), Err(WINDOW));
        assert_eq!(quota.admit("a", start, 0, WINDOW), Ok(()));
    }
}
