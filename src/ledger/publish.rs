//! Snapshots of events on their way into the ledger: publications from the feed, and what REST
//! answers about them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::apply::{Application, Counts};
use super::begin::{self, Begun};
use super::change::Change;
use super::judgement::Origin;
use super::reads::{self, Asking};
use super::snapshot::{self, Chunk, End, Snapshot, Source};
use super::wanted::encode;
use super::writer::{Writer, unix};
use super::{Lane, Ledger, Writing, decay, event_tags, sightings, small};
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
    pub(super) async fn publish(
        &mut self,
        body: Bytes,
        received: Instant,
    ) -> sqlx::Result<Receipt> {
        let bytes = body.len();
        let key = self.settings.rest.as_ref().map(|rest| &rest.key);
        let weigh = key.is_some_and(|key| !(key.sees_all() && key.is_accepted()));
        let received_at = unix(SystemTime::now() - received.elapsed()) / 1_000;
        let source = Source::Push { weigh, received: received_at };
        let snapshot = match snapshot::read(body, self.views.fingerprint(), source).await {
            Ok(snapshot) => snapshot,
            Err(refusal) => {
                tracing::warn!(bytes, %refusal, "a publication cannot be read: skipped, a gap is noted");
                metrics::event_read("refused");
                self.note_gap(GapReason::MalformedFrame).await?;
                return Ok(Receipt::Refused);
            }
        };
        let event = snapshot.facts.uuid;
        let searches = self.settings.rest.as_ref().is_some_and(|rest| rest.searches);
        if searches || snapshot.restricted {
            tracing::info!(%event, "a publication that the key may not see, or that misp.search may not select: waits for a REST read");
            self.ask_confirmation(event).await?;
            return Ok(Receipt::Committed);
        }
        if self.applied.get(&event) == Some(snapshot.content) {
            log_unchanged(event);
            let mut tx = self.ledger.begin().await?;
            small::confirm(&mut tx, &self.settings.source, (event, Ledger::now())).await?;
            self.ask_read_back(&mut tx, event).await?;
            tx.commit().await?;
            return Ok(Receipt::Committed);
        }
        self.applied.invalidate(&event);
        let content = snapshot.content;
        match self.apply(snapshot, received, Lane::Live).await? {
            Applied::Wholly => self.applied.insert(event, content),
            Applied::BrokenOff => self.broke_off(event).await?,
            Applied::Refused | Applied::Overtaken | Applied::GivenUp => {}
        }
        Ok(Receipt::Committed)
    }

    /// The thread that converted a publication ended early: that costs this publication.
    async fn broke_off(&self, event: Uuid) -> sqlx::Result<()> {
        tracing::error!(%event, "the relay failed at converting a publication: this is a fault of the relay, please report it with the event; a gap is noted");
        metrics::event_read("refused");
        self.note_gap(GapReason::MalformedFrame).await
    }

    /// Has the event read until MISP shows it published.
    pub(super) async fn ask_confirmation(&self, event: Uuid) -> sqlx::Result<()> {
        let Some(rest) = &self.settings.rest else { return Ok(()) };
        let now = unix(SystemTime::now());
        let mut connection = self.ledger.writer.acquire().await?;
        let asking = Asking::confirmation(&rest.times, now);
        reads::ask(&mut connection, (&self.settings.source, event), asking, now).await?;
        self.ledger.shared.asked.notify_waiters();
        Ok(())
    }

    /// What was pushed is read back, once MISP has saved it.
    async fn ask_read_back(&self, tx: &mut Writing, event: Uuid) -> sqlx::Result<()> {
        let now = unix(SystemTime::now());
        let asking = match &self.settings.rest {
            Some(rest) => Asking::read_back(&rest.times, now),
            None => return Ok(()),
        };
        reads::ask(tx, (&self.settings.source, event), asking, now).await
    }

    /// Applies a snapshot in as many transactions as it needs.
    pub(super) async fn apply(
        &mut self,
        mut snapshot: Snapshot,
        received: Instant,
        lane: Lane,
    ) -> sqlx::Result<Applied> {
        let (ledger, views) = (self.ledger.clone(), Arc::clone(&self.views));
        let event = snapshot.facts.uuid;
        let heard = unix(SystemTime::now() - received.elapsed());
        let new_change = || Change::new(&views, Some(event), heard).in_lane(lane);
        let mut tx = ledger.begin().await?;
        let head = (&snapshot.facts, snapshot.content);
        let begun = begin::begin(&mut tx, &self.settings.source, head, snapshot.origin).await?;
        let Begun::Started(mut application) = begun else {
            return self.not_applied(tx, (event, snapshot.origin), &begun).await;
        };
        self.note_begun(&mut tx, &snapshot).await?;
        let (mut end, mut shown) = (None, HashSet::new());
        while let Some(chunk) = snapshot.chunks.recv().await {
            let Chunk { claims, silent, sighted, decays, end: last } = chunk;
            let tags = snapshot.facts.tags.iter();
            let tags = tags.chain(claims.iter().flat_map(|claim| &claim.facts.tags));
            self.guessed.tell(&views, event, tags);
            let mut change = new_change();
            application.tell(&silent);
            if !application.add(&mut tx, claims, &mut change).await? {
                tracing::info!(%event, "the event changed while its snapshot was being applied: given up");
                return Ok(Applied::GivenUp);
            }
            shown.extend(sighted.iter().map(|one| one.sighting.uuid));
            let place = (self.settings.source.as_str(), event);
            sightings::take_in(&mut tx, place, &sighted, &mut change).await?;
            if self.counts_decay() {
                decay::take_in(&mut tx, place, &decays, &mut change).await?;
            }
            if let Some(last) = last {
                end = Some((last, change));
                break;
            }
            ledger.commit(tx, &change).await?;
            self.breathe(lane).await;
            tx = ledger.begin().await?;
        }
        // Without an end the reading thread died: the event stays asked for.
        let Some((end, mut change)) = end else { return Ok(Applied::BrokenOff) };
        let read = (event, snapshot.origin);
        self.take_back_unshown(&mut tx, read, &shown, &mut change).await?;
        let measure = self.settings.rest.as_ref().map(|rest| &rest.guard);
        application.judge_absent(&mut tx, measure, &mut change).await?;
        while !application.end_some(&mut tx, &mut change).await? {
            ledger.commit(tx, &change).await?;
            self.breathe(lane).await;
            tx = ledger.begin().await?;
            change = new_change();
        }
        self.finish(&mut tx, &snapshot, &application, &end, &change).await?;
        self.mark_busy(0);
        ledger.commit(tx, &change).await?;
        report(&snapshot, &application.counts, &end, received.elapsed());
        Ok(Applied::Wholly)
    }

    /// Decay may permit: by another view than the ledger's it does not.
    fn counts_decay(&self) -> bool {
        let rest = self.settings.rest.as_ref();
        rest.is_some_and(|rest| rest.times.decay && rest.key.is_accepted())
    }

    /// A snapshot that a crash cuts short is read again: a push asks for that before it begins, a
    /// read is asked for until it is settled.
    async fn note_begun(&self, tx: &mut Writing, snapshot: &Snapshot) -> sqlx::Result<()> {
        let event = snapshot.facts.uuid;
        match (snapshot.origin, &self.settings.rest) {
            (Origin::Read(_), _) => Ok(()),
            (Origin::Push { .. }, Some(_)) => self.ask_read_back(tx, event).await,
            (Origin::Push { .. }, None) => {
                let now = unix(SystemTime::now());
                let event = (self.settings.source.as_str(), event);
                reads::ask(tx, event, Asking::at_once(now), now).await
            }
        }
    }

    async fn not_applied(
        &self,
        mut tx: Writing,
        (event, origin): (Uuid, Origin),
        begun: &Begun,
    ) -> sqlx::Result<Applied> {
        if !matches!(begun, Begun::Overtaken) {
            small::confirm(&mut tx, &self.settings.source, (event, origin.told_at())).await?;
        }
        if matches!(begun, Begun::Unchanged | Begun::Stale) && !origin.is_read() {
            self.ask_read_back(&mut tx, event).await?;
        }
        tx.commit().await?;
        if matches!(begun, Begun::Deleted) {
            self.ask_confirmation(event).await?;
        }
        if origin.is_read() && matches!(begun, Begun::Unchanged) {
            tracing::debug!(%event, "compared with MISP: no change");
            return Ok(Applied::Wholly);
        }
        Ok(log_not_applied(event, begun))
    }

    async fn finish(
        &self,
        tx: &mut Writing,
        snapshot: &Snapshot,
        application: &Application,
        end: &End,
        change: &Change<'_>,
    ) -> sqlx::Result<()> {
        let event = (self.settings.source.as_str(), snapshot.facts.uuid);
        let summary = Summary::new(snapshot, &application.counts, end);
        change.summarise(tx, &encode(&summary)?).await?;
        application.finish(tx, snapshot.content, &encode(&summary.skipped)?).await?;
        event_tags::store(tx, event, &end.tags).await?;
        if self.settings.rest.is_none() {
            reads::forget(tx, event).await?;
        }
        small::confirm(tx, event.0, (event.1, snapshot.origin.told_at())).await
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

/// What the line about an accepted event tells, kept beside its changes.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    info: &'a str,
    attributes: u64,
    new: usize,
    changed: usize,
    gone: usize,
    #[serde(skip_serializing_if = "is_zero")]
    pending: usize,
    skipped: BTreeMap<crate::pure::convert::Reason, u64>,
}

impl<'a> Summary<'a> {
    fn new(snapshot: &'a Snapshot, counts: &Counts, end: &End) -> Self {
        Self {
            info: &snapshot.facts.info,
            attributes: end.attributes,
            new: counts.new,
            changed: counts.changed,
            gone: counts.gone,
            pending: counts.pending,
            skipped: end.skipped.iter().chain(counts.forbidden.iter()).collect(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_zero(count: &usize) -> bool {
    *count == 0
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

fn log_not_applied(event: Uuid, begun: &Begun) -> Applied {
    match begun {
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
