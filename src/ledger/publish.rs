//! Snapshots of events on their way into the ledger: publications from the feed, and what REST
//! answers about them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use uuid::Uuid;

use super::apply::{Application, Counts};
use super::applying::{Applying, Ended, Stepped};
use super::begin::Begun;
use super::owner::Unit;
use super::snapshot::{self, Chunk, End, Snapshot, SnapshotHead, Source};
use super::sql::Result;
use super::writer::{Writer, unix};
use super::{Lane, Ledger, small};
use crate::metrics;
use crate::notice::{Gap, GapReason, Receipt};

/// What became of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// The ledger holds exactly this.
    Wholly,
    /// It is from before something that the ledger holds.
    Refused,
    /// A read that began before something that the ledger knows.
    Overtaken,
    /// Another snapshot or a deletion came between.
    GivenUp,
    /// The thread that read and converted it ended early.
    BrokenOff,
}

impl Writer {
    /// A publication from the feed, or a webhook's that stands in for one.
    pub(super) async fn publish(&mut self, body: Bytes, received: Instant) -> Result<Receipt> {
        let context = Arc::clone(&self.context);
        let bytes = body.len();
        let key = context.rest().map(|rest| &rest.key);
        let weigh = key.is_some_and(|key| !(key.sees_all() && key.is_accepted()));
        let received_at = unix(SystemTime::now() - received.elapsed()) / 1_000;
        let source = Source::Push { weigh, received: received_at };
        let snapshot = match snapshot::read(body, context.views.fingerprint(), source).await {
            Ok(snapshot) => snapshot,
            Err(refusal) => {
                tracing::warn!(bytes, %refusal, "a publication cannot be read: skipped, a gap is noted");
                metrics::event_read("refused");
                self.note_gap(GapReason::MalformedFrame).await?;
                return Ok(Receipt::Refused);
            }
        };
        let (event, content) = (snapshot.head.facts.uuid, snapshot.head.content);
        let searches = context.rest().is_some_and(|rest| rest.searches);
        if searches || snapshot.head.restricted {
            tracing::info!(%event, "a publication that the key may not see, or that misp.search may not select: waits for a REST read");
            self.ask_confirmation(event).await?;
            return Ok(Receipt::Committed);
        }
        if context.applied.get(&event) == Some(content) {
            log_unchanged(event);
            let work = Arc::clone(&context);
            let confirm = move |unit: &Unit<'_>| {
                small::confirm(unit, work.source(), (event, Ledger::now()))?;
                work.ask_read_back(unit, event)
            };
            context.ledger.write(confirm).await?;
            return Ok(Receipt::Committed);
        }
        context.applied.invalidate(&event);
        match self.apply(snapshot, received, Lane::Live).await? {
            Applied::Wholly => context.applied.insert(event, content),
            Applied::BrokenOff => self.broke_off(event).await?,
            Applied::Refused | Applied::Overtaken | Applied::GivenUp => {}
        }
        Ok(Receipt::Committed)
    }

    /// The thread that converted a publication ended early: that costs this publication.
    async fn broke_off(&self, event: Uuid) -> Result<()> {
        tracing::error!(%event, "the relay failed at converting a publication: this is a fault of the relay, please report it with the event; a gap is noted");
        metrics::event_read("refused");
        self.note_gap(GapReason::MalformedFrame).await
    }

    /// Has the event read until MISP shows it published.
    pub(super) async fn ask_confirmation(&self, event: Uuid) -> Result<()> {
        let context = Arc::clone(&self.context);
        let ask = move |unit: &Unit<'_>| context.ask_confirmation(unit, event);
        self.context.ledger.write(ask).await
    }

    /// Applies a snapshot in as many transactions as it needs.
    pub(super) async fn apply(
        &mut self,
        snapshot: Snapshot,
        received: Instant,
        lane: Lane,
    ) -> Result<Applied> {
        let Snapshot { head, mut chunks } = snapshot;
        let heard = unix(SystemTime::now() - received.elapsed());
        let context = Arc::clone(&self.context);
        let applying = Arc::new(Applying { context, head, lane, heard });
        let event = applying.event();
        let mut shown = Arc::new(HashSet::new());
        let mut application: Option<Arc<Application>> = None;
        while let Some(chunk) = chunks.recv().await {
            let tags = applying.head.facts.tags.iter();
            let tags = tags.chain(chunk.claims.iter().flat_map(|claim| &claim.facts.tags));
            self.guessed.tell(&self.context.views, event, tags);
            let sighted = chunk.sighted.iter().map(|one| one.sighting.uuid);
            Arc::make_mut(&mut shown).extend(sighted);
            match self.step(&applying, application.clone(), chunk, &shown).await? {
                Stepped::Not(begun) => return Ok(log_not_applied(&applying.head, &begun)),
                Stepped::GivenUp => {
                    tracing::info!(%event, "the event changed while its snapshot was being applied: given up");
                    return Ok(Applied::GivenUp);
                }
                Stepped::Added { begun, added } => {
                    application = application.or_else(|| begun.map(Arc::from));
                    application.iter_mut().for_each(|one| Arc::make_mut(one).advance(&added));
                }
                Stepped::Ended(ended) => {
                    let ended = self.end(&applying, *ended).await?;
                    self.mark_busy(0);
                    let Ended { application, end, .. } = &ended;
                    report(&applying.head, &application.counts, end, received.elapsed());
                    return Ok(Applied::Wholly);
                }
            }
            self.breathe(lane).await;
        }
        // Without an end the reading thread died: the event stays asked for.
        Ok(Applied::BrokenOff)
    }

    /// Adds a chunk, in a transaction of its own.
    async fn step(
        &self,
        applying: &Arc<Applying>,
        known: Option<Arc<Application>>,
        chunk: Chunk,
        shown: &Arc<HashSet<Uuid>>,
    ) -> Result<Stepped> {
        let (applying, shown) = (Arc::clone(applying), Arc::clone(shown));
        let step = move |unit: &Unit<'_>| applying.step(unit, known.as_deref(), &chunk, &shown);
        self.context.ledger.write(step).await
    }

    /// Ends what the snapshot no longer holds, step by step.
    async fn end(&mut self, applying: &Arc<Applying>, mut ended: Ended) -> Result<Ended> {
        while !ended.done {
            self.breathe(applying.lane).await;
            let applying = Arc::clone(applying);
            let step = move |unit: &Unit<'_>| applying.end_more(unit, &ended);
            ended = self.context.ledger.write(step).await?;
        }
        Ok(ended)
    }

    async fn note_gap(&self, reason: GapReason) -> Result<()> {
        let now = SystemTime::now();
        let gap = Gap {
            reason,
            intake: "publication".into(),
            since: now,
            event: None,
            publication: false,
        };
        self.context.ledger.record_gap(self.context.source(), &gap, unix(now), unix(now)).await
    }
}

fn report(head: &SnapshotHead, counts: &Counts, end: &End, took: Duration) {
    let left_out = || end.skipped.iter().chain(counts.forbidden.iter());
    let skipped: Vec<String> =
        left_out().map(|(reason, count)| format!("{}={count}", reason.word())).collect();
    tracing::info!(
        event = %head.facts.uuid,
        attributes = end.attributes,
        new = counts.new,
        changed = counts.changed,
        gone = counts.gone,
        pending = counts.pending,
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

fn log_not_applied(head: &SnapshotHead, begun: &Begun) -> Applied {
    let event = head.facts.uuid;
    match begun {
        Begun::Unchanged if head.origin.is_read() => {
            tracing::debug!(%event, "compared with MISP: no change");
            Applied::Wholly
        }
        Begun::Unchanged => {
            log_unchanged(event);
            Applied::Wholly
        }
        Begun::Stale => {
            metrics::event_read("stale");
            tracing::info!(%event, "an older snapshot than the one applied: ignored");
            Applied::Refused
        }
        Begun::Deleted => {
            metrics::event_read("deleted");
            tracing::info!(%event, "a snapshot of a deleted event: ignored, only a REST read tells whether it is back");
            Applied::Refused
        }
        Begun::Overtaken | Begun::Started(_) => Applied::Overtaken,
    }
}
