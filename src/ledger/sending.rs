//! Marks objects as being sent, and renders them. `created`, `modified` and the end of a withdrawal are assigned when a
//! version is first sent and stored before sending, so that a repeat after a crash or a lost answer is byte-identical.

use std::collections::HashMap;

use uuid::Uuid;

use super::Ledger;
use super::sql::Result;
use super::tables::delivered::requests::{self, InDoubt, Leaving, Marked};
use super::tables::pending::Pending;
use super::tables::targets;
use super::tables::wanted::WITHDRAWN;
use crate::pure::stix::{self, EndedIndicator};

/// An object on its way to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    pub object: Uuid,
    pub stix_id: Uuid,
    /// 0: a withdrawal.
    pub version: i64,
    /// The STIX object as it goes over the wire.
    pub json: String,
    /// When the validity ended, Unix milliseconds. Only the withdrawal of an indicator has it.
    pub ended_at: Option<i64>,
    /// See [`Pending`].
    pub retried: bool,
    /// The versions that were in doubt before this attempt.
    pub(super) before: InDoubt,
}

/// The moment of a sending, Unix milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By our clock, for `created` and `modified`.
    pub now: i64,
    /// A time that is surely in the past at the target. It becomes the end of the indicators that are withdrawn.
    pub over: i64,
}

/// Our clock and a target's may differ by this many milliseconds without anybody noticing. An answer tells the target's
/// time only in whole seconds.
const UNNOTICED: i64 = 2_000;

/// The unit of the times that an answer tells, milliseconds.
const TOLD: i64 = 1_000;

impl Moment {
    /// Makes the moment by our clock alone, while the target's time is unknown.
    #[must_use]
    pub fn by_our_clock(now: i64) -> Self {
        Self { now, over: now.saturating_sub(UNNOTICED) }
    }

    /// Makes the moment for a target whose clock shows at least `there`. The end is compared with the time in the
    /// target's answer. That time is in whole seconds, so it may be up to a second too early.
    #[must_use]
    pub fn at_target(now: i64, there: i64) -> Self {
        let here = Self::by_our_clock(now);
        Self { over: here.over.min(there.saturating_sub(TOLD)), ..here }
    }
}

impl Sending {
    /// Whether it is a withdrawal.
    #[must_use]
    pub fn is_withdrawal(&self) -> bool {
        self.version == WITHDRAWN
    }
}

impl Ledger {
    /// Stores that these objects are being sent, and renders them. It leaves out the objects that changed since they
    /// were picked: their new version is in another change.
    pub async fn mark_sending(
        &self,
        target: &str,
        picked: &[Pending],
        moment: Moment,
    ) -> Result<Vec<Sending>> {
        let target = target.to_owned();
        let leaving: Vec<Leaving> = picked.iter().map(leaving).collect();
        let (in_doubt, marked) = self
            .write(move |unit| {
                targets::with_view(unit, &target, |at| {
                    // Before the marking, which writes over it.
                    let in_doubt = requests::in_doubt(unit, at.target, &leaving)?;
                    let Moment { now, over } = moment;
                    Ok((in_doubt, requests::mark_sending(unit, at, &leaving, now, over)?))
                })
            })
            .await?;
        let before: HashMap<Uuid, InDoubt> =
            in_doubt.into_iter().map(|one| (one.object, one)).collect();
        let marked: HashMap<Uuid, Marked> =
            marked.into_iter().map(|one| (one.object, one)).collect();
        let render = |pending: &Pending| {
            let object = pending.object;
            let before = before.get(&object).copied().unwrap_or(InDoubt::nothing(object));
            Some(sending(pending, marked.get(&object)?, before))
        };
        Ok(picked.iter().filter_map(render).collect())
    }
}

/// Returns the part of a picked object that is stored. The caller keeps the body and renders it.
fn leaving(pending: &Pending) -> Leaving {
    let is_live = pending.version != WITHDRAWN && !pending.context;
    let confidence = if is_live { stix::confidence(&pending.body) } else { None };
    Leaving { object: pending.object, version: pending.version, confidence }
}

fn sending(pending: &Pending, marked: &Marked, before: InDoubt) -> Sending {
    let Marked { created, modified, ended_at, confidence, .. } = *marked;
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

/// Renders an object that is wanted, or a context object that is revoked, as it is sent.
pub(super) fn rendered(pending: &Pending, created: i64, modified: i64) -> String {
    match pending.context {
        true => stix::context(&pending.body, pending.version == WITHDRAWN, created, modified),
        false => stix::live(&pending.body, pending.valid_until, created, modified),
    }
}
