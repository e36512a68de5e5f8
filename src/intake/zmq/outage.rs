//! Tells when a socket of the feed is lost, and when it is connected again.

use std::time::Instant;

use super::FeedSocket;
use crate::log_event::{LogEvent, info_if, ms};
use crate::pure::outage::{Down, Outage};

/// An outage of one socket.
#[derive(Debug)]
pub(super) struct FeedOutage {
    faults: Outage,
    /// The last loss was told, so its end is told too. Of a connection that comes and goes neither is.
    is_told: bool,
}

impl Default for FeedOutage {
    fn default() -> Self {
        // The first connection is told as well.
        Self { faults: Outage::default(), is_told: true }
    }
}

impl FeedOutage {
    pub(super) fn tell_connected(&self, endpoint: &str, feed: FeedSocket) {
        let down = self.faults.so_far(Instant::now());
        info_if!(
            self.is_told,
            event = LogEvent::FeedConnected.word(),
            endpoint,
            socket = feed.word(),
            down_ms = down.map(|down| ms(down.lasted)),
            "The socket is connected to MISP's ZeroMQ publisher"
        );
    }

    pub(super) fn tell_lost(&mut self, endpoint: &str, feed: FeedSocket, why: &str) {
        let told = self.faults.failed(why, Instant::now());
        self.is_told = told.is_some();
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
