//! Decides whether an endpoint is connected, silent or restarted, and whether a gap began, in which something may have
//! been missed. It reads no clock: the time is an argument.

use std::time::{Duration, Instant, SystemTime};

use super::FeedSocket;
use crate::notice::GapReason;

/// One moment on two clocks: the steady one to measure with, and the calendar's to show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClockReading {
    pub(crate) at: Instant,
    pub(crate) time: SystemTime,
}

/// The statement that something may have been missed since a time, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missed {
    pub(crate) reason: GapReason,
    pub(crate) since: SystemTime,
}

/// The reason why a connected socket is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Neither socket of the endpoint received anything.
    Endpoint,
    /// The other socket received a publication that this one never got.
    Publications,
}

/// The state of one endpoint over both its sockets.
#[derive(Debug)]
pub(crate) struct Watch {
    silence: Duration,
    /// The time since when this socket is connected. `None`: it is not.
    publications_since: Option<Instant>,
    /// The same for the other socket.
    others_since: Option<Instant>,
    /// The last frame on either socket. Before the first frame, the start.
    heard: ClockReading,
    last_publication: Option<Instant>,
    /// The oldest publication that only the other socket has brought.
    owed: Option<ClockReading>,
    /// The last uptime in seconds, and when it came.
    heartbeat: Option<(i64, SystemTime)>,
    /// The outage that is under way, from the first loss until both sockets are connected again.
    outage: Option<Outage>,
}

#[derive(Debug)]
struct Outage {
    missed: Missed,
    /// Whether the gap was returned at the beginning of the outage.
    told: bool,
}

impl Watch {
    /// Makes the state of an endpoint that was never connected. Everything since the start of the run may
    /// be missing.
    pub(crate) fn new(silence: Duration, now: ClockReading) -> Self {
        let missed = Missed { reason: GapReason::Disconnected, since: now.time };
        Self {
            silence,
            publications_since: None,
            others_since: None,
            heard: now,
            last_publication: None,
            owed: None,
            heartbeat: None,
            outage: Some(Outage { missed, told: false }),
        }
    }

    /// Notes that a socket is connected. Once both are, the outage is over, and its gap is returned. It is
    /// returned even if `lost` has returned it before: only now can MISP be asked for all of it.
    pub(crate) fn connected(&mut self, feed: FeedSocket, now: ClockReading) -> Option<Missed> {
        *self.since(feed) = Some(now.at);
        // A new socket cannot bring what was published before it.
        if feed == FeedSocket::Publications {
            self.owed = None;
        }
        if !self.is_whole() {
            return None;
        }
        let outage = self.outage.take()?;
        // From now on something can only be missed after now.
        self.heard.time = now.time;
        Some(outage.missed)
    }

    /// Notes that a socket was lost, or could not be connected. Returns the gap at an outage's first loss.
    pub(crate) fn lost(&mut self, feed: FeedSocket, reason: GapReason) -> Option<Missed> {
        *self.since(feed) = None;
        // What came up to the last frame is here. Only what came after it can be missing.
        let missed = Missed { reason, since: self.heard.time };
        // A further loss keeps the first `since`, which reaches back further.
        let outage = self.outage.get_or_insert(Outage { missed, told: false });
        let first = !outage.told;
        outage.told = true;
        first.then_some(outage.missed)
    }

    /// Returns whether both sockets are connected.
    pub(crate) fn is_whole(&self) -> bool {
        self.publications_since.is_some() && self.others_since.is_some()
    }

    /// Notes that a frame arrived on either socket.
    pub(crate) fn heard(&mut self, now: ClockReading) {
        // Frames of either socket count: a publisher may have nothing to publish for hours.
        self.heard = now;
    }

    /// Notes that a publication arrived on the socket for publications.
    pub(crate) fn publication(&mut self, now: ClockReading) {
        self.last_publication = Some(now.at);
        self.owed = None;
    }

    /// Notes that a publication arrived on the other socket. The socket for publications owes it, unless it
    /// has just brought one or is itself new.
    pub(crate) fn publication_elsewhere(&mut self, now: ClockReading) {
        let recent = |at: Option<Instant>| {
            at.is_some_and(|at| now.at.saturating_duration_since(at) < self.patience())
        };
        // The same publication may just have come on its own socket, since the order of the two is open.
        let excused = recent(self.last_publication) || recent(self.publications_since);
        // The oldest debt stays: a stream of publications must not put the verdict off for ever.
        if !excused && self.owed.is_none() {
            self.owed = Some(now);
        }
    }

    /// Notes the publisher's uptime. If it is smaller than at the last heartbeat, the publisher was
    /// restarted, and what it sent since then may be missing.
    pub(crate) fn heartbeat(&mut self, uptime: i64, now: ClockReading) -> Option<Missed> {
        // A restarted publisher counts from zero. What it lost was sent after the last heartbeat.
        let (uptime_before, since) = self.heartbeat.replace((uptime, now.time))?;
        let missed = Missed { reason: GapReason::PublisherRestarted, since };
        (uptime < uptime_before).then_some(missed)
    }

    /// Decides whether a connected socket has been silent for too long. `None`: it stays.
    pub(crate) fn verdict(&mut self, feed: FeedSocket, now: ClockReading) -> Option<Silence> {
        let connected = (*self.since(feed))?;
        // A new socket gets the whole time, or it would be replaced at once after a long outage.
        let quiet_since = self.heard.at.max(connected);
        if now.at.saturating_duration_since(quiet_since) >= self.silence {
            return Some(Silence::Endpoint);
        }
        let owed = self.owed.filter(|_| feed == FeedSocket::Publications)?;
        let overdue = now.at.saturating_duration_since(owed.at) >= self.patience();
        overdue.then_some(Silence::Publications)
    }

    /// Returns how much later a publication may arrive on one socket than on the other. A large frame takes
    /// seconds on a slow line, and both sockets carry it at the same time.
    fn patience(&self) -> Duration {
        self.silence / 4
    }

    fn since(&mut self, feed: FeedSocket) -> &mut Option<Instant> {
        match feed {
            FeedSocket::Publications => &mut self.publications_since,
            FeedSocket::Others => &mut self.others_since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(60);

    fn second(n: u64) -> impl Fn(ClockReading) -> ClockReading {
        let step = Duration::from_secs(n);
        move |start| ClockReading { at: start.at + step, time: start.time + step }
    }

    fn connected() -> (Watch, ClockReading) {
        let start = ClockReading::now();
        let mut watch = Watch::new(SILENCE, start);
        for feed in FeedSocket::BOTH {
            watch.connected(feed, start);
        }
        (watch, start)
    }

    #[test]
    fn an_outage_is_told_at_its_start_and_when_both_sockets_are_back() {
        let start = ClockReading::now();
        let mut watch = Watch::new(SILENCE, start);
        let since_start = Some(Missed { reason: GapReason::Disconnected, since: start.time });
        assert_eq!(watch.connected(FeedSocket::Others, start), None);
        assert_eq!(watch.connected(FeedSocket::Publications, start), since_start);

        let last = second(5)(start);
        watch.heard(last);
        let since_last = Some(Missed { reason: GapReason::Disconnected, since: last.time });
        assert_eq!(watch.lost(FeedSocket::Publications, GapReason::Disconnected), since_last);
        assert_eq!(watch.lost(FeedSocket::Others, GapReason::Disconnected), None);
        assert_eq!(watch.connected(FeedSocket::Publications, last), None);
        assert_eq!(watch.connected(FeedSocket::Others, last), since_last);
    }

    #[test]
    fn what_is_lost_before_any_frame_was_lost_since_the_connection() {
        let start = ClockReading::now();
        let mut watch = Watch::new(SILENCE, start);
        let whole = second(5)(start);
        watch.connected(FeedSocket::Others, start);
        watch.connected(FeedSocket::Publications, whole);
        let missed = watch.lost(FeedSocket::Others, GapReason::Disconnected);
        assert_eq!(missed.map(|missed| missed.since), Some(whole.time));
    }

    #[test]
    fn a_publisher_absent_at_start_is_told_once() {
        let start = ClockReading::now();
        let mut watch = Watch::new(SILENCE, start);
        assert!(watch.lost(FeedSocket::Others, GapReason::Disconnected).is_some());
        assert!(watch.lost(FeedSocket::Publications, GapReason::Disconnected).is_none());
        assert!(watch.lost(FeedSocket::Others, GapReason::Disconnected).is_none());
    }

    #[test]
    fn silence_counts_over_both_sockets_and_from_the_connection_on() {
        let (mut watch, start) = connected();
        assert_eq!(watch.verdict(FeedSocket::Others, second(59)(start)), None);
        assert_eq!(watch.verdict(FeedSocket::Others, second(60)(start)), Some(Silence::Endpoint));
        watch.heard(second(30)(start));
        assert_eq!(watch.verdict(FeedSocket::Publications, second(89)(start)), None);
        assert_eq!(
            watch.verdict(FeedSocket::Publications, second(90)(start)),
            Some(Silence::Endpoint)
        );
        watch.lost(FeedSocket::Publications, GapReason::Silent);
        watch.connected(FeedSocket::Publications, second(90)(start));
        assert_eq!(watch.verdict(FeedSocket::Publications, second(149)(start)), None);
    }

    #[test]
    fn a_publication_seen_only_by_the_other_socket_is_owed() {
        let (mut watch, start) = connected();
        watch.publication_elsewhere(second(20)(start));
        watch.heard(second(34)(start));
        assert_eq!(watch.verdict(FeedSocket::Publications, second(34)(start)), None);
        let late = second(35)(start);
        assert_eq!(watch.verdict(FeedSocket::Publications, late), Some(Silence::Publications));
        assert_eq!(watch.verdict(FeedSocket::Others, late), None);
        watch.publication(late);
        assert_eq!(watch.verdict(FeedSocket::Publications, late), None);
    }

    #[test]
    fn a_publication_that_came_first_on_its_own_socket_is_not_owed() {
        let (mut watch, start) = connected();
        watch.publication(second(20)(start));
        watch.publication_elsewhere(second(21)(start));
        watch.heard(second(59)(start));
        assert_eq!(watch.verdict(FeedSocket::Publications, second(59)(start)), None);
    }

    #[test]
    fn a_falling_uptime_is_a_restart() {
        let (mut watch, start) = connected();
        assert!(watch.heartbeat(41, start).is_none());
        let last = second(10)(start);
        assert!(watch.heartbeat(51, last).is_none());
        let restarted = Missed { reason: GapReason::PublisherRestarted, since: last.time };
        assert_eq!(watch.heartbeat(11, second(30)(start)), Some(restarted));
    }
}
