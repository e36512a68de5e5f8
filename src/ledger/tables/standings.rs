//! Statements that put `wanted` and `delivered` side by side: where objects stand at targets.

use uuid::Uuid;

use super::packed::UnpackedBody;
use super::pending::{Pending, pending, unsettled};
use super::targets::{TargetMode, TargetView};
use crate::ledger::lane::Lane;
use crate::ledger::sql::{
    Columns, FromRow, Result, SqlError, Transaction, row, statements, values,
};

/// Whether the object is in a request of unknown outcome, or must be sent once more.
macro_rules! moves {
    () => {
        "(d.sending IS NOT NULL OR d.doubt IS NOT NULL OR d.resend_at IS NOT NULL)"
    };
}

/// The columns of an [`ObjectAtTarget`], and what they come from: of target $1 and its view $2, those of
/// kind $3.
macro_rules! at_target {
    ($which:literal) => {
        concat!(
            "SELECT ",
            pending!(),
            ", d.created, d.modified, d.accepted, d.accepted_at, d.valid_until AS held_until,
                 d.ended_at, ",
            moves!(),
            " AS moves
             FROM wanted w LEFT JOIN delivered d ON d.object = w.object AND d.target = $1
             WHERE w.view = $2 AND w.kind = $3 AND ",
            $which
        )
    };
}

/// The versions that target $1 refused and that its view $2 still wants.
// What is tried once more has another `rejected_in`, and counts as refused no longer.
macro_rules! refused {
    () => {
        "FROM delivered d JOIN wanted w ON w.view = $2 AND w.object = d.object
         WHERE d.target = $1 AND d.rejected = w.version AND d.rejected_in = w.change"
    };
}

statements! {
    // `unsettled` is NULL of what was never sent and has expired.
    AT_TARGETS(Integer, Text, Bytes, Text) = concat!(
        "SELECT w.object, t.target, t.mode, w.version, w.valid_until AS wanted_until, w.change,
             d.accepted, d.accepted_at, d.rejected, d.rejected_in, d.words,
             d.sending IS NOT NULL OR d.doubt IS NOT NULL AS in_doubt, COALESCE(",
        unsettled!(),
        ", FALSE) AS pending, q.lane
         FROM targets t JOIN wanted w ON w.view = t.view AND w.object = $3
         LEFT JOIN delivered d ON d.target = t.target AND d.object = w.object
         LEFT JOIN queue q ON q.target = t.target AND q.change = w.change
         WHERE t.mode <> $4 AND t.view = $2 ORDER BY t.target"
    );
    // Two statements, as there are two indices: most objects have their key as their id.
    OF_OBJECT(Text, Text, Text, Bytes) = at_target!("w.stix_id = w.object AND w.object = $4");
    OF_STIX_ID(Text, Text, Text, Bytes) = at_target!("w.stix_id <> w.object AND w.stix_id = $4");
    // What a target holds of an object that moves is not known before its request has an answer.
    DELIVERED(Text, Text, Text, Bytes, Integer, Integer) = concat!(
        "SELECT w.object, w.stix_id FROM delivered d
         JOIN wanted w ON w.view = $2 AND w.object = d.object
         WHERE d.target = $1 AND d.object > $4 AND w.kind = $3 AND w.version <> 0
             AND d.accepted = w.version AND NOT ",
        moves!(),
        " AND w.valid_until > $5 ORDER BY d.object LIMIT $6"
    );
    // The condition is named in a query within, since a FILTER cannot use a name of its own SELECT.
    COUNT_KIND(Text, Text, Text, Integer) =
        "SELECT count(*) FILTER (WHERE is_live), count(*) FILTER (WHERE NOT is_live)
         FROM (SELECT d.accepted <> 0 AND (d.valid_until IS NULL OR d.valid_until > $4) AS is_live
             FROM delivered d JOIN wanted w ON w.view = $2 AND w.object = d.object
             WHERE d.target = $1 AND w.kind = $3 AND d.accepted IS NOT NULL) AS held";
    WITHDRAWN_SINCE(Integer, Integer) =
        "SELECT d.target, d.accepted_at, w.stix_id, w.body, w.tlp FROM delivered d
         JOIN targets t ON t.target = d.target
         JOIN wanted w ON w.view = t.view AND w.object = d.object
         WHERE d.accepted = 0 AND NOT d.context AND d.accepted_at >= $1
         ORDER BY d.accepted_at DESC, d.object LIMIT $2";
    COUNT_WITHDRAWN_SINCE(Integer) =
        "SELECT count(DISTINCT object) FROM delivered
         WHERE accepted = 0 AND NOT context AND accepted_at >= $1";
    COUNT_REFUSED(Text, Text) = concat!("SELECT count(*) ", refused!());
    REFUSALS(Text, Text) =
        concat!("SELECT w.stix_id, d.words ", refused!(), " AND d.words IS NOT NULL LIMIT 10");
}

row! {
    /// An object at a target of its view.
    #[derive(Debug)]
    pub(in crate::ledger) struct Standing {
        pub object: Uuid,
        pub target: String,
        pub mode: TargetMode,
        pub version: i64,
        pub wanted_until: i64,
        pub change: i64,
        pub accepted: Option<i64>,
        pub accepted_at: Option<i64>,
        pub rejected: Option<i64>,
        pub rejected_in: Option<i64>,
        pub words: Option<String>,
        pub in_doubt: bool,
        pub pending: bool,
        pub lane: Option<Lane>,
    }
}

/// The wanted version of an object, and what the target holds.
#[derive(Debug)]
pub(in crate::ledger) struct ObjectAtTarget {
    pub pending: Pending,
    pub created: Option<i64>,
    pub modified: Option<i64>,
    pub accepted: Option<i64>,
    pub accepted_at: Option<i64>,
    pub held_until: Option<i64>,
    pub ended_at: Option<i64>,
    /// Whether a request with it is on its way, or it must be sent once more.
    pub moves: bool,
}

impl FromRow for ObjectAtTarget {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            pending: Pending::from_row(columns)?,
            created: columns.take()?,
            modified: columns.take()?,
            accepted: columns.take()?,
            accepted_at: columns.take()?,
            held_until: columns.take()?,
            ended_at: columns.take()?,
            moves: columns.take()?,
        })
    }
}

row! {
    /// Something that a target must hold.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Delivered {
        pub object: Uuid,
        pub stix_id: Uuid,
    }
}

row! {
    /// An object that Sentinel refused.
    #[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
    pub struct Refusal {
        pub stix_id: Uuid,
        pub words: String,
    }
}

row! {
    /// An indicator whose withdrawal a target accepted.
    #[derive(Debug)]
    pub(in crate::ledger) struct WithdrawnAtTarget {
        pub target: String,
        pub accepted_at: i64,
        pub stix_id: Uuid,
        pub body: String as UnpackedBody,
        /// The rank of the strictest level that was seen on its claims.
        pub tlp: i16,
    }
}

row! {
    /// How many objects of a kind a target accepted.
    #[derive(Debug, Clone, Copy, Default)]
    pub(in crate::ledger) struct KindCount {
        pub live: i64,
        /// Withdrawn, or no longer valid.
        pub ended: i64,
    }
}

/// These objects at the configured targets of a view, those of each object in the order of the targets.
pub(in crate::ledger) fn at_targets(
    tx: &Transaction<'_>,
    view: &str,
    objects: &[Uuid],
    now: i64,
) -> Result<Vec<Standing>> {
    let absent = TargetMode::Absent.word();
    tx.rows_each(&AT_TARGETS, objects.iter().map(|object| values![now, view, object, absent]))
}

/// The objects of a kind that have these STIX ids, at a target. Several may have one id.
pub(in crate::ledger) fn of_stix_ids(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    kind: &str,
    ids: &[Uuid],
) -> Result<Vec<ObjectAtTarget>> {
    let each = || ids.iter().map(|id| values![target, view, kind, id]);
    // Each by its own index.
    let mut found = tx.rows_each(&OF_OBJECT, each())?;
    found.extend(tx.rows_each::<ObjectAtTarget>(&OF_STIX_ID, each())?);
    Ok(found)
}

/// Returns the objects of a kind that a target accepted as they are wanted and that are not over, in the order of the
/// objects, from the first one after `after`.
pub(in crate::ledger) fn delivered(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    kind: &str,
    after: Uuid,
    now: i64,
    limit: i64,
) -> Result<Vec<Delivered>> {
    tx.rows(&DELIVERED, &values![target, view, kind, after, now, limit])
}

/// How many objects of a kind a target accepted.
pub(in crate::ledger) fn count_kind(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    kind: &str,
    now: i64,
) -> Result<KindCount> {
    tx.row(&COUNT_KIND, &values![target, view, kind, now])?.ok_or(SqlError::NoRow)
}

/// The indicators that are withdrawn and whose withdrawal targets accepted since `since`, the newest first.
pub(in crate::ledger) fn withdrawn_since(
    tx: &Transaction<'_>,
    since: i64,
    limit: i64,
) -> Result<Vec<WithdrawnAtTarget>> {
    tx.rows(&WITHDRAWN_SINCE, &values![since, limit])
}

/// How many there are. One that several targets held counts once.
pub(in crate::ledger) fn count_withdrawn_since(tx: &Transaction<'_>, since: i64) -> Result<i64> {
    tx.row(&COUNT_WITHDRAWN_SINCE, &values![since])?.ok_or(SqlError::NoRow)
}

/// How many objects a target refused whose version is still wanted.
pub(in crate::ledger) fn count_refused(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
) -> Result<i64> {
    tx.row(&COUNT_REFUSED, &values![target, view])?.ok_or(SqlError::NoRow)
}

/// The first few of them, with the target's words.
pub(in crate::ledger) fn refusals(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
) -> Result<Vec<Refusal>> {
    tx.rows(&REFUSALS, &values![target, view])
}
