//! The publisher of the demo: it sends MISP's frames over ZeroMQ on a real socket. As with MISP's own
//! publisher, a frame is lost if no subscriber is connected.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::Utc;
use zeromq::{Endpoint, PubSocket, Socket, SocketSend};

use super::recorded::Recording;
use super::scenario::{Act, red_taken_off, scenario};

/// The pause between two steps of [`publish_for_ever`]. All steps together must take longer than the
/// recording covers in the life of one event (35 s). Otherwise a round would look older than the round
/// before.
const BETWEEN: Duration = Duration::from_secs(3);

/// A publisher that can go down and come back on the same port.
pub(super) struct Feed {
    address: SocketAddr,
    /// The socket; `None` while the feed is down.
    socket: Option<PubSocket>,
    started: Instant,
}

impl Feed {
    /// Listens on an address. Port 0 means any free port.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(super) async fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let mut feed = Self { address, socket: None, started: Instant::now() };
        feed.open().await?;
        Ok(feed)
    }

    /// Listens again, after [`Feed::close`].
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(super) async fn open(&mut self) -> anyhow::Result<()> {
        let mut socket = PubSocket::new();
        let bound = socket.bind(&self.endpoint()).await;
        let failed = || format!("the feed cannot listen on {}", self.address);
        if let Endpoint::Tcp(_, port) = bound.with_context(failed)? {
            // The port is kept, so that the feed comes back where the relay looks for it.
            self.address.set_port(port);
        }
        (self.socket, self.started) = (Some(socket), Instant::now());
        Ok(())
    }

    /// Takes the feed down: its connections end, and its port is free.
    pub(super) async fn close(&mut self) {
        if let Some(socket) = self.socket.take() {
            // Errors are ignored: what cannot be unbound was not bound.
            drop(socket.close().await);
        }
    }

    /// Returns the endpoint, `tcp://ADDRESS`.
    pub(super) fn endpoint(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// Returns the seconds since the feed came up.
    pub(super) fn uptime(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Sends a frame to all subscribers.
    ///
    /// # Errors
    /// The feed is down, or the socket broke.
    pub(super) async fn publish(&mut self, frame: String) -> anyhow::Result<()> {
        let socket = self.socket.as_mut().context("the feed is down")?;
        socket.send(frame.into()).await.context("publish a frame")
    }
}

/// Publishes the recorded frames in a loop, each time as if they had just happened.
///
/// # Errors
/// The address cannot be bound, or `out` cannot be written.
pub(super) async fn publish_for_ever(
    address: SocketAddr,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut feed = Feed::bind(address).await?;
    writeln!(out, "MISP feed of recorded events on {}", feed.endpoint())?;
    loop {
        let recording = Recording::until(Utc::now());
        let mut steps = scenario(recording)?;
        // A round ends as it began: the tag would otherwise forbid the event in the next one.
        steps.push(red_taken_off(recording)?);
        for step in steps {
            // Steps that restart the feed are left out: others may listen.
            let Act::Send(frames) = step.act else { continue };
            writeln!(out, "{} {} {}", Utc::now().format("%H:%M:%S"), step.did, step.event)?;
            for frame in frames {
                feed.publish(frame).await?;
            }
            feed.publish(recording.heartbeat(feed.uptime())?).await?;
            tokio::time::sleep(BETWEEN).await;
        }
    }
}
