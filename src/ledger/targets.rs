//! The targets, compared with those of the last run: where they lead, which view they see, and which
//! are gone.

use super::change::{next, queue};
use super::delivered::queue_everything;
use super::sql::{Columns, FromRow, Result, SqlError, Transaction, statements, values};
use super::start::{DISABLED, DRY_RUN, judged_name};
use super::{Lane, Ledger, StartError, TargetEntry, View, Views};
use crate::pure::stix::Withdraw;

statements! {
    KNOWN(Text) =
        "SELECT target, mode, workspace, sourcesystem, identity, view FROM targets WHERE target = $1";
    DELETE_DELIVERED(Text) = "DELETE FROM delivered WHERE target = $1";
    STORE(Text, Text, Text, Text, Text, Text) =
        "INSERT INTO targets (target, view, mode, workspace, sourcesystem, identity)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (target) DO UPDATE SET view = excluded.view, mode = excluded.mode,
             workspace = excluded.workspace, sourcesystem = excluded.sourcesystem,
             identity = excluded.identity";
    FORGET_QUEUE(Text) = "DELETE FROM queue WHERE target = $1 AND change <> 0";
    BRING(Text, Integer, Boolean, Text, Text, Text) =
        "INSERT INTO wanted (view, object, kind, stix_id, body, valid_from, valid_until, version,
             change, generation, claimed, revoke, source, said_at, observable)
         SELECT CAST($1 AS TEXT), w.object, w.kind, w.stix_id, w.body, w.valid_from, w.valid_until, 0,
             CAST($2 AS BIGINT), w.generation, w.claimed,
             CASE w.version WHEN 0 THEN w.revoke ELSE $3 OR w.kind = 'relationship' END,
             w.source, w.said_at, w.observable
         FROM delivered d JOIN wanted w ON w.view = $4 AND w.object = d.object
         WHERE d.target = $5 AND w.kind IN ('indicator', $6)
         ON CONFLICT (view, object) DO NOTHING";
    ANY_USED_UP(Text, Text, Text) =
        "SELECT EXISTS (SELECT 1 FROM delivered WHERE target = $1 AND revoked > 0)
             OR EXISTS (SELECT 1 FROM wanted WHERE view IN ($2, $3) AND claimed IS NOT NULL)";
    END_USED_UP(Integer, Boolean, Text, Text) =
        "UPDATE wanted SET version = 0, change = $1, revoke = $2 OR kind = 'relationship'
         WHERE view = $3 AND version <> 0 AND (
             EXISTS (SELECT 1 FROM delivered d WHERE d.target = $4 AND d.object = wanted.object
                     AND d.revoked > 0)
             OR EXISTS (SELECT 1 FROM wanted n WHERE n.view = $3
                        AND n.claimed = COALESCE(wanted.claimed, wanted.object)
                        AND n.generation > wanted.generation))";
    END_RELATIONSHIPS(Integer, Text) =
        "UPDATE wanted SET version = 0, change = $1, revoke = TRUE
         WHERE view = $2 AND version <> 0 AND source IN
             (SELECT object FROM wanted e WHERE e.view = $2 AND e.version = 0 AND e.change = $1)";
    FORGET_JUDGED(Text) = "DELETE FROM settings WHERE name = $1";
    NAMES() = "SELECT target FROM targets";
    ABSENT_QUEUE(Text) = "DELETE FROM queue WHERE target = $1";
    ABSENT_DRY_RUN_DELIVERED(Text) =
        "DELETE FROM delivered WHERE target = (SELECT target FROM targets
         WHERE target = $1 AND mode = 'dry-run')";
    ABSENT_DRY_RUN(Text) = "DELETE FROM targets WHERE target = $1 AND mode = 'dry-run'";
    ABSENT(Text) = "UPDATE targets SET mode = 'absent' WHERE target = $1";
    /// Also those views of which a start was cut short. Each is found in the index by the one before.
    KNOWN_VIEWS() =
        "WITH RECURSIVE wanted_by (view) AS (
             SELECT MIN(view) FROM wanted
             UNION ALL SELECT (SELECT MIN(w.view) FROM wanted w WHERE w.view > wanted_by.view)
             FROM wanted_by WHERE wanted_by.view IS NOT NULL)
         SELECT view FROM targets UNION SELECT substr(name, 6) FROM settings
         WHERE name LIKE 'view %' UNION SELECT view FROM wanted_by WHERE view IS NOT NULL";
    FORGET_UNSENT(Text) =
        "DELETE FROM wanted WHERE view = $1 AND NOT EXISTS
             (SELECT 1 FROM delivered d WHERE d.object = wanted.object
              AND d.target IN (SELECT target FROM targets WHERE view = $1))";
    /// Reversible, since nobody knows how the target will end things when it comes back.
    CLOSE_VIEW(Text) =
        "UPDATE wanted SET version = 0, revoke = (kind = 'relationship')
         WHERE view = $1 AND version <> 0 AND kind IN ('indicator', 'relationship')";
    SEEN_VIEWS() = "SELECT DISTINCT view FROM targets";
}

#[derive(Debug)]
struct Known {
    entry: TargetEntry,
    view: String,
}

impl FromRow for Known {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { entry: TargetEntry::from_row(columns)?, view: columns.take()? })
    }
}

/// What makes every indicator of one of these targets another one, if anything does.
pub(super) fn moved(tx: &Transaction<'_>, targets: &[TargetEntry]) -> Result<Option<StartError>> {
    for target in targets {
        let known = known(tx, target)?;
        if let Some(moved) = known.and_then(|known| difference(&known.entry, target)) {
            return Ok(Some(moved));
        }
    }
    Ok(None)
}

/// Takes in these targets, also those that [`moved`]; the others become absent, and views that no target
/// sees are closed.
pub(super) fn register(
    tx: &Transaction<'_>,
    views: &Views,
    targets: &[TargetEntry],
    now: i64,
) -> Result<()> {
    for target in targets {
        register_one(tx, views, target, now)?;
    }
    let names: Vec<&str> = targets.iter().map(|target| target.target.as_str()).collect();
    note_absent(tx, &names)?;
    close_views(tx, views)
}

fn known(tx: &Transaction<'_>, target: &TargetEntry) -> Result<Option<Known>> {
    tx.row(&KNOWN, &values![&target.target])
}

fn register_one(tx: &Transaction<'_>, views: &Views, target: &TargetEntry, now: i64) -> Result<()> {
    let view = views.name_of(&target.target);
    let before = known(tx, target)?;
    if before.as_ref().is_some_and(|known| known.entry == *target && known.view == view) {
        return Ok(());
    }
    if let Some(Known { entry: before, .. }) = &before
        && (difference(before, target).is_some() || before.mode == DRY_RUN)
    {
        // What was sent elsewhere, or only written to a file, was never sent here.
        tx.execute(&DELETE_DELIVERED, &values![&target.target])?;
    }
    store(tx, target, view)?;
    if target.mode == DISABLED {
        forget_queue(tx, &target.target)?;
    }
    if let Some(before) = before.filter(|known| known.view != view) {
        let to = views.iter().find(|one| one.name == view);
        change_view(tx, (target, &before.view, to), now)?;
    }
    queue_everything(tx, &target.target, now)
}

fn store(tx: &Transaction<'_>, target: &TargetEntry, view: &str) -> Result<()> {
    let TargetEntry { target, mode, workspace, sourcesystem, identity } = target;
    tx.execute(&STORE, &values![target, view, mode, workspace, sourcesystem, identity]).map(drop)
}

/// All but change 0.
fn forget_queue(tx: &Transaction<'_>, target: &str) -> Result<()> {
    tx.execute(&FORGET_QUEUE, &values![target]).map(drop)
}

/// What the target was sent while it saw another view, and this one does not know, stands in this one
/// as withdrawn; what this one wants of it becomes wanted when it is judged.
fn change_view(
    tx: &Transaction<'_>,
    (target, from, to): (&TargetEntry, &str, Option<&View>),
    now: i64,
) -> Result<()> {
    let Some(to) = to else { return Ok(()) };
    let (withdraw, name) = (to.merger.withdraw(), &target.target);
    forget_queue(tx, name)?;
    let number = next(tx)?;
    let revoke = withdraw == Withdraw::Revoke;
    let beside = if to.only_indicators { "indicator" } else { "relationship" };
    let brought = tx.execute(&BRING, &values![&to.name, number, revoke, from, name, beside])?;
    if brought > 0 && target.mode != DISABLED {
        queue(tx, name, (number, Lane::Withdrawals), None, now)?;
    }
    tracing::info!(target = name, from, to = to.name, "a target sees another view");
    end_used_up(tx, (name, from, to), withdraw, now)
}

/// Ids that are used up for this target cannot live in its new view: they end there, for all who see
/// it, and what still claims them goes on under the next generation.
fn end_used_up(
    tx: &Transaction<'_>,
    (target, from, to): (&str, &str, &View),
    withdraw: Withdraw,
    now: i64,
) -> Result<()> {
    let (any,): (bool,) =
        tx.row(&ANY_USED_UP, &values![target, from, &to.name])?.ok_or(SqlError::NoRow)?;
    if !any {
        return Ok(());
    }
    let number = next(tx)?;
    let revoke = withdraw == Withdraw::Revoke;
    if tx.execute(&END_USED_UP, &values![number, revoke, &to.name, target])? == 0 {
        return Ok(());
    }
    tx.execute(&END_RELATIONSHIPS, &values![number, &to.name])?;
    for target in &to.targets {
        queue(tx, target, (number, Lane::Withdrawals), None, now)?;
    }
    forget_judged(tx, &to.name)
}

fn forget_judged(tx: &Transaction<'_>, view: &str) -> Result<()> {
    tx.execute(&FORGET_JUDGED, &values![&judged_name(view)]).map(drop)
}

/// Targets that the configuration no longer names miss changes from now on: if one comes back, it is
/// compared with everything.
fn note_absent(tx: &Transaction<'_>, names: &[&str]) -> Result<()> {
    let known: Vec<String> = tx.rows(&NAMES, &values![])?;
    for name in known.iter().filter(|name| !names.contains(&name.as_str())) {
        for statement in [&ABSENT_QUEUE, &ABSENT_DRY_RUN_DELIVERED, &ABSENT_DRY_RUN, &ABSENT] {
            tx.execute(statement, &values![name])?;
        }
    }
    Ok(())
}

/// A view that only absent targets saw keeps what they were sent, as withdrawn: if one comes back, its
/// view is judged anew. What nobody was sent is forgotten.
fn close_views(tx: &Transaction<'_>, views: &Views) -> Result<()> {
    let known: Vec<String> = tx.rows(&KNOWN_VIEWS, &values![])?;
    for view in known.iter().filter(|name| views.iter().all(|view| view.name != **name)) {
        forget_judged(tx, view)?;
        for statement in [&FORGET_UNSENT, &CLOSE_VIEW] {
            tx.execute(statement, &values![view])?;
        }
    }
    Ok(())
}

/// What makes every indicator of the target another one, if anything does.
fn difference(before: &TargetEntry, now: &TargetEntry) -> Option<StartError> {
    let pairs = [
        ("workspace_id", &before.workspace, &now.workspace),
        ("sourcesystem", &before.sourcesystem, &now.sourcesystem),
        ("identity", &before.identity, &now.identity),
    ];
    let (name, before, after) = pairs.into_iter().find(|(_, before, now)| before != now)?;
    let key = format!("target.{}.{name}", now.target);
    Some(StartError::Moved { key, before: before.clone(), now: after.clone() })
}

impl Ledger {
    /// The views that targets see, also those that only absent ones saw.
    pub(super) async fn known_views(&self) -> Result<Vec<String>> {
        self.read(|tx| tx.rows(&SEEN_VIEWS, &values![])).await
    }
}
