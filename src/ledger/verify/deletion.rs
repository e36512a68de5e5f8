//! Deletions of withdrawn indicators. A deletion and an upload of the same id may overtake each other,
//! so a deletion is noted before it leaves: what is accepted while it is on its way goes once more.

use uuid::Uuid;

use super::super::Ledger;
use super::super::sql::{Result, Transaction, row, statements, values};

/// Nothing of it moves, nobody wants it, and no other object wants its id.
macro_rules! rests {
    () => {
        "d.accepted = 0 AND NOT d.context AND d.sending IS NULL AND d.doubt IS NULL
         AND d.resend_at IS NULL AND w.version = 0
         AND NOT EXISTS (SELECT 1 FROM wanted o WHERE o.view = w.view AND o.stix_id = w.stix_id
                         AND o.stix_id <> o.object AND o.version <> 0)"
    };
}

statements! {
    DUE(Text, Integer, Integer, Integer) = concat!(
        "SELECT w.object, w.stix_id, d.deletions FROM delivered d
         JOIN targets t ON t.target = d.target
         JOIN wanted w ON w.view = t.view AND w.object = d.object
         WHERE d.target = $1 AND d.deletion <= $2 AND d.accepted_at <= $3 AND ",
        rests!(),
        " ORDER BY d.deletion LIMIT $4"
    );
    BEGIN(Text, Bytes, Integer) = concat!(
        "UPDATE delivered AS d SET deletion = $3 WHERE d.target = $1 AND d.object = $2
         AND EXISTS (SELECT 1 FROM wanted w WHERE w.object = d.object
             AND w.view = (SELECT view FROM targets WHERE target = $1) AND ",
        rests!(),
        ")"
    );
    /// Of an upload that is on its way nobody knows which came first.
    END(Integer, Integer, Text, Bytes) =
        "UPDATE delivered SET deletions = deletions + $2,
             deletion = CASE WHEN $2 > 0 AND sending IS NOT NULL THEN deletion ELSE $1 END
         WHERE target = $3 AND object = $4 AND accepted = 0";
    SEND_HEIRS_AGAIN(Integer, Text, Bytes, Bytes) =
        "UPDATE delivered SET resend_at = $1 WHERE target = $2 AND object IN
             (SELECT w.object FROM wanted w JOIN targets t ON t.view = w.view
              WHERE t.target = $2 AND w.stix_id = $3 AND w.stix_id <> w.object
                  AND w.object <> $4 AND w.version <> 0)";
}

row! {
    /// A withdrawn indicator that a target accepted the withdrawal of.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Deletable {
        pub object: Uuid,
        pub stix_id: Uuid,
        /// How often its deletion was tried.
        pub deletions: i16,
    }
}

/// How a deletion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is not there.
    Gone,
    /// To be looked at again, Unix milliseconds.
    Later { at: i64, tried: bool },
}

/// Never due again.
const DONE: i64 = i64::MAX;

/// A deletion is on its way.
pub(crate) const ON_ITS_WAY: i64 = -1;

impl Ledger {
    /// Indicators whose withdrawal a target accepted before `before`, and whose deletion is due.
    pub async fn due_deletions(
        &self,
        target: &str,
        before: i64,
        now: i64,
        limit: i64,
    ) -> Result<Vec<Deletable>> {
        let target = target.to_owned();
        self.read(move |tx| tx.rows(&DUE, &values![&target, now, before, limit])).await
    }

    /// Notes that a deletion leaves now; `false`: it must not.
    pub async fn begin_deletion(&self, target: &str, object: Uuid) -> Result<bool> {
        let target = target.to_owned();
        self.write(move |unit| Ok(unit.execute(&BEGIN, &values![&target, object, ON_ITS_WAY])? > 0))
            .await
    }

    /// Notes how a deletion ended. What came back under its id meanwhile goes once more.
    pub async fn end_deletion(
        &self,
        target: &str,
        which: &Deletable,
        how: Deletion,
        now: i64,
    ) -> Result<()> {
        let (due, tried) = match how {
            Deletion::Gone => (DONE, false),
            Deletion::Later { at, tried } => (at, tried),
        };
        let (target, which) = (target.to_owned(), *which);
        self.write(move |unit| {
            unit.execute(&END, &values![due, i16::from(tried), &target, which.object])?;
            if tried {
                send_heirs_again(unit, &target, &which, now)?;
            }
            Ok(())
        })
        .await
    }
}

/// Under `identity = "attribute"`: other objects that took the id over.
fn send_heirs_again(tx: &Transaction<'_>, target: &str, which: &Deletable, now: i64) -> Result<()> {
    let values = values![now, target, which.stix_id, which.object];
    tx.execute(&SEND_HEIRS_AGAIN, &values).map(drop)
}
