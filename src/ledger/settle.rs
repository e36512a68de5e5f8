//! Stores the outcome of an upload for each of its objects.

use uuid::Uuid;

use super::sql::Result;
use super::tables::delivered::requests::{self, InDoubt, RejectedObject, SentVersion};
use super::tables::{queue, targets};
use super::{Ledger, Sending};

/// The outcome of a request for some of its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement<'a> {
    Accepted(&'a [Uuid]),
    Rejected(&'a [RejectedObject]),
    /// Withdrawals that the target took, but whose end is still in the future there. They are sent once more, with
    /// another end.
    NotOver(&'a [Uuid]),
    /// Objects of a request that was surely not processed. They are as before this attempt.
    Returned(&'a [Sending]),
}

/// All settlements of a request.
#[derive(Debug, Default)]
struct Settled {
    accepted: Vec<Uuid>,
    rejected: Vec<RejectedObject>,
    not_over: Vec<Uuid>,
    returned: Vec<InDoubt>,
}

impl Settled {
    fn of(settlements: &[Settlement<'_>]) -> Self {
        let mut settled = Self::default();
        for settlement in settlements {
            match settlement {
                Settlement::Accepted(objects) => settled.accepted.extend_from_slice(objects),
                Settlement::Rejected(objects) => settled.rejected.extend_from_slice(objects),
                Settlement::NotOver(objects) => settled.not_over.extend_from_slice(objects),
                Settlement::Returned(objects) => {
                    settled.returned.extend(objects.iter().map(|one| one.before));
                }
            }
        }
        settled
    }
}

impl Ledger {
    /// Stores the outcome of a request. If an older version of an accepted object may still arrive, the accepted
    /// version is sent once more at `resend_at`.
    pub async fn settle(
        &self,
        target: &str,
        settlements: &[Settlement<'_>],
        now: i64,
        resend_at: i64,
    ) -> Result<()> {
        let (target, settled) = (target.to_owned(), Settled::of(settlements));
        self.write(move |unit| {
            let Settled { accepted, rejected, not_over, returned } = &settled;
            // All of them in one unit, so that after a crash the request has one outcome.
            requests::accept(unit, &target, accepted, now, resend_at)?;
            requests::not_over(unit, &target, not_over)?;
            requests::give_back(unit, &target, returned)?;
            targets::with_view(unit, &target, |at| requests::reject(unit, at, rejected))
        })
        .await
    }

    /// Rejects versions of objects that turned out to be bad after their request was settled.
    pub async fn reject_versions(
        &self,
        target: &str,
        versions: &[SentVersion],
        words: &str,
    ) -> Result<()> {
        let (target, versions, words) = (target.to_owned(), versions.to_vec(), words.to_owned());
        self.write(move |unit| {
            targets::with_view(unit, &target, |at| {
                requests::reject_versions(unit, at, &versions, &words)
            })
        })
        .await
    }

    /// Makes the objects pending again that a target (or any target) rejected. Returns how many.
    pub async fn retry_rejected(&self, target: Option<&str>, now: i64) -> Result<u64> {
        let target = target.map(str::to_owned);
        self.write(move |unit| {
            let mut retried = 0;
            for known in targets::all(unit)? {
                let name = known.entry.target;
                if target.as_ref().is_some_and(|target| *target != name) {
                    continue;
                }
                let of_target = requests::retry(unit, &name)?;
                // The objects are in changes that left the queue, and change 0 leads to them.
                if of_target > 0 {
                    queue::open_everything(unit, &name, now)?;
                }
                retried += of_target as u64;
            }
            unit.then(|shared| shared.changed.notify_waiters());
            Ok(retried)
        })
        .await
    }

    /// Takes back the rejection of objects of a target that turned out to be misconfigured.
    pub async fn unreject(&self, target: &str, objects: &[Uuid], now: i64) -> Result<()> {
        let (target, objects) = (target.to_owned(), objects.to_vec());
        self.write(move |unit| {
            requests::unreject(unit, &target, &objects)?;
            queue::open_everything(unit, &target, now)
        })
        .await
    }
}
