//! Runs the transactions in which a snapshot is applied: the first one compares its head, each adds a chunk of
//! claims, and the last ones end what the snapshot no longer holds.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::apply::{Added, Application, Counts, EndingSnapshot};
use super::begin::{self, Begun};
use super::change::Change;
use super::judgement::Origin;
use super::owner::Unit;
use super::snapshot::{Chunk, SnapshotHead, Totals};
use super::sql::{Result, Transaction, encode};
use super::tables::events::{self, ShownHead};
use super::tables::keys::EventKey;
use super::tables::{announced, event_tags, gaps, reads};
use super::writing::Context;
use super::{Lane, Ledger, beside};
use crate::pure::policy::Tlp;
use crate::recent::Committed;

/// What every transaction of a snapshot knows.
#[derive(Debug)]
pub(super) struct Applying {
    pub context: Arc<Context>,
    pub head: Arc<SnapshotHead>,
    pub lane: Lane,
    /// When the notice arrived, Unix milliseconds.
    pub heard: i64,
    /// The read that the snapshot answers.
    pub read: Option<AnsweredRead>,
}

/// A read that is settled once its answer is applied, in the same transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnsweredRead {
    pub asked: i64,
    pub shown: ShownHead,
}

/// The result of a transaction.
#[derive(Debug)]
pub(super) enum Stepped {
    /// The snapshot is not to be applied.
    Not(Begun),
    /// Another snapshot of the event has begun, or the event was deleted.
    GivenUp,
    /// A chunk was added, and more are to come. `begun` is set if this chunk was the first.
    Added {
        begun: Option<Box<Application>>,
        added: Added,
    },
    Ended(Box<Ended>),
}

/// A snapshot of which everything was added.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub ending: EndingSnapshot,
    pub totals: Arc<Totals>,
    /// Nothing is left to end.
    pub done: bool,
}

impl Applying {
    pub(super) fn event(&self) -> Uuid {
        self.head.facts.uuid
    }

    fn key(&self) -> EventKey<'_> {
        self.context.key(self.event())
    }

    fn change(&self) -> Change<'_> {
        Change::new(&self.context.views, Some(self.event()), self.heard).in_lane(self.lane)
    }

    /// Whether the ledger seems to hold exactly this snapshot, so that nothing need be converted. The transaction has
    /// the final decision.
    pub(super) async fn seems_unchanged(self: &Arc<Self>) -> Result<bool> {
        let applying = Arc::clone(self);
        let look = move |tx: &Transaction<'_>| events::stored(tx, applying.key());
        let stored = self.context.ledger.read(look).await?;
        Ok(stored.is_some_and(|stored| stored.content == Some(self.head.content)))
    }

    /// Adds a chunk to what is `known` of the snapshot so far; `shown` are all sightings that it has shown.
    pub(super) fn step(
        &self,
        unit: &Unit<'_>,
        known: Option<&Application>,
        chunk: &Chunk,
        shown: &HashSet<Uuid>,
    ) -> Result<Stepped> {
        let mut begun = None;
        let application = match known {
            Some(known) => known,
            None => match self.begin(unit)? {
                Begun::Started(started) => &**begun.insert(started),
                not @ (Begun::Unchanged | Begun::Stale | Begun::Deleted | Begun::Overtaken) => {
                    return Ok(Stepped::Not(not));
                }
            },
        };
        let mut change = self.change();
        let Some(added) = application.add(unit, chunk, &mut change)? else {
            return Ok(Stepped::GivenUp);
        };
        self.take_in(unit, chunk, &mut change)?;
        let Some(totals) = &chunk.totals else {
            unit.wake(&change);
            return Ok(Stepped::Added { begun, added });
        };
        let origin = self.head.origin;
        // Only now have all chunks been seen: what none of them showed is not there.
        self.context.take_back_unshown(unit, self.event(), origin, shown, &mut change)?;
        let measure = self.context.rest().map(|rest| &rest.guard);
        let ending = application.judge_absent(unit, &added, measure, &mut change)?;
        let ended = Ended { ending, totals: Arc::clone(totals), done: false };
        Ok(Stepped::Ended(Box::new(self.end(unit, ended, change)?)))
    }

    /// Ends more of the claims that the snapshot ends.
    pub(super) fn end_more(&self, unit: &Unit<'_>, ended: &Ended) -> Result<Ended> {
        self.end(unit, ended.clone(), self.change())
    }

    fn begin(&self, unit: &Unit<'_>) -> Result<Begun> {
        let SnapshotHead { facts, content, origin, .. } = &*self.head;
        let begun = begin::begin(unit, self.context.source(), facts, *content, *origin)?;
        if matches!(begun, Begun::Started(_)) {
            self.note_begun(unit)?;
        } else {
            self.note_not_begun(unit, &begun)?;
        }
        Ok(begun)
    }

    /// A snapshot that a crash cuts short is read again: a push asks for that before it begins, a
    /// read is asked for until it is settled.
    fn note_begun(&self, unit: &Unit<'_>) -> Result<()> {
        match (self.head.origin, self.context.rest()) {
            (Origin::Read(_), _) => Ok(()),
            (Origin::Push { .. }, Some(_)) => self.context.ask_read_back(unit, self.event()),
            // Nobody reads it without a key. The row remembers that the event may be there in part, until it is
            // wholly applied.
            (Origin::Push { .. }, None) => {
                self.context.ask_at_once(unit, self.event(), Ledger::now())
            }
        }
    }

    fn note_not_begun(&self, unit: &Unit<'_>, begun: &Begun) -> Result<()> {
        let (event, origin) = (self.event(), self.head.origin);
        // An overtaken read says nothing of what came after it began, so it confirms nothing.
        if !matches!(begun, Begun::Overtaken) {
            confirm(unit, self.key(), origin.told_at())?;
        }
        // The payload is no news, but MISP has published the event: what it saved by that is read back all the
        // same.
        if matches!(begun, Begun::Unchanged | Begun::Stale) && !origin.is_read() {
            self.context.ask_read_back(unit, event)?;
        }
        match begun {
            Begun::Deleted => self.context.ask_confirmation(unit, event),
            Begun::Unchanged => self.settle(unit),
            Begun::Stale | Begun::Overtaken | Begun::Started(_) => Ok(()),
        }
    }

    /// The ledger holds what MISP answered.
    fn settle(&self, unit: &Unit<'_>) -> Result<()> {
        let Some(AnsweredRead { asked, shown }) = self.read else { return Ok(()) };
        reads::settle(unit, self.key(), asked)?;
        events::note_read(unit, self.key(), shown)
    }

    /// What stands beside the attributes.
    fn take_in(&self, unit: &Unit<'_>, chunk: &Chunk, change: &mut Change<'_>) -> Result<()> {
        beside::take_in_sightings(unit, self.key(), &chunk.sighted, change)?;
        if self.counts_decay() {
            beside::take_in_decay(unit, self.key(), &chunk.decays, change)?;
        }
        Ok(())
    }

    /// A decay score can permit a claim, so it counts only if the key shows the view that filled the ledger.
    fn counts_decay(&self) -> bool {
        self.context.rest().is_some_and(|rest| rest.times.decay && rest.key.is_accepted())
    }

    /// Ends some claims; once all have ended the snapshot is applied.
    fn end(&self, unit: &Unit<'_>, ended: Ended, mut change: Change<'_>) -> Result<Ended> {
        let Ended { mut ending, totals, .. } = ended;
        let done = ending.end_some(unit, &mut change)?;
        if done {
            self.finish(unit, &ending, &totals, &change)?;
        }
        unit.wake(&change);
        Ok(Ended { ending, totals, done })
    }

    /// The strictest level that a tag of the event or of one of its attributes says, as the strictest view reads it;
    /// `None` without a view.
    pub(super) fn level(&self, totals: &Totals) -> Option<Tlp> {
        let names = || totals.tag_names.iter().map(String::as_str);
        let levels = self.context.views.iter().map(|view| view.strictest(names()));
        levels.max().max(self.context.views.event_level(&self.head.facts))
    }

    /// Shows the event to people, once it is committed.
    fn show(&self, unit: &Unit<'_>, counts: &Counts, totals: &Totals) {
        let SnapshotHead { facts, origin, .. } = &*self.head;
        let (event, level) = (facts.uuid, self.level(totals));
        // A read that alters no claim is no news. But it may show stricter tags of the event.
        if origin.is_read() && counts.new + counts.changed + counts.gone == 0 {
            if let Some(level) = level {
                unit.then(move |shared| shared.recent.marked(event, level));
            }
            return;
        }
        let committed = Committed {
            event,
            id: Some(facts.id),
            title: Some(facts.info.clone()),
            tlp: level,
            what: if origin.is_read() { "read back" } else { "published" },
            heard: self.heard,
            new: counts.new,
            changed: counts.changed,
            gone: counts.gone,
            is_withdrawal: counts.gone > 0 && counts.new == 0 && counts.changed == 0,
        };
        // Before the senders wake: what they do with it belongs into its line.
        unit.then(move |shared| shared.recent.committed(committed));
    }

    fn finish(
        &self,
        unit: &Unit<'_>,
        ending: &EndingSnapshot,
        totals: &Totals,
        change: &Change<'_>,
    ) -> Result<()> {
        let event = self.key();
        let summary = Summary::new(&self.head, self.level(totals), &ending.counts, totals);
        change.summarise(unit, &encode(&summary)?)?;
        ending.finish(unit, self.head.content, &encode(&summary.skipped)?)?;
        event_tags::store(unit, event, &totals.tags)?;
        self.show(unit, &ending.counts, totals);
        // Without REST nothing reads the event back. The asking was there for a crash, which did not happen.
        if self.context.rest().is_none() {
            reads::forget(unit, event)?;
        }
        self.settle(unit)?;
        confirm(unit, event, self.head.origin.told_at())
    }
}

/// Notes that a publication of the event was applied. What a webhook announced by `told_at` (Unix milliseconds) is no
/// longer needed, and gaps that name the event are closed.
pub(super) fn confirm(tx: &Transaction<'_>, event: EventKey<'_>, told_at: i64) -> Result<()> {
    announced::confirm(tx, event, told_at)?;
    gaps::heal_event(tx, event, told_at)
}

/// The figures for the log line about an accepted event, stored with its changes.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    info: &'a str,
    /// The strictest level of the event and its attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    tlp: Option<Tlp>,
    attributes: u64,
    new: usize,
    changed: usize,
    gone: usize,
    #[serde(skip_serializing_if = "is_zero")]
    pending: usize,
    skipped: BTreeMap<crate::pure::convert::Reason, u64>,
}

impl<'a> Summary<'a> {
    fn new(head: &'a SnapshotHead, tlp: Option<Tlp>, counts: &Counts, totals: &Totals) -> Self {
        Self {
            info: &head.facts.info,
            tlp,
            attributes: totals.attributes,
            new: counts.new,
            changed: counts.changed,
            gone: counts.gone,
            pending: counts.pending,
            skipped: totals.skipped.iter().chain(counts.forbidden.iter()).collect(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
