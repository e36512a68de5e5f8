//! The notices by which every intake (ZeroMQ, webhook, REST) tells the ledger what happened in MISP. The
//! ledger's writer is their only reader.

use std::time::{Instant, SystemTime};

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use crate::document::Document;
use crate::pure::misp::{Audience, Sighting};

/// One piece of news from MISP on its way to the ledger.
#[derive(Debug)]
pub struct Notice {
    pub what: What,
    /// The time of its arrival. Latency is counted from here.
    pub received: Instant,
    /// Completed after the commit. `None` where nobody waits.
    pub done: Option<oneshot::Sender<Receipt>>,
    /// The memory that the notice holds. It is given back when the notice is dropped.
    pub memory: Option<OwnedSemaphorePermit>,
}

/// What the ledger did with a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    Committed,
    /// The body was no event, or held nothing that the ledger could take.
    Refused,
    /// The read settles nothing: the event changed meanwhile, or MISP has not saved it yet. The event is
    /// read again.
    Again,
    /// The ledger could not be written.
    Failed,
}

/// What an intake tells the ledger.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// A publication: the JSON document of an event, in any of MISP's shapes.
    Published(Bytes),
    /// A publication that the webhook announced. It counts only after a REST read has confirmed it, or the feed if
    /// there is no key.
    Announced(Bytes),
    Withdrawn(Withdrawal),
    Tagged(TagChange),
    /// A tag was renamed or deleted. The frame has only MISP's number of the tag.
    TagAltered(i64),
    /// A false positive or an expiration was reported.
    Sighted(Box<ReportedSighting>),
    /// The event was edited or unpublished. Only a read can show how.
    Touched(Uuid),
    /// A warninglist was changed, or switched on or off. Its number, where MISP tells it.
    Warninglist(Option<u64>),
    Gap(Gap),
    /// The answer to a read of an event.
    Read(Read),
}

/// The answer to a direct, unfiltered read of one event over REST. It decides over everything that was
/// pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub event: Uuid,
    /// The time at which the request began.
    pub began: SystemTime,
    /// The event's sequence in the ledger at that moment. If it has grown since, the answer is older than
    /// something that the ledger knows already.
    pub sequence: i64,
    /// The number of the request for this read in the ledger.
    pub asked: i64,
    /// The number of reads before this one that settled nothing.
    pub attempts: i64,
    /// A publication waits for this read: it counts only if MISP shows it.
    pub confirm: bool,
    /// Whether only a catch-up or a resync asked for this read, and no notice did.
    pub backlog: bool,
    /// MISP's clock, Unix seconds.
    pub date: i64,
    pub answer: EventAnswer,
}

/// The part of an event that MISP shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventAnswer {
    /// The event with its live and deleted attributes, as `{"Event": …}`.
    Event {
        document: Document,
        /// `misp.search` selects it, or is empty: it may add indicators.
        selected: bool,
    },
    /// MISP says that there is no such event.
    Gone,
}

/// The name of an event in a frame: its uuid, or MISP's number where the frame has nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRef {
    pub uuid: Option<Uuid>,
    pub id: Option<i64>,
}

/// Something that MISP takes back. The times are MISP's, Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withdrawal {
    /// The attribute was deleted, soft or hard, or its `to_ids` was switched off.
    Attribute {
        event: EventRef,
        attribute: Uuid,
        timestamp: i64,
        cause: Cause,
    },
    /// The attribute has another type or value now. The old claims end at once, and the new ones wait for the next
    /// publication.
    Edited {
        event: EventRef,
        attribute: Uuid,
        timestamp: i64,
        kind: String,
        value: String,
        /// The audience now, where the frame tells it.
        audience: Option<Box<Audience>>,
    },
    /// An object or event was edited, and its audience may be smaller now.
    Shown(AudienceShown),
    /// The object was deleted with all its attributes.
    Object {
        event: EventRef,
        object: Uuid,
        timestamp: i64,
        /// MISP keeps nothing of it and tells no other MISP.
        for_good: bool,
    },
    Event {
        uuid: Uuid,
        timestamp: i64,
    },
}

/// The audience of something after an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudienceShown {
    pub what: Subject,
    pub audience: Audience,
    /// MISP's, of the edit, Unix seconds.
    pub timestamp: i64,
}

/// The subject of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Event(Uuid),
    Object(Uuid),
    Attribute(Uuid),
}

/// The reason why the claims of an attribute end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Softly: the attribute stays in MISP, marked as deleted, and MISPs pass that on when they synchronise.
    Deleted,
    /// MISP keeps nothing of it and tells no other MISP.
    DeletedForGood,
    ToIdsOff,
}

/// A tag that was attached or detached, with the numbers that MISP's frame gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagChange {
    pub event_id: i64,
    /// `None` for a tag of the event itself.
    pub attribute_id: Option<i64>,
    pub tag: String,
    pub local: bool,
    pub attached: bool,
}

/// A false positive or an expiration that was reported for an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedSighting {
    pub event: EventRef,
    pub attribute: Uuid,
    /// The attribute's type and value. `None`: the frame has only its uuid.
    pub said: Option<(String, String)>,
    pub sighting: Sighting,
    /// It was deleted.
    pub taken_back: bool,
}

/// A gap: something may have been missed. Only MISP's REST API can tell what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub reason: GapReason,
    /// ZeroMQ endpoint, or `webhook`.
    pub intake: String,
    /// The time since which something may be missing.
    pub since: SystemTime,
    /// The event that the dropped notice was about, where it is known.
    pub event: Option<Uuid>,
    /// Whether the dropped notice was the feed's publication of this event. The event is published then, so a copy that
    /// the webhook announced may be used instead.
    pub publication: bool,
}

/// The reason why something may have been missed: the label `reason` of the metric and of `status`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::EnumIter, strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum GapReason {
    /// The endpoint is not connected. This includes the time before the first connection of this run.
    Disconnected,
    Silent,
    /// The publisher's `uptime` fell, so it was restarted.
    PublisherRestarted,
    MalformedFrame,
    FrameTooLarge,
    /// The bound on waiting publications was reached.
    MemoryFull,
    LedgerFailed,
    /// The last run was killed, or its stop outlasted its grace time. Notices that it had not committed
    /// are lost.
    Interrupted,
    /// No relay ran between the last run, which ended in order, and this one. Noted only where no catch-up finds what was
    /// missed.
    Stopped,
    /// An operator asked for MISP to be read again.
    Asked,
}

impl GapReason {
    /// The word in metrics, status and logs.
    pub fn word(self) -> &'static str {
        self.into()
    }
}
