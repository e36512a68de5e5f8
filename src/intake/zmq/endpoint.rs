//! Keeps the two sockets of one publisher connected and hands its frames to the inbox.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::FeedSocket;
use super::outage::FeedOutage;
use super::socket::{Received, Socket, SocketError};
use super::status::StatusLine;
use super::watch::{ClockReading, Missed, Silence, Watch};
use crate::caught::caught_now;
use crate::config::{Secret, SharedSecret, ZeroMq};
use crate::intake::frame::{self, Content, Frame, MalformedFrame, PUBLICATION};
use crate::intake::kept_gaps::KeptGaps;
use crate::intake::once_a_minute::OnceAMinute;
use crate::intake::{Full, Inbox};
use crate::log_event::LogEvent;
use crate::metrics;
use crate::notice::{Gap, GapReason, Subject, What, Withdrawal};
use crate::pure::backoff::Backoff;
use crate::pure::misp;

impl ClockReading {
    /// Reads both clocks.
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), time: SystemTime::now() }
    }
}

/// The most gaps that are kept with their events while the inbox is full.
const MAX_KEPT: usize = 4_096;

/// A publisher that the tasks of its sockets share.
#[derive(Debug)]
pub(super) struct Endpoint {
    address: String,
    config: Arc<ZeroMq>,
    /// The password of `config` as it was last read.
    password: Option<SharedSecret>,
    inbox: Inbox,
    gaps: KeptGaps,
    malformed: OnceAMinute,
    dropped: OnceAMinute,
    watch: Mutex<Watch>,
    status: StatusLine,
}

/// The reason why a socket is replaced.
#[derive(Debug, Error)]
enum ConnectionEnd {
    /// The connection was lost, or could not be made.
    #[error(transparent)]
    Lost(SocketError),
    #[error("MISP's ZeroMQ said nothing for {0:?}: is its publisher alive, and is Redis?")]
    Silent(Duration),
    #[error("a publication came on the other socket and not on this one")]
    Starved,
}

impl ConnectionEnd {
    fn reason(&self) -> GapReason {
        match self {
            Self::Lost(_) => GapReason::Disconnected,
            Self::Silent(_) | Self::Starved => GapReason::Silent,
        }
    }
}

impl Endpoint {
    pub(super) fn new(
        address: String,
        config: Arc<ZeroMq>,
        inbox: Inbox,
        status: StatusLine,
    ) -> Self {
        let watch = Watch::new(config.silence, ClockReading::now());
        let gaps = KeptGaps::new(&address, inbox.clone(), MAX_KEPT);
        let password =
            config.credentials.as_ref().map(|plain| SharedSecret::new(plain.password.clone()));
        let watch = Mutex::new(watch);
        let endpoint = Self {
            address,
            config,
            password,
            inbox,
            gaps,
            malformed: OnceAMinute::default(),
            dropped: OnceAMinute::default(),
            watch,
            status,
        };
        // The metric must show 0 from the start, or a publisher that was never reached would show nothing.
        for feed in FeedSocket::BOTH {
            metrics::connected(&endpoint.address, feed.word(), false);
        }
        endpoint
    }

    /// Keeps one socket connected. Never ends.
    pub(super) async fn keep_connected(self: Arc<Self>, feed: FeedSocket) {
        let longest = self.config.reconnect_max;
        let backoff = Backoff::new(longest / 16, longest);
        let (mut failures, mut outage) = (0, FeedOutage::default());
        // PUB/SUB repeats nothing. So each new connection is a new socket, and the time between is a gap.
        loop {
            let (end, lasted) = self.session(feed, &mut outage).await;
            // A connection that broke at once was none: the next pause is longer, and the outage goes on.
            failures = if lasted >= longest { 1 } else { failures + 1 };
            if failures == 1 {
                outage = FeedOutage::default();
            }
            let pause = backoff.pause(failures, rand::random());
            // The loss is told before the pause, so that catch-up does not wait for the new connection.
            self.ended(feed, &end, &mut outage);
            tokio::time::sleep(pause).await;
        }
    }

    /// Offers gaps that did not fit into the inbox. Never ends.
    pub(super) async fn offer_kept_gaps(self: Arc<Self>) {
        self.gaps.offer_kept().await;
    }

    /// Runs one connection from the attempt to its end. Returns why it ended, and how long it was connected.
    async fn session(&self, feed: FeedSocket, past: &mut FeedOutage) -> (ConnectionEnd, Duration) {
        let socket = match self.connect(feed).await {
            Ok(socket) => socket,
            Err(error) => return (ConnectionEnd::Lost(error), Duration::ZERO),
        };
        let connected = Instant::now();
        // The watch learns of the connection before the first frame is read: silence counts from here.
        self.connected(feed, past);
        let end = self.read(feed, socket).await;
        (end, connected.elapsed())
    }

    /// Connects. If the password is refused, it is read again, since it may have been changed.
    async fn connect(&self, feed: FeedSocket) -> Result<Socket, SocketError> {
        let (address, prefix) = (&self.address, feed.prefix());
        let Some(held) = &self.password else {
            return Socket::connect(address, prefix, &self.config).await;
        };
        let password = held.now();
        let with = |password: Secret| self.config.with_password(password);
        match Socket::connect(address, prefix, &with(password.clone())).await {
            Err(SocketError::CredentialsRefused) => {
                match held.other_than(&password, "misp.zeromq.password").await {
                    Some(other) => Socket::connect(address, prefix, &with(other)).await,
                    None => Err(SocketError::CredentialsRefused),
                }
            }
            other => other,
        }
    }

    async fn read(&self, feed: FeedSocket, mut socket: Socket) -> ConnectionEnd {
        // An interval of zero panics. Sixteen looks notice a silence soon enough.
        let mut look = interval((self.config.silence / 16).max(Duration::from_millis(1)));
        // After a pause of the whole process one look is enough.
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // The branches never wait. `next` may be dropped for a tick, since it keeps what has arrived.
            tokio::select! {
                received = socket.next() => match received {
                    Ok(Received::Frame(frame)) => self.frame(feed, &frame),
                    Ok(Received::TooLarge { start, size }) => self.too_large(feed, &start, size),
                    Err(error) => return ConnectionEnd::Lost(error),
                },
                _ = look.tick() => match self.watch().verdict(feed, ClockReading::now()) {
                    Some(Silence::Endpoint) => return ConnectionEnd::Silent(self.config.silence),
                    Some(Silence::Publications) => return ConnectionEnd::Starved,
                    None => {}
                },
            }
        }
    }

    fn connected(&self, feed: FeedSocket, outage: &mut FeedOutage) {
        outage.tell_connected(&self.address, feed);
        metrics::connected(&self.address, feed.word(), true);
        self.status.connected(feed);
        // The lock ends with this statement, so that the gaps are recorded without it.
        let missed = self.watch().connected(feed, ClockReading::now());
        missed.into_iter().for_each(|missed| self.missed(missed));
    }

    fn ended(&self, feed: FeedSocket, end: &ConnectionEnd, outage: &mut FeedOutage) {
        outage.tell_lost(&self.address, feed, &end.to_string());
        metrics::connected(&self.address, feed.word(), false);
        self.status.lost(feed, end.to_string());
        // The lock ends with this statement, too.
        let missed = self.watch().lost(feed, end.reason());
        missed.into_iter().for_each(|missed| self.missed(missed));
    }

    /// Tells the ledger that something may have been missed.
    fn missed(&self, Missed { reason, since }: Missed) {
        self.gaps.record(self.gaps.gap(reason, since));
    }

    /// Acts on a frame. This never waits, since a slow reader would make the publisher drop frames unseen: a
    /// notice that does not fit into the inbox becomes a gap.
    fn frame(&self, feed: FeedSocket, frame: &Bytes) {
        let now = ClockReading::now();
        let split = Frame::split(frame);
        let topic = split.as_ref().map_or("", |frame| frame.topic);
        if !self.is_of(feed, topic, frame.len() as u64, now) {
            return;
        }
        // A fault of a parser costs this frame, and the connection goes on.
        let read =
            |frame: Frame<'_>| caught_now(|| frame.read()).unwrap_or(Err(MalformedFrame::Failed));
        match split.and_then(read) {
            Ok(content) => self.act(content, now),
            Err(malformed) => self.refuse_malformed(topic, frame.len(), &malformed, now),
        }
    }

    /// Acts on a frame that is too large, of which only the beginning was kept.
    fn too_large(&self, feed: FeedSocket, start: &[u8], size: u64) {
        let now = ClockReading::now();
        // Without a topic in its start, the frame counts as well: what it held is missed either way.
        let topic = frame::topic(start).unwrap_or_default();
        if self.is_of(feed, topic, size, now) {
            tracing::warn!(
                event = LogEvent::FrameTooLarge.word(),
                endpoint = %self.address,
                topic = start_of(topic),
                size,
                max_frame = self.config.max_frame,
                "A ZeroMQ frame is larger than misp.zeromq.max_frame, and is dropped. What it held is read over REST"
            );
            self.missed(Missed { reason: GapReason::FrameTooLarge, since: now.time });
        }
    }

    /// Notes that a frame came. Returns whether this socket must act on it.
    fn is_of(&self, feed: FeedSocket, topic: &str, size: u64, now: ClockReading) -> bool {
        metrics::bytes_received(&self.address, feed.word(), size);
        // A frame that this socket does not act on shows as well that the publisher lives.
        self.heard(now);
        // Both sockets receive publications. Acting on both would convert each event twice.
        if feed == FeedSocket::Others && topic == PUBLICATION {
            self.watch().publication_elsewhere(now);
            return false;
        }
        metrics::frame_received(&self.address, label(topic));
        if topic == PUBLICATION {
            self.watch().publication(now);
            self.status.publication(now.time.into());
        }
        true
    }

    fn heard(&self, now: ClockReading) {
        self.status.frame(now.time.into());
        metrics::last_frame(&self.address, now.time);
        self.watch().heard(now);
    }

    fn act(&self, content: Content, now: ClockReading) {
        match content {
            Content::Notice(what) => {
                if let What::Warninglist(id) = &what {
                    tracing::info!(
                        event = LogEvent::WarninglistChanged.word(),
                        endpoint = %self.address,
                        id,
                        "A warninglist changed in MISP"
                    );
                }
                self.offer(what, now);
            }
            Content::Heartbeat(uptime) => self.heartbeat(uptime, now),
            Content::Nothing => {}
        }
    }

    fn offer(&self, what: What, now: ClockReading) {
        let Err(Full(what)) = self.inbox.offer(what, now.at) else { return };
        // The gap names the event, so that it is read without waiting for a listing.
        // The dropped frame still proves the publication, so a copy that the webhook announced may stand in.
        let publication = matches!(what, What::Published(_));
        let event = event_of(&what);
        let gap = self.gaps.gap(GapReason::MemoryFull, now.time);
        self.gaps.record(Gap { event, publication, ..gap });
        if let Some(untold) = self.dropped.passes(now.at) {
            tracing::warn!(
                event = LogEvent::InboxFull.word(),
                endpoint = %self.address,
                misp_event = event.map(tracing::field::display),
                untold,
                "The ledger is behind, and misp.zeromq.max_waiting is reached. Notices are dropped, and noted as gaps"
            );
        }
    }

    fn heartbeat(&self, uptime: i64, now: ClockReading) {
        self.status.uptime(uptime);
        // A `let` of its own: in the condition of `if let` the lock would last through the block.
        let missed = self.watch().heartbeat(uptime, now);
        if let Some(missed) = missed {
            tracing::warn!(
                event = LogEvent::PublisherRestarted.word(),
                endpoint = %self.address,
                uptime,
                "MISP's ZeroMQ publisher was restarted, and something may have been missed"
            );
            self.missed(missed);
        }
    }

    fn refuse_malformed(&self, topic: &str, size: usize, why: &MalformedFrame, now: ClockReading) {
        let topic = start_of(topic);
        // Each gap costs a catch-up, so only one a minute is recorded.
        if let Some(untold) = self.malformed.passes(now.at) {
            self.missed(Missed { reason: GapReason::MalformedFrame, since: now.time });
            tracing::warn!(
                event = LogEvent::FrameMalformed.word(),
                endpoint = %self.address,
                topic,
                size,
                %why,
                untold,
                "A ZeroMQ frame cannot be read"
            );
        }
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a topic as the label of a metric.
fn label(topic: &str) -> &'static str {
    TOPICS.into_iter().find(|known| *known == topic).unwrap_or(UNKNOWN)
}

/// Returns the words of the label `topic`.
pub fn topics() -> impl Iterator<Item = &'static str> {
    TOPICS.into_iter().chain([UNKNOWN])
}

/// The label of a topic that is none of MISP's.
const UNKNOWN: &str = "unknown";

/// Returns the start of a topic, since a publisher may send any text.
fn start_of(topic: &str) -> &str {
    // The cut is at a character, since a cut inside one would give no text.
    topic.char_indices().nth(64).and_then(|(end, _)| topic.get(..end)).unwrap_or(topic)
}

/// MISP's topics. The values of a label must be few, whatever a publisher sends.
const TOPICS: [&str; 14] = [
    PUBLICATION,
    "misp_json_attribute",
    "misp_json_audit",
    "misp_json_conversation",
    "misp_json_event",
    "misp_json_object",
    "misp_json_object_reference",
    "misp_json_organisation",
    "misp_json_self",
    "misp_json_sighting",
    "misp_json_tag",
    "misp_json_user",
    "misp_json_warninglist",
    "misp_json_workflow",
];

/// Returns the event of a dropped notice, where the notice names it.
fn event_of(what: &What) -> Option<Uuid> {
    match what {
        What::Published(document) | What::Announced(document) => misp::event_uuid(document),
        What::Withdrawn(
            Withdrawal::Attribute { event, .. }
            | Withdrawal::Edited { event, .. }
            | Withdrawal::Object { event, .. },
        ) => event.uuid,
        What::Withdrawn(Withdrawal::Shown(shown)) => match shown.what {
            Subject::Event(uuid) => Some(uuid),
            // These frames name no event, so only a listing finds it.
            Subject::Object(_) | Subject::Attribute(_) => None,
        },
        What::Withdrawn(Withdrawal::Event { uuid, .. }) | What::Touched(uuid) => Some(*uuid),
        What::Sighted(sighted) => sighted.event.uuid,
        What::Gap(gap) => gap.event,
        What::Read(read) => Some(read.event),
        // These name the event by MISP's number or not at all, and a gap needs the uuid.
        What::Tagged(_) | What::TagAltered(_) | What::Warninglist(_) => None,
    }
}
