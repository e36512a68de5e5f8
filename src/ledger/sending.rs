//! Objects on their way to a target. `created`, `modified` and the end of a withdrawal are assigned when a
//! version is first sent and stored before sending, so that a repeat after a crash or a lost answer is
//! byte-identical.

use std::collections::HashMap;

use uuid::Uuid;

use super::sql::{Result, Transaction, row, statements, values};
use super::wanted::WITHDRAWN;
use super::{Ledger, Pending};
use crate::pure::stix::{self, EndedIndicator};

statements! {
    IN_DOUBT(Text, Bytes) =
        "SELECT object, sending, doubt FROM delivered
         WHERE (sending IS NOT NULL OR doubt IS NOT NULL) AND target = $1 AND object = $2";
    MARK(Text, Integer, Bytes, Integer, Integer, Integer) =
        "INSERT INTO delivered
             (target, object, created, modified, sending, valid_until, revoked, context,
              ended_at, confidence)
         SELECT CAST($1 AS TEXT), object, CAST($2 AS BIGINT), CAST($2 AS BIGINT), version,
             CASE version WHEN 0 THEN 0 ELSE valid_until END,
             CASE WHEN version = 0 AND revoke THEN 1 ELSE 0 END, kind <> 'indicator',
             CASE WHEN version = 0 AND kind = 'indicator' THEN CAST($5 AS BIGINT) END,
             CAST($6 AS BIGINT)
         FROM wanted WHERE object = $3 AND version = $4
             AND view = (SELECT view FROM targets WHERE target = $1)
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
         RETURNING created, modified, ended_at, confidence";
}

/// An object on its way to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    pub object: Uuid,
    pub stix_id: Uuid,
    /// 0: a withdrawal.
    pub version: i64,
    /// The STIX object as it goes over the wire.
    pub json: String,
    /// Of the withdrawal of an indicator: when its validity ended, Unix milliseconds.
    pub ended_at: Option<i64>,
    /// See [`Pending`].
    pub retried: bool,
    pub(super) before: Before,
}

/// The moment of a sending, Unix milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By our clock, for `created` and `modified`.
    pub now: i64,
    /// A time that is over at the target: the end of what is withdrawn.
    pub over: i64,
}

/// Our clock and a target's may differ by so much without anybody noticing, and an answer tells the
/// target's in whole seconds only.
const UNNOTICED: i64 = 2_000;

/// The unit of the times that an answer tells, milliseconds.
const TOLD: i64 = 1_000;

impl Moment {
    /// While it is not known what time it is at the target.
    #[must_use]
    pub fn by_our_clock(now: i64) -> Self {
        Self { now, over: now.saturating_sub(UNNOTICED) }
    }

    /// At a target whose clock shows at least `there`. Its answer is compared with the end, and tells
    /// the time in whole seconds: up to one second less than it is.
    #[must_use]
    pub fn at_target(now: i64, there: i64) -> Self {
        let here = Self::by_our_clock(now);
        Self { over: here.over.min(there.saturating_sub(TOLD)), ..here }
    }
}

impl Sending {
    /// Whether it ends the indicator.
    #[must_use]
    pub fn is_withdrawal(&self) -> bool {
        self.version == WITHDRAWN
    }
}

/// Versions whose outcome was unknown already before this attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Before {
    pub sending: Option<i64>,
    pub doubt: Option<i64>,
}

impl Ledger {
    /// Stores that these objects are being sent and renders them. Those that changed since they
    /// were picked are left out: their new version is in another change.
    pub async fn mark_sending(
        &self,
        target: &str,
        picked: &[Pending],
        moment: Moment,
    ) -> Result<Vec<Sending>> {
        let target = target.to_owned();
        let marking: Vec<Picked> = picked.iter().map(Picked::of).collect();
        let (before, marked) = self
            .write(move |unit| {
                let before = in_doubt(unit, &target, &marking)?;
                Ok((before, mark(unit, &target, &marking, moment)?))
            })
            .await?;
        let render = |pending: &Pending| {
            let before = before.get(&pending.object).copied().unwrap_or_default();
            Some(sending(pending, marked.get(&pending.object)?, before))
        };
        Ok(picked.iter().filter_map(render).collect())
    }
}

/// What is written of a picked object: its body stays with whoever renders it.
struct Picked {
    object: Uuid,
    version: i64,
    /// Of what lives.
    confidence: Option<u8>,
}

impl Picked {
    fn of(pending: &Pending) -> Self {
        let is_live = pending.version != WITHDRAWN && !pending.context;
        let confidence = if is_live { stix::confidence(&pending.body) } else { None };
        Self { object: pending.object, version: pending.version, confidence }
    }
}

row! {
    /// What is stored of a sending before it leaves.
    #[derive(Debug)]
    struct Marked {
        created: i64,
        modified: i64,
        ended_at: Option<i64>,
        confidence: Option<u8>,
    }
}

/// What is stored of each object that is still wanted as it was picked.
fn mark(
    tx: &Transaction<'_>,
    target: &str,
    picked: &[Picked],
    moment: Moment,
) -> Result<HashMap<Uuid, Marked>> {
    let mut marked = HashMap::with_capacity(picked.len());
    for Picked { object, version, confidence } in picked {
        let values = values![target, moment.now, object, version, moment.over, *confidence];
        let row: Option<Marked> = tx.row(&MARK, &values)?;
        marked.extend(row.map(|row| (*object, row)));
    }
    Ok(marked)
}

/// Those of the picked objects that a request of unknown outcome holds.
fn in_doubt(
    tx: &Transaction<'_>,
    target: &str,
    picked: &[Picked],
) -> Result<HashMap<Uuid, Before>> {
    let each = picked.iter().map(|one| values![target, one.object]);
    let rows: Vec<(Uuid, Option<i64>, Option<i64>)> = tx.rows_each(&IN_DOUBT, each)?;
    let before = |(object, sending, doubt)| (object, Before { sending, doubt });
    Ok(rows.into_iter().map(before).collect())
}

fn sending(pending: &Pending, marked: &Marked, before: Before) -> Sending {
    let Marked { created, modified, ended_at, confidence } = *marked;
    let ending = ended_at.filter(|_| pending.version == WITHDRAWN).map(|at| {
        let Pending { valid_from, revoke: revoked, ref body, .. } = *pending;
        EndedIndicator { body, valid_from, at, confidence, revoked }
    });
    let json = match ending {
        Some(ending) => ending.json(created, modified),
        None => rendered(pending, created, modified),
    };
    let Pending { object, stix_id, version, retried, .. } = *pending;
    let ended_at = ending.map(|one| one.at);
    Sending { object, stix_id, version, json, ended_at, retried, before }
}

/// An object that is wanted, or a context object that is revoked, as it goes over the wire.
pub(super) fn rendered(pending: &Pending, created: i64, modified: i64) -> String {
    match pending.context {
        true => stix::context(&pending.body, pending.version == WITHDRAWN, created, modified),
        false => stix::live(&pending.body, pending.valid_until, created, modified),
    }
}
