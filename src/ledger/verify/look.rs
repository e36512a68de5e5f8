//! Reads for `verify` what a target should hold: the objects that it accepted, and whether each is live, has ended or
//! is just being sent.

use std::collections::HashMap;

use uuid::Uuid;

use super::super::sending::rendered;
use super::super::sql::Result;
use super::super::tables::standings::{self, Delivered, ObjectAtTarget};
use super::super::tables::targets;
use super::super::tables::wanted::WITHDRAWN;
use super::super::{Ledger, Pending};
use crate::pure::verify::{AcceptedCount, Stand};

/// An object that the ledger knows, and how it stands at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub object: Uuid,
    pub stix_id: Uuid,
    pub stand: Stand,
    /// To be named again in an [`Deviation`](super::super::Deviation).
    pub accepted_at: Option<i64>,
}

impl Ledger {
    /// How these STIX ids of a kind stand at a target, those that the ledger knows. Of several objects
    /// with one id the live one counts, else the newest.
    pub async fn accepted_of(
        &self,
        target: &str,
        kind: &str,
        ids: &[Uuid],
        now: i64,
    ) -> Result<HashMap<Uuid, Accepted>> {
        let (target, kind, ids) = (target.to_owned(), kind.to_owned(), ids.to_vec());
        let mut found: Vec<ObjectAtTarget> = self
            .read(move |tx| {
                targets::with_view(tx, &target, |at| standings::of_stix_ids(tx, at, &kind, &ids))
            })
            .await?;
        // The last of several with one id stays in the map: the live one, else the newest.
        found.sort_by_key(|one| (one.pending.version != WITHDRAWN, one.modified));
        Ok(found.iter().map(|one| (one.pending.stix_id, one.accepted(now))).collect())
    }

    /// What a target accepted of a kind as it is wanted, and is not over, in the order of the objects,
    /// those after `after`.
    pub async fn delivered_after(
        &self,
        target: &str,
        kind: &str,
        after: Uuid,
        now: i64,
        limit: i64,
    ) -> Result<Vec<Delivered>> {
        let (target, kind) = (target.to_owned(), kind.to_owned());
        self.read(move |tx| {
            targets::with_view(tx, &target, |at| {
                standings::delivered(tx, at, &kind, after, now, limit)
            })
        })
        .await
    }

    /// How many objects of a kind a target accepted, and how many of them are over.
    pub async fn delivered_count(
        &self,
        target: &str,
        kind: &str,
        now: i64,
    ) -> Result<AcceptedCount> {
        let (target, kind) = (target.to_owned(), kind.to_owned());
        // It goes through all rows of the target, for which short questions must not wait.
        let count = self.read_long(move |tx| {
            targets::with_view(tx, &target, |at| standings::count_kind(tx, at, &kind, now))
        });
        let count = count.await?;
        Ok(AcceptedCount { live: count.live.unsigned_abs(), ended: count.ended.unsigned_abs() })
    }
}

impl ObjectAtTarget {
    fn accepted(&self, now: i64) -> Accepted {
        let Pending { object, stix_id, .. } = self.pending;
        Accepted { object, stix_id, stand: self.stand(now), accepted_at: self.accepted_at }
    }

    fn stand(&self, now: i64) -> Stand {
        let Self { pending, accepted_at, .. } = self;
        // What was never sent and is wanted is still to come.
        let (Some(created), Some(modified)) = (self.created, self.modified) else {
            return if pending.version == WITHDRAWN { Stand::NeverSent } else { Stand::Moving };
        };
        let Some(accepted_at) = accepted_at.filter(|_| !self.moves) else { return Stand::Moving };
        if self.is_over(now) {
            return Stand::Expired;
        }
        match pending.version {
            version if self.accepted != Some(version) => Stand::Moving,
            WITHDRAWN => Stand::Ended { accepted_at, modified, ended_at: self.ended_at },
            _ => Stand::Live { json: rendered(pending, created, modified), accepted_at },
        }
    }

    /// What the target accepted is over, and so is what is wanted: nothing of it is to be sent.
    fn is_over(&self, now: i64) -> bool {
        let Self { pending, accepted, held_until, .. } = self;
        let is_held = *accepted != Some(WITHDRAWN) && held_until.is_none_or(|until| until > now);
        let is_wanted = pending.version != WITHDRAWN && pending.valid_until > now;
        let ended = pending.version == WITHDRAWN && *accepted == Some(WITHDRAWN);
        !pending.context && !is_held && !is_wanted && !ended
    }
}
