//! How objects stand at a target.

use std::collections::HashMap;

use uuid::Uuid;

use super::super::sending::rendered;
use super::super::sql::{Columns, FromRow, Result, SqlError, row, statements, values};
use super::super::wanted::WITHDRAWN;
use super::super::{Ledger, Pending};
use crate::pure::verify::{AcceptedCount as Count, Stand};

/// A request of unknown outcome, or one that must go once more.
macro_rules! moves {
    () => {
        "(d.sending IS NOT NULL OR d.doubt IS NOT NULL OR d.resend_at IS NOT NULL)"
    };
}

/// The columns of a [`Row`], and what they come from: of target $1, those of kind $2.
macro_rules! accepted {
    ($which:literal) => {
        concat!(
            "SELECT w.object, w.stix_id, w.body, w.valid_from, w.valid_until, w.version, w.revoke,
                 w.kind <> 'indicator' AS context, FALSE AS retried,
                 d.created, d.modified, d.accepted,
                 d.accepted_at, d.valid_until AS held_until, d.ended_at, ",
            moves!(),
            " AS moves
             FROM wanted w LEFT JOIN delivered d ON d.object = w.object AND d.target = $1
             WHERE w.view = (SELECT view FROM targets WHERE target = $1) AND w.kind = $2 AND ",
            $which
        )
    };
}

statements! {
    ACCEPTED_OF_OBJECT(Text, Text, Bytes) = accepted!("w.stix_id = w.object AND w.object = $3");
    ACCEPTED_OF_STIX_ID(Text, Text, Bytes) = accepted!("w.stix_id <> w.object AND w.stix_id = $3");
    DELIVERED(Text, Bytes, Text, Integer, Integer) = concat!(
        "SELECT w.object, w.stix_id FROM delivered d
         JOIN wanted w ON w.view = (SELECT view FROM targets WHERE target = $1)
             AND w.object = d.object
         WHERE d.target = $1 AND d.object > $2 AND w.kind = $3 AND w.version <> 0
             AND d.accepted = w.version AND NOT ",
        moves!(),
        " AND w.valid_until > $4 ORDER BY d.object LIMIT $5"
    );
    COUNT(Text, Text, Integer) =
        "SELECT count(*) FILTER (WHERE is_live), count(*) FILTER (WHERE NOT is_live)
         FROM (SELECT d.accepted <> 0 AND (d.valid_until IS NULL OR d.valid_until > $3) AS is_live
             FROM delivered d
             JOIN wanted w ON w.view = (SELECT view FROM targets WHERE target = $1)
                 AND w.object = d.object
             WHERE d.target = $1 AND w.kind = $2 AND d.accepted IS NOT NULL) AS held";
}

/// An object that the ledger knows, and how it stands at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub object: Uuid,
    pub stix_id: Uuid,
    pub stand: Stand,
    /// To be named again in a [`super::Mending`].
    pub accepted_at: Option<i64>,
}

row! {
    /// Something that a target must hold.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Delivered {
        pub object: Uuid,
        pub stix_id: Uuid,
    }
}

#[derive(Debug)]
struct Row {
    pending: Pending,
    created: Option<i64>,
    modified: Option<i64>,
    accepted: Option<i64>,
    accepted_at: Option<i64>,
    held_until: Option<i64>,
    ended_at: Option<i64>,
    moves: bool,
}

impl FromRow for Row {
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
        self.read(move |tx| {
            let mut rows: Vec<Row> = Vec::with_capacity(ids.len());
            // Each by its own index.
            for statement in [&ACCEPTED_OF_OBJECT, &ACCEPTED_OF_STIX_ID] {
                let each = ids.iter().map(|id| values![&target, &kind, id]);
                rows.extend(tx.rows_each::<Row>(statement, each)?);
            }
            rows.sort_by_key(|row| (row.pending.version != WITHDRAWN, row.modified));
            Ok(rows.iter().map(|row| (row.pending.stix_id, row.accepted(now))).collect())
        })
        .await
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
        self.read(move |tx| tx.rows(&DELIVERED, &values![&target, after, &kind, now, limit])).await
    }

    /// How many objects of a kind a target accepted, and how many of them are over.
    pub async fn delivered_count(&self, target: &str, kind: &str, now: i64) -> Result<Count> {
        let (target, kind) = (target.to_owned(), kind.to_owned());
        let (live, ended): (i64, i64) = self
            .read_long(move |tx| {
                tx.row(&COUNT, &values![&target, &kind, now])?.ok_or(SqlError::NoRow)
            })
            .await?;
        Ok(Count { live: live.unsigned_abs(), ended: ended.unsigned_abs() })
    }
}

impl Row {
    fn accepted(&self, now: i64) -> Accepted {
        let Pending { object, stix_id, .. } = self.pending;
        Accepted { object, stix_id, stand: self.stand(now), accepted_at: self.accepted_at }
    }

    fn stand(&self, now: i64) -> Stand {
        let Self { pending, accepted_at, .. } = self;
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
