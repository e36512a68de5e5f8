//! Runs the writer of a source. It takes notices from the inbox in their order and applies each in one transaction, or in
//! a few for a large event. Between two of these, more urgent notices have their turn: small notices pass any snapshot,
//! and publications pass a snapshot that nobody waits for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::fault::{Faults, TRY_AGAIN};
use super::guessed::Guessed;
use super::notices::{self, SmallNotice};
use super::running::{Next, Purpose, RunningSnapshot, Taken};
use super::sql::Result;
use super::time::unix;
use super::upkeep::Upkeep;
use super::writing::{Context, WriterSettings};
use super::{Lane, Ledger, Views, answer, publish, stand_in, whole};
use crate::notice::{Notice, Receipt, What};
use crate::recent::Arrival;

/// Applies the notices of one source to the ledger until all its intakes are gone.
#[derive(Debug)]
pub struct Writer {
    context: Arc<Context>,
    inbox: mpsc::Receiver<Notice>,
    /// The first notice in line, once it was looked at.
    first: Option<Notice>,
    /// The snapshot in work. Small notices pass it between two steps, and nothing else.
    live: Option<SnapshotInWork>,
    /// A snapshot in work that nobody waits for. Publications pass it as well.
    backlog: Option<SnapshotInWork>,
    /// Since when small notices had all turns.
    small_since: Option<Instant>,
    faults: Faults,
    guessed: Guessed,
    /// `None`: another writer takes care of the ledger.
    upkeep: Option<Upkeep>,
    /// When upkeep is due.
    upkeep_at: Instant,
    /// What of [`Ledger::is_busy`] is this writer's.
    arriving: usize,
}

/// A snapshot in work, and who waits for its end.
#[derive(Debug)]
struct SnapshotInWork {
    running: Box<RunningSnapshot>,
    waiting: Waiting,
}

/// What a notice holds until it is done with.
#[derive(Debug)]
struct Waiting {
    done: Option<oneshot::Sender<Receipt>>,
    /// Given back when the notice is done with.
    _memory: Option<OwnedSemaphorePermit>,
}

impl Waiting {
    fn acknowledge(self, receipt: Receipt) {
        let Self { done, _memory } = self;
        drop(_memory);
        if let Some(done) = done {
            // Whoever waited may be gone: a webhook that was answered in time with 503.
            done.send(receipt).ok();
        }
    }
}

/// Small notices that share a transaction.
const SMALL_BATCH: usize = 256;

/// How long small notices may hold up a snapshot.
const SMALL_TURNS: Duration = Duration::from_millis(100);

const UPKEEP_EVERY: Duration = Duration::from_secs(60);

/// For so long upkeep waits for a moment when nothing else does.
const UPKEEP_AT_LATEST: Duration = Duration::from_secs(60);

impl Writer {
    #[must_use]
    pub fn new(
        ledger: Ledger,
        views: Arc<Views>,
        settings: WriterSettings,
        upkeep: Option<Upkeep>,
        inbox: mpsc::Receiver<Notice>,
    ) -> Self {
        Self {
            context: Arc::new(Context::new(ledger, views, settings)),
            inbox,
            first: None,
            live: None,
            backlog: None,
            small_since: None,
            faults: Faults::default(),
            guessed: Guessed::default(),
            upkeep,
            upkeep_at: Instant::now(),
            arriving: 0,
        }
    }

    /// Runs until every [`crate::intake::Inbox`] is dropped and what they gave is written. A fault
    /// of the disk costs the notice, which becomes a gap, and never ends the writer.
    pub async fn run(mut self) {
        // The writer with the upkeep looks at the clock before it hears anything. Those of other sources do not wait.
        self.care().await;
        while self.work().await || self.wait().await {}
    }

    /// Does one piece of work, the most urgent that there is. `false`: there is none.
    async fn work(&mut self) -> bool {
        self.look_at_first();
        self.mark_busy();
        // However busy the relay is, upkeep has its turn: without it the file only grows.
        if self.upkeep_at + UPKEEP_AT_LATEST <= Instant::now() {
            self.care().await;
            return true;
        }
        if self.is_turn_of_small() {
            self.take_small().await;
            return true;
        }
        // Something else has its turn now, so the time of the small ones begins anew.
        self.small_since = None;
        if let Some(live) = self.live.take() {
            self.step(live).await;
        } else if let Some(notice) = self
            .first
            // There is one place for a snapshot of the backlog, so beside it only publications begin.
            .take_if(|first| self.backlog.is_none() || matches!(first.what, What::Published(_)))
        {
            self.take(notice).await;
        } else if let Some(backlog) = self.backlog.take() {
            self.step(backlog).await;
        } else if self.upkeep_at <= Instant::now() && !self.inbox.is_closed() {
            self.care().await;
        } else {
            return false;
        }
        true
    }

    /// Waits for the next notice or until upkeep is due. `false`: nothing comes any more.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            notice = self.inbox.recv() => {
                self.first = notice;
                self.first.is_some()
            }
            () = sleep_until(self.upkeep_at) => true,
        }
    }

    fn look_at_first(&mut self) {
        if self.first.is_none() {
            self.first = self.inbox.try_recv().ok();
        }
    }

    /// Tells the senders how much is still to come: the snapshots in work, and what waits.
    fn mark_busy(&mut self) {
        let snapshots = usize::from(self.live.is_some()) + usize::from(self.backlog.is_some());
        let waiting = usize::from(self.first.is_some()) + self.inbox.len();
        let before = std::mem::replace(&mut self.arriving, snapshots + waiting);
        let arriving = &self.context.ledger.shared.arriving;
        // Each writer has its own share of the number. The addition comes first, so that it is never below zero.
        arriving.fetch_add(self.arriving, Ordering::Relaxed);
        arriving.fetch_sub(before, Ordering::Relaxed);
    }

    fn is_turn_of_small(&mut self) -> bool {
        let is_small = self.first.as_ref().is_some_and(|first| is_small(&first.what));
        is_small && self.small_since.get_or_insert_with(Instant::now).elapsed() < SMALL_TURNS
    }

    /// Shows to people that news came.
    fn note_arrival(&self, what: &What, received: std::time::Instant) {
        let how = match what {
            What::Announced(_) => Arrival::Webhook,
            What::Read(_) => Arrival::Rest,
            // The relay itself tells of a gap.
            What::Gap(_) => return,
            What::Published(_)
            | What::Withdrawn(_)
            | What::Tagged(_)
            | What::TagAltered(_)
            | What::Sighted(_)
            | What::Touched(_)
            | What::Warninglist(_) => Arrival::Feed,
        };
        self.context.ledger.recent().arrived(self.context.source(), how, received);
    }

    /// Applies small notices together, as many as wait in line.
    async fn take_small(&mut self) {
        let (mut batch, mut waiting) = (Vec::new(), Vec::new());
        while batch.len() < SMALL_BATCH {
            self.look_at_first();
            let Some(notice) = self.first.take_if(|first| is_small(&first.what)) else { break };
            let Notice { what, received, done, memory } = notice;
            self.note_arrival(&what, received);
            batch.push(Arc::new(SmallNotice { what, received }));
            waiting.push(Waiting { done, _memory: memory });
        }
        self.mark_busy();
        let result = notices::apply(&self.context, batch.clone()).await;
        // One that cannot be applied is to cost itself alone.
        if batch.len() > 1 && result.as_ref().is_err_and(|error| !error.is_fault()) {
            return self.take_one_by_one(batch, waiting).await;
        }
        let receipt = self.receipt(result.map(|()| Receipt::Committed)).await;
        waiting.into_iter().for_each(|one| one.acknowledge(receipt));
    }

    async fn take_one_by_one(&mut self, batch: Vec<Arc<SmallNotice>>, waiting: Vec<Waiting>) {
        for (notice, waiting) in batch.into_iter().zip(waiting) {
            let result = notices::apply(&self.context, vec![notice]).await;
            self.finish(waiting, result.map(|()| Receipt::Committed)).await;
        }
    }

    /// Begins with a notice. All but snapshots are done with that.
    async fn take(&mut self, notice: Notice) {
        self.mark_busy();
        let Notice { what, received, done, memory } = notice;
        self.note_arrival(&what, received);
        let waiting = Waiting { done, _memory: memory };
        let heard = unix(std::time::SystemTime::now() - received.elapsed());
        let context = &self.context;
        let taken = match what {
            What::Published(body) => publish::begin(context, body, received).await,
            What::Announced(body) => stand_in::announce(context, body, heard).await,
            What::Gap(gap) => stand_in::gap(context, gap, heard).await,
            What::Read(read) => answer::begin(context, read, received).await,
            What::Warninglist(id) => {
                context.ledger.note_warninglist(context.source(), id);
                Ok(Taken::Done(Receipt::Committed))
            }
            what @ (What::Withdrawn(_)
            | What::Tagged(_)
            | What::TagAltered(_)
            | What::Sighted(_)
            | What::Touched(_)) => {
                let notice = Arc::new(SmallNotice { what, received });
                let applied = notices::apply(context, vec![notice]).await;
                applied.map(|()| Taken::Done(Receipt::Committed))
            }
        };
        match taken {
            Ok(Taken::Done(receipt)) => self.finish(waiting, Ok(receipt)).await,
            // Nothing that is heard meanwhile may come between: a snapshot was judged by what the ledger
            // knows now.
            Ok(Taken::Running(running)) => self.step(SnapshotInWork { running, waiting }).await,
            Err(error) => self.finish(waiting, Err(error)).await,
        }
    }

    /// Takes a snapshot one step further.
    async fn step(&mut self, mut work: SnapshotInWork) {
        match work.running.step(&mut self.guessed).await {
            Ok(Next::Step) => {
                let place = match work.running.lane() {
                    Lane::Backlog => &mut self.backlog,
                    Lane::Withdrawals | Lane::Live => &mut self.live,
                };
                *place = Some(work);
            }
            Ok(Next::End(applied)) => {
                let (context, running) = (&self.context, &work.running);
                let result = match &running.purpose {
                    Purpose::Publication => publish::end(context, running.head(), applied).await,
                    Purpose::Answer(read) => answer::end(context, read, applied).await,
                };
                self.finish(work.waiting, result).await;
            }
            Err(error) => self.finish(work.waiting, Err(error)).await,
        }
    }

    /// A notice is done with, or lost.
    async fn finish(&mut self, waiting: Waiting, result: Result<Receipt>) {
        let receipt = self.receipt(result).await;
        self.mark_busy();
        waiting.acknowledge(receipt);
    }

    async fn receipt(&mut self, result: Result<Receipt>) -> Receipt {
        let receipt = self.faults.receipt(&self.context, result).await;
        let ledger = &self.context.ledger;
        if self.context.rest().is_some() {
            ledger.shared.asked.notify_waiters();
        }
        if !ledger.is_writable() {
            self.upkeep_at = self.upkeep_at.min(Instant::now() + TRY_AGAIN);
        }
        receipt
    }

    /// One step of upkeep. After a fault, it tells that the ledger can be written again.
    async fn care(&mut self) {
        let Context { ledger, views, .. } = &*self.context;
        let step = match &mut self.upkeep {
            Some(upkeep) => upkeep.step(ledger, views, Ledger::now()).await,
            None => Ok(false),
        };
        let is_more = matches!(step, Ok(true));
        let after = if ledger.judge(step, "care for the ledger") {
            self.faults.record(&self.context).await;
            let in_work = self.live.iter().chain(&self.backlog);
            let in_work: Vec<Uuid> = in_work.map(|work| work.running.event()).collect();
            whole::resume(&self.context, &in_work).await;
            if is_more { Duration::ZERO } else { UPKEEP_EVERY }
        } else {
            TRY_AGAIN
        };
        self.upkeep_at = Instant::now() + after;
    }
}

/// Whether a notice names a few claims or one event, so that it takes no step by step.
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
