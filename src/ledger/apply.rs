//! Applying a snapshot of an event: what is new or changed is written in chunks, each a transaction
//! of its own that only adds; the last one removes what the snapshot no longer holds.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::begin::Head;
use super::change::Change;
use super::claims::{self, ALTERED, Place, ROWS, Row, Stored};
use super::judgement::{Origin, Shown};
use super::tag_changes::TagChanges;
use super::wanted::refresh;
use super::{Writing, guard, head, tags, withdraw};
use crate::config::Guard;
use crate::pure::convert::{Claim, EventFacts, Reason, Since, Skipped};

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

/// A snapshot on its way into the ledger.
#[derive(Debug)]
pub(super) struct Application {
    source: String,
    event: Uuid,
    origin: Origin,
    facts: EventFacts,
    generation: i64,
    /// Claims of the event that the snapshot has not mentioned so far.
    unseen: HashMap<Place, Stored>,
    /// Claims that it has mentioned.
    mentioned: HashSet<Place>,
    /// Attributes that it shows.
    shown: HashSet<Uuid>,
    /// Claims that it ends in so many words.
    ended: Vec<(Place, Stored)>,
    /// The event's own facts changed: all its objects are merged anew.
    event_changed: bool,
    /// What was heard of its tags, of a push.
    heard: TagChanges,
    pub counts: Counts,
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
            unseen: stored,
            mentioned: HashSet::new(),
            shown: HashSet::new(),
            ended: Vec::new(),
            event_changed: head.changed,
            heard: head.heard,
            counts: Counts::default(),
        }
    }

    /// Writes a chunk of the snapshot's claims. `false`: a newer snapshot has begun, give way.
    pub(super) async fn add(
        &mut self,
        tx: &mut Writing,
        claims: Vec<Claim>,
        change: &mut Change<'_>,
    ) -> sqlx::Result<bool> {
        if !self.is_current(tx).await? {
            return Ok(false);
        }
        self.shown.extend(claims.iter().map(|claim| claim.attribute));
        let mut rows = Vec::with_capacity(claims.len());
        for claim in claims {
            rows.extend(self.row(tx, claim, change).await?);
        }
        self.drop_withdrawn(tx, &mut rows).await?;
        let touched = self.compare(&mut rows);
        for rows in rows.chunks(ROWS) {
            claims::write(tx, &self.source, self.event, rows, change.opened_at).await?;
        }
        refresh(tx, &touched, change).await?;
        Ok(true)
    }

    /// Attributes that the snapshot shows and that claim nothing (any more): what they claimed ends
    /// by MISP's word, not by an absence.
    pub(super) fn tell(&mut self, attributes: &[Uuid]) {
        self.shown.extend(attributes);
    }

    fn end(&mut self, place: Place) {
        self.ended.extend(self.unseen.remove(&place).map(|stored| (place, stored)));
    }

    async fn is_current(&self, tx: &mut Writing) -> sqlx::Result<bool> {
        let generation = head::generation(tx, (&self.source, self.event)).await?;
        Ok(generation == Some(self.generation))
    }

    /// The claim as it counts; `None`: it does not count before the next publication.
    async fn row(
        &mut self,
        tx: &mut Writing,
        mut claim: Claim,
        change: &Change<'_>,
    ) -> sqlx::Result<Option<Row>> {
        let altered = match self.origin {
            Origin::Push { .. } => {
                let kept = self.keep_heard(tx, &mut claim).await?;
                let Claim { facts, .. } = &mut claim;
                self.heard.apply(facts.attribute_id, &mut facts.tags) || kept
            }
            Origin::Read(shown) if shown.counts(&claim.facts) => {
                shown.less_unpublished(&mut claim.facts);
                self.mark_tags(tx, &mut claim, shown).await?
            }
            Origin::Read(shown) => {
                if !self.keep_published(tx, (&mut claim, shown), change).await? {
                    self.end((claim.attribute, i16::from(claim.part)));
                    return Ok(None);
                }
                false
            }
        };
        match self.objection(&claim, change) {
            Some(Reason::WarninglistsPending) => self.counts.pending += 1,
            Some(reason) => self.counts.forbidden.add(reason),
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
    async fn keep_heard(&self, tx: &mut Writing, claim: &mut Claim) -> sqlx::Result<bool> {
        let place = (claim.attribute, i16::from(claim.part));
        if self.unseen.get(&place).is_none_or(|stored| stored.digest != ALTERED) {
            return Ok(false);
        }
        let before = claims::stored_facts(tx, (&self.source, self.event), place).await?;
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
    async fn mark_tags(
        &self,
        tx: &mut Writing,
        claim: &mut Claim,
        shown: Shown,
    ) -> sqlx::Result<bool> {
        let place = (claim.attribute, i16::from(claim.part));
        let is_altered = self.unseen.get(&place).is_some_and(|stored| stored.digest == ALTERED);
        if shown.published || !is_altered {
            return Ok(false);
        }
        let before = claims::stored_facts(tx, (&self.source, self.event), place).await?;
        let Some(before) = before else { return Ok(false) };
        tags::mark_changed(&before.tags, shown.began / 1_000, &mut claim.facts.tags);
        Ok(claim.facts.tags.iter().any(|tag| tag.since != Since::Published))
    }

    /// What was published of an attribute that was touched since: its claim, if it still says the
    /// same, less what was taken back. Whether there is such a claim.
    async fn keep_published(
        &self,
        tx: &mut Writing,
        (claim, shown): (&mut Claim, Shown),
        change: &Change<'_>,
    ) -> sqlx::Result<bool> {
        let place = (claim.attribute, i16::from(claim.part));
        let object = change.views.object_key(&claim.observable);
        let same = self.unseen.get(&place).is_some_and(|stored| stored.object == object);
        if !same || !shown.keeps_published() {
            return Ok(false);
        }
        let before = claims::stored_facts(tx, (&self.source, self.event), place).await?;
        let Some(before) = before else { return Ok(false) };
        claim.facts = shown.less_taken_back(before, &claim.facts);
        Ok(true)
    }

    /// Takes out what was withdrawn at or after the attribute's time in this snapshot. A read that
    /// began after a withdrawal ends its tombstone instead.
    async fn drop_withdrawn(&mut self, tx: &mut Writing, rows: &mut Vec<Row>) -> sqlx::Result<()> {
        let mut standing = HashMap::new();
        for rows in rows.chunks(ROWS) {
            let attributes = rows.iter().map(|row| row.claim.attribute);
            let objects = rows.iter().filter_map(Row::misp_object);
            let named: Vec<Uuid> = attributes.chain(objects).collect();
            standing.extend(withdraw::tombstones(tx, &self.source, &named).await?);
        }
        for (attribute, object) in self.origin.outdated(&mut standing) {
            withdraw::unbury(tx, &self.source, attribute, object).await?;
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
        self.counts.withdrawn += before - rows.len();
        Ok(())
    }

    /// Keeps the rows that are new or changed; returns the objects to refresh.
    fn compare(&mut self, rows: &mut Vec<Row>) -> Vec<Uuid> {
        let mut touched = HashSet::new();
        rows.retain(|row| {
            let place = row.place();
            if !self.mentioned.insert(place) {
                return false;
            }
            let stored = self.unseen.remove(&place);
            let same =
                stored.is_some_and(|stored| stored.digest == row.digest && row.digest != ALTERED);
            if !same || self.event_changed {
                touched.insert(row.object);
                touched.extend(stored.map(|stored| stored.object));
            }
            match stored {
                None => self.counts.new += 1,
                Some(_) if !same => self.counts.changed += 1,
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
    pub(super) async fn judge_absent(
        &mut self,
        tx: &mut Writing,
        measure: Option<&Guard>,
        change: &mut Change<'_>,
    ) -> sqlx::Result<()> {
        let unseen = self.unseen.drain();
        let (told, absent): (Vec<_>, Vec<(Place, Stored)>) =
            unseen.partition(|((attribute, _), _)| self.shown.contains(attribute));
        self.ended.extend(told);
        let event = (self.source.as_str(), self.event);
        let kept = match (&self.origin, measure) {
            (Origin::Push { .. }, _) | (_, None) => Vec::new(),
            (Origin::Read(shown), Some(_)) if !shown.of_our_view => {
                absent.iter().map(|(place, _)| *place).collect()
            }
            (Origin::Read(_), Some(measure)) => {
                guard::hold(tx, event, (&absent, measure), change).await?
            }
        };
        self.counts.held = kept.len();
        let kept: HashSet<Place> = kept.into_iter().collect();
        if self.event_changed {
            // Judged by the event as it is now: a tag may forbid what stands.
            let still = absent.iter().filter(|(place, _)| kept.contains(place));
            let objects: HashSet<Uuid> = still.map(|(_, stored)| stored.object).collect();
            refresh(tx, &objects.into_iter().collect::<Vec<_>>(), change).await?;
        }
        let going = absent.into_iter().filter(|(place, _)| !kept.contains(place));
        self.ended.extend(going);
        Ok(())
    }

    /// Ends claims, at most [`STEP`]; `false`: call again.
    pub(super) async fn end_some(
        &mut self,
        tx: &mut Writing,
        change: &mut Change<'_>,
    ) -> sqlx::Result<bool> {
        if !self.is_current(tx).await? {
            return Ok(true);
        }
        let rest = self.ended.len().saturating_sub(STEP);
        let going = self.ended.split_off(rest);
        for (place, _) in &going {
            claims::delete(tx, (&self.source, self.event), *place).await?;
        }
        if !going.is_empty() {
            guard::forget_gone(tx, (&self.source, self.event)).await?;
        }
        self.counts.gone += going.len();
        let mut objects: Vec<Uuid> = going.iter().map(|(_, stored)| stored.object).collect();
        objects.sort_unstable();
        objects.dedup();
        refresh(tx, &objects, change).await?;
        Ok(self.ended.is_empty())
    }

    /// Marks the snapshot as wholly applied. While claims are held, the same snapshot is compared anew.
    pub(super) async fn finish(
        &self,
        tx: &mut Writing,
        content: i64,
        skipped: &str,
    ) -> sqlx::Result<()> {
        sqlx::query(
            "UPDATE events SET content = $1, skipped = $2, unfinished = 0
             WHERE source = $3 AND event = $4 AND generation = $5",
        )
        .bind((self.counts.held == 0).then_some(content))
        .bind(skipped)
        .bind(&self.source)
        .bind(self.event)
        .bind(self.generation)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}
