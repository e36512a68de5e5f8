//! Renews claims at half of their life while MISP still shows them (`expiry.renew`). It moves the `claimed_at` of a
//! claim on by whole half-lives. So the date does not depend on the moment at which upkeep looks.

use super::change::Change;
use super::owner::Unit;
use super::refresh::refresh;
use super::sql::Result;
use super::tables::claims::{self, WalkedClaim};
use super::tables::keys::ClaimCursor;
use super::{Lane, Ledger, Views};
use crate::pure::stix::ClaimTimes;

/// Claims looked at in a step.
const STEP: i64 = 2_500;

/// A claim, and the time from which it counts now.
struct Renewal {
    claim: WalkedClaim,
    /// Unix milliseconds.
    from: i64,
}

/// How far a step of renewing came.
#[derive(Debug)]
pub(super) struct Renewed {
    /// Where to go on; `None`: from the beginning.
    pub next: Option<ClaimCursor>,
    pub claims: u64,
}

impl Ledger {
    /// Renews what is due among the next claims after `after`, in the backlog lane.
    pub(super) async fn renew(
        &self,
        views: &Views,
        after: Option<ClaimCursor>,
        now: i64,
    ) -> Result<Renewed> {
        let cursor = after.unwrap_or(ClaimCursor::BEGINNING);
        let claims = self.read(move |tx| claims::walk(tx, cursor, STEP)).await?;
        let is_end = i64::try_from(claims.len()).is_ok_and(|rows| rows < STEP);
        let next = claims.last().map(|claim| claim.cursor).filter(|_| !is_end);
        let mut due = Vec::new();
        for claim in claims {
            let facts = claim.facts.read()?;
            let times = ClaimTimes::of(&facts, claim.sight, claim.expires_at);
            let from = views.expiry().renewed(&times, &claim.observable, now);
            if from != claim.sight.claimed_at {
                due.push(Renewal { claim, from });
            }
        }
        let renewed = Renewed { next, claims: due.len() as u64 };
        if !due.is_empty() {
            let views = views.clone();
            self.write_step(move |unit| write(unit, &views, &due, now)).await?;
        }
        Ok(renewed)
    }
}

/// Stores the time from which each of these claims counts now, and merges their objects again.
fn write(unit: &Unit<'_>, views: &Views, due: &[Renewal], now: i64) -> Result<()> {
    let mut objects = Vec::with_capacity(due.len());
    for Renewal { claim, from } in due {
        // Since the walk read it, the claim may have ended or been written anew.
        if claims::renew(unit, claim, *from)? {
            objects.push(claim.object);
        }
    }
    objects.sort_unstable();
    objects.dedup();
    let mut change = Change::new(views, None, now).in_lane(Lane::Backlog);
    refresh(unit, &objects, &mut change)?;
    unit.wake(&change);
    Ok(())
}
