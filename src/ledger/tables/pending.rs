//! What a target has still to be sent: the objects whose wanted version is not the delivered one. An index
//! on the change finds them, so that picking a batch costs the same among a hundred and a million objects.

use uuid::Uuid;

use super::packed::UnpackedBody;
use super::targets::TargetView;
use crate::ledger::lane::Lane;
use crate::ledger::sql::{Result, SqlError, Transaction, row, statements, values};

/// Whether an object must still be sent: its wanted version differs from the one that the target holds or refused, or
/// the outcome of a request is unknown. A withdrawal must also be sent if an older version may have arrived before a
/// refusal. An object that has expired unsent is not sent, and one that has expired at the target needs no upload. $1
/// is the time, Unix milliseconds. `w` is the row of `wanted`, and `d` that of `delivered`, if there is one. For an
/// object that was never sent and has expired, this is NULL, which counts as false.
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
        "w.object, w.observable, w.stix_id, w.body, w.valid_from, w.valid_until, w.version, w.change, w.revoke,
         w.kind <> 'indicator' AS context,
         COALESCE(d.rejected = w.version AND d.rejected_in = -1, FALSE) AS retried"
    };
}
pub(super) use pending;

/// The objects of a stride that are pending. The condition that selects the stride uses $6.
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
    PAGE_OF_VIEW(Integer, Text, Bytes, Bytes, Integer, Text) = page!("w.view = $6");
    PAGE_OF_CHANGE(Integer, Text, Bytes, Bytes, Integer, Integer) = page!("w.change = $6");
    STRIDE_OF_VIEW(Bytes, Integer, Text) =
        "SELECT object FROM wanted WHERE view = $3 AND object > $1 ORDER BY object LIMIT 1 OFFSET $2";
    STRIDE_OF_CHANGE(Bytes, Integer, Integer) =
        "SELECT object FROM wanted WHERE change = $3 AND object > $1
         ORDER BY object LIMIT 1 OFFSET $2";
    DUE_AGAIN(Text, Text, Integer, Integer) = concat!(
        "SELECT ",
        pending!(),
        " FROM delivered d JOIN wanted w ON w.view = $2 AND w.object = d.object
         WHERE d.target = $1 AND d.resend_at <= $3 ORDER BY d.resend_at LIMIT $4"
    );
    OF_OBJECT(Integer, Text, Text, Bytes) = concat!(
        "SELECT ",
        pending!(),
        " FROM wanted w LEFT JOIN delivered d ON d.target = $2 AND d.object = w.object
         WHERE w.view = $3 AND w.object = $4 AND (",
        unsettled!(),
        ")"
    );
    // SQLite finds the objects of each change, and what the target has of each, by an index.
    COUNT_BY_LANE(Integer, Text) = concat!(
        "SELECT q.lane, count(*) AS objects FROM queue q JOIN wanted w ON w.change = q.change
         LEFT JOIN delivered d ON d.target = $2 AND d.object = w.object
         WHERE q.target = $2 AND q.change <> 0 AND (",
        unsettled!(),
        ") GROUP BY q.lane"
    );
    COUNT_ALL(Integer, Text, Text) = concat!(
        "SELECT count(*) FROM wanted w LEFT JOIN delivered d ON d.target = $2 AND d.object = w.object
         WHERE w.view = $3 AND (",
        unsettled!(),
        ")"
    );
    ALTERED(Integer, Text, Text, Integer, Bytes, Integer) =
        "SELECT w.object, w.body, w.version, q.event, d.accepted IS NOT NULL AS known,
             EXISTS (SELECT 1 FROM claims c
                 WHERE c.object = w.observable AND c.part = 1 AND c.path = 'url:value') AS second_form
         FROM wanted w
         LEFT JOIN queue q ON q.target = $2 AND q.change = w.change
         LEFT JOIN delivered d ON d.target = $2 AND d.object = w.object
         WHERE w.view = $3 AND w.change > $4 AND w.object > $5
             AND w.version <> COALESCE(d.accepted, 0) AND (w.version = 0 OR w.valid_until > $1)
         ORDER BY w.object LIMIT $6";
}

row! {
    /// An object to send.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Pending {
        pub object: Uuid,
        /// The key of the claims that count for it.
        pub observable: Uuid,
        pub stix_id: Uuid,
        pub body: String as UnpackedBody,
        pub valid_from: i64,
        pub valid_until: i64,
        /// 0: a withdrawal.
        pub version: i64,
        /// The last change that altered it.
        pub change: i64,
        /// Withdrawn by `revoked`.
        pub revoke: bool,
        /// A context object, which has no validity.
        pub context: bool,
        /// Whether this version was rejected and is now tried once more.
        pub retried: bool,
    }
}

row! {
    /// An object that a target would be sent.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Altered {
        pub object: Uuid,
        /// The indicator without its times.
        pub body: String as UnpackedBody,
        /// 0: a withdrawal.
        pub(in crate::ledger) version: i64,
        /// The event whose change it is part of.
        pub event: Option<Uuid>,
        /// Whether the target has accepted a version of it.
        pub(in crate::ledger) known: bool,
        /// Whether an attribute claims it as the second form of a URL, which requests have.
        pub second_form: bool,
    }
}

row! {
    /// How many objects are pending because of the changes in a lane.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::ledger) struct PendingInLane {
        pub lane: Lane,
        pub objects: i64,
    }
}

/// Objects of a change, and where the next ones begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PendingPage {
    pub found: Vec<Pending>,
    /// The next page begins after this object. `None`: there are no more.
    pub next: Option<Uuid>,
}

/// A page goes through this many objects of a change, whether they are pending or not, so that no read takes long.
const STRIDE: i64 = 500;

/// Returns at most `limit` pending objects of a change, in the order of their keys, from the first one after `after`.
pub(in crate::ledger) fn page(
    tx: &Transaction<'_>,
    at: TargetView<'_>,
    change: i64,
    after: Option<Uuid>,
    now: i64,
    limit: i64,
) -> Result<PendingPage> {
    let (TargetView { target, view }, after) = (at, after.unwrap_or(Uuid::nil()));
    let end: Option<Uuid> = match change {
        0 => tx.row(&STRIDE_OF_VIEW, &values![after, STRIDE - 1, view])?,
        _ => tx.row(&STRIDE_OF_CHANGE, &values![after, STRIDE - 1, change])?,
    };
    let last = end.unwrap_or(Uuid::max());
    let found: Vec<Pending> = match change {
        0 => tx.rows(&PAGE_OF_VIEW, &values![now, target, after, last, limit, view])?,
        _ => tx.rows(&PAGE_OF_CHANGE, &values![now, target, after, last, limit, change])?,
    };
    let is_full = i64::try_from(found.len()).is_ok_and(|found| found >= limit);
    let last = found.last().map(|pending| pending.object);
    Ok(PendingPage { found, next: if is_full { last } else { end } })
}

/// How many objects must still be sent to a target because of changes other than 0, by lane.
pub(in crate::ledger) fn count_by_lane(
    tx: &Transaction<'_>,
    target: &str,
    now: i64,
) -> Result<Vec<PendingInLane>> {
    tx.rows(&COUNT_BY_LANE, &values![now, target])
}

/// How many of all objects of its view must still be sent to a target.
pub(in crate::ledger) fn count_all(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    now: i64,
) -> Result<i64> {
    tx.row(&COUNT_ALL, &values![now, target, view])?.ok_or(SqlError::NoRow)
}

/// Returns the objects whose accepted version is due to be sent once more.
pub(in crate::ledger) fn due_again(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    now: i64,
    limit: i64,
) -> Result<Vec<Pending>> {
    tx.rows(&DUE_AGAIN, &values![target, view, now, limit])
}

/// Returns those of these objects that must still be sent to the target.
pub(in crate::ledger) fn of_objects(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    objects: &[Uuid],
    now: i64,
) -> Result<Vec<Pending>> {
    tx.rows_each(&OF_OBJECT, objects.iter().map(|object| values![now, target, view, object]))
}

/// Returns what would be sent to the target because of the changes after `change`, in the order of the objects' keys,
/// from the first one after `after`.
pub(in crate::ledger) fn altered(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    change: i64,
    after: Uuid,
    now: i64,
    limit: i64,
) -> Result<Vec<Altered>> {
    tx.rows(&ALTERED, &values![now, target, view, change, after, limit])
}
