//! Reads what a sender may send next: the open changes in a target's queue, and those of their objects that the target
//! has not taken yet.

use uuid::Uuid;

use super::sql::Result;
use super::tables::pending::{self, Pending, PendingPage};
use super::tables::queue::{self, OpenChange};
use super::tables::targets::{self, TargetView};
use super::{Lane, Ledger, clock};

impl Ledger {
    /// The oldest open changes of a target in a lane, those after `after`.
    pub async fn open_changes(
        &self,
        target: &str,
        lane: Lane,
        after: i64,
        limit: i64,
    ) -> Result<Vec<OpenChange>> {
        let target = target.to_owned();
        self.pick(move |tx| queue::after(tx, &target, lane, after, limit)).await
    }

    /// Returns at most `limit` objects of a change that must be sent to a target, in the order of their keys, from the
    /// first one after `after`. `now` is Unix milliseconds.
    pub async fn page(
        &self,
        view: &str,
        target: &str,
        change: i64,
        after: Option<Uuid>,
        now: i64,
        limit: i64,
    ) -> Result<PendingPage> {
        let (view, target) = (view.to_owned(), target.to_owned());
        self.pick(move |tx| {
            let at = TargetView { target: &target, view: &view };
            pending::page(tx, at, change, after, now, limit)
        })
        .await
    }

    /// The same, but it reads as many pages as are needed.
    pub async fn pending(
        &self,
        view: &str,
        target: &str,
        change: i64,
        mut after: Option<Uuid>,
        now: i64,
        limit: i64,
    ) -> Result<Vec<Pending>> {
        let mut all = Vec::new();
        loop {
            let room = limit.saturating_sub(i64::try_from(all.len()).unwrap_or(i64::MAX));
            let page = self.page(view, target, change, after, now, room).await?;
            all.extend(page.found);
            after = page.next;
            if after.is_none() || i64::try_from(all.len()).is_ok_and(|found| found >= limit) {
                return Ok(all);
            }
        }
    }

    /// Returns the objects whose accepted version is due to be sent once more.
    pub async fn due_again(&self, target: &str, now: i64, limit: i64) -> Result<Vec<Pending>> {
        let target = target.to_owned();
        self.pick(move |tx| {
            targets::with_view(tx, &target, |at| pending::due_again(tx, at, now, limit))
        })
        .await
    }

    /// Returns those of these objects that must still be sent to the target, as they are wanted now.
    pub async fn pending_of(
        &self,
        target: &str,
        objects: &[Uuid],
        now: i64,
    ) -> Result<Vec<Pending>> {
        let (target, objects) = (target.to_owned(), objects.to_vec());
        self.pick(move |tx| {
            targets::with_view(tx, &target, |at| pending::of_objects(tx, at, &objects, now))
        })
        .await
    }

    /// Removes changes from a target's queue, unless any of their objects is still to be sent, or they were opened
    /// again. It removes change 0 without this look, because the caller has gone through it. Returns the removed
    /// changes.
    pub async fn close_changes(
        &self,
        view: &str,
        target: &str,
        changes: &[&OpenChange],
        now: i64,
    ) -> Result<Vec<i64>> {
        // Nothing new joins a change after its commit, so the looks and the closing need no single transaction.
        let mut done: Vec<OpenChange> = Vec::new();
        for open in changes {
            let is_empty = open.change == 0
                || self.pending(view, target, open.change, None, now, 1).await?.is_empty();
            done.extend(is_empty.then(|| (*open).clone()));
        }
        if done.is_empty() {
            return Ok(Vec::new());
        }
        let target = target.to_owned();
        self.write(move |unit| {
            let mut gone = Vec::with_capacity(done.len());
            // Should this time turn out to be wrong, what had expired by it is looked at again.
            clock::note(unit, now)?;
            for open in &done {
                gone.extend(queue::close(unit, &target, open)?.then_some(open.change));
            }
            Ok(gone)
        })
        .await
    }
}
