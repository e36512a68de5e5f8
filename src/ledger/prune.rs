//! Deletes rows that are no longer needed, such as old tombstones, a bounded number at a time.

use uuid::Uuid;

use super::Ledger;
use super::own_sightings::DAY;
use super::owner::Unit;
use super::sql::Result;
use super::tables::{
    announced, delivered, events, hits, inferred, own_sightings, tag_changes, tombstones, wanted,
};

/// Rows per transaction.
const STEP: i64 = 1_000;

/// The newest frames about tags that are kept.
const MAX_TAG_CHANGES: i64 = 200_000;

/// The newest tombstones that are kept.
const MAX_TOMBSTONES: i64 = 1_000_000;

/// How long hits and their sightings are kept, days: a year can be compared with the one before.
const HITS_KEPT: i64 = 400;

/// How far a step of deleting withdrawn objects came.
#[derive(Debug, Default)]
pub(super) struct ForgottenWithdrawn {
    /// The object that the next step goes on after; nil: from the beginning.
    pub next: Uuid,
    pub objects: u64,
}

impl Ledger {
    /// Drops webhook publications that came before `before` and were never confirmed. Returns how many.
    pub(super) async fn drop_unconfirmed(&self, before: i64) -> Result<u64> {
        let dropped = self.write(move |unit| announced::drop_older(unit, before)).await?;
        Ok(dropped as u64)
    }

    /// Forgets tombstones and deleted events from before `before`, and withdrawals by inference from
    /// before `inferred`.
    pub(super) async fn forget_notes(&self, before: i64, inferred: i64) -> Result<u64> {
        let steps: [fn(&Unit<'_>, i64) -> Result<usize>; 5] = [
            |unit, before| tag_changes::forget_older(unit, before, STEP),
            |unit, _| tag_changes::keep_newest(unit, MAX_TAG_CHANGES),
            |unit, before| tombstones::forget_older(unit, before, STEP),
            |unit, _| tombstones::keep_newest(unit, MAX_TOMBSTONES),
            |unit, before| events::forget_deleted(unit, before, STEP),
        ];
        let mut forgotten = 0;
        for step in steps {
            forgotten += self.write_step(move |unit| step(unit, before)).await?;
        }
        self.write(move |unit| inferred::forget_older(unit, inferred)).await?;
        Ok(forgotten as u64)
    }

    /// Forgets hits, and what became of their sightings, that are older than [`HITS_KEPT`] at `now`.
    pub(super) async fn forget_hits(&self, now: i64) -> Result<u64> {
        let before = now.saturating_sub(HITS_KEPT * DAY);
        let forget = move |unit: &Unit<'_>| {
            let hits = hits::forget_older(unit, before, STEP)?;
            Ok(hits + own_sightings::forget_older(unit, before.div_euclid(DAY), STEP)?)
        };
        Ok(self.write_step(forget).await? as u64)
    }

    /// Deletes withdrawn objects whose withdrawal every target had taken before `before`, among the next ones after
    /// `after`.
    pub(super) async fn forget_withdrawn(
        &self,
        view: &str,
        after: Uuid,
        before: i64,
    ) -> Result<ForgottenWithdrawn> {
        let name = view.to_owned();
        // Looked for by a reader, so that the thread that writes only deletes.
        let slice = self.read(move |tx| wanted::withdrawn_after(tx, &name, after, STEP)).await?;
        let Some(last) = slice.last().copied() else { return Ok(ForgottenWithdrawn::default()) };
        let view = view.to_owned();
        let forget = move |unit: &Unit<'_>| {
            let forgotten = wanted::forget_withdrawn(unit, &view, after, last, before)?;
            // In the same unit: without its object nothing would find the row again.
            delivered::delete_objects(unit, &view, &forgotten)?;
            Ok(forgotten.len() as u64)
        };
        let objects = self.write_step(forget).await?;
        let is_end = i64::try_from(slice.len()).is_ok_and(|rows| rows < STEP);
        Ok(ForgottenWithdrawn { next: if is_end { Uuid::nil() } else { last }, objects })
    }
}
