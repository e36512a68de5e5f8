//! Statements on `delivered` for requests: what they hold, and how they ended.

use uuid::Uuid;

use super::{FOREIGN, ON_ITS_WAY};
use crate::ledger::sql::{Result, Transaction, row, statements, values};
use crate::ledger::tables::targets::TargetView;

/// The change of which the object is part now. $4 is the view.
macro_rules! change {
    () => {
        "(SELECT w.change FROM wanted w WHERE w.view = $4 AND w.object = delivered.object)"
    };
}

/// If a revocation surely did not happen, the id is not used up.
macro_rules! not_revoked {
    () => {
        "revoked = CASE WHEN revoked = 1 THEN 0 ELSE revoked END"
    };
}

statements! {
    // The sender keeps this beside the request. If the request surely was not processed, `GIVE_BACK`
    // restores it.
    IN_DOUBT(Text, Bytes) =
        "SELECT object, sending, doubt FROM delivered
         WHERE (sending IS NOT NULL OR doubt IS NOT NULL) AND target = $1 AND object = $2";
    // `doubt`: once another version leaves, the one in a request without an answer is an older one, which may
    // still arrive.
    // `modified`: the repeat of a version keeps it, so that its bytes are the same and Sentinel sees no second
    // version. Any other version gets a later one, also after our clock went back: STIX orders versions by it.
    // `confidence`: a rule of Sentinel filters by it before it takes the newest row. So a withdrawal with less
    // than the highest that was sent would leave an older row in force. After a withdrawal that surely arrived,
    // the highest counts anew.
    // `valid_until`: the latest end that the target may hold, so that what counts as expired there has expired.
    // `revoked`: a repeat makes 2 of 1, since the first request may have used up the id.
    MARK_SENDING(Text, Text, Integer, Integer, Bytes, Integer, Integer) =
        "INSERT INTO delivered
             (target, object, created, modified, sending, valid_until, revoked, context,
              ended_at, confidence)
         SELECT CAST($1 AS TEXT), object, CAST($3 AS BIGINT), CAST($3 AS BIGINT), version,
             CASE version WHEN 0 THEN 0 ELSE valid_until END,
             CASE WHEN version = 0 AND revoke THEN 1 ELSE 0 END, kind <> 'indicator',
             CASE WHEN version = 0 AND kind = 'indicator' THEN CAST($4 AS BIGINT) END,
             CAST($7 AS BIGINT)
         FROM wanted WHERE view = $2 AND object = $5 AND version = $6
         ON CONFLICT (target, object) DO UPDATE SET
             doubt = CASE WHEN delivered.sending <> excluded.sending
                       OR delivered.doubt IS NULL
                     THEN delivered.sending ELSE delivered.doubt END,
             modified = CASE WHEN delivered.sending = excluded.sending
                               OR delivered.sending IS NULL
                               AND delivered.accepted = excluded.sending
                        THEN delivered.modified
                        WHEN excluded.modified > delivered.modified THEN excluded.modified
                        ELSE delivered.modified + 1 END,
             ended_at = CASE WHEN delivered.sending = excluded.sending
                               OR delivered.sending IS NULL
                               AND delivered.accepted = excluded.sending
                        THEN COALESCE(delivered.ended_at, excluded.ended_at)
                        ELSE excluded.ended_at END,
             confidence = CASE WHEN delivered.accepted = 0 AND delivered.sending IS NULL
                               AND delivered.doubt IS NULL AND excluded.sending <> 0
                          THEN excluded.confidence
                          WHEN delivered.confidence IS NULL
                               OR excluded.confidence > delivered.confidence
                          THEN COALESCE(excluded.confidence, delivered.confidence)
                          ELSE delivered.confidence END,
             valid_until = CASE WHEN delivered.valid_until > excluded.valid_until
                           THEN delivered.valid_until ELSE excluded.valid_until END,
             sending = excluded.sending,
             revoked = CASE WHEN excluded.revoked = 0 THEN delivered.revoked
                       WHEN delivered.revoked = 0 THEN 1 ELSE 2 END
         RETURNING object, created, modified, ended_at, confidence";
    // An older version that may still arrive, or a deletion that is on its way, may take effect after this
    // one. So the accepted version goes once more later.
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
    /// Sentinel holds the withdrawal, but its rules still match the indicator. So Sentinel holds neither the wanted
    /// version nor the former one. The withdrawal stays pending, and gets a later `modified` and another end. An id
    /// that was revoked is used up.
    NOT_OVER(Integer, Text, Bytes) =
        "UPDATE delivered SET sending = NULL, rejected = NULL, words = NULL, accepted = $1,
             valid_until = CASE WHEN ended_at > valid_until THEN ended_at ELSE valid_until END,
             revoked = CASE WHEN revoked = 1 THEN 2 ELSE revoked END, deletion = 0, deletions = 0
         WHERE sending = 0 AND target = $2 AND object = $3";
    // The rejection holds for this change alone: a later change to the same version is tried again.
    REJECT(Text, Text, Bytes, Text) = concat!(
        "UPDATE delivered SET words = $1, resend_at = NULL, rejected = sending, rejected_in = ",
        change!(),
        ", sending = NULL, ",
        not_revoked!(),
        " WHERE target = $2 AND object = $3 AND sending IS NOT NULL"
    );
    REJECT_VERSION(Text, Text, Bytes, Text, Integer) = concat!(
        "UPDATE delivered SET words = $1, resend_at = NULL, rejected = $5, rejected_in = ",
        change!(),
        " WHERE target = $2 AND object = $3"
    );
    GIVE_BACK(Integer, Integer, Text, Bytes) = concat!(
        "UPDATE delivered SET sending = $1, doubt = $2, ",
        not_revoked!(),
        " WHERE target = $3 AND object = $4"
    );
    RETRY(Text, Integer) =
        "UPDATE delivered SET rejected_in = $2, words = NULL
         WHERE target = $1 AND rejected IS NOT NULL AND rejected_in IS DISTINCT FROM $2";
    UNREJECT(Text, Bytes) =
        "UPDATE delivered SET rejected = NULL, words = NULL WHERE target = $1 AND object = $2";
}

/// The value of `rejected_in` for a version that is tried once more. No change has this number.
const TRIED_AGAIN: i64 = -1;

row! {
    /// The versions of an object whose outcome is unknown.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in crate::ledger) struct InDoubt {
        pub object: Uuid,
        sending: Option<i64>,
        doubt: Option<i64>,
    }
}

impl InDoubt {
    /// No version of the object is in doubt.
    pub(in crate::ledger) fn nothing(object: Uuid) -> Self {
        Self { object, sending: None, doubt: None }
    }
}

/// A version that is about to be sent.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct Leaving {
    pub object: Uuid,
    pub version: i64,
    /// Only a live indicator has it.
    pub confidence: Option<u8>,
}

row! {
    /// What is stored of an object before it is sent.
    #[derive(Debug)]
    pub(in crate::ledger) struct Marked {
        pub object: Uuid,
        pub created: i64,
        pub modified: i64,
        pub ended_at: Option<i64>,
        pub confidence: Option<u8>,
    }
}

/// An object that Sentinel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedObject {
    pub object: Uuid,
    /// Sentinel's.
    pub words: String,
}

/// A version that was in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentVersion {
    pub object: Uuid,
    pub version: i64,
}

/// Returns those of the objects that are in a request of unknown outcome.
pub(in crate::ledger) fn in_doubt(
    tx: &Transaction<'_>,
    target: &str,
    leaving: &[Leaving],
) -> Result<Vec<InDoubt>> {
    tx.rows_each(&IN_DOUBT, leaving.iter().map(|one| values![target, one.object]))
}

/// Stores that those of these versions are sent now that are still wanted. `over`: the end of the withdrawn ones.
pub(in crate::ledger) fn mark_sending(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    leaving: &[Leaving],
    now: i64,
    over: i64,
) -> Result<Vec<Marked>> {
    let each = leaving
        .iter()
        .map(|one| values![target, view, now, over, one.object, one.version, one.confidence]);
    tx.rows_each(&MARK_SENDING, each)
}

/// Stores that the target took these objects. If an older version of an object may still arrive, the object is sent
/// once more at `resend_at`.
pub(in crate::ledger) fn accept(
    tx: &Transaction<'_>,
    target: &str,
    objects: &[Uuid],
    now: i64,
    resend_at: i64,
) -> Result<()> {
    let each = objects.iter().map(|object| values![now, resend_at, ON_ITS_WAY, target, object]);
    tx.execute_each(&ACCEPT, each).map(drop)
}

/// Stores that the target took these withdrawals, but that their end is still in the future there.
pub(in crate::ledger) fn not_over(
    tx: &Transaction<'_>,
    target: &str,
    objects: &[Uuid],
) -> Result<()> {
    tx.execute_each(&NOT_OVER, objects.iter().map(|object| values![FOREIGN, target, object]))
        .map(drop)
}

pub(in crate::ledger) fn reject(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    rejections: &[RejectedObject],
) -> Result<()> {
    let each = rejections.iter().map(|one| values![&one.words, target, one.object, view]);
    tx.execute_each(&REJECT, each).map(drop)
}

/// Rejects versions whose requests are already settled.
pub(in crate::ledger) fn reject_versions(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    versions: &[SentVersion],
    words: &str,
) -> Result<()> {
    let each = versions.iter().map(|one| values![words, target, one.object, view, one.version]);
    tx.execute_each(&REJECT_VERSION, each).map(drop)
}

/// Restores the objects as they were before an attempt that surely was not processed.
pub(in crate::ledger) fn give_back(
    tx: &Transaction<'_>,
    target: &str,
    objects: &[InDoubt],
) -> Result<()> {
    let each = objects.iter().map(|one| values![one.sending, one.doubt, target, one.object]);
    tx.execute_each(&GIVE_BACK, each).map(drop)
}

/// Makes pending again what the target rejected. It keeps the rejected versions: if they are refused again, this says
/// nothing about the target. Returns how many there are.
pub(in crate::ledger) fn retry(tx: &Transaction<'_>, target: &str) -> Result<usize> {
    tx.execute(&RETRY, &values![target, TRIED_AGAIN])
}

/// Takes back the rejection of these objects.
pub(in crate::ledger) fn unreject(
    tx: &Transaction<'_>,
    target: &str,
    objects: &[Uuid],
) -> Result<()> {
    tx.execute_each(&UNREJECT, objects.iter().map(|object| values![target, object])).map(drop)
}
