//! The memory on disk, and the only meeting point of the two halves: notices come in, objects go
//! out. All SQL of the program is in this folder.
//!
//! `events` and `claims` hold what MISP said; `wanted` what the admitted claims of a view add up
//! to; `queue` the changes that a target has not fully taken; `delivered` what a target was sent.

mod apply;
mod applying;
mod begin;
mod change;
mod check;
mod claimed;
mod claims;
mod clock;
mod context;
mod copy;
mod decay;
mod delivered;
mod event_tags;
mod events;
mod explain;
mod export;
mod fault;
mod forget;
mod generations;
mod guard;
mod guessed;
mod head;
mod heal;
mod judged;
mod judgement;
mod meant;
mod named;
mod narrow;
mod open;
mod owner;
mod prune;
mod publish;
mod queue;
mod read;
mod readers;
mod reads;
#[cfg(test)]
mod registry;
mod renew;
mod resync;
mod room;
mod running;
mod sending;
mod sightings;
mod small;
mod snapshot;
mod sql;
mod standing;
mod start;
mod status;
mod suppressed;
mod tag_changes;
mod tagging;
mod tags;
mod targets;
mod thread;
mod unread;
mod upkeep;
mod verify;
mod views;
mod wanted;
mod warninglists;
mod withdraw;
mod writer;

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

pub use check::Finding;
pub use clock::SetBack;
pub use copy::{Alteration, Altered};
pub use delivered::Settlement;
pub use explain::Telling;
pub use forget::Forgotten;
pub use guard::Held;
pub use heal::{Head, OpenGap};
pub use open::OpenError;
pub use queue::{OpenChange, Page, Pending};
pub use reads::{Candidate, DueRead, Listing, ResyncCount};
pub use resync::{Resync, ResyncPhase, may_empty};
pub use room::{Given, Room};
pub use sending::{Moment, Sending};
pub use sql::{Result as SqlResult, SqlError};
pub use start::{ABSENT, DISABLED, DRY_RUN, StartError, TargetEntry};
pub use status::{GapStatus, LedgerStatus, Refusal, ResyncStatus, TargetStatus};
pub use suppressed::{Lifted, Suppressed, Suppression};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
pub use unread::{Pauses, Unread, Vain};
pub use upkeep::Upkeep;
pub use verify::{Accepted, Deletable, Deletion, Delivered, Mending, Stray};
pub use views::{Member, View, Views};
pub use wanted::WITHDRAWN;
pub use warninglists::{
    AdoptError, Adopted, InForce, ListsState, Warninglists, copy as copy_warninglists,
    load as load_warninglists,
};
pub use writer::{KeyView, RestRules, Writer, WriterSettings, millis};

use owner::{Owner, Unit};
use readers::Readers;
use sql::{Connection, Transaction};

/// A cheap handle on the ledger. One thread writes, a few read.
#[derive(Debug, Clone)]
pub struct Ledger {
    threads: Arc<Threads>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Threads {
    owner: Owner,
    readers: Readers,
}

#[derive(Debug)]
struct Shared {
    /// Wakes the senders after a commit that changed something.
    changed: Notify,
    /// Wakes the task that reads over REST after something was asked for.
    asked: Notify,
    /// Counts notices about events that the ledger does not know: they say something of what is being
    /// read for the first time.
    strange: AtomicI64,
    /// Notices that wait or are being applied: more may be about to change.
    arriving: AtomicUsize,
    /// When a transaction last failed for a fault of the file or its disk that is not over.
    failed: Mutex<Option<Instant>>,
    /// What MISP said of its warninglists.
    told: warninglists::Told,
    /// Where the file is.
    folder: PathBuf,
    /// Only one process at a time opens the ledger.
    lock: File,
}

impl Shared {
    fn new(folder: PathBuf, lock: File) -> Self {
        Self {
            changed: Notify::new(),
            asked: Notify::new(),
            strange: AtomicI64::new(0),
            arriving: AtomicUsize::new(0),
            failed: Mutex::new(None),
            told: warninglists::Told::default(),
            folder,
            lock,
        }
    }
}

impl Ledger {
    /// Runs a unit of work on the thread that owns the writing, and waits for its commit. It is done although
    /// whoever asked has gone away.
    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Unit<'_>) -> SqlResult<T> + Send + 'static,
    ) -> SqlResult<T> {
        self.threads.owner.run(work).await
    }

    /// Runs on the writing connection what no transaction may hold.
    async fn maintain<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> SqlResult<T> + Send + 'static,
    ) -> SqlResult<T> {
        self.threads.owner.maintain(work).await
    }

    /// Reads one moment of the ledger, for some milliseconds.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> SqlResult<T> + Send + 'static,
    ) -> SqlResult<T> {
        self.threads.readers.short.read(work).await
    }

    /// The same for the senders, who wait for nobody else.
    async fn pick<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> SqlResult<T> + Send + 'static,
    ) -> SqlResult<T> {
        self.threads.readers.picks.read(work).await
    }

    /// The same for commands that go through whole tables.
    async fn read_long<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> SqlResult<T> + Send + 'static,
    ) -> SqlResult<T> {
        self.threads.readers.long.read(work).await
    }

    /// Runs on that reader's connection what no transaction may hold.
    async fn read_long_connection<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> SqlResult<T> + Send + 'static,
    ) -> SqlResult<T> {
        self.threads.readers.long.run(work).await
    }

    /// Completes with the next commit that changes what is wanted, counted from this call.
    pub fn changed(&self) -> Notified<'_> {
        self.shared.changed.notified()
    }

    /// Whether notices wait or are being applied.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.shared.arriving.load(Ordering::Relaxed) > 0
    }

    /// Whether the file and its disk are in order.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// The sequence of events that the ledger does not know: moved by notices about any of them, and
    /// never that of a known one.
    pub(super) fn strange(&self) -> i64 {
        -self.shared.strange.load(Ordering::Relaxed)
    }

    pub(super) fn note_strange(&self) {
        self.shared.strange.fetch_add(1, Ordering::Relaxed);
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn now() -> i64 {
        writer::unix(SystemTime::now())
    }

    /// Writes back what SQLite still holds and closes all connections. The lock stays until the last handle is
    /// dropped.
    pub async fn close(&self) {
        self.threads.readers.close().await;
        self.threads.owner.close().await;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is being started holds a copy of it until it
        // runs its own program.
        self.lock.unlock().ok();
    }
}

/// The order in which changes are sent (design: withdrawals before live, live before backlog).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    Withdrawals,
    Live,
    Backlog,
}

impl Lane {
    /// All of them, the highest first.
    pub const ALL: [Self; 3] = [Self::Withdrawals, Self::Live, Self::Backlog];

    /// The word in metrics, status and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Withdrawals => "withdrawals",
            Self::Live => "live",
            Self::Backlog => "backlog",
        }
    }

    fn of(number: i16) -> Self {
        match number {
            0 => Self::Withdrawals,
            1 => Self::Live,
            _ => Self::Backlog,
        }
    }

    fn number(self) -> i16 {
        match self {
            Self::Withdrawals => 0,
            Self::Live => 1,
            Self::Backlog => 2,
        }
    }
}

/// 64 bits of BLAKE3 over the parts, each with its length.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> i64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    i64::from_le_bytes(bytes)
}
