//! What a start compares with the last run: the namespace, the targets, and whether policy,
//! rendering or mapping changed, in which case the whole ledger is judged anew before anything is
//! sent.

use sqlx::SqliteConnection;
use thiserror::Error;
use uuid::Uuid;

use super::apply::STEP;
use super::delivered::queue_everything;
use super::wanted::{Change, refresh};
use super::{Lane, Ledger, View};
use crate::stix::{Observable, Withdraw};

/// [`TargetEntry::mode`] of a target that writes to a file.
pub const DRY_RUN: &str = "dry-run";

/// [`TargetEntry::mode`] of a target that is configured and not enabled: no change is queued for it,
/// and once it is enabled it is compared with everything.
pub const DISABLED: &str = "disabled";

/// A target as the ledger remembers it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TargetEntry {
    pub target: String,
    pub mode: String,
    pub workspace: String,
    pub sourcesystem: String,
}

/// Why a start is refused.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(
        "{key} was {before} and is now {now}: Sentinel would hold every indicator twice\n  hint: set it back, or start once with --rehome to send everything anew under the new value (what was sent before stays until its valid_until)"
    )]
    Moved { key: String, before: String, now: String },
    #[error(
        "the ledger is empty, and indicator.withdraw = \"revoke\" needs to know what was revoked before: a revoked id cannot come back, and only the ledger knows the id that follows it\n  hint: bring the ledger back from a backup; if nothing was ever sent to these workspaces under this sourcesystem, or duplicates until valid_until are acceptable, start once with --accept-duplicates; or set indicator.withdraw = \"expire\""
    )]
    Forgotten,
    #[error("the ledger cannot be read or written: {0}")]
    Ledger(#[from] sqlx::Error),
}

impl Ledger {
    /// Whether the ledger can know which ids are used up.
    ///
    /// # Errors
    /// [`StartError::Forgotten`]: it may not, since it has never sent anything anywhere.
    pub async fn knows_generations(
        &self,
        view: &View,
        targets: &[TargetEntry],
    ) -> Result<(), StartError> {
        let is_live = targets.iter().any(|target| ![DRY_RUN, DISABLED].contains(&&*target.mode));
        if view.merger.withdraw() == Withdraw::Expire || !is_live {
            return Ok(());
        }
        // A disabled target may have been used; one that only writes to a file was not.
        let known: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM targets WHERE mode NOT IN ($1, $2))
                 OR EXISTS (SELECT 1 FROM targets t JOIN delivered d ON d.target = t.target
                            WHERE t.mode = $2 AND t.target NOT LIKE '%/dry-run')",
        )
        .bind(DRY_RUN)
        .bind(DISABLED)
        .fetch_one(&self.readers)
        .await?;
        if known { Ok(()) } else { Err(StartError::Forgotten) }
    }

    /// Compares identity and targets with the last run. `rehome` accepts a new identity.
    ///
    /// # Errors
    /// [`StartError::Moved`] when namespace, source system or workspace changed without `rehome`.
    pub async fn register(
        &self,
        view: &View,
        identity: &str,
        targets: &[TargetEntry],
        rehome: bool,
    ) -> Result<(), StartError> {
        let now = Self::now();
        let mut tx = self.begin().await?;
        let before = setting(&mut tx, "identity").await?;
        if let Some(before) = before.filter(|before| before != identity) {
            if !rehome {
                let (key, now) = ("indicator.identity and namespace".into(), identity.into());
                return Err(StartError::Moved { key, before, now });
            }
            rename_objects(&mut tx, view).await?;
        }
        store_setting(&mut tx, "identity", identity).await?;
        for target in targets {
            register_target(&mut tx, view, target, rehome, now).await?;
        }
        let names: Vec<&str> = targets.iter().map(|target| target.target.as_str()).collect();
        note_absent(&mut tx, &names).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Judges and merges all claims anew if the view's making changed since the last run; `progress`
    /// hears the number of objects done. Returns whether it was needed.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn reevaluate(
        &self,
        view: &View,
        now: i64,
        mut progress: impl FnMut(usize),
    ) -> sqlx::Result<bool> {
        let mut tx = self.begin().await?;
        if is_judged(&mut tx, view).await? {
            return Ok(false);
        }
        tx.commit().await?;
        let (mut after, mut done) = (Uuid::nil(), 0);
        loop {
            let objects = self.objects_after(after).await?;
            let Some(last) = objects.last() else { break };
            after = *last;
            done += objects.len();
            let mut tx = self.begin().await?;
            let mut change = Change::new(view, None, now);
            change.lane = Lane::Backlog;
            refresh(&mut tx, &objects, &mut change).await?;
            tx.commit().await?;
            progress(done);
        }
        let mut tx = self.begin().await?;
        let (name, judged) = (format!("view {}", view.name), view.fingerprint.to_string());
        store_setting(&mut tx, &name, &judged).await?;
        tx.commit().await?;
        Ok(done > 0)
    }

    async fn objects_after(&self, after: Uuid) -> sqlx::Result<Vec<Uuid>> {
        sqlx::query_scalar(
            "SELECT DISTINCT object FROM claims WHERE object > $1 ORDER BY object LIMIT $2",
        )
        .bind(after)
        .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
    }
}

async fn register_target(
    tx: &mut SqliteConnection,
    view: &View,
    target: &TargetEntry,
    rehome: bool,
    now: i64,
) -> Result<(), StartError> {
    let before: Option<TargetEntry> = sqlx::query_as(
        "SELECT target, mode, workspace, sourcesystem FROM targets WHERE target = $1",
    )
    .bind(&target.target)
    .fetch_optional(&mut *tx)
    .await?;
    if before.as_ref() == Some(target) {
        return Ok(());
    }
    if let Some(before) = before {
        let same_place =
            before.workspace == target.workspace && before.sourcesystem == target.sourcesystem;
        if !same_place && !rehome {
            return Err(moved(&before, target));
        }
        if !same_place || before.mode == DRY_RUN {
            // What was sent elsewhere, or only written to a file, was never sent here.
            sqlx::query("DELETE FROM delivered WHERE target = $1")
                .bind(&target.target)
                .execute(&mut *tx)
                .await?;
        }
    }
    sqlx::query(
        "INSERT INTO targets (target, view, mode, workspace, sourcesystem)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (target) DO UPDATE SET view = excluded.view, mode = excluded.mode,
             workspace = excluded.workspace, sourcesystem = excluded.sourcesystem",
    )
    .bind(&target.target)
    .bind(&view.name)
    .bind(&target.mode)
    .bind(&target.workspace)
    .bind(&target.sourcesystem)
    .execute(&mut *tx)
    .await?;
    if target.mode == DISABLED {
        sqlx::query("DELETE FROM queue WHERE target = $1 AND change <> 0")
            .bind(&target.target)
            .execute(&mut *tx)
            .await?;
    }
    Ok(queue_everything(tx, &target.target, now).await?)
}

/// Gives all claims the keys of another identity or namespace, and forgets what was wanted and sent
/// under the old ones, and how the view was made: the ledger is judged anew after this.
async fn rename_objects(tx: &mut SqliteConnection, view: &View) -> sqlx::Result<()> {
    let mut after = (String::new(), Uuid::nil(), Uuid::nil(), -1);
    loop {
        let claims: Vec<ClaimKey> = sqlx::query_as(
            "SELECT source, event, attribute, part, path, value FROM claims
             WHERE (source, event, attribute, part) > ($1, $2, $3, $4)
             ORDER BY source, event, attribute, part LIMIT $5",
        )
        .bind(&after.0)
        .bind(after.1)
        .bind(after.2)
        .bind(after.3)
        .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
        .fetch_all(&mut *tx)
        .await?;
        let Some(last) = claims.last() else { break };
        after = (last.source.clone(), last.event, last.attribute, last.part);
        for claim in claims {
            let observable = Observable { path: claim.path.into(), value: claim.value };
            sqlx::query(
                "UPDATE claims SET object = $1, digest = 0
                 WHERE source = $2 AND event = $3 AND attribute = $4 AND part = $5",
            )
            .bind(view.merger.object_key(&observable, claim.attribute))
            .bind(claim.source)
            .bind(claim.event)
            .bind(claim.attribute)
            .bind(claim.part)
            .execute(&mut *tx)
            .await?;
        }
    }
    for statement in ["DELETE FROM queue", "DELETE FROM wanted", "DELETE FROM delivered"] {
        sqlx::query(statement).execute(&mut *tx).await?;
    }
    forget_views(tx).await
}

/// All claims are judged anew at the next start.
pub(super) async fn forget_views(tx: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM settings WHERE name LIKE 'view %'").execute(tx).await?;
    Ok(())
}

/// Whether all claims were judged as this view does.
pub(super) async fn is_judged(tx: &mut SqliteConnection, view: &View) -> sqlx::Result<bool> {
    let judged = setting(tx, &format!("view {}", view.name)).await?;
    Ok(judged.is_some_and(|fingerprint| fingerprint == view.fingerprint.to_string()))
}

#[derive(Debug, sqlx::FromRow)]
struct ClaimKey {
    source: String,
    event: Uuid,
    attribute: Uuid,
    part: i16,
    path: String,
    value: String,
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

fn moved(before: &TargetEntry, now: &TargetEntry) -> StartError {
    let key = |name| format!("target.{}.{name}", now.target);
    if before.workspace == now.workspace {
        let (before, now_) = (before.sourcesystem.clone(), now.sourcesystem.clone());
        return StartError::Moved { key: key("sourcesystem"), before, now: now_ };
    }
    let (before, now_) = (before.workspace.clone(), now.workspace.clone());
    StartError::Moved { key: key("workspace_id"), before, now: now_ }
}

pub(super) async fn setting(tx: &mut SqliteConnection, name: &str) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
        .bind(name)
        .fetch_optional(tx)
        .await
}

pub(super) async fn store_setting(
    tx: &mut SqliteConnection,
    name: &str,
    value: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO settings (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(tx)
    .await?;
    Ok(())
}
