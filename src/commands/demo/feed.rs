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

/// Between two frames of [`publish_until`]. All frames together must take longer than the recording
/// is long in the life of one event (35 s), or a round would look older than the one before.
const BETWEEN: Duration = Duration::from_secs(3);

/// A publisher that can go down and come back on its port.
pub(super) struct Feed {
    address: SocketAddr,
    /// `None` while it is down.
    socket: Option<PubSocket>,
    started: Instant,
}

impl Feed {
    /// Listens on an address; port 0 is any.
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
            self.address.set_port(port);
        }
        (self.socket, self.started) = (Some(socket), Instant::now());
        Ok(())
    }

    /// Goes down: connections end, the port is free.
    pub(super) async fn close(&mut self) {
        if let Some(socket) = self.socket.take() {
            // What cannot be unbound was not bound.
            drop(socket.close().await);
        }
    }

    /// `tcp://ADDRESS`.
    pub(super) fn endpoint(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// Seconds since it came up.
    pub(super) fn uptime(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Sends to all who have subscribed.
    ///
    /// # Errors
    /// The feed is down, or the socket broke.
    pub(super) async fn publish(&mut self, frame: String) -> anyhow::Result<()> {
        let socket = self.socket.as_mut().context("the feed is down")?;
        socket.send(frame.into()).await.context("publish a frame")
    }
}

/// Publishes the recorded frames again and again, each time as if they had just happened.
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
        steps.push(red_taken_off(recording)?);
        for step in steps {
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
