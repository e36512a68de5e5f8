//! The intake from MISP's ZeroMQ publishers, which keeps two sockets connected to each. One socket takes only
//! the publications, so that a flood on the other topics never costs a publication. The other socket takes
//! all topics, and its traffic shows that the publisher is alive.

mod endpoint;
mod outage;
mod socket;
mod status;
mod watch;
mod wire;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub use endpoint::topics;
pub use status::{EndpointStatus, ZeroMqStatus};

use crate::config::ZeroMq;
use crate::intake::Inbox;
use endpoint::Endpoint;
pub(crate) use socket::{Received, Socket, SocketError};

/// One of an endpoint's two sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum FeedSocket {
    /// Only the topic of publications.
    Publications,
    /// All topics. A publication on this socket only shows that the other socket should have it too.
    Others,
}

impl FeedSocket {
    const BOTH: [Self; 2] = [Self::Publications, Self::Others];

    /// Returns the subscription, which is a prefix of topics. The space keeps the other topics out.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Publications => "misp_json ",
            Self::Others => "misp_json",
        }
    }

    /// Returns the word in metrics and logs.
    fn word(self) -> &'static str {
        self.into()
    }
}

/// Returns the words of the label `socket`.
pub fn sockets() -> impl Iterator<Item = &'static str> {
    FeedSocket::BOTH.into_iter().map(FeedSocket::word)
}

/// Reads all endpoints into the inbox until `stop`. An absent publisher or a full inbox neither ends nor
/// blocks it: what may have been missed becomes a gap. `status` must have been made for the same
/// configuration.
///
/// # Panics
/// Hands on a panic of one of its tasks.
pub async fn run(config: ZeroMq, inbox: Inbox, status: ZeroMqStatus, stop: CancellationToken) {
    let config = Arc::new(config);
    let mut tasks = JoinSet::new();
    for (index, address) in config.endpoints.iter().enumerate() {
        let line = status.line(index);
        let endpoint =
            Arc::new(Endpoint::new(address.clone(), Arc::clone(&config), inbox.clone(), line));
        for feed in FeedSocket::BOTH {
            tasks.spawn(Arc::clone(&endpoint).keep_connected(feed).in_current_span());
        }
        // A task of its own, since the sockets must never wait for room in the inbox.
        tasks.spawn(endpoint.offer_kept_gaps().in_current_span());
    }
    // The tasks never end by themselves, so an end is a panic, which must not go unnoticed.
    tokio::select! {
        () = stop.cancelled() => {}
        Some(Err(failed)) = tasks.join_next() => {
            if let Ok(panic) = failed.try_into_panic() {
                std::panic::resume_unwind(panic);
            }
        }
    }
    // This waits for the tasks, so that none of them offers a notice after `run` has returned.
    tasks.shutdown().await;
}
