//! What an intake may say. Every intake (ZeroMQ, webhook, REST, later Kafka) speaks in notices,
//! and the ledger's writer is their only reader.

use std::time::{Instant, SystemTime};

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use crate::pure::misp::{Audience, Sighting};

/// One thing that MISP said, on its way to the ledger.
#[derive(Debug)]
pub struct Notice {
    pub what: What,
    /// When it arrived: latency is counted from here.
    pub received: Instant,
    /// Completed after the commit. `None` where nobody waits.
    pub done: Option<oneshot::Sender<Receipt>>,
    /// The memory that the notice holds; given back when it is dropped.
    pub memory: Option<OwnedSemaphorePermit>,
}

/// What the ledger did with a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    Committed,
    /// The body was no event, or held nothing that the ledger could take.
    Refused,
    /// A read that settles nothing: the event changed meanwhile, or MISP has not saved it yet. It is
    /// asked for again.
    Again,
    /// The ledger could not be written.
    Failed,
}

#[derive(Debug)]
pub enum What {
    /// A publication: the JSON document of an event, in any of MISP's shapes.
    Published(Bytes),
    /// A webhook's document: counts once a REST read, or without a key the feed, confirms it.
    Announced(Bytes),
    Withdrawn(Withdrawal),
    Tagged(TagChange),
    /// A tag was renamed or deleted: MISP's number of it.
    TagAltered(i64),
    /// A false positive or an expiration.
    Sighted(Box<Sighted>),
    /// The event was edited or unpublished: only a read tells how.
    Touched(Uuid),
    /// A warninglist changed, or was switched on or off: its number, where MISP tells it.
    Warninglist(Option<u64>),
    Gap(Gap),
    /// What MISP answered when it was asked about an event.
    Read(Read),
}

/// The answer of a direct, unfiltered read of one event over REST: the judge of what was pushed.
#[derive(Debug, Clone)]
pub struct Read {
    pub event: Uuid,
    /// When the request began.
    pub began: SystemTime,
    /// The event's sequence in the ledger at that moment: if it moved since, the answer is from
    /// before something that is known already.
    pub sequence: i64,
    /// Which asking it answers.
    pub asked: i64,
    /// How often it was asked for in vain before.
    pub attempts: i64,
    /// Asked for by a publication that counts only if MISP shows it.
    pub confirm: bool,
    /// Asked for by catch-up or resync, not by news.
    pub backlog: bool,
    /// MISP's clock, Unix seconds.
    pub date: i64,
    pub answer: Answer,
}

/// What MISP shows of an event.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The event with its live and deleted attributes, as `{"Event": …}`.
    Event {
        document: Bytes,
        /// `misp.search` selects it, or is empty: it may add indicators.
        selected: bool,
    },
    /// MISP says that there is no such event.
    Gone,
}

/// How a frame names an event: by uuid, or by MISP's number where the frame has nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRef {
    pub uuid: Option<Uuid>,
    pub id: Option<i64>,
}

/// What MISP takes back. Times are MISP's, Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withdrawal {
    /// Soft- or hard-deleted, or `to_ids` switched off.
    Attribute {
        event: EventRef,
        attribute: Uuid,
        timestamp: i64,
        cause: Cause,
    },
    /// The attribute now says something else: what it said before goes, the new waits for the
    /// publication.
    Edited {
        event: EventRef,
        attribute: Uuid,
        timestamp: i64,
        kind: String,
        value: String,
        /// To whom it is shown now, where the frame tells.
        audience: Option<Box<Audience>>,
    },
    /// An edited object or event is shown to these now: perhaps to fewer.
    Shown(Shown),
    /// An object with all its attributes.
    Object {
        event: EventRef,
        object: Uuid,
        timestamp: i64,
    },
    Event {
        uuid: Uuid,
        timestamp: i64,
    },
}

/// To whom MISP shows something after an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub what: Subject,
    pub audience: Audience,
    /// MISP's, of the edit, Unix seconds.
    pub timestamp: i64,
}

/// What an edit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Event(Uuid),
    Object(Uuid),
    Attribute(Uuid),
}

/// Why an attribute's claims end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Deleted,
    ToIdsOff,
}

/// A tag put on or taken off, with the numbers that MISP's frame gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagChange {
    pub event_id: i64,
    /// `None` for a tag of the event itself.
    pub attribute_id: Option<i64>,
    pub tag: String,
    pub local: bool,
    pub attached: bool,
}

/// A false positive or expiration that was reported of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighted {
    pub event: EventRef,
    pub attribute: Uuid,
    /// The attribute's type and value; `None`: the frame has only its uuid.
    pub said: Option<(String, String)>,
    pub sighting: Sighting,
    /// It was deleted.
    pub taken_back: bool,
}

/// Something may have been missed: only MISP's REST API can tell what.
#[derive(Debug, Clone)]
pub struct Gap {
    pub reason: GapReason,
    /// ZeroMQ endpoint, or `webhook`.
    pub intake: String,
    /// Since when nothing is certain.
    pub since: SystemTime,
    /// The event that the dropped notice was about, where it is known.
    pub event: Option<Uuid>,
    /// The feed's publication of this event was dropped: the event is published, and a webhook's
    /// copy may stand in.
    pub publication: bool,
}

/// Why something may have been missed (the label `reason` of the metric and of `status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapReason {
    /// Not connected, from the first attempt of this run on.
    Disconnected,
    Silent,
    /// The publisher's `uptime` fell: it was restarted.
    PublisherRestarted,
    MalformedFrame,
    FrameTooLarge,
    /// The bound on waiting publications was reached.
    MemoryFull,
    LedgerFailed,
    /// The last run was killed, or its stop outlasted its grace time: what it had received and not
    /// committed is lost.
    Interrupted,
    /// An operator had MISP looked at again.
    Asked,
}

impl GapReason {
    /// The word in metrics, status and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Silent => "silent",
            Self::PublisherRestarted => "publisher_restarted",
            Self::MalformedFrame => "malformed_frame",
            Self::FrameTooLarge => "frame_too_large",
            Self::MemoryFull => "memory_full",
            Self::LedgerFailed => "ledger_failed",
            Self::Interrupted => "interrupted",
            Self::Asked => "asked",
        }
    }
}
