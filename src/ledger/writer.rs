//! The one writer: it takes notices from the inbox in their order and makes each a transaction, or
//! a few for a large event.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};

use moka::sync::Cache;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::guessed::Guessed;
use super::sql::Result;
use super::upkeep::Upkeep;
use super::{Lane, Ledger, Views, small};
use crate::config::{Guard, OnUnpublish, Rest};
use crate::notice::{Gap, Notice, Receipt, What};

/// What the writer has to know.
#[derive(Debug)]
pub struct WriterSettings {
    /// Name of the source.
    pub source: String,
    /// How long a webhook's publication waits for its confirmation.
    pub confirm_within: Duration,
    /// How long tombstones are kept.
    pub tombstones: Duration,
    /// `None` without a key for MISP's REST API.
    pub rest: Option<RestRules>,
}

/// How REST judges what was pushed.
#[derive(Debug, Clone)]
pub struct RestRules {
    pub times: Rest,
    pub key: KeyView,
    /// `misp.search` is set: a publication adds nothing before it selects the event.
    pub searches: bool,
    pub on_unpublish: OnUnpublish,
    pub guard: Guard,
}

/// What the key sees, as the task that asks MISP finds out. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct KeyView(Arc<AtomicU8>);

impl KeyView {
    const SEES_ALL: u8 = 1;
    const ACCEPTED: u8 = 2;

    /// Whether it is a site administrator's, who sees what the feed shows.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        self.0.load(Ordering::Relaxed) & Self::SEES_ALL != 0
    }

    /// Whether it shows the view that the ledger holds: else what it shows adds nothing, and an absence
    /// means nothing.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.0.load(Ordering::Relaxed) & Self::ACCEPTED != 0
    }

    /// Stores what was found.
    pub fn set(&self, sees_all: bool, accepted: bool) {
        let bits = u8::from(sees_all) * Self::SEES_ALL + u8::from(accepted) * Self::ACCEPTED;
        self.0.store(bits, Ordering::Relaxed);
    }
}

/// What the units of work of the writer read.
#[derive(Debug)]
pub(super) struct Context {
    pub ledger: Ledger,
    pub views: Arc<Views>,
    pub settings: WriterSettings,
    /// The last applied content of recent events: repeats cost no disk access.
    pub applied: Cache<Uuid, i64>,
}

impl Context {
    /// The name of the source.
    pub(super) fn source(&self) -> &str {
        &self.settings.source
    }

    pub(super) fn rest(&self) -> Option<&RestRules> {
        self.settings.rest.as_ref()
    }
}

/// Applies notices to the ledger until all intakes are gone.
#[derive(Debug)]
pub struct Writer {
    pub(super) context: Arc<Context>,
    inbox: mpsc::Receiver<Notice>,
    /// Taken from the inbox while a large event was being written, and still to do.
    waiting: VecDeque<Notice>,
    /// A gap that could not be recorded yet.
    pub(super) unrecorded: Option<Gap>,
    pub(super) guessed: Guessed,
    upkeep: Upkeep,
}

/// Weight bound of the cache of applied contents, bytes; an entry takes about a hundred.
const CACHE_BYTES: u64 = 4 << 20;
const ENTRY_BYTES: u32 = 100;

/// Small notices that share a transaction.
const SMALL_BATCH: usize = 256;

const UPKEEP_EVERY: Duration = Duration::from_secs(60);

/// After a fault.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(5);

impl Writer {
    #[must_use]
    pub fn new(
        ledger: Ledger,
        views: Arc<Views>,
        settings: WriterSettings,
        inbox: mpsc::Receiver<Notice>,
    ) -> Self {
        let applied =
            Cache::builder().weigher(|_, _| ENTRY_BYTES).max_capacity(CACHE_BYTES).build();
        let upkeep = Upkeep::new(&settings);
        Self {
            context: Arc::new(Context { ledger, views, settings, applied }),
            inbox,
            waiting: VecDeque::new(),
            unrecorded: None,
            guessed: Guessed::default(),
            upkeep,
        }
    }

    /// Runs until every [`crate::intake::Inbox`] is dropped and what they gave is written. A fault
    /// of the disk costs the notice, which becomes a gap, and never ends the writer.
    pub async fn run(mut self) {
        let mut upkeep = tokio::time::interval(UPKEEP_EVERY);
        // The clock is looked at before anything is heard by it.
        if self.care().await {
            upkeep.reset();
        } else {
            upkeep.reset_after(TRY_AGAIN);
        }
        self.resume().await;
        loop {
            let notice = match self.waiting.pop_front() {
                Some(notice) => Some(notice),
                None => tokio::select! {
                    notice = self.inbox.recv() => notice,
                    _ = upkeep.tick() => {
                        if !self.care().await {
                            upkeep.reset_after(TRY_AGAIN);
                        }
                        continue;
                    }
                },
            };
            let Some(notice) = notice else { break };
            self.mark_busy(0);
            self.take(notice).await;
            if !self.context.ledger.is_writable() {
                upkeep.reset_after(TRY_AGAIN);
            }
        }
    }

    /// Step by step, for as long as there is something to do and no notice waits. Whether it went
    /// well; after a fault, that tells that the ledger can be written again.
    async fn care(&mut self) -> bool {
        loop {
            let Context { ledger, views, .. } = &*self.context;
            let step = self.upkeep.step(ledger, views, Ledger::now()).await;
            let more = matches!(step, Ok(true));
            if !ledger.judge(step, "care for the ledger") {
                return false;
            }
            self.record_kept().await;
            self.resume().await;
            if !more || !self.inbox.is_empty() {
                return true;
            }
        }
    }

    /// Tells the senders how much is still to come: `chunks` of the event in hand, and what waits.
    pub(super) fn mark_busy(&self, chunks: usize) {
        let arriving = chunks + self.waiting.len() + self.inbox.len();
        self.context.ledger.shared.arriving.store(arriving, Ordering::Relaxed);
    }

    async fn take(&mut self, notice: Notice) {
        let Notice { what, received, done, memory } = notice;
        let heard = SystemTime::now() - received.elapsed();
        let result = match what {
            What::Published(body) => self.publish(body, received).await,
            What::Announced(body) => self.announce(body, unix(heard)).await,
            What::Gap(gap) => self.gap(gap, unix(heard)).await,
            What::Read(read) => self.read(read, received).await,
            What::Warninglist(id) => {
                self.context.ledger.note_warninglist(id);
                Ok(Receipt::Committed)
            }
            what @ (What::Withdrawn(_)
            | What::Tagged(_)
            | What::TagAltered(_)
            | What::Sighted(_)
            | What::Touched(_)) => {
                let first = Notice { what, received, done: None, memory: None };
                self.take_small(first).await.map(|()| Receipt::Committed)
            }
        };
        drop(memory);
        let receipt = self.receipt(result).await;
        if self.context.rest().is_some() {
            self.context.ledger.shared.asked.notify_waiters();
        }
        acknowledge(done, receipt);
    }

    /// Applies small notices together, as many as wait in line.
    async fn take_small(&mut self, first: Notice) -> Result<()> {
        let mut batch = vec![first];
        while batch.len() < SMALL_BATCH && self.waiting.is_empty() {
            match self.inbox.try_recv() {
                Ok(notice) if is_small(&notice.what) => batch.push(notice),
                Ok(notice) => self.waiting.push_back(notice),
                Err(_) => break,
            }
        }
        self.mark_busy(0);
        let (batch, done): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|notice| ((notice.what, notice.received), notice.done)).unzip();
        let result = small::apply(self, batch).await;
        let receipt = if result.is_ok() { Receipt::Committed } else { Receipt::Failed };
        done.into_iter().for_each(|done| acknowledge(done, receipt));
        result
    }

    fn next_waiting(&mut self) -> Option<Notice> {
        self.waiting.pop_front().or_else(|| self.inbox.try_recv().ok())
    }

    /// Lets withdrawals and tags through between two chunks of a large event. Behind a publication
    /// in work everything else waits its turn; a read of the backlog lets publications pass as well.
    pub(super) async fn breathe(&mut self, lane: Lane) {
        while let Some(notice) = self.next_waiting() {
            if is_small(&notice.what) {
                let result = self.take_small(notice).await.map(|()| Receipt::Committed);
                self.receipt(result).await;
            } else if lane == Lane::Backlog && matches!(notice.what, What::Published(_)) {
                Box::pin(self.take(notice)).await;
            } else {
                self.waiting.push_front(notice);
                break;
            }
        }
        self.mark_busy(1);
    }
}

fn is_small(what: &What) -> bool {
    match what {
        What::Withdrawn(_)
        | What::Tagged(_)
        | What::TagAltered(_)
        | What::Sighted(_)
        | What::Touched(_) => true,
        What::Published(_)
        | What::Announced(_)
        | What::Warninglist(_)
        | What::Gap(_)
        | What::Read(_) => false,
    }
}

fn acknowledge(done: Option<oneshot::Sender<Receipt>>, receipt: Receipt) {
    if let Some(done) = done {
        // Whoever waited may be gone: a webhook that was answered in time with 503.
        done.send(receipt).ok();
    }
}

/// A duration in milliseconds, as the ledger counts.
#[must_use]
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Unix milliseconds.
pub(super) fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
