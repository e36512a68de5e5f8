//! What `verify --repair` and the reading back write: the queue does the sending, so a repair is rows
//! whose outcome counts as unknown, in a change of their own. Their next upload is byte-identical.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::change::{next, queue};
use super::super::{Lane, Ledger, Writing};

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
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn mend(
        &self,
        target: &str,
        mending: &Mending,
        revoke: bool,
        now: i64,
    ) -> sqlx::Result<u64> {
        let mut tx = self.begin().await?;
        let view: String = sqlx::query_scalar("SELECT view FROM targets WHERE target = $1")
            .bind(target)
            .fetch_one(&mut *tx)
            .await?;
        let again: Vec<(Uuid, i64, i64)> =
            mending.again.iter().map(|(object, at)| (*object, *at, 0)).collect();
        let mut ending = Vec::with_capacity(mending.ended.len() + mending.strays.len());
        for stray in &mending.strays {
            ending.extend(adopt(&mut tx, (&view, target), stray, revoke).await?);
        }
        let mut live = Vec::with_capacity(again.len());
        for (which, found) in [(&again, &mut live), (&mending.ended, &mut ending)] {
            for one in which {
                if unsettle(&mut tx, (&view, target), *one).await? {
                    found.push(one.0);
                }
            }
        }
        for (objects, lane) in [(&live, Lane::Backlog), (&ending, Lane::Withdrawals)] {
            requeue(&mut tx, &view, (objects, lane), now).await?;
        }
        tx.commit().await?;
        self.shared.changed.notify_waiters();
        Ok((live.len() + ending.len()) as u64)
    }
}

impl Ledger {
    /// Notes indicators that are revoked at a target which the ledger does not know yet; how many were
    /// new.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn note_used_up(
        &self,
        view: &str,
        target: &str,
        revoked: &[Stray],
    ) -> sqlx::Result<u64> {
        let mut tx = self.begin().await?;
        let mut noted = 0;
        for one in revoked {
            note(&mut tx, view, one, true).await?;
            noted += sqlx::query(
                "INSERT INTO delivered (target, object, created, modified, accepted, accepted_at,
                     valid_until, revoked)
                 VALUES ($1, $2, $3, $4, 0, $4, 0, 2) ON CONFLICT (target, object) DO NOTHING",
            )
            .bind(target)
            .bind(one.object)
            .bind(one.created)
            .bind(one.modified)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        }
        tx.commit().await?;
        Ok(noted)
    }
}

/// Its outcome counts as unknown, unless something of it changed since it was read. A withdrawal of which
/// the object lives on there ends anew.
async fn unsettle(
    tx: &mut SqliteConnection,
    (view, target): (&str, &str),
    (object, accepted_at, valid_until): (Uuid, i64, i64),
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE delivered SET sending = accepted,
             valid_until = CASE WHEN $4 > valid_until THEN $4 ELSE valid_until END,
             ended_at = CASE WHEN $4 > 0 THEN NULL ELSE ended_at END
         WHERE target = $1 AND object = $2 AND accepted_at = $3
             AND sending IS NULL AND doubt IS NULL AND resend_at IS NULL
             AND accepted = (SELECT version FROM wanted WHERE view = $5 AND object = $2)",
    )
    .bind(target)
    .bind(object)
    .bind(accepted_at)
    .bind(valid_until)
    .bind(view)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Makes a stray known as something that this target holds and nobody wants; `None` if somebody wants
/// it by now, or the target was sent it.
async fn adopt(
    tx: &mut Writing,
    (view, target): (&str, &str),
    stray: &Stray,
    revoke: bool,
) -> sqlx::Result<Option<Uuid>> {
    // Nor where its observable goes on under another generation: that one must stay the newest.
    let goes_on: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM wanted WHERE view = $1 AND version <> 0 AND kind = 'indicator'
                        AND (object = $2 OR claimed = $2))",
    )
    .bind(view)
    .bind(stray.key)
    .fetch_one(&mut **tx)
    .await?;
    if goes_on {
        return Ok(None);
    }
    note(tx, view, stray, revoke).await?;
    let done = sqlx::query(
        "INSERT INTO delivered
             (target, object, created, modified, accepted, accepted_at, valid_until, context)
         SELECT $1, $2, $3, $4, $5, $4, $6, kind <> 'indicator'
         FROM wanted WHERE view = $7 AND object = $2 AND version = 0
         ON CONFLICT (target, object) DO NOTHING",
    )
    .bind(target)
    .bind(stray.object)
    .bind(stray.created)
    .bind(stray.modified)
    .bind(FOREIGN)
    .bind(stray.valid_until)
    .bind(view)
    .execute(&mut **tx)
    .await?;
    Ok((done.rows_affected() > 0).then_some(stray.object))
}

/// A row of `wanted` for a withdrawn indicator, unless there is one.
async fn note(
    tx: &mut SqliteConnection,
    view: &str,
    stray: &Stray,
    revoke: bool,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO wanted (view, object, kind, stix_id, body, valid_from, valid_until, version,
             change, generation, claimed, revoke)
         VALUES ($1, $2, 'indicator', $3, $4, $5, $6, 0, 0, $7, $8, $9)
         ON CONFLICT (view, object) DO NOTHING",
    )
    .bind(view)
    .bind(stray.object)
    .bind(stray.stix_id)
    .bind(&stray.body)
    .bind(stray.valid_from)
    .bind(stray.valid_until)
    .bind(stray.generation)
    .bind((stray.key != stray.object).then_some(stray.key))
    .bind(revoke)
    .execute(tx)
    .await?;
    Ok(())
}

/// Puts objects into a change of their own. Other targets of the view find in it what they had not
/// taken yet, and are not sent anew what they refused.
async fn requeue(
    tx: &mut Writing,
    view: &str,
    (objects, lane): (&[Uuid], Lane),
    now: i64,
) -> sqlx::Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    let number = next(tx).await?;
    for object in objects {
        sqlx::query(
            "UPDATE delivered SET rejected_in = $1 WHERE object = $2 AND rejected IS NOT NULL
                 AND rejected_in = (SELECT change FROM wanted WHERE view = $3 AND object = $2)
                 AND target IN (SELECT target FROM targets WHERE view = $3)",
        )
        .bind(number)
        .bind(object)
        .bind(view)
        .execute(&mut **tx)
        .await?;
        sqlx::query("UPDATE wanted SET change = $1 WHERE view = $2 AND object = $3")
            .bind(number)
            .bind(view)
            .bind(object)
            .execute(&mut **tx)
            .await?;
    }
    let targets: Vec<String> = sqlx::query_scalar(
        "SELECT target FROM targets WHERE view = $1 AND mode NOT IN ('disabled', 'absent')",
    )
    .bind(view)
    .fetch_all(&mut **tx)
    .await?;
    for target in &targets {
        queue(tx, target, (number, lane), None, now).await?;
    }
    Ok(())
}
