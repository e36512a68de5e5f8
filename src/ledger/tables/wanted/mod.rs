//! The table `wanted`: the objects that each view wants in Sentinel, and those that it has withdrawn. All generations
//! of an object have the same `key`. `observable` is the key of the claims that count for it. These files write it:
//! `refresh` and `context` (result of the claims), `verify/mend` (findings in Sentinel), `register` and `start`
//! (targets, views), `prune` and `forget` (clearing up).

pub(super) mod at_target;
pub(super) mod context;
pub(super) mod counts;
pub(super) mod indicators;
pub(super) mod views;
pub(super) mod withdrawn;

pub(in crate::ledger) use at_target::{IndicatorAtTarget, by_id, by_observable};
pub(in crate::ledger) use context::{
    ContextSaid, NewContext, Relationship, context_said, hand_over, relationships_from,
    relationships_of, said_later, store_context,
};
pub(in crate::ledger) use counts::{
    count_live_context, count_live_indicators, count_live_indicators_of, count_live_of_key,
    count_live_of_observable, count_live_of_source,
};
pub(in crate::ledger) use indicators::{
    IdOfObject, KnownIndicator, NewIndicator, WantedRow, contents, indicators_of_keys,
    indicators_of_observables, is_id_taken, observables_of_id, store_indicators, unclaimed,
};
pub(in crate::ledger) use views::{
    NewViewOfTarget, bring, close_view, end_used_up, forget_unseen_view, views,
};
pub(in crate::ledger) use withdrawn::{
    LevelOfObject, forget_withdrawn, note_withdrawn, raise_levels, withdrawn_after,
};

use uuid::Uuid;

use crate::ledger::sql::{Result, Transaction, statements, values};

/// Whether a row of `wanted` is withdrawn and its revocation was sent to any target of its view.
macro_rules! revoked {
    () => {
        "(version = 0 AND EXISTS (SELECT 1 FROM delivered d
             WHERE d.object = wanted.object AND d.revoked > 0
             AND d.target IN (SELECT target FROM targets t WHERE t.view = wanted.view)))"
    };
}
pub(super) use revoked;

/// The targets of view $1, the absent ones among them.
macro_rules! its_targets {
    () => {
        "(SELECT target FROM targets WHERE view = $1)"
    };
}
pub(super) use its_targets;

statements! {
    WITHDRAW(Integer, Text, Bytes, Boolean) =
        "UPDATE wanted SET version = 0, change = $1, revoke = $4 WHERE view = $2 AND object = $3";
    MOVE_TO_CHANGE(Integer, Text, Bytes) =
        "UPDATE wanted SET change = $1 WHERE view = $2 AND object = $3";
    // A target that the configuration no longer names counts too: it holds what it was sent, and may come
    // back.
    FORGET_UNSENT(Text, Bytes) = concat!(
        "DELETE FROM wanted WHERE view = $1 AND object = $2 AND NOT EXISTS
             (SELECT 1 FROM delivered d WHERE d.object = $2 AND d.target IN ",
        its_targets!(),
        ")"
    );
    FORGET_ALL() = "DELETE FROM wanted";
}

/// The version of a withdrawn object.
pub const WITHDRAWN: i64 = 0;

/// Withdraws an object as part of a change. `revoke`: by `revoked`, and not only by the end of its validity.
pub(in crate::ledger) fn withdraw(
    tx: &Transaction<'_>,
    view: &str,
    object: Uuid,
    revoke: bool,
    change: i64,
) -> Result<()> {
    tx.execute(&WITHDRAW, &values![change, view, object, revoke]).map(drop)
}

/// Makes objects part of another change.
pub(in crate::ledger) fn move_to_change(
    tx: &Transaction<'_>,
    view: &str,
    objects: &[Uuid],
    change: i64,
) -> Result<()> {
    let objects = objects.iter().map(|object| values![change, view, object]);
    tx.execute_each(&MOVE_TO_CHANGE, objects).map(drop)
}

/// Deletes an object if no target was ever sent it. Returns whether it did.
pub(in crate::ledger) fn forget_unsent(
    tx: &Transaction<'_>,
    view: &str,
    object: Uuid,
) -> Result<bool> {
    Ok(tx.execute(&FORGET_UNSENT, &values![view, object])? > 0)
}

pub(in crate::ledger) fn forget_all(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(&FORGET_ALL, &values![]).map(drop)
}
