//! Tells when a socket of the feed is lost, and when it is connected again.

use std::time::Instant;

use super::FeedSocket;
use crate::log_event::{LogEvent, info_if, ms};
use crate::pure::outage::{Down, Outage};

/// An outage of one socket.
#[derive(Debug)]
pub(super) struct FeedOutage {
    faults: Outage,
    /// A loss was told since the last connection that was told, so the next connection is told too. Of a connection
    /// that comes and goes, both are told once a minute.
    is_told: bool,
}

impl Default for FeedOutage {
    fn default() -> Self {
        // The first connection is told as well.
        Self { faults: Outage::default(), is_told: true }
    }
}

impl FeedOutage {
    pub(super) fn tell_connected(&mut self, endpoint: &str, feed: FeedSocket) {
        let down = self.faults.so_far(Instant::now());
        let is_news = std::mem::take(&mut self.is_told);
        info_if!(
            is_news,
            event = LogEvent::FeedConnected.word(),
            endpoint,
            socket = feed.word(),
            down_ms = down.map(|down| ms(down.lasted)),
            "The socket is connected to MISP's ZeroMQ publisher"
        );
    }

    pub(super) fn tell_lost(&mut self, endpoint: &str, feed: FeedSocket, why: &str) {
        let told = self.faults.failed(why, Instant::now());
        // A try that fails like the one before it is not told, and takes nothing back.
        self.is_told |= told.is_some();
        let Some(Down { lasted, failures }) = told else {
            tracing::debug!(
                endpoint,
                socket = feed.word(),
                why,
                "The socket is still not connected"
            );
            return;
        };
        tracing::warn!(
            event = LogEvent::FeedDisconnected.word(),
            endpoint,
            socket = feed.word(),
            why,
            down_ms = ms(lasted),
            failures,
            "The socket is not connected to MISP's ZeroMQ publisher, and is tried again all the time"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_told_after_a_loss_that_was_told_however_many_tries_failed() {
        let mut outage = FeedOutage::default();
        let [feed, _] = FeedSocket::BOTH;
        assert!(outage.is_told, "the first connection");
        outage.tell_connected("tcp://a:1", feed);
        assert!(!outage.is_told);
        for _ in 0..3 {
            outage.tell_lost("tcp://a:1", feed, "refused");
        }
        assert!(outage.is_told);
        outage.tell_connected("tcp://a:1", feed);
        outage.tell_lost("tcp://a:1", feed, "refused");
        assert!(!outage.is_told, "lost again within the minute");
    }
}
