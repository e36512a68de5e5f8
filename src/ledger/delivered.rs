//! What targets were sent, and what became of it.

use uuid::Uuid;

use super::queue::TRIED_AGAIN;
use super::sending::Before;
use super::sql::{Result, Transaction, statements, values};
use super::verify::{FOREIGN, ON_ITS_WAY};
use super::{Ledger, Sending};

/// The change that the object of a delivery is part of now.
macro_rules! change {
    () => {
        "(SELECT w.change FROM targets t JOIN wanted w ON w.view = t.view
          WHERE t.target = delivered.target AND w.object = delivered.object)"
    };
}

/// A revocation that surely did not happen leaves the id as it was.
macro_rules! not_revoked {
    () => {
        "revoked = CASE WHEN revoked = 1 THEN 0 ELSE revoked END"
    };
}

statements! {
    ACCEPT(Integer, Integer, Integer, Text, Bytes) =
        "UPDATE delivered SET accepted_at = $1,
             accepted = COALESCE(sending, accepted), sending = NULL, rejected = NULL, words = NULL,
             valid_until = CASE WHEN sending = 0 THEN 0 ELSE valid_until END,
             revoked = CASE WHEN revoked = 1 THEN 2 ELSE revoked END,
             deletion = 0, deletions = 0,
             resend_at = CASE WHEN doubt <> sending OR deletion = $3 THEN $2
                         WHEN resend_at > $1 THEN resend_at END,
             doubt = NULL
         WHERE target = $4 AND object = $5";
    /// Sentinel holds the withdrawal, and its rules still match: what it holds is neither what is wanted
    /// nor what was. The withdrawal stays pending and gets a later `modified` and another end. An id that
    /// was revoked is used up.
    NOT_OVER(Integer, Text, Bytes) =
        "UPDATE delivered SET sending = NULL, rejected = NULL, words = NULL, accepted = $1,
             valid_until = CASE WHEN ended_at > valid_until THEN ended_at ELSE valid_until END,
             revoked = CASE WHEN revoked = 1 THEN 2 ELSE revoked END, deletion = 0, deletions = 0
         WHERE sending = 0 AND target = $2 AND object = $3";
    REJECT(Text, Text, Bytes) = concat!(
        "UPDATE delivered SET words = $1, resend_at = NULL, rejected = sending, rejected_in = ",
        change!(),
        ", sending = NULL, ",
        not_revoked!(),
        " WHERE target = $2 AND object = $3 AND sending IS NOT NULL"
    );
    GIVE_BACK(Integer, Integer, Text, Bytes) = concat!(
        "UPDATE delivered SET sending = $1, doubt = $2, ",
        not_revoked!(),
        " WHERE target = $3 AND object = $4"
    );
    REJECT_VERSION(Text, Text, Bytes, Integer) = concat!(
        "UPDATE delivered SET words = $1, resend_at = NULL, rejected = $4, rejected_in = ",
        change!(),
        " WHERE target = $2 AND object = $3"
    );
    TO_RETRY(Text, Integer) =
        "SELECT DISTINCT target FROM delivered
         WHERE rejected IS NOT NULL AND rejected_in IS DISTINCT FROM $2
             AND (CAST($1 AS TEXT) IS NULL OR target = $1)";
    RETRY(Text, Integer) =
        "UPDATE delivered SET rejected_in = $2, words = NULL
         WHERE rejected IS NOT NULL AND rejected_in IS DISTINCT FROM $2
             AND (CAST($1 AS TEXT) IS NULL OR target = $1)";
    UNREJECT(Text, Bytes) =
        "UPDATE delivered SET rejected = NULL, words = NULL WHERE target = $1 AND object = $2";
    QUEUE_EVERYTHING(Text, Integer) =
        "INSERT INTO queue (target, change, lane, opened_at, summary)
         VALUES ($1, 0, 2, $2, '{}')
         ON CONFLICT (target, change) DO UPDATE SET opened_at = queue.opened_at + 1";
}

/// How a request ended for its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement<'a> {
    Accepted(&'a [Uuid]),
    /// With Sentinel's words.
    Rejected(&'a [(Uuid, String)]),
    /// Withdrawals that the target took and whose end lies in its future: it is sent once more, with an
    /// end that is over there.
    NotOver(&'a [Uuid]),
    /// Surely not processed: as before this attempt.
    Returned(&'a [Sending]),
}

/// What becomes of one object.
enum Fate {
    Accepted,
    Rejected(String),
    NotOver,
    Returned(Before),
}

impl Settlement<'_> {
    fn fates(&self) -> Vec<(Uuid, Fate)> {
        match self {
            Self::Accepted(objects) => {
                objects.iter().map(|object| (*object, Fate::Accepted)).collect()
            }
            Self::Rejected(objects) => objects
                .iter()
                .map(|(object, words)| (*object, Fate::Rejected(words.clone())))
                .collect(),
            Self::NotOver(objects) => {
                objects.iter().map(|object| (*object, Fate::NotOver)).collect()
            }
            Self::Returned(objects) => {
                objects.iter().map(|one| (one.object, Fate::Returned(one.before))).collect()
            }
        }
    }
}

impl Ledger {
    /// Stores how a request ended. `resend_at`: when the final version of an object goes once more
    /// whose older version may still arrive.
    pub async fn settle(
        &self,
        target: &str,
        settlements: &[Settlement<'_>],
        now: i64,
        resend_at: i64,
    ) -> Result<()> {
        let target = target.to_owned();
        let fates: Vec<(Uuid, Fate)> = settlements.iter().flat_map(Settlement::fates).collect();
        self.write(move |unit| {
            for (object, fate) in &fates {
                match fate {
                    Fate::Accepted => unit
                        .execute(&ACCEPT, &values![now, resend_at, ON_ITS_WAY, &target, object])?,
                    Fate::NotOver => unit.execute(&NOT_OVER, &values![FOREIGN, &target, object])?,
                    Fate::Rejected(words) => {
                        unit.execute(&REJECT, &values![words, &target, object])?
                    }
                    Fate::Returned(before) => unit.execute(
                        &GIVE_BACK,
                        &values![before.sending, before.doubt, &target, object],
                    )?,
                };
            }
            Ok(())
        })
        .await
    }

    /// Rejects versions of objects that were found to be bad when they were in no request any more.
    pub async fn reject_versions(
        &self,
        target: &str,
        versions: &[(Uuid, i64)],
        words: &str,
    ) -> Result<()> {
        let (target, versions, words) = (target.to_owned(), versions.to_vec(), words.to_owned());
        self.write(move |unit| {
            let each =
                versions.iter().map(|(object, version)| values![&words, &target, object, version]);
            unit.execute_each(&REJECT_VERSION, each).map(drop)
        })
        .await
    }

    /// Puts what a target (or every target) rejected back into the queue; returns how many objects. The
    /// rejected versions stay known: that they are refused again says nothing about the target.
    pub async fn retry_rejected(&self, target: Option<&str>, now: i64) -> Result<u64> {
        let target = target.map(str::to_owned);
        self.write(move |unit| {
            let which = values![target.as_deref(), TRIED_AGAIN];
            let targets: Vec<String> = unit.rows(&TO_RETRY, &which)?;
            let retried = unit.execute(&RETRY, &which)?;
            for target in targets {
                queue_everything(unit, &target, now)?;
            }
            unit.then(|shared| shared.changed.notify_waiters());
            Ok(retried as u64)
        })
        .await
    }

    /// Takes back the rejection of objects of a target that turned out to be misconfigured.
    pub async fn unreject(&self, target: &str, objects: &[Uuid], now: i64) -> Result<()> {
        let (target, objects) = (target.to_owned(), objects.to_vec());
        self.write(move |unit| {
            unit.execute_each(&UNREJECT, objects.iter().map(|object| values![&target, object]))?;
            queue_everything(unit, &target, now)
        })
        .await
    }
}

/// Change 0 in the backlog lane: whatever the target does not hold is sent. An open one is marked as
/// opened anew, so that who is about to close it looks again.
pub(super) fn queue_everything(tx: &Transaction<'_>, target: &str, now: i64) -> Result<()> {
    tx.execute(&QUEUE_EVERYTHING, &values![target, now]).map(drop)
}
