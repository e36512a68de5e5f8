//! Stores what `verify --repair` and the recovery of used-up ids found in Sentinel. A repair sends nothing itself. It
//! marks the outcome of rows as unknown, and puts them into a change of their own. Then the sender sends the same bytes
//! again.

use uuid::Uuid;

use super::super::owner::Unit;
use super::super::sql::{Result, Transaction};
use super::super::tables::delivered::mending::{self, Deviation, Stray};
use super::super::tables::keys::GenerationKey;
use super::super::tables::queue::NewChange;
use super::super::tables::targets::TargetView;
use super::super::tables::wanted::{self, NewIndicator, WITHDRAWN};
use super::super::tables::{counters, queue, targets};
use super::super::{Lane, Ledger};

/// What one look found to be wrong at a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mending {
    /// Objects that are missing or different.
    pub again: Vec<Deviation>,
    /// Objects whose withdrawal was accepted and that live there all the same.
    pub ended: Vec<Deviation>,
    /// Objects that live there and were never sent by this ledger, as far as it knows.
    pub strays: Vec<Stray>,
}

impl Mending {
    #[must_use]
    pub fn len(&self) -> usize {
        self.again.len() + self.ended.len() + self.strays.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Ledger {
    /// Puts objects that are missing or different into the backlog, so that they are sent again, and withdraws those
    /// that are left over. It passes over objects that changed since they were read. `revoke`: whether strays are
    /// revoked. Returns how many objects it concerns.
    pub async fn mend(
        &self,
        target: &str,
        mending: &Mending,
        revoke: bool,
        now: i64,
    ) -> Result<u64> {
        let (target, mending) = (target.to_owned(), mending.clone());
        self.write(move |unit| {
            targets::with_view(unit, &target, |at| mend(unit, at, &mending, revoke, now))
        })
        .await
    }

    /// Notes indicators that are revoked at a target that the ledger does not know yet. Returns how many were new.
    pub async fn note_used_up(&self, view: &str, target: &str, revoked: &[Stray]) -> Result<u64> {
        let (view, target, revoked) = (view.to_owned(), target.to_owned(), revoked.to_vec());
        self.write(move |unit| {
            let mut noted = 0;
            for one in &revoked {
                note(unit, &view, one, true)?;
                noted += u64::from(mending::adopt_revoked(unit, &target, one)?);
            }
            Ok(noted)
        })
        .await
    }
}

fn mend(
    unit: &Unit<'_>,
    at: TargetView<'_>,
    mending: &Mending,
    revoke: bool,
    now: i64,
) -> Result<u64> {
    let mut ending = Vec::with_capacity(mending.ended.len() + mending.strays.len());
    for stray in &mending.strays {
        ending.extend(adopt(unit, at, stray, revoke)?.then_some(stray.object));
    }
    let live = mending::unsettle(unit, at, &mending.again)?;
    ending.extend(mending::unsettle(unit, at, &mending.ended)?);
    requeue(unit, at.view, &live, Lane::Backlog, now)?;
    requeue(unit, at.view, &ending, Lane::Withdrawals, now)?;
    unit.then(|shared| shared.changed.notify_waiters());
    Ok((live.len() + ending.len()) as u64)
}

/// Notes that this target holds a stray, which no view wants. Returns `false` if it is wanted by now, or if the target
/// was sent it.
fn adopt(tx: &Transaction<'_>, at: TargetView<'_>, stray: &Stray, revoke: bool) -> Result<bool> {
    // If its observable goes on under another generation, that one must stay the newest.
    if wanted::count_live_of_key(tx, at.view, stray.key)? > 0 {
        return Ok(false);
    }
    note(tx, at.view, stray, revoke)?;
    mending::adopt(tx, at, stray)
}

/// Writes a withdrawn indicator, unless the view knows it.
fn note(tx: &Transaction<'_>, view: &str, stray: &Stray, revoke: bool) -> Result<()> {
    let indicator = NewIndicator {
        object: stray.object,
        generation: GenerationKey { key: stray.key, number: stray.generation },
        observable: stray.key,
        stix_id: stray.stix_id,
        body: &stray.body,
        valid_from: stray.valid_from,
        valid_until: stray.valid_until,
        version: WITHDRAWN,
    };
    wanted::note_withdrawn(tx, view, &indicator, revoke)
}

/// Puts objects into a change of their own. Other targets of the view find in it the objects that they have not taken
/// yet. An object that they refused stays refused.
fn requeue(tx: &Transaction<'_>, view: &str, objects: &[Uuid], lane: Lane, now: i64) -> Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    let number = counters::next_change(tx)?;
    // Before the objects move: a rejection is found by the change that they are still in.
    mending::keep_rejected(tx, view, objects, number)?;
    wanted::move_to_change(tx, view, objects, number)?;
    let change = NewChange { number, lane, event: None, opened_at: now };
    queue::open(tx, &targets::taking(tx, view)?, change)
}
