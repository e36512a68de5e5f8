//! Forgetting what is long over, a bounded number of rows at a time.

use uuid::Uuid;

use super::Ledger;
use super::owner::Unit;
use super::sql::{Result, Statement, statements, values};

/// The targets that a row of `wanted` concerns, the absent ones among them.
macro_rules! its_targets {
    () => {
        "(SELECT target FROM targets WHERE view = $1)"
    };
}

/// A target is done with a withdrawn object: it has accepted the withdrawal before $4, or what it
/// holds was over by then. (After an accepted withdrawal its `valid_until` is 0.)
macro_rules! done {
    () => {
        "(d.accepted = 0 AND d.accepted_at < $4
              AND d.sending IS NULL AND d.doubt IS NULL AND d.resend_at IS NULL
          OR COALESCE(d.accepted, 1) <> 0 AND d.valid_until < $4)"
    };
}

/// A revocation of the object has left, or may have.
macro_rules! is_used_up {
    ($row:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM delivered d WHERE d.object = ",
            $row,
            ".object AND d.revoked > 0 AND d.target IN ",
            its_targets!(),
            ")"
        )
    };
}

statements! {
    FORGET_TAG_CHANGES(Integer, Integer) = "DELETE FROM tag_changes
         WHERE (source, event, attribute, tag) IN
             (SELECT source, event, attribute, tag FROM tag_changes WHERE heard_at < $1 LIMIT $2)";
    FORGET_TOMBSTONES(Integer, Integer) = "DELETE FROM tombstones
         WHERE (source, attribute, object) IN
             (SELECT source, attribute, object FROM tombstones WHERE withdrawn_at < $1 LIMIT $2)";
    FORGET_EVENTS(Integer, Integer) = "DELETE FROM events WHERE (source, event) IN
         (SELECT e.source, e.event FROM events e WHERE e.deleted_at < $1 AND e.unfinished = 0
          AND NOT EXISTS (SELECT 1 FROM claims c WHERE c.source = e.source AND c.event = e.event)
          AND NOT EXISTS (SELECT 1 FROM reads r WHERE r.source = e.source AND r.event = e.event)
          LIMIT $2)";
    TOO_MANY_TAG_CHANGES() = "DELETE FROM tag_changes WHERE heard_at <=
         (SELECT heard_at FROM tag_changes ORDER BY heard_at DESC LIMIT 1 OFFSET 200000)";
    TOO_MANY_TOMBSTONES() = "DELETE FROM tombstones WHERE withdrawn_at <=
         (SELECT withdrawn_at FROM tombstones ORDER BY withdrawn_at DESC LIMIT 1 OFFSET 1000000)";
    FORGET_INFERRED(Integer) = "DELETE FROM inferred WHERE at < $1";
    DROP_ANNOUNCED(Integer) = "DELETE FROM announced WHERE received_at < $1";
    WITHDRAWN(Text, Bytes, Integer) = "SELECT object FROM wanted
         WHERE view = $1 AND version = 0 AND object > $2 ORDER BY object LIMIT $3";
    /// What was revoked is kept: its row is the memory that the id is used up, unless that of a later
    /// generation tells.
    FORGET_WITHDRAWN(Text, Bytes, Bytes, Integer) = concat!(
        "DELETE FROM wanted AS w
         WHERE w.view = $1 AND w.version = 0 AND w.object > $2 AND w.object <= $3
         AND NOT EXISTS (SELECT 1 FROM delivered d WHERE d.object = w.object
                         AND d.target IN ", its_targets!(), "
                         AND NOT COALESCE(", done!(), ", FALSE))
         AND NOT (", is_used_up!("w"), " AND (w.stix_id <> w.object OR NOT EXISTS
             (SELECT 1 FROM wanted b WHERE b.view = $1
              AND b.claimed = COALESCE(w.claimed, w.object)
              AND b.generation > w.generation AND ", is_used_up!("b"), ")))
         RETURNING object"
    );
    FORGET_DELIVERED(Text, Bytes) = concat!(
        "DELETE FROM delivered WHERE target IN ", its_targets!(), " AND object = $2"
    );
}

/// Rows a transaction.
const STEP: i64 = 1_000;

/// What stands for something that MISP took back, and the notes about it.
static NOTES: [&Statement; 3] = [&FORGET_TAG_CHANGES, &FORGET_TOMBSTONES, &FORGET_EVENTS];

/// The oldest beyond so many: a flood of frames must not fill the disk.
static TOO_MANY: [&Statement; 2] = [&TOO_MANY_TAG_CHANGES, &TOO_MANY_TOMBSTONES];

impl Ledger {
    /// Drops webhook publications that nothing has confirmed since `before`; returns how many.
    pub(super) async fn drop_unconfirmed(&self, before: i64) -> Result<u64> {
        let dropped =
            self.write(move |unit| unit.execute(&DROP_ANNOUNCED, &values![before])).await?;
        Ok(dropped as u64)
    }

    /// Forgets tombstones and deleted events from before `before`, and withdrawals by inference from
    /// before `inferred`.
    pub(super) async fn forget_notes(&self, before: i64, inferred: i64) -> Result<u64> {
        let mut forgotten = 0;
        for statement in NOTES {
            forgotten +=
                self.write(move |unit| unit.execute(statement, &values![before, STEP])).await?;
        }
        for statement in TOO_MANY {
            forgotten += self.write(move |unit| unit.execute(statement, &values![])).await?;
        }
        self.write(move |unit| unit.execute(&FORGET_INFERRED, &values![inferred])).await?;
        Ok(forgotten as u64)
    }

    /// Forgets withdrawn objects that every target was done with before `before`, among the next
    /// ones after `after`; returns where to go on, and how many.
    pub(super) async fn forget_withdrawn(
        &self,
        view: &str,
        after: Uuid,
        before: i64,
    ) -> Result<(Uuid, u64)> {
        let view = view.to_owned();
        let slice: Vec<Uuid> = {
            let view = view.clone();
            self.read(move |tx| tx.rows(&WITHDRAWN, &values![&view, after, STEP])).await?
        };
        let Some(last) = slice.last().copied() else { return Ok((Uuid::nil(), 0)) };
        let forget = move |unit: &Unit<'_>| {
            let values = values![&view, after, last, before];
            let forgotten: Vec<Uuid> = unit.rows(&FORGET_WITHDRAWN, &values)?;
            unit.execute_each(
                &FORGET_DELIVERED,
                forgotten.iter().map(|object| values![&view, object]),
            )?;
            Ok(forgotten.len() as u64)
        };
        let forgotten = self.write(forget).await?;
        let is_end = i64::try_from(slice.len()).is_ok_and(|rows| rows < STEP);
        Ok((if is_end { Uuid::nil() } else { last }, forgotten))
    }
}
