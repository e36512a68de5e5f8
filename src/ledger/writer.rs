//! The one writer: it takes notices from the inbox in their order and makes each a transaction, or
//! a few for a large event.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use moka::sync::Cache;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::apply::{self, Application, Begun, Counts};
use super::snapshot::{self, Chunk, End, Snapshot};
use super::wanted::{Change, encode};
use super::{Ledger, View, small};
use crate::metrics;
use crate::notice::{Gap, GapReason, Notice, Receipt, What};

/// What the writer has to know.
#[derive(Debug)]
pub struct WriterSettings {
    /// Name of the source.
    pub source: String,
    /// How long a webhook's publication waits for its confirmation.
    pub confirm_within: Duration,
    /// How long tombstones are kept.
    pub tombstones: Duration,
}

/// Applies notices to the ledger until all intakes are gone.
#[derive(Debug)]
pub struct Writer {
    pub(super) ledger: Ledger,
    pub(super) view: Arc<View>,
    pub(super) settings: WriterSettings,
    inbox: mpsc::Receiver<Notice>,
    /// Taken from the inbox while a large event was being written, and still to do.
    waiting: VecDeque<Notice>,
    /// The last applied content of recent events: repeats cost no disk access.
    pub(super) applied: Cache<Uuid, i64>,
    /// A gap that could not be recorded yet.
    pub(super) unrecorded: Option<Gap>,
}

/// Weight bound of the cache of applied contents, bytes; an entry takes about a hundred.
const CACHE_BYTES: u64 = 4 << 20;
const ENTRY_BYTES: u32 = 100;

/// Small notices that share a transaction.
const SMALL_BATCH: usize = 256;

const PRUNE_EVERY: Duration = Duration::from_secs(60);

impl Writer {
    #[must_use]
    pub fn new(
        ledger: Ledger,
        view: Arc<View>,
        settings: WriterSettings,
        inbox: mpsc::Receiver<Notice>,
    ) -> Self {
        let applied =
            Cache::builder().weigher(|_, _| ENTRY_BYTES).max_capacity(CACHE_BYTES).build();
        let waiting = VecDeque::new();
        Self { ledger, view, settings, inbox, waiting, applied, unrecorded: None }
    }

    /// Runs until every [`crate::intake::Inbox`] is dropped and what they gave is written. A fault
    /// of the disk costs the notice, which becomes a gap, and never ends the writer.
    pub async fn run(mut self) {
        self.resume().await;
        let mut prune = tokio::time::interval(PRUNE_EVERY);
        loop {
            let notice = match self.waiting.pop_front() {
                Some(notice) => Some(notice),
                None => tokio::select! {
                    notice = self.inbox.recv() => notice,
                    _ = prune.tick() => { self.prune().await; continue; }
                },
            };
            let Some(notice) = notice else { break };
            self.mark_busy(0);
            self.take(notice).await;
        }
    }

    /// Tells the senders how much is still to come: `chunks` of the event in hand, and what waits.
    fn mark_busy(&self, chunks: usize) {
        let arriving = chunks + self.waiting.len() + self.inbox.len();
        self.ledger.shared.arriving.store(arriving, Ordering::Relaxed);
    }

    async fn take(&mut self, notice: Notice) {
        let Notice { what, received, done, memory } = notice;
        let heard = SystemTime::now() - received.elapsed();
        let result = match what {
            What::Published(body) => self.publish(body, received).await,
            What::Announced(body) => self.announce(body, unix(heard)).await,
            What::Gap(gap) => self.gap(gap, unix(heard)).await,
            what @ (What::Withdrawn(_) | What::Tagged(_) | What::Expired(_)) => {
                let first = Notice { what, received, done: None, memory: None };
                self.take_small(first).await.map(|()| Receipt::Committed)
            }
        };
        drop(memory);
        let receipt = self.receipt(result).await;
        acknowledge(done, receipt);
    }

    /// Applies small notices together, as many as wait in line.
    async fn take_small(&mut self, first: Notice) -> sqlx::Result<()> {
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

    /// Lets withdrawals and tags through between two chunks of a large event; a publication behind
    /// them waits its turn, and what came behind that waits too.
    async fn breathe(&mut self) {
        while self.waiting.is_empty() {
            let Ok(notice) = self.inbox.try_recv() else { break };
            if !is_small(&notice.what) {
                self.waiting.push_back(notice);
                break;
            }
            let result = self.take_small(notice).await.map(|()| Receipt::Committed);
            self.receipt(result).await;
        }
        self.mark_busy(1);
    }

    pub(super) async fn publish(
        &mut self,
        body: axum::body::Bytes,
        received: Instant,
    ) -> sqlx::Result<Receipt> {
        let bytes = body.len();
        let snapshot = match snapshot::read(body, self.view.fingerprint).await {
            Ok(snapshot) => snapshot,
            Err(refusal) => {
                tracing::warn!(bytes, %refusal, "a publication cannot be read: skipped, a gap is noted");
                metrics::event_read("refused");
                self.note_gap(GapReason::MalformedFrame).await?;
                return Ok(Receipt::Refused);
            }
        };
        let event = snapshot.facts.uuid;
        if self.applied.get(&event) == Some(snapshot.content) {
            log_unchanged(event);
            let mut connection = self.ledger.writer.acquire().await?;
            small::confirm(&mut connection, &self.settings.source, event).await?;
            return Ok(Receipt::Committed);
        }
        self.applied.invalidate(&event);
        let content = snapshot.content;
        if self.apply(snapshot, received).await? {
            self.applied.insert(event, content);
        }
        Ok(Receipt::Committed)
    }

    /// Whether the ledger now holds exactly this snapshot.
    async fn apply(&mut self, mut snapshot: Snapshot, received: Instant) -> sqlx::Result<bool> {
        let (ledger, view) = (self.ledger.clone(), Arc::clone(&self.view));
        let event = snapshot.facts.uuid;
        let heard = unix(SystemTime::now() - received.elapsed());
        let mut tx = ledger.begin().await?;
        let begun =
            apply::begin(&mut tx, &self.settings.source, &snapshot.facts, snapshot.content).await?;
        let Begun::Started(mut application) = begun else {
            small::confirm(&mut tx, &self.settings.source, event).await?;
            tx.commit().await?;
            return Ok(log_not_applied(event, &begun));
        };
        let mut end = None;
        while let Some(Chunk { claims, end: last }) = snapshot.chunks.recv().await {
            let mut change = Change::new(&view, Some(event), heard);
            if !application.add(&mut tx, claims, &mut change).await? {
                tracing::info!(%event, "the event was deleted while its snapshot was being applied: given up");
                return Ok(false);
            }
            if let Some(last) = last {
                end = Some((last, change));
                break;
            }
            ledger.commit(tx, &change).await?;
            self.breathe().await;
            tx = ledger.begin().await?;
        }
        // Without an end the reading thread died: the event stays unfinished and is told again.
        let Some((end, mut change)) = end else { return Ok(false) };
        while !application.remove_unseen(&mut tx, &mut change).await? {
            ledger.commit(tx, &change).await?;
            self.breathe().await;
            tx = ledger.begin().await?;
            change = Change::new(&view, Some(event), heard);
        }
        self.finish(&mut tx, &snapshot, &application, &end, &change).await?;
        self.mark_busy(0);
        ledger.commit(tx, &change).await?;
        report(&snapshot, &application.counts, &end, received.elapsed());
        Ok(true)
    }

    async fn finish(
        &self,
        tx: &mut super::Writing,
        snapshot: &Snapshot,
        application: &Application,
        end: &End,
        change: &Change<'_>,
    ) -> sqlx::Result<()> {
        let summary = Summary::new(snapshot, &application.counts, end);
        change.summarise(tx, &encode(&summary)?).await?;
        application.finish(tx, snapshot.content, &encode(&summary.skipped)?).await?;
        small::confirm(tx, &self.settings.source, snapshot.facts.uuid).await
    }

    async fn note_gap(&self, reason: GapReason) -> sqlx::Result<()> {
        let now = SystemTime::now();
        let gap = Gap {
            reason,
            intake: "publication".into(),
            since: now,
            event: None,
            publication: false,
        };
        self.ledger.record_gap(&self.settings.source, &gap, unix(now), unix(now)).await
    }
}

impl Ledger {
    /// Commits, and wakes the senders if something changed for them.
    pub(super) async fn commit(&self, tx: super::Writing, change: &Change<'_>) -> sqlx::Result<()> {
        let started = Instant::now();
        tx.commit().await?;
        self.note_written();
        metrics::committed(started.elapsed());
        if !change.is_empty() {
            self.shared.changed.notify_waiters();
        }
        Ok(())
    }
}

/// What the line about an accepted event tells, kept beside its changes.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    info: &'a str,
    attributes: u64,
    new: usize,
    changed: usize,
    gone: usize,
    skipped: BTreeMap<crate::convert::Reason, u64>,
}

impl<'a> Summary<'a> {
    fn new(snapshot: &'a Snapshot, counts: &Counts, end: &End) -> Self {
        Self {
            info: &snapshot.facts.info,
            attributes: end.attributes,
            new: counts.new,
            changed: counts.changed,
            gone: counts.gone,
            skipped: end.skipped.iter().chain(counts.forbidden.iter()).collect(),
        }
    }
}

fn report(snapshot: &Snapshot, counts: &Counts, end: &End, took: Duration) {
    let left_out = || end.skipped.iter().chain(counts.forbidden.iter());
    let skipped: Vec<String> =
        left_out().map(|(reason, count)| format!("{}={count}", reason.word())).collect();
    tracing::info!(
        event = %snapshot.facts.uuid,
        attributes = end.attributes,
        new = counts.new,
        changed = counts.changed,
        gone = counts.gone,
        withdrawn_before = counts.withdrawn,
        skipped = skipped.join(" "),
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "event committed"
    );
    metrics::event_read("applied");
    metrics::claims("new", counts.new as u64);
    metrics::claims("changed", counts.changed as u64);
    metrics::claims("gone", counts.gone as u64);
    for (reason, count) in left_out() {
        metrics::skipped(reason.word(), count);
    }
}

fn log_unchanged(event: Uuid) {
    metrics::event_read("unchanged");
    tracing::info!(%event, "event published again without change");
}

/// Whether the ledger holds the snapshot already.
fn log_not_applied(event: Uuid, begun: &Begun) -> bool {
    match begun {
        Begun::Unchanged => {
            log_unchanged(event);
            true
        }
        Begun::Stale => {
            metrics::event_read("stale");
            tracing::info!(%event, "an older snapshot than the one applied: ignored");
            false
        }
        Begun::Deleted => {
            metrics::event_read("deleted");
            tracing::info!(%event, "a snapshot of a deleted event: ignored, only REST could tell that it is back");
            false
        }
        Begun::Started(_) => false,
    }
}

fn is_small(what: &What) -> bool {
    matches!(what, What::Withdrawn(_) | What::Tagged(_) | What::Expired(_))
}

fn acknowledge(done: Option<oneshot::Sender<Receipt>>, receipt: Receipt) {
    if let Some(done) = done {
        // Whoever waited may be gone: a webhook that was answered in time with 503.
        done.send(receipt).ok();
    }
}

/// Unix milliseconds.
pub(super) fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
