//! The queue of a target: the changes that it has not fully taken, and in them the objects whose
//! wanted version is not the delivered one. An index on the change finds them, so that picking a
//! batch costs the same among a hundred and a million objects.

use uuid::Uuid;

use super::sql::{Result, Transaction, row, statements, values};
use super::{Lane, Ledger, clock};

/// Versions that differ from what the target holds or refused, and those whose outcome is unknown;
/// withdrawals also of what may have arrived before a refusal.
/// What has expired unsent is no longer sent, and what has expired at the target needs no upload.
/// $1 is the time, Unix milliseconds; `w` is the row of `wanted`, and `d` that of `delivered`, if there is one.
/// It is NULL, which counts as false, of what was never sent and has expired.
macro_rules! unsettled {
    () => {
        "(w.version <> COALESCE(d.accepted, 0) OR d.sending IS NOT NULL
          OR w.version = 0 AND d.doubt IS NOT NULL)
         AND (d.rejected IS NULL OR w.version <> d.rejected OR w.change <> d.rejected_in)
         AND (d.valid_until > $1 OR w.version <> 0 AND w.valid_until > $1)"
    };
}
pub(super) use unsettled;

/// The columns of a [`Pending`], without a parameter. `w` and `d` as above.
macro_rules! pending {
    () => {
        "w.object, w.stix_id, w.body, w.valid_from, w.valid_until, w.version, w.revoke,
         w.kind <> 'indicator' AS context,
         COALESCE(d.rejected = w.version AND d.rejected_in = -1, FALSE) AS retried"
    };
}

/// The objects of a stride that are pending; what names them uses $6.
macro_rules! page {
    ($which:literal) => {
        concat!(
            "SELECT ",
            pending!(),
            " FROM wanted w
             LEFT JOIN delivered d ON d.target = $2 AND d.object = w.object
             WHERE ",
            $which,
            " AND w.object > $3 AND w.object <= $4 AND (",
            unsettled!(),
            ") ORDER BY w.object LIMIT $5"
        )
    };
}

statements! {
    OPEN(Text, Integer, Integer, Integer) =
        "SELECT change, event, opened_at, summary FROM queue
         WHERE target = $1 AND lane = $2 AND change > $3 ORDER BY change LIMIT $4";
    PAGE_OF_VIEW(Integer, Text, Bytes, Bytes, Integer, Text) = page!("w.view = $6");
    PAGE_OF_CHANGE(Integer, Text, Bytes, Bytes, Integer, Integer) = page!("w.change = $6");
    STRIDE_OF_VIEW(Bytes, Integer, Text) =
        "SELECT object FROM wanted WHERE view = $3 AND object > $1 ORDER BY object LIMIT 1 OFFSET $2";
    STRIDE_OF_CHANGE(Bytes, Integer, Integer) =
        "SELECT object FROM wanted WHERE change = $3 AND object > $1
         ORDER BY object LIMIT 1 OFFSET $2";
    DUE_AGAIN(Text, Integer, Integer) = concat!(
        "SELECT ",
        pending!(),
        " FROM delivered d
         JOIN targets t ON t.target = d.target
         JOIN wanted w ON w.view = t.view AND w.object = d.object
         WHERE d.target = $1 AND d.resend_at <= $2 ORDER BY d.resend_at LIMIT $3"
    );
    PENDING_OF(Integer, Text, Bytes) = concat!(
        "SELECT ",
        pending!(),
        " FROM targets t
         JOIN wanted w ON w.view = t.view AND w.object = $3
         LEFT JOIN delivered d ON d.target = t.target AND d.object = w.object
         WHERE t.target = $2 AND (",
        unsettled!(),
        ")"
    );
    CLOSE(Text, Integer, Integer) =
        "DELETE FROM queue WHERE target = $1 AND change = $2 AND ($2 <> 0 OR opened_at = $3)";
}

/// A change that a target has not fully taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenChange {
    /// 0 stands for all that the view wants (a target that was added later).
    pub change: i64,
    pub lane: Lane,
    pub event: Option<Uuid>,
    /// When its notice arrived, Unix milliseconds.
    pub opened_at: i64,
    /// JSON for the log line of the event.
    pub summary: String,
}

row! {
    /// An object to send.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Pending {
        pub object: Uuid,
        pub stix_id: Uuid,
        pub body: String,
        pub valid_from: i64,
        pub valid_until: i64,
        /// 0: a withdrawal.
        pub version: i64,
        /// Withdrawn by `revoked`.
        pub revoke: bool,
        /// No indicator: it has no validity.
        pub context: bool,
        /// This version was rejected, and is tried once more.
        pub retried: bool,
    }
}

/// Objects of a change, and where the next ones begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub found: Vec<Pending>,
    /// To go on after; `None`: there is no more.
    pub next: Option<Uuid>,
}

/// A change is gone through in steps of so many objects, whether they are pending or not, so that no
/// look at it takes long.
const STRIDE: i64 = 500;

/// `rejected_in` of what is tried once more: no change has that number.
pub(super) const TRIED_AGAIN: i64 = -1;

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
        let open = self.pick(move |tx| {
            tx.rows::<(i64, Option<Uuid>, i64, String)>(
                &OPEN,
                &values![&target, lane.number(), after, limit],
            )
        });
        let open_change = |(change, event, opened_at, summary)| OpenChange {
            change,
            lane,
            event,
            opened_at,
            summary,
        };
        Ok(open.await?.into_iter().map(open_change).collect())
    }

    /// Objects of a change that a target has to be sent, at most `limit`, in the order of their keys,
    /// those after `after`. `now` is Unix milliseconds.
    pub async fn page(
        &self,
        view: &str,
        target: &str,
        change: i64,
        after: Option<Uuid>,
        now: i64,
        limit: i64,
    ) -> Result<Page> {
        let (view, target) = (view.to_owned(), target.to_owned());
        let after = after.unwrap_or(Uuid::nil());
        self.pick(move |tx| {
            let end = stride(tx, &view, change, after)?;
            let last = end.unwrap_or(Uuid::max());
            let found: Vec<Pending> = match change {
                0 => tx.rows(&PAGE_OF_VIEW, &values![now, &target, after, last, limit, &view])?,
                _ => {
                    tx.rows(&PAGE_OF_CHANGE, &values![now, &target, after, last, limit, change])?
                }
            };
            let full = i64::try_from(found.len()).is_ok_and(|found| found >= limit);
            let last = found.last().map(|pending| pending.object);
            Ok(Page { found, next: if full { last } else { end } })
        })
        .await
    }

    /// The same from as many pages as it takes.
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

    /// Objects whose final version is due to be sent once more.
    pub async fn due_again(&self, target: &str, now: i64, limit: i64) -> Result<Vec<Pending>> {
        let target = target.to_owned();
        self.pick(move |tx| tx.rows(&DUE_AGAIN, &values![&target, now, limit])).await
    }

    /// These objects as they are wanted now, as far as the target has still to be sent them.
    pub async fn pending_of(
        &self,
        target: &str,
        objects: &[Uuid],
        now: i64,
    ) -> Result<Vec<Pending>> {
        let (target, objects) = (target.to_owned(), objects.to_vec());
        self.pick(move |tx| {
            let each = objects.iter().map(|object| values![now, &target, object]);
            tx.rows_each(&PENDING_OF, each)
        })
        .await
    }

    /// Takes changes off a target's queue, unless they still have something to send or were opened
    /// anew. Change 0 is taken off unseen: who asks has gone through it. Returns those that are gone.
    pub async fn close_changes(
        &self,
        view: &str,
        target: &str,
        changes: &[&OpenChange],
        now: i64,
    ) -> Result<Vec<i64>> {
        let mut done: Vec<(i64, i64)> = Vec::new();
        for open in changes {
            let empty = open.change == 0
                || self.pending(view, target, open.change, None, now, 1).await?.is_empty();
            done.extend(empty.then_some((open.change, open.opened_at)));
        }
        if done.is_empty() {
            return Ok(Vec::new());
        }
        let target = target.to_owned();
        self.write(move |unit| {
            let mut gone = Vec::with_capacity(done.len());
            // Should this time turn out to be wrong, what had expired by it is looked at again.
            clock::note(unit, now)?;
            for (change, opened_at) in &done {
                let deleted = unit.execute(&CLOSE, &values![&target, change, opened_at])?;
                gone.extend((*change != 0 || deleted > 0).then_some(*change));
            }
            Ok(gone)
        })
        .await
    }
}

/// The key of the object at the end of a stride; `None` where fewer are left.
fn stride(tx: &Transaction<'_>, view: &str, change: i64, after: Uuid) -> Result<Option<Uuid>> {
    match change {
        0 => tx.row(&STRIDE_OF_VIEW, &values![after, STRIDE - 1, view]),
        _ => tx.row(&STRIDE_OF_CHANGE, &values![after, STRIDE - 1, change]),
    }
}
