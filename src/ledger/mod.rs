//! The relay's memory on disk. Intake writes notices into it, and delivery reads from it what to send. All SQL is in
//! `tables`, with a file for each table: `events` and `claims` hold what MISP said, `wanted` the objects that a view
//! should show in Sentinel, `queue` the changes that a target has not fully taken, `delivered` what a target was sent.

mod adopt;
mod answer;
mod apply;
mod applying;
mod backup;
mod begin;
mod beside;
mod catch_up;
mod change;
mod check;
mod clock;
mod context;
mod copies;
mod copy;
mod elsewhere;
mod event_outcome;
mod event_parts;
mod explain;
mod export;
mod fault;
mod finding;
mod forget;
mod forget_source;
mod full_claims;
mod generations;
mod guard;
mod guessed;
mod hit_words;
mod hits;
mod judged;
mod judgement;
mod judging;
mod lane;
mod last_run;
mod lookup;
mod meant;
mod merge;
mod narrow;
mod notices;
mod open;
mod own_sightings;
mod owner;
mod picks;
mod prune;
mod publish;
mod readers;
mod reads;
mod refresh;
mod register;
mod remembered;
mod renew;
mod restore;
mod resync;
mod room;
mod running;
mod sending;
mod settle;
mod snapshot;
mod source_news;
mod sources;
mod sql;
mod stand_in;
mod standing;
mod start;
mod start_error;
mod status;
mod suppressed;
mod tables;
mod tagging;
mod tags;
mod tally;
mod thread;
mod time;
mod upkeep;
mod verify;
mod views;
mod waiting;
mod warninglists;
mod whole;
mod withdraw;
mod withdrawals;
mod writer;
mod writing;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

pub use adopt::{AdoptError, Adopted};
pub use backup::Backup;
pub use catch_up::Head;
pub use clock::SetBack;
pub use copy::Alteration;
pub use event_outcome::EventOutcome;
pub use explain::Telling;
pub use finding::Finding;
pub use forget::Forgotten;
pub use forget_source::ForgottenSource;
pub use guard::{Held, Releasing};
pub use hits::RecordedHits;
pub use judging::JudgingState;
pub use lane::Lane;
pub use open::{OpenError, holder_of};
pub use own_sightings::{TellingRules, Told};
pub use restore::{Restore, RestoreError};
pub use resync::{Resync, ResyncPhase, may_empty};
pub use room::{Given, Room};
pub use sending::{Moment, Sending};
pub use settle::Settlement;
pub use source_news::{ReadSource, SourceNews};
pub use sources::RememberedSource;
pub use sql::{Result as SqlResult, SqlError};
pub use start_error::StartError;
pub use status::{LedgerSource, LedgerStatus, ResyncStatus, TargetStatus, WaitingCounts};
pub use suppressed::{Lifted, Suppressed, Suppression};
pub use tables::cursors::ListingCursor;
pub use tables::delivered::deletions::Deletable;
pub use tables::delivered::mending::{Deviation, Stray};
pub use tables::delivered::requests::{RejectedObject, SentVersion};
pub use tables::gaps::{GapStatus, OpenGap};
pub use tables::hits::HitsOfTarget;
pub use tables::own_sightings::{DueSighting, OwnSightingCounts};
pub use tables::pending::{Altered, Pending, PendingPage};
pub use tables::queue::OpenChange;
pub use tables::reads::{
    Candidate, DueRead, Listing, Pauses, ReadsOfSource, ResyncCount, Unread, Vain,
};
pub use tables::standings::{Delivered, Refusal};
pub use tables::targets::{TargetEntry, TargetMode};
pub use tables::wanted::WITHDRAWN;
pub use tally::Tally;
pub use time::{millis, rfc3339, rfc3339_option};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
pub use upkeep::Upkeep;
pub use verify::{Accepted, Deletion, Mending};
pub use views::{Member, View, Views};
pub use waiting::{TargetFigures, WaitingObjects};
pub use warninglists::{
    AllLists, InForce, ListsState, Warninglists, copy as copy_warninglists,
    load as load_warninglists,
};
pub use withdrawals::{Withdrawals, WithdrawnIndicator};
pub use writer::Writer;
pub use writing::{KeyView, RestRules, WriterSettings};

use crate::recent::Recent;
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
    /// Wakes what tells hits to MISP.
    hit: Notify,
    /// Counts, by source, notices about events that the ledger does not know. They may concern an event that is being read for the
    /// first time.
    strange: Mutex<BTreeMap<String, i64>>,
    /// The number of notices that wait or are being applied.
    arriving: AtomicUsize,
    /// The fault of the file or its disk. `None`: there is no such fault, or it is over.
    failed: Mutex<Option<fault::FileFault>>,
    /// What MISP last answered about its warninglists.
    told: warninglists::Told,
    /// The views that are being judged again.
    judging: judging::BeingJudged,
    /// The last counts for each target, and their times.
    figures: waiting::CountedFigures,
    /// What happened lately, for people.
    recent: Recent,
    /// What the full resync of each source has found so far, while it is under way.
    tallies: Mutex<BTreeMap<String, Tally>>,
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
            hit: Notify::new(),
            strange: Mutex::new(BTreeMap::new()),
            arriving: AtomicUsize::new(0),
            failed: Mutex::new(None),
            told: warninglists::Told::default(),
            judging: judging::BeingJudged::default(),
            figures: waiting::CountedFigures::default(),
            recent: Recent::default(),
            tallies: Mutex::new(BTreeMap::new()),
            folder,
            lock,
        }
    }
}

impl Ledger {
    /// Runs a unit of work on the thread that writes, and waits for its commit. The work is done even if the caller
    /// stops waiting.
    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Unit<'_>) -> SqlResult<T> + Send + 'static,
    ) -> SqlResult<T> {
        self.threads.owner.run(work).await
    }

    /// The same for one step of a large piece of work, with thousands of rows. The step has a transaction of its own.
    async fn write_step<T: Send + 'static>(
        &self,
        step: impl Fn(&Unit<'_>) -> SqlResult<T> + Send + 'static,
    ) -> SqlResult<T> {
        self.threads.owner.run_alone(step).await
    }

    /// Runs work on the writing connection that cannot be part of a transaction.
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

    /// The same for the senders. They have a thread of their own, so they wait for no other reader.
    async fn pick<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> SqlResult<T> + Send + 'static,
    ) -> SqlResult<T> {
        self.threads.readers.picks.read(work).await
    }

    /// The same for figures that are counted.
    async fn read_counts<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> SqlResult<T> + Send + 'static,
    ) -> SqlResult<T> {
        self.threads.readers.counts.read(work).await
    }

    /// The same for commands that go through whole tables.
    async fn read_long<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> SqlResult<T> + Send + 'static,
    ) -> SqlResult<T> {
        self.threads.readers.long.read(work).await
    }

    /// Runs work on that reader's connection that cannot be part of a transaction.
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

    /// What happened lately in this process.
    #[must_use]
    pub fn recent(&self) -> &Recent {
        &self.shared.recent
    }

    /// Whether notices wait or are being applied.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.shared.arriving.load(Ordering::Relaxed) > 0
    }

    /// Whether the file and its disk are in order.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        // The lock guards one value, so a panic of another holder left nothing half changed.
        self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// The sequence that stands for all events of a source that the ledger does not know. Each notice about one of them
    /// changes it. No known event ever has this sequence.
    pub(super) fn strange(&self, source: &str) -> i64 {
        let strange = self.shared.strange.lock().unwrap_or_else(PoisonError::into_inner);
        -strange.get(source).copied().unwrap_or_default()
    }

    pub(super) fn note_strange(&self, source: &str) {
        let mut strange = self.shared.strange.lock().unwrap_or_else(PoisonError::into_inner);
        *strange.entry(source.to_owned()).or_default() += 1;
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn now() -> i64 {
        time::unix(SystemTime::now())
    }

    /// Writes back what SQLite still holds and closes all connections. The lock stays until the last handle is
    /// dropped.
    pub async fn close(&self) {
        // The readers first: SQLite writes the write-ahead log back when the last connection closes, and that
        // is the writer's.
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

/// 64 bits of BLAKE3 over the parts, each with its length.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> i64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    // It is only compared with the hash of the same thing from before, so 64 bits are enough, and one
    // column holds them.
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    i64::from_le_bytes(bytes)
}
