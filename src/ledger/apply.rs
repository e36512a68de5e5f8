//! Applying a snapshot of an event: what is new or changed is written in chunks, each a transaction
//! of its own that only adds; the last one removes what the snapshot no longer holds.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::begin::Head;
use super::change::Change;
use super::claims::{self, ALTERED, Place, Row, Stored};
use super::judgement::{Origin, Shown};
use super::sql::{Result, Transaction, statements, values};
use super::tag_changes::TagChanges;
use super::wanted::refresh;
use super::{guard, head, tags, withdraw};
use crate::config::Guard;
use crate::pure::convert::{Claim, ClaimFacts, EventFacts, Reason, Since, Skipped};

statements! {
    FINISH(Integer, Text, Text, Bytes, Integer) =
        "UPDATE events SET content = $1, skipped = $2, unfinished = 0
         WHERE source = $3 AND event = $4 AND generation = $5";
}

/// Objects refreshed in one transaction.
pub(super) const STEP: usize = 5_000;

/// What an event's snapshot did to its claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub new: usize,
    pub changed: usize,
    pub gone: usize,
    /// Kept out by a tombstone: withdrawn after this snapshot was taken.
    pub withdrawn: usize,
    /// Gone without a word from MISP, and kept by the guard.
    pub held: usize,
    /// What waits for MISP's warninglists.
    pub pending: usize,
    /// What no view admits now.
    pub forbidden: Skipped,
}

impl Counts {
    fn add(&mut self, more: &Self) {
        self.new += more.new;
        self.changed += more.changed;
        self.gone += more.gone;
        self.withdrawn += more.withdrawn;
        self.held += more.held;
        self.pending += more.pending;
        self.forbidden.extend(&more.forbidden);
    }
}

/// A snapshot on its way into the ledger, as far as it has come.
#[derive(Debug, Clone)]
pub(super) struct Application {
    source: String,
    event: Uuid,
    origin: Origin,
    facts: EventFacts,
    generation: i64,
    /// What the event claimed when the snapshot began.
    stored: HashMap<Place, Stored>,
    /// Claims that the snapshot has mentioned so far, or ended in so many words.
    mentioned: HashSet<Place>,
    /// Attributes that it shows.
    shown: HashSet<Uuid>,
    /// Claims that are to end.
    ended: Vec<(Place, Stored)>,
    /// The event's own facts changed: all its objects are merged anew.
    event_changed: bool,
    /// What was heard of its tags, of a push.
    heard: TagChanges,
    pub counts: Counts,
}

/// What a transaction did for a snapshot: once it is committed, the [`Application`] is advanced by it.
#[derive(Debug, Default)]
pub(super) struct Added {
    mentioned: HashSet<Place>,
    shown: Vec<Uuid>,
    ended: Vec<(Place, Stored)>,
    counts: Counts,
}

impl Application {
    pub(super) fn new(
        source: &str,
        origin: Origin,
        head: Head,
        stored: HashMap<Place, Stored>,
    ) -> Self {
        Self {
            source: source.to_owned(),
            event: head.facts.uuid,
            origin,
            facts: head.facts,
            generation: head.generation,
            stored,
            mentioned: HashSet::new(),
            shown: HashSet::new(),
            ended: Vec::new(),
            event_changed: head.changed,
            heard: head.heard,
            counts: Counts::default(),
        }
    }

    pub(super) fn advance(&mut self, added: &Added) {
        self.mentioned.extend(&added.mentioned);
        self.shown.extend(&added.shown);
        self.ended.extend(&added.ended);
        self.counts.add(&added.counts);
    }

    /// Writes a chunk of the snapshot's claims; `silent` are attributes that it shows and that claim nothing
    /// (any more): what they claimed ends by MISP's word, not by an absence. `None`: a newer snapshot has
    /// begun, give way.
    pub(super) fn add(
        &self,
        tx: &Transaction<'_>,
        (claims, silent): (&[Claim], &[Uuid]),
        change: &mut Change<'_>,
    ) -> Result<Option<Added>> {
        if !self.is_current(tx)? {
            return Ok(None);
        }
        let mut added = Added::default();
        added.shown.extend(silent);
        added.shown.extend(claims.iter().map(|claim| claim.attribute));
        let mut rows = Vec::with_capacity(claims.len());
        for claim in claims {
            rows.extend(self.row(tx, claim.clone(), change, &mut added)?);
        }
        self.drop_withdrawn(tx, &mut rows, &mut added)?;
        let touched = self.compare(&mut rows, &mut added);
        claims::write(tx, &self.source, self.event, &rows, change.opened_at)?;
        refresh(tx, &touched, change)?;
        Ok(Some(added))
    }

    /// What the event claims at this place and the snapshot has not mentioned so far.
    fn unseen(&self, place: &Place, added: &Added) -> Option<Stored> {
        let seen = self.mentioned.contains(place) || added.mentioned.contains(place);
        self.stored.get(place).copied().filter(|_| !seen)
    }

    fn is_current(&self, tx: &Transaction<'_>) -> Result<bool> {
        let generation = head::generation(tx, (&self.source, self.event))?;
        Ok(generation == Some(self.generation))
    }

    /// The claim as it counts; `None`: it does not count before the next publication.
    fn row(
        &self,
        tx: &Transaction<'_>,
        mut claim: Claim,
        change: &Change<'_>,
        added: &mut Added,
    ) -> Result<Option<Row>> {
        let place = (claim.attribute, i16::from(claim.part));
        let stored = self.unseen(&place, added);
        let altered = match self.origin {
            Origin::Push { .. } => {
                let kept = self.keep_heard(tx, &mut claim, stored)?;
                let Claim { facts, .. } = &mut claim;
                self.heard.apply(facts.attribute_id, &mut facts.tags) || kept
            }
            Origin::Read(shown) if shown.counts(&claim.facts) => {
                shown.less_unpublished(&mut claim.facts);
                self.mark_tags(tx, &mut claim, stored, shown)?
            }
            Origin::Read(shown) => {
                if !self.keep_published(tx, (&mut claim, shown), stored, change)? {
                    added.ended.extend(stored.map(|stored| (place, stored)));
                    added.mentioned.extend(stored.map(|_| place));
                    return Ok(None);
                }
                false
            }
        };
        match self.objection(&claim, change) {
            Some(Reason::WarninglistsPending) => added.counts.pending += 1,
            Some(reason) => added.counts.forbidden.add(reason),
            None => {}
        }
        let mut row = claims::row(claim, change)?;
        if altered {
            row.digest = ALTERED;
        }
        Ok(Some(row))
    }

    fn objection(&self, claim: &Claim, change: &Change<'_>) -> Option<Reason> {
        let Claim { facts, observable, .. } = claim;
        change.views.objection(&self.facts, facts, observable)
    }

    /// Tags that were put on the attribute since its publication stay, if this snapshot may be from
    /// before them; so do the audiences that an edit gave its object. Whether there are any.
    fn keep_heard(
        &self,
        tx: &Transaction<'_>,
        claim: &mut Claim,
        stored: Option<Stored>,
    ) -> Result<bool> {
        if stored.is_none_or(|stored| stored.digest != ALTERED) {
            return Ok(false);
        }
        let before = self.facts_of(tx, claim)?;
        // It may have ended between two chunks.
        let Some(before) = before else { return Ok(false) };
        let taken = self.facts.timestamp;
        let tagged = self.origin.keep_attached(&before.tags, taken, &mut claim.facts.tags);
        let narrowed = self.facts.timestamp < before.narrowed_at;
        if narrowed {
            claim.facts.also = before.also;
            claim.facts.narrowed_at = before.narrowed_at;
        }
        Ok(tagged || narrowed)
    }

    /// An unpublished event does not show which tags were put on or taken off since, where that leaves
    /// no trace in the attribute's time: what was heard of them does. Whether that altered the claim.
    fn mark_tags(
        &self,
        tx: &Transaction<'_>,
        claim: &mut Claim,
        stored: Option<Stored>,
        shown: Shown,
    ) -> Result<bool> {
        let is_altered = stored.is_some_and(|stored| stored.digest == ALTERED);
        if shown.published || !is_altered {
            return Ok(false);
        }
        let before = self.facts_of(tx, claim)?;
        let Some(before) = before else { return Ok(false) };
        tags::mark_changed(&before.tags, shown.began / 1_000, &mut claim.facts.tags);
        Ok(claim.facts.tags.iter().any(|tag| tag.since != Since::Published))
    }

    /// What was published of an attribute that was touched since: its claim, if it still says the
    /// same, less what was taken back. Whether there is such a claim.
    fn keep_published(
        &self,
        tx: &Transaction<'_>,
        (claim, shown): (&mut Claim, Shown),
        stored: Option<Stored>,
        change: &Change<'_>,
    ) -> Result<bool> {
        let object = change.views.object_key(&claim.observable);
        let same = stored.is_some_and(|stored| stored.object == object);
        if !same || !shown.keeps_published() {
            return Ok(false);
        }
        let before = self.facts_of(tx, claim)?;
        let Some(before) = before else { return Ok(false) };
        claim.facts = shown.less_taken_back(before, &claim.facts);
        Ok(true)
    }

    /// What the ledger holds of a claim.
    fn facts_of(&self, tx: &Transaction<'_>, claim: &Claim) -> Result<Option<ClaimFacts>> {
        let place = (claim.attribute, i16::from(claim.part));
        claims::stored_facts(tx, (&self.source, self.event), place)
    }

    /// Takes out what was withdrawn at or after the attribute's time in this snapshot. A read that
    /// began after a withdrawal ends its tombstone instead.
    fn drop_withdrawn(
        &self,
        tx: &Transaction<'_>,
        rows: &mut Vec<Row>,
        added: &mut Added,
    ) -> Result<()> {
        let attributes = rows.iter().map(|row| row.claim.attribute);
        let objects = rows.iter().filter_map(Row::misp_object);
        let named: Vec<Uuid> = attributes.chain(objects).collect();
        let mut standing = withdraw::tombstones(tx, &self.source, &named)?;
        for (attribute, object) in self.origin.outdated(&mut standing) {
            withdraw::unbury(tx, &self.source, attribute, object)?;
        }
        if standing.is_empty() {
            return Ok(());
        }
        let before = rows.len();
        rows.retain(|row| {
            let attribute = row.claim.attribute;
            // Under `identity = "attribute"` older releases named what was withdrawn so.
            let former = row.claim.observable.id(&attribute);
            let whole = row.misp_object().map(|object| (object, Uuid::nil()));
            let own = [Uuid::nil(), row.object, former].map(|one| (attribute, one));
            let mut found = own.iter().chain(&whole).filter_map(|key| standing.get(key));
            !found.any(|tombstone| tombstone.keeps_out(&row.claim.facts))
        });
        added.counts.withdrawn += before - rows.len();
        Ok(())
    }

    /// Keeps the rows that are new or changed; returns the objects to refresh.
    fn compare(&self, rows: &mut Vec<Row>, added: &mut Added) -> Vec<Uuid> {
        let mut touched = HashSet::new();
        rows.retain(|row| {
            let place = row.place();
            let stored = self.unseen(&place, added);
            if self.mentioned.contains(&place) || !added.mentioned.insert(place) {
                return false;
            }
            let same =
                stored.is_some_and(|stored| stored.digest == row.digest && row.digest != ALTERED);
            if !same || self.event_changed {
                touched.insert(row.object);
                touched.extend(stored.map(|stored| stored.object));
            }
            match stored {
                None => added.counts.new += 1,
                Some(_) if !same => added.counts.changed += 1,
                Some(_) => {}
            }
            !same
        });
        let mut touched: Vec<Uuid> = touched.into_iter().collect();
        touched.sort_unstable();
        touched
    }

    /// Decides on the claims that the snapshot does not mention: a publication ends them, a read
    /// within the guard's measure.
    pub(super) fn judge_absent(
        &mut self,
        tx: &Transaction<'_>,
        measure: Option<&Guard>,
        change: &mut Change<'_>,
    ) -> Result<()> {
        let stored = std::mem::take(&mut self.stored).into_iter();
        let unseen = stored.filter(|(place, _)| !self.mentioned.contains(place));
        let (told, absent): (Vec<_>, Vec<(Place, Stored)>) =
            unseen.partition(|((attribute, _), _)| self.shown.contains(attribute));
        self.ended.extend(told);
        let event = (self.source.as_str(), self.event);
        let kept = match (&self.origin, measure) {
            (Origin::Push { .. }, _) | (_, None) => Vec::new(),
            (Origin::Read(shown), Some(_)) if !shown.of_our_view => {
                absent.iter().map(|(place, _)| *place).collect()
            }
            (Origin::Read(_), Some(measure)) => guard::hold(tx, event, (&absent, measure), change)?,
        };
        self.counts.held = kept.len();
        let kept: HashSet<Place> = kept.into_iter().collect();
        if self.event_changed {
            // Judged by the event as it is now: a tag may forbid what stands.
            let still = absent.iter().filter(|(place, _)| kept.contains(place));
            let objects: HashSet<Uuid> = still.map(|(_, stored)| stored.object).collect();
            refresh(tx, &objects.into_iter().collect::<Vec<_>>(), change)?;
        }
        self.ended.extend(absent.into_iter().filter(|(place, _)| !kept.contains(place)));
        Ok(())
    }

    /// Ends claims, at most [`STEP`]; `false`: call again.
    pub(super) fn end_some(
        &mut self,
        tx: &Transaction<'_>,
        change: &mut Change<'_>,
    ) -> Result<bool> {
        if !self.is_current(tx)? {
            return Ok(true);
        }
        let rest = self.ended.len().saturating_sub(STEP);
        let going = self.ended.split_off(rest);
        let event = (self.source.as_str(), self.event);
        for (place, _) in &going {
            claims::delete(tx, event, *place)?;
        }
        if !going.is_empty() {
            guard::forget_gone(tx, event)?;
        }
        self.counts.gone += going.len();
        let mut objects: Vec<Uuid> = going.iter().map(|(_, stored)| stored.object).collect();
        objects.sort_unstable();
        objects.dedup();
        refresh(tx, &objects, change)?;
        Ok(self.ended.is_empty())
    }

    /// Marks the snapshot as wholly applied. While claims are held, the same snapshot is compared anew.
    pub(super) fn finish(&self, tx: &Transaction<'_>, content: i64, skipped: &str) -> Result<()> {
        let content = (self.counts.held == 0).then_some(content);
        let Self { source, event, generation, .. } = self;
        tx.execute(&FINISH, &values![content, skipped, source, *event, *generation]).map(drop)
    }
}
