//! Keeps facts of a stored claim that a snapshot would undo. The snapshot may be older than a change of which a frame
//! told, or it shows an edit that is not published yet.

use super::Application;
use crate::ledger::change::Change;
use crate::ledger::judgement::Shown;
use crate::ledger::sql::{Result, Transaction};
use crate::ledger::tables::claims::{self, ALTERED, KnownDigest};
use crate::ledger::tables::keys::ClaimPlace;
use crate::ledger::tags;
use crate::pure::convert::{Claim, ClaimFacts, Since};

impl Application {
    /// Keeps the tags that were put on the attribute after its publication, and the audiences that an edit gave to its
    /// object, if this snapshot may be older. Returns whether there are any.
    pub(super) fn keep_heard(
        &self,
        tx: &Transaction<'_>,
        claim: &mut Claim,
        stored: Option<KnownDigest>,
    ) -> Result<bool> {
        // A claim that no frame has altered holds nothing that a snapshot could miss.
        if stored.is_none_or(|stored| stored.digest != ALTERED) {
            return Ok(false);
        }
        let before = self.facts_of(tx, claim)?;
        // It may have ended between two chunks.
        let Some(before) = before else { return Ok(false) };
        let taken = self.head.facts.timestamp;
        let tagged = self.origin.keep_attached(&before.tags, taken, &mut claim.facts.tags);
        let narrowed = self.head.facts.timestamp < before.narrowed_at;
        if narrowed {
            claim.facts.also = before.also;
            claim.facts.narrowed_at = before.narrowed_at;
        }
        Ok(tagged || narrowed)
    }

    /// Marks the tags that were put on or taken off since the publication. A snapshot of an unpublished event does not
    /// show this, because a tag does not change the attribute's time. The stored claim, which frames have altered,
    /// shows it. Returns whether that altered the claim.
    pub(super) fn mark_tags(
        &self,
        tx: &Transaction<'_>,
        claim: &mut Claim,
        stored: Option<KnownDigest>,
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

    /// Replaces the claim of an attribute that was edited since its publication by its published claim, less what was
    /// taken back. It does so only if the stored claim has the same observable. Returns whether there is such a claim.
    pub(super) fn keep_published(
        &self,
        tx: &Transaction<'_>,
        claim: &mut Claim,
        shown: Shown,
        stored: Option<KnownDigest>,
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
        let place = ClaimPlace { attribute: claim.attribute, part: i16::from(claim.part) };
        claims::facts(tx, self.key().claim(place))
    }
}
