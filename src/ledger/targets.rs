//! The targets, compared with those of the last run: where they lead, which view they see, and which
//! are gone.

use sqlx::SqliteConnection;

use super::change::{next, queue};
use super::delivered::queue_everything;
use super::start::{DISABLED, DRY_RUN, judged_name};
use super::{Lane, Ledger, StartError, TargetEntry, View, Views, Writing};
use crate::pure::stix::Withdraw;

#[derive(Debug, sqlx::FromRow)]
struct Known {
    #[sqlx(flatten)]
    entry: TargetEntry,
    view: String,
}

/// Takes in these targets; the others become absent, and views that no target sees are closed.
pub(super) async fn register(
    tx: &mut Writing,
    views: &Views,
    targets: &[TargetEntry],
    (rehome, now): (bool, i64),
) -> Result<(), StartError> {
    for target in targets {
        register_one(tx, views, target, (rehome, now)).await?;
    }
    let names: Vec<&str> = targets.iter().map(|target| target.target.as_str()).collect();
    note_absent(tx, &names).await?;
    Ok(close_views(tx, views).await?)
}

async fn register_one(
    tx: &mut Writing,
    views: &Views,
    target: &TargetEntry,
    (rehome, now): (bool, i64),
) -> Result<(), StartError> {
    let view = views.name_of(&target.target);
    let before: Option<Known> = sqlx::query_as(
        "SELECT target, mode, workspace, sourcesystem, identity, view FROM targets
         WHERE target = $1",
    )
    .bind(&target.target)
    .fetch_optional(&mut **tx)
    .await?;
    if before.as_ref().is_some_and(|known| known.entry == *target && known.view == view) {
        return Ok(());
    }
    if let Some(Known { entry: before, .. }) = &before {
        let moved = moved(before, target);
        let same_place = moved.is_none();
        if let (Some(moved), false) = (moved, rehome) {
            return Err(moved);
        }
        if !same_place || before.mode == DRY_RUN {
            // What was sent elsewhere, or only written to a file, was never sent here.
            sqlx::query("DELETE FROM delivered WHERE target = $1")
                .bind(&target.target)
                .execute(&mut **tx)
                .await?;
        }
    }
    store(tx, target, view).await?;
    if target.mode == DISABLED {
        forget_queue(tx, &target.target).await?;
    }
    if let Some(before) = before.filter(|known| known.view != view) {
        let to = views.iter().find(|one| one.name == view);
        change_view(tx, (target, &before.view, to), now).await?;
    }
    Ok(queue_everything(tx, &target.target, now).await?)
}

async fn store(tx: &mut SqliteConnection, target: &TargetEntry, view: &str) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO targets (target, view, mode, workspace, sourcesystem, identity)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (target) DO UPDATE SET view = excluded.view, mode = excluded.mode,
             workspace = excluded.workspace, sourcesystem = excluded.sourcesystem,
             identity = excluded.identity",
    )
    .bind(&target.target)
    .bind(view)
    .bind(&target.mode)
    .bind(&target.workspace)
    .bind(&target.sourcesystem)
    .bind(&target.identity)
    .execute(tx)
    .await?;
    Ok(())
}

/// All but change 0.
async fn forget_queue(tx: &mut SqliteConnection, target: &str) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM queue WHERE target = $1 AND change <> 0")
        .bind(target)
        .execute(tx)
        .await?;
    Ok(())
}

/// What the target was sent while it saw another view, and this one does not know, stands in this one
/// as withdrawn; what this one wants of it becomes wanted when it is judged.
async fn change_view(
    tx: &mut Writing,
    (target, from, to): (&TargetEntry, &str, Option<&View>),
    now: i64,
) -> sqlx::Result<()> {
    let Some(to) = to else { return Ok(()) };
    let withdraw = to.merger.withdraw();
    forget_queue(tx, &target.target).await?;
    let number = next(tx).await?;
    let brought = sqlx::query(
        "INSERT INTO wanted (view, object, kind, stix_id, body, valid_from, valid_until, version,
             change, generation, claimed, revoke, source, said_at, observable)
         SELECT $1, w.object, w.kind, w.stix_id, w.body, w.valid_from, w.valid_until, 0, $2,
             w.generation, w.claimed,
             CASE w.version WHEN 0 THEN w.revoke ELSE $3 OR w.kind = 'relationship' END,
             w.source, w.said_at, w.observable
         FROM delivered d JOIN wanted w ON w.view = $4 AND w.object = d.object
         WHERE d.target = $5 AND w.kind IN ('indicator', $6)
         ON CONFLICT (view, object) DO NOTHING",
    )
    .bind(&to.name)
    .bind(number)
    .bind(withdraw == Withdraw::Revoke)
    .bind(from)
    .bind(&target.target)
    .bind(if to.only_indicators { "indicator" } else { "relationship" })
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if brought > 0 && target.mode != DISABLED {
        queue(tx, &target.target, (number, Lane::Withdrawals), None, now).await?;
    }
    tracing::info!(target = target.target, from, to = to.name, "a target sees another view");
    end_used_up(tx, (&target.target, from, to), withdraw, now).await
}

/// Ids that are used up for this target cannot live in its new view: they end there, for all who see
/// it, and what still claims them goes on under the next generation.
async fn end_used_up(
    tx: &mut Writing,
    (target, from, to): (&str, &str, &View),
    withdraw: Withdraw,
    now: i64,
) -> sqlx::Result<()> {
    let any: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM delivered WHERE target = $1 AND revoked > 0)
             OR EXISTS (SELECT 1 FROM wanted WHERE view IN ($2, $3) AND claimed IS NOT NULL)",
    )
    .bind(target)
    .bind(from)
    .bind(&to.name)
    .fetch_one(&mut **tx)
    .await?;
    if !any {
        return Ok(());
    }
    let number = next(tx).await?;
    let ended = sqlx::query(
        "UPDATE wanted SET version = 0, change = $1, revoke = $2 OR kind = 'relationship'
         WHERE view = $3 AND version <> 0 AND (
             EXISTS (SELECT 1 FROM delivered d WHERE d.target = $4 AND d.object = wanted.object
                     AND d.revoked > 0)
             OR EXISTS (SELECT 1 FROM wanted n WHERE n.view = $3
                        AND n.claimed = COALESCE(wanted.claimed, wanted.object)
                        AND n.generation > wanted.generation))",
    )
    .bind(number)
    .bind(withdraw == Withdraw::Revoke)
    .bind(&to.name)
    .bind(target)
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if ended == 0 {
        return Ok(());
    }
    sqlx::query(
        "UPDATE wanted SET version = 0, change = $1, revoke = TRUE
         WHERE view = $2 AND version <> 0 AND source IN
             (SELECT object FROM wanted e WHERE e.view = $2 AND e.version = 0 AND e.change = $1)",
    )
    .bind(number)
    .bind(&to.name)
    .execute(&mut **tx)
    .await?;
    for target in &to.targets {
        queue(tx, target, (number, Lane::Withdrawals), None, now).await?;
    }
    forget_judged(tx, &to.name).await
}

async fn forget_judged(tx: &mut SqliteConnection, view: &str) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM settings WHERE name = $1").bind(judged_name(view)).execute(tx).await?;
    Ok(())
}

/// Targets that the configuration no longer names miss changes from now on: if one comes back, it is
/// compared with everything.
async fn note_absent(tx: &mut SqliteConnection, names: &[&str]) -> sqlx::Result<()> {
    let known: Vec<String> =
        sqlx::query_scalar("SELECT target FROM targets").fetch_all(&mut *tx).await?;
    for name in known.iter().filter(|name| !names.contains(&name.as_str())) {
        for statement in [
            "DELETE FROM queue WHERE target = $1",
            "DELETE FROM delivered WHERE target = (SELECT target FROM targets
             WHERE target = $1 AND mode = 'dry-run')",
            "DELETE FROM targets WHERE target = $1 AND mode = 'dry-run'",
            "UPDATE targets SET mode = 'absent' WHERE target = $1",
        ] {
            sqlx::query(statement).bind(name).execute(&mut *tx).await?;
        }
    }
    Ok(())
}

/// A view that only absent targets saw keeps what they were sent, as withdrawn: if one comes back, its
/// view is judged anew. What nobody was sent is forgotten.
async fn close_views(tx: &mut Writing, views: &Views) -> sqlx::Result<()> {
    let known: Vec<String> = sqlx::query_scalar(
        // Also those of which a start was cut short. Each is found in the index by the one before.
        "WITH RECURSIVE wanted_by (view) AS (
             SELECT MIN(view) FROM wanted
             UNION ALL SELECT (SELECT MIN(w.view) FROM wanted w WHERE w.view > wanted_by.view)
             FROM wanted_by WHERE wanted_by.view IS NOT NULL)
         SELECT view FROM targets UNION SELECT substr(name, 6) FROM settings
         WHERE name LIKE 'view %' UNION SELECT view FROM wanted_by WHERE view IS NOT NULL",
    )
    .fetch_all(&mut **tx)
    .await?;
    for view in known.iter().filter(|name| views.iter().all(|view| view.name != **name)) {
        forget_judged(tx, view).await?;
        for statement in [
            "DELETE FROM wanted WHERE view = $1 AND NOT EXISTS
                 (SELECT 1 FROM delivered d WHERE d.object = wanted.object
                  AND d.target IN (SELECT target FROM targets WHERE view = $1))",
            // Reversible, since nobody knows how the target will end things when it comes back.
            "UPDATE wanted SET version = 0, revoke = (kind = 'relationship')
             WHERE view = $1 AND version <> 0 AND kind IN ('indicator', 'relationship')",
        ] {
            sqlx::query(statement).bind(view).execute(&mut **tx).await?;
        }
    }
    Ok(())
}

/// What makes every indicator of the target another one, if anything does.
fn moved(before: &TargetEntry, now: &TargetEntry) -> Option<StartError> {
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
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(super) async fn known_views(&self) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar("SELECT DISTINCT view FROM targets").fetch_all(&self.readers).await
    }
}
