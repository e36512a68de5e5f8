//! Keeps the state of the ZeroMQ endpoints for `status`, and for tests that wait for a state.

use std::time::SystemTime;

use tokio::sync::watch;

use super::FeedSocket;
use crate::config::ZeroMq;

/// The state of one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct SocketStatus {
    /// `tcp://host:port`.
    pub endpoint: String,
    /// Whether the socket for publications is connected.
    pub publications: bool,
    /// Whether the socket for all other topics is connected.
    pub others: bool,
    /// The time of the last frame on either socket.
    pub last_frame: Option<SystemTime>,
    pub last_publication: Option<SystemTime>,
    /// The publisher's age in seconds by its last heartbeat.
    pub uptime: Option<i64>,
    /// The reason why it is not connected, or was last lost, with the remedy. Empty once both sockets are
    /// connected and a frame has come.
    pub error: Option<String>,
}

impl SocketStatus {
    /// Whether both sockets are connected.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.publications && self.others
    }
}

/// A shared view of all endpoints, in the order of the configuration.
#[derive(Debug, Clone)]
pub struct ZeroMqStatus(watch::Sender<Vec<SocketStatus>>);

impl ZeroMqStatus {
    /// Makes the view of all endpoints before any is connected.
    #[must_use]
    pub fn new(config: &ZeroMq) -> Self {
        let endpoint = |endpoint: &String| SocketStatus {
            endpoint: endpoint.clone(),
            ..SocketStatus::default()
        };
        Self(watch::Sender::new(config.endpoints.iter().map(endpoint).collect()))
    }

    /// Returns the present state of the endpoints.
    #[must_use]
    pub fn now(&self) -> Vec<SocketStatus> {
        self.0.borrow().clone()
    }

    /// Returns a receiver that waits for changes. Frames that change nothing but a time wake nobody.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Vec<SocketStatus>> {
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
    all: watch::Sender<Vec<SocketStatus>>,
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

    pub(super) fn frame(&self, time: SystemTime) {
        self.update(|status| {
            status.last_frame = Some(time);
            let recovered = status.connected() && status.error.is_some();
            if recovered {
                status.error = None;
            }
            recovered
        });
    }

    pub(super) fn publication(&self, time: SystemTime) {
        self.update(|status| {
            status.last_publication = Some(time);
            false
        });
    }

    pub(super) fn uptime(&self, uptime: i64) {
        self.update(|status| {
            status.uptime = Some(uptime);
            false
        });
    }

    fn update(&self, change: impl FnOnce(&mut SocketStatus) -> bool) {
        self.all.send_if_modified(|all| all.get_mut(self.index).is_some_and(change));
    }
}

fn connection(status: &mut SocketStatus, feed: FeedSocket) -> &mut bool {
    match feed {
        FeedSocket::Publications => &mut status.publications,
        FeedSocket::Others => &mut status.others,
    }
}
