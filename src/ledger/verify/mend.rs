//! What `verify --repair` and the reading back write: the queue does the sending, so a repair is rows
//! whose outcome counts as unknown, in a change of their own. Their next upload is byte-identical.

use uuid::Uuid;

use super::super::change::{next, queue};
use super::super::sql::{Result, SqlError, Transaction, statements, values};
use super::super::{Lane, Ledger};

statements! {
    VIEW(Text) = "SELECT view FROM targets WHERE target = $1";
    NOTE_DELIVERED(Text, Bytes, Integer, Integer) =
        "INSERT INTO delivered (target, object, created, modified, accepted, accepted_at,
             valid_until, revoked)
         VALUES ($1, $2, $3, $4, 0, $4, 0, 2) ON CONFLICT (target, object) DO NOTHING";
    UNSETTLE(Text, Bytes, Integer, Integer, Text) =
        "UPDATE delivered SET sending = accepted,
             valid_until = CASE WHEN $4 > valid_until THEN $4 ELSE valid_until END,
             ended_at = CASE WHEN $4 > 0 THEN NULL ELSE ended_at END
         WHERE target = $1 AND object = $2 AND accepted_at = $3
             AND sending IS NULL AND doubt IS NULL AND resend_at IS NULL
             AND accepted = (SELECT version FROM wanted WHERE view = $5 AND object = $2)";
    /// Each by its own index: in one condition, SQLite would go through the whole view.
    GOES_ON(Text, Bytes) =
        "SELECT EXISTS (SELECT 1 FROM wanted WHERE view = $1 AND object = $2 AND version <> 0
                        AND kind = 'indicator')
             OR EXISTS (SELECT 1 FROM wanted WHERE view = $1 AND claimed = $2 AND version <> 0
                        AND kind = 'indicator')";
    ADOPT(Text, Bytes, Integer, Integer, Integer, Integer, Text) =
        "INSERT INTO delivered
             (target, object, created, modified, accepted, accepted_at, valid_until, context)
         SELECT CAST($1 AS TEXT), object, CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS BIGINT),
             CAST($4 AS BIGINT), CAST($6 AS BIGINT), kind <> 'indicator'
         FROM wanted WHERE view = $7 AND object = $2 AND version = 0
         ON CONFLICT (target, object) DO NOTHING";
    NOTE(Text, Bytes, Bytes, Text, Integer, Integer, Integer, Bytes, Boolean) =
        "INSERT INTO wanted (view, object, kind, stix_id, body, valid_from, valid_until, version,
             change, generation, claimed, revoke)
         VALUES ($1, $2, 'indicator', $3, $4, $5, $6, 0, 0, $7, $8, $9)
         ON CONFLICT (view, object) DO NOTHING";
    /// Other targets are not sent anew what they refused.
    KEEP_REJECTED(Integer, Bytes, Text) =
        "UPDATE delivered SET rejected_in = $1 WHERE object = $2 AND rejected IS NOT NULL
             AND rejected_in = (SELECT change FROM wanted WHERE view = $3 AND object = $2)
             AND target IN (SELECT target FROM targets WHERE view = $3)";
    REQUEUE(Integer, Bytes, Text) = "UPDATE wanted SET change = $1 WHERE view = $3 AND object = $2";
    TARGETS(Text) =
        "SELECT target FROM targets WHERE view = $1 AND mode NOT IN ('disabled', 'absent')";
}

/// What one look found to be wrong at a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mending {
    /// Objects that are missing or different, each with the time of its acceptance, as read.
    pub again: Vec<(Uuid, i64)>,
    /// Objects whose withdrawal was accepted and that live there all the same: the time of its
    /// acceptance, and until when they are valid there.
    pub ended: Vec<(Uuid, i64, i64)>,
    /// Objects that live there and were never sent by this ledger, as far as it knows.
    pub strays: Vec<Stray>,
}

/// An indicator of ours that the ledger does not know, or knows as withdrawn elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Its key in the ledger.
    pub object: Uuid,
    pub stix_id: Uuid,
    /// The key that its claims would have, and which generation of it this is.
    pub key: Uuid,
    pub generation: i16,
    /// As it is held, without what [`crate::pure::stix::live`] adds.
    pub body: String,
    /// Unix milliseconds.
    pub valid_from: i64,
    pub valid_until: i64,
    pub created: i64,
    pub modified: i64,
}

/// What stands for a version that nobody here rendered.
pub(crate) const FOREIGN: i64 = 1;

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
    /// Has what is missing or different sent again, in the backlog, and what is left over withdrawn.
    /// What changed since it was read is passed over. `revoke`: how strays end. Returns how many
    /// objects it concerns.
    pub async fn mend(
        &self,
        target: &str,
        mending: &Mending,
        revoke: bool,
        now: i64,
    ) -> Result<u64> {
        let (target, mending) = (target.to_owned(), mending.clone());
        self.write(move |unit| {
            let view: String = unit.row(&VIEW, &values![&target])?.ok_or(SqlError::NoRow)?;
            let place = (view.as_str(), target.as_str());
            let again: Vec<(Uuid, i64, i64)> =
                mending.again.iter().map(|(object, at)| (*object, *at, 0)).collect();
            let mut ending = Vec::with_capacity(mending.ended.len() + mending.strays.len());
            for stray in &mending.strays {
                ending.extend(adopt(unit, place, stray, revoke)?);
            }
            let mut live = Vec::with_capacity(again.len());
            for (which, found) in [(&again, &mut live), (&mending.ended, &mut ending)] {
                for one in which {
                    if unsettle(unit, place, *one)? {
                        found.push(one.0);
                    }
                }
            }
            for (objects, lane) in [(&live, Lane::Backlog), (&ending, Lane::Withdrawals)] {
                requeue(unit, &view, (objects, lane), now)?;
            }
            unit.then(|shared| shared.changed.notify_waiters());
            Ok((live.len() + ending.len()) as u64)
        })
        .await
    }
}

impl Ledger {
    /// Notes indicators that are revoked at a target which the ledger does not know yet; how many were
    /// new.
    pub async fn note_used_up(&self, view: &str, target: &str, revoked: &[Stray]) -> Result<u64> {
        let (view, target, revoked) = (view.to_owned(), target.to_owned(), revoked.to_vec());
        self.write(move |unit| {
            let mut noted = 0;
            for one in &revoked {
                note(unit, &view, one, true)?;
                let values = values![&target, one.object, one.created, one.modified];
                noted += unit.execute(&NOTE_DELIVERED, &values)? as u64;
            }
            Ok(noted)
        })
        .await
    }
}

/// Its outcome counts as unknown, unless something of it changed since it was read. A withdrawal of which
/// the object lives on there ends anew.
fn unsettle(
    tx: &Transaction<'_>,
    (view, target): (&str, &str),
    (object, accepted_at, valid_until): (Uuid, i64, i64),
) -> Result<bool> {
    Ok(tx.execute(&UNSETTLE, &values![target, object, accepted_at, valid_until, view])? > 0)
}

/// Makes a stray known as something that this target holds and nobody wants; `None` if somebody wants
/// it by now, or the target was sent it.
fn adopt(
    tx: &Transaction<'_>,
    (view, target): (&str, &str),
    stray: &Stray,
    revoke: bool,
) -> Result<Option<Uuid>> {
    // Nor where its observable goes on under another generation: that one must stay the newest.
    let (goes_on,): (bool,) =
        tx.row(&GOES_ON, &values![view, stray.key])?.ok_or(SqlError::NoRow)?;
    if goes_on {
        return Ok(None);
    }
    note(tx, view, stray, revoke)?;
    let Stray { object, created, modified, valid_until, .. } = stray;
    let values = values![target, object, created, modified, FOREIGN, valid_until, view];
    Ok((tx.execute(&ADOPT, &values)? > 0).then_some(*object))
}

/// A row of `wanted` for a withdrawn indicator, unless there is one.
fn note(tx: &Transaction<'_>, view: &str, stray: &Stray, revoke: bool) -> Result<()> {
    let Stray { object, stix_id, key, generation, body, valid_from, valid_until, .. } = stray;
    let claimed = (key != object).then_some(key);
    let values =
        values![view, object, stix_id, body, valid_from, valid_until, *generation, claimed, revoke];
    tx.execute(&NOTE, &values).map(drop)
}

/// Puts objects into a change of their own. Other targets of the view find in it what they had not
/// taken yet, and are not sent anew what they refused.
fn requeue(
    tx: &Transaction<'_>,
    view: &str,
    (objects, lane): (&[Uuid], Lane),
    now: i64,
) -> Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    let number = next(tx)?;
    for statement in [&KEEP_REJECTED, &REQUEUE] {
        let each = objects.iter().map(|object| values![number, object, view]);
        tx.execute_each(statement, each)?;
    }
    let targets: Vec<String> = tx.rows(&TARGETS, &values![view])?;
    for target in &targets {
        queue(tx, target, (number, lane), None, now)?;
    }
    Ok(())
}
