//! Keeps the state of the ZeroMQ endpoints for `status`, and for tests that wait for a state.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::FeedSocket;
use crate::config::ZeroMq;

/// The state of one endpoint: a ZeroMQ publisher of MISP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// `tcp://host:port`.
    pub endpoint: String,
    /// Whether the socket for publications is connected.
    pub publications_connected: bool,
    /// Whether the socket for all other topics is connected.
    pub others_connected: bool,
    /// The time of the last frame on either socket.
    pub last_frame: Option<DateTime<Utc>>,
    /// The time of the last publication on its own socket.
    pub last_publication: Option<DateTime<Utc>>,
    /// The publisher's age in seconds by its last heartbeat.
    pub uptime: Option<i64>,
    /// The reason why it is not connected, or was last lost, with the remedy. Empty once both sockets are
    /// connected and a frame has come.
    pub error: Option<String>,
}

impl EndpointStatus {
    /// Returns whether both sockets are connected.
    pub fn connected(&self) -> bool {
        self.publications_connected && self.others_connected
    }
}

/// A shared view of all endpoints, in the order of the configuration.
#[derive(Debug, Clone)]
pub struct ZeroMqStatus(watch::Sender<Vec<EndpointStatus>>);

impl ZeroMqStatus {
    /// Makes the view of all endpoints before any is connected.
    pub fn new(config: &ZeroMq) -> Self {
        let endpoint = |endpoint: &String| EndpointStatus {
            endpoint: endpoint.clone(),
            ..EndpointStatus::default()
        };
        Self(watch::Sender::new(config.endpoints.iter().map(endpoint).collect()))
    }

    /// Returns the present state of the endpoints.
    pub fn now(&self) -> Vec<EndpointStatus> {
        self.0.borrow().clone()
    }

    /// Returns a receiver that waits for changes. Frames that change nothing but a time wake nobody.
    pub fn subscribe(&self) -> watch::Receiver<Vec<EndpointStatus>> {
        self.0.subscribe()
    }

    /// Returns the writing end for one endpoint.
    pub(super) fn line(&self, index: usize) -> StatusLine {
        StatusLine { all: self.0.clone(), index }
    }
}

/// The writing end for one endpoint.
#[derive(Debug)]
pub(super) struct StatusLine {
    all: watch::Sender<Vec<EndpointStatus>>,
    index: usize,
}

impl StatusLine {
    pub(super) fn connected(&self, feed: FeedSocket) {
        self.update(|status| {
            *connection(status, feed) = true;
            true
        });
    }

    pub(super) fn lost(&self, feed: FeedSocket, error: String) {
        self.update(|status| {
            *connection(status, feed) = false;
            status.error = Some(error);
            true
        });
    }

    pub(super) fn frame(&self, time: DateTime<Utc>) {
        self.update(|status| {
            status.last_frame = Some(time);
            // A frame ends the error, not the connection: only a frame shows that the subscription works.
            let recovered = status.connected() && status.error.is_some();
            if recovered {
                status.error = None;
            }
            recovered
        });
    }

    pub(super) fn publication(&self, time: DateTime<Utc>) {
        self.update(|status| {
            status.last_publication = Some(time);
            // Not a change: a new time must not wake those who wait for a state.
            false
        });
    }

    pub(super) fn uptime(&self, uptime: i64) {
        self.update(|status| {
            status.uptime = Some(uptime);
            false
        });
    }

    fn update(&self, change: impl FnOnce(&mut EndpointStatus) -> bool) {
        // An index beyond the list changes nothing. `run` demands a status of the same configuration.
        self.all.send_if_modified(|all| all.get_mut(self.index).is_some_and(change));
    }
}

fn connection(status: &mut EndpointStatus, feed: FeedSocket) -> &mut bool {
    match feed {
        FeedSocket::Publications => &mut status.publications_connected,
        FeedSocket::Others => &mut status.others_connected,
    }
}
