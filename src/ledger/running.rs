//! A snapshot that is being written into the ledger. Its caller asks for one transaction at a time.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use uuid::Uuid;

use super::Lane;
use super::apply::{Application, Counts};
use super::applying::{AnsweredRead, Applying, Ended, Stepped};
use super::begin::Begun;
use super::event_outcome::EventOutcome;
use super::guessed::Guessed;
use super::judgement::{Origin, Shown};
use super::owner::Unit;
use super::snapshot::{Chunk, Chunks, Snapshot, SnapshotHead, Totals};
use super::sql::Result;
use super::tables::events::ShownHead;
use super::time::unix;
use super::writing::Context;
use crate::log_event::{LogEvent, info_if, ms};
use crate::logging::nested;
use crate::metrics;
use crate::notice::{Read, Receipt};
use crate::pure::title;

/// The result of taking in a notice that is not a small one.
#[derive(Debug)]
pub(super) enum Taken {
    /// The notice is dealt with.
    Done(Receipt),
    /// The notice is a snapshot that must be applied step by step.
    Running(Box<RunningSnapshot>),
}

/// Why a snapshot is applied.
#[derive(Debug)]
pub(super) enum Purpose {
    /// It was published.
    Publication,
    /// MISP answered a read with it.
    Answer(Read),
}

/// A chunk of at most this many claims may share its transaction with other work.
// In a shared transaction SQLite copies each page that changes (`Owner::run_alone`). Of so few rows that costs less
// than a commit of their own.
const SHARING: usize = 250;

/// A snapshot that is being applied.
#[derive(Debug)]
pub(super) struct RunningSnapshot {
    pub purpose: Purpose,
    applying: Arc<Applying>,
    chunks: Chunks,
    /// The sightings that it has shown so far.
    shown: Arc<HashSet<Uuid>>,
    progress: Progress,
    /// When its notice arrived.
    received: Instant,
}

/// How far a snapshot has come.
#[derive(Debug)]
enum Progress {
    /// No transaction has seen it yet.
    Waiting,
    /// Chunks of it are being added.
    Adding(Arc<Application>),
    /// The claims that it no longer holds are being ended.
    Ending(Box<Ended>),
}

/// What follows a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another step.
    Step,
    /// The end of the snapshot.
    End(Applied),
}

/// What became of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// The ledger holds exactly this.
    Wholly,
    /// The ledger holds something newer.
    Refused,
    /// The read began before a notice that the ledger has applied.
    Overtaken,
    /// Another snapshot of the event has begun, or the event was deleted.
    GivenUp,
    /// The thread that read and converted it ended early.
    BrokenOff,
}

impl RunningSnapshot {
    pub(super) fn new(
        context: &Arc<Context>,
        snapshot: Snapshot,
        purpose: Purpose,
        lane: Lane,
        received: Instant,
    ) -> Self {
        let Snapshot { head, chunks } = snapshot;
        // The notice may have waited in the inbox. `received` counts on however the clock steps.
        let heard = unix(SystemTime::now() - received.elapsed());
        let read = answered(&purpose, &head);
        let applying = Arc::new(Applying { context: Arc::clone(context), head, lane, heard, read });
        Self {
            purpose,
            applying,
            chunks,
            shown: Arc::default(),
            progress: Progress::Waiting,
            received,
        }
    }

    pub(super) fn head(&self) -> &SnapshotHead {
        &self.applying.head
    }

    pub(super) fn event(&self) -> Uuid {
        self.applying.event()
    }

    pub(super) fn lane(&self) -> Lane {
        self.applying.lane
    }

    /// Runs the next transaction. After an error the snapshot must be dropped.
    pub(super) async fn step(&mut self, guessed: &mut Guessed) -> Result<Next> {
        match std::mem::replace(&mut self.progress, Progress::Waiting) {
            Progress::Waiting => self.add(None, guessed).await,
            Progress::Adding(application) => self.add(Some(application), guessed).await,
            Progress::Ending(ended) => self.end_more(ended).await,
        }
    }

    /// Adds a chunk. If there is no application yet, the snapshot begins with this chunk.
    async fn add(
        &mut self,
        application: Option<Arc<Application>>,
        guessed: &mut Guessed,
    ) -> Result<Next> {
        let Some(chunk) = self.next_chunk(application.is_none()).await else {
            return Ok(Next::End(Applied::BrokenOff));
        };
        let context = Arc::clone(&self.applying.context);
        let tags = self.head().facts.tags.iter();
        let tags = tags.chain(chunk.claims.iter().flat_map(|claim| &claim.facts.tags));
        guessed.tell(&context.views, self.applying.event(), tags);
        Arc::make_mut(&mut self.shown).extend(chunk.sighted.iter().map(|one| one.sighting.uuid));
        let (applying, shown) = (Arc::clone(&self.applying), Arc::clone(&self.shown));
        let known = application.clone();
        let is_large = chunk.claims.len() > SHARING;
        let step = move |unit: &Unit<'_>| applying.step(unit, known.as_deref(), &chunk, &shown);
        let stepped = match is_large {
            true => context.ledger.write_step(step).await?,
            false => context.ledger.write(step).await?,
        };
        match stepped {
            Stepped::Not(begun) => Ok(Next::End(self.not_applied(&begun))),
            Stepped::GivenUp => {
                tracing::debug!(
                    misp_event = %self.applying.event(),
                    "The event changed while its snapshot was being applied, so that is given up"
                );
                Ok(Next::End(Applied::GivenUp))
            }
            Stepped::Added { begun, added } => {
                if let Some(mut application) = application.or_else(|| begun.map(Arc::from)) {
                    // Not before the commit: a unit that is lost runs again, and must find the application as it was.
                    Arc::make_mut(&mut application).advance(&added);
                    self.progress = Progress::Adding(application);
                }
                Ok(Next::Step)
            }
            Stepped::Ended(ended) => Ok(self.after(ended)),
        }
    }

    /// Returns the next chunk. `None`: the thread that reads the snapshot ended early.
    async fn next_chunk(&mut self, is_first: bool) -> Option<Chunk> {
        // It is a look ahead: if it fails, the transaction tells.
        if is_first && self.applying.seems_unchanged().await.unwrap_or(false) {
            return Some(Chunk::default());
        }
        self.chunks.next().await
    }

    /// Ends more of the claims that the snapshot no longer holds.
    async fn end_more(&mut self, ended: Box<Ended>) -> Result<Next> {
        let applying = Arc::clone(&self.applying);
        let step = move |unit: &Unit<'_>| applying.end_more(unit, &ended);
        let ended = self.applying.context.ledger.write_step(step).await?;
        Ok(self.after(Box::new(ended)))
    }

    fn after(&mut self, ended: Box<Ended>) -> Next {
        if !ended.done {
            self.progress = Progress::Ending(ended);
            return Next::Step;
        }
        self.report(&ended.ending.counts, &ended.totals);
        Next::End(Applied::Wholly)
    }

    /// Whether only a listing asked for it, as in a resync.
    fn is_backlog(&self) -> bool {
        matches!(&self.purpose, Purpose::Answer(read) if read.backlog)
    }

    fn report(&self, counts: &Counts, totals: &Totals) {
        let facts = &self.head().facts;
        let left_out = || totals.skipped.iter().chain(counts.forbidden.iter());
        let skipped: BTreeMap<&str, u64> =
            left_out().map(|(reason, count)| (reason.word(), count)).collect();
        let context = &self.applying.context;
        let (ledger, source) = (&context.ledger, context.source());
        let title = title::for_log(&facts.info, self.applying.level(totals));
        let is_summed_up = self.is_backlog() && ledger.tally_applied(source, counts, totals);
        let is_altered = counts.new + counts.changed + counts.gone > 0;
        // A publication is news by itself. What is read to compare it is news only where it differs.
        let is_news = matches!(self.purpose, Purpose::Publication) || is_altered;
        info_if!(
            is_news && !is_summed_up,
            event = LogEvent::EventCommitted.word(),
            misp_event = %facts.uuid,
            misp_event_id = facts.id,
            title,
            attributes = totals.attributes,
            new = counts.new,
            changed = counts.changed,
            gone = counts.gone,
            pending = counts.pending,
            withdrawn_before = counts.withdrawn,
            skipped = nested(&skipped),
            took_ms = ms(self.received.elapsed()),
            "The ledger took in the event"
        );
        EventOutcome::Applied.count();
        metrics::claims("new", counts.new as u64);
        metrics::claims("changed", counts.changed as u64);
        metrics::claims("gone", counts.gone as u64);
        for (reason, count) in left_out() {
            metrics::skipped(reason.word(), count);
            ledger.recent().skipped(reason.word(), count);
        }
    }

    fn not_applied(&self, begun: &Begun) -> Applied {
        let (event, is_read) = (self.event(), self.head().origin.is_read());
        match begun {
            Begun::Unchanged if is_read => {
                tracing::debug!(misp_event = %event, "The event is as MISP shows it");
                Applied::Wholly
            }
            Begun::Unchanged => {
                log_unchanged(event);
                Applied::Wholly
            }
            Begun::Stale => {
                EventOutcome::Stale.count();
                tracing::debug!(
                    misp_event = %event,
                    "A snapshot is older than the one that was applied, and is ignored"
                );
                Applied::Refused
            }
            Begun::Deleted => {
                EventOutcome::Deleted.count();
                tracing::debug!(
                    misp_event = %event,
                    "A snapshot is of a deleted event, and is ignored. Only a REST read tells whether it is back"
                );
                Applied::Refused
            }
            // One that was started never ends here. If it did, reading it again would do no harm.
            Begun::Overtaken | Begun::Started(_) => Applied::Overtaken,
        }
    }
}

fn answered(purpose: &Purpose, head: &SnapshotHead) -> Option<AnsweredRead> {
    let (Purpose::Answer(read), Origin::Read(shown)) = (purpose, head.origin) else { return None };
    let Shown { publication, published, date, .. } = shown;
    let shown = ShownHead { timestamp: head.facts.timestamp, publication, published, date };
    Some(AnsweredRead { asked: read.asked, shown })
}

pub(super) fn log_unchanged(event: Uuid) {
    EventOutcome::Unchanged.count();
    tracing::debug!(misp_event = %event, "The event was published again without a change");
}
