//! What a start compares with the last run: the namespace, the targets, and whether policy,
//! rendering or mapping changed, in which case the whole ledger is judged anew before anything is
//! sent.

use sqlx::SqliteConnection;
use thiserror::Error;
use uuid::Uuid;

use super::apply::STEP;
use super::change::Change;
use super::claims::{ClaimKey, behind};
use super::rekey::rename;
use super::wanted::refresh;
use super::{Lane, Ledger, Views, targets};
use crate::pure::stix::Observable;

/// [`TargetEntry::mode`] of a target that writes to a file.
pub const DRY_RUN: &str = "dry-run";

/// [`TargetEntry::mode`] of a target that is configured and not enabled: no change is queued for it,
/// and once it is enabled it is compared with everything.
pub const DISABLED: &str = "disabled";

/// [`TargetEntry::mode`] of a target that is no longer configured.
pub const ABSENT: &str = "absent";

/// A target as the ledger remembers it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TargetEntry {
    pub target: String,
    pub mode: String,
    pub workspace: String,
    pub sourcesystem: String,
    /// What its ids are made of, see [`Identity::word`](crate::pure::stix::Identity::word).
    pub identity: String,
}

/// The setting that remembers the namespace of all ids.
pub(super) const NAMESPACE: &str = "namespace";

/// Why a start is refused.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(
        "{key} was {before} and is now {now}: Sentinel would hold every indicator twice\n  hint: set it back, or start once with --rehome to send everything anew under the new value (what was sent before stays until its valid_until)"
    )]
    Moved { key: String, before: String, now: String },
    #[error(
        "the ledger is empty, and withdraw = \"revoke\" (of [indicator] or a target) needs to know what was revoked before: a revoked id cannot come back, and only the ledger knows the id that follows it\n  hint: bring the ledger back from a backup; or name each target's workspace on the management plane (subscription_id, resource_group, workspace_name), from where they are read back under identity = \"observable\"; if nothing was ever sent to these workspaces under this sourcesystem, or duplicates until valid_until are acceptable, start once with --accept-duplicates; or set withdraw = \"expire\""
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
        views: &Views,
        targets: &[TargetEntry],
    ) -> Result<(), StartError> {
        let uses_up = |target: &TargetEntry| {
            ![DRY_RUN, DISABLED].contains(&&*target.mode) && views.revokes(&target.target)
        };
        if !targets.iter().any(uses_up) {
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

    /// Compares namespace and targets with the last run. `rehome` accepts new ids.
    ///
    /// # Errors
    /// [`StartError::Moved`] when the namespace, or a target's identity, source system or workspace
    /// changed without `rehome`.
    pub async fn register(
        &self,
        views: &Views,
        targets: &[TargetEntry],
        rehome: bool,
    ) -> Result<(), StartError> {
        let now = Self::now();
        let mut tx = self.begin().await?;
        let namespace = views.namespace().to_string();
        let before = setting(&mut tx, NAMESPACE).await?;
        if let Some(before) = before.filter(|before| *before != namespace) {
            if !rehome {
                let (key, now) = ("indicator.namespace".into(), namespace);
                return Err(StartError::Moved { key, before, now });
            }
            rename_objects(&mut tx, views).await?;
        }
        store_setting(&mut tx, NAMESPACE, &namespace).await?;
        targets::register(&mut tx, views, targets, (rehome, now)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Judges and merges all claims anew in the views whose making changed since the last run;
    /// `progress` hears the number of objects done. Returns whether it was needed.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn reevaluate(
        &self,
        views: &Views,
        now: i64,
        mut progress: impl FnMut(usize),
    ) -> sqlx::Result<bool> {
        let mut tx = self.begin().await?;
        let views = unjudged(&mut tx, views).await?;
        tx.commit().await?;
        if views.is_empty() {
            return Ok(false);
        }
        let judged: Vec<String> = views.iter().map(|view| views.judged_as(view)).collect();
        let (mut after, mut done) = (Uuid::nil(), 0);
        loop {
            let objects = self.objects_after(after).await?;
            let Some(last) = objects.last() else { break };
            after = *last;
            done += objects.len();
            let mut tx = self.begin().await?;
            let mut change = Change::new(&views, None, now).in_lane(Lane::Backlog);
            refresh(&mut tx, &objects, &mut change).await?;
            self.commit(tx, &change).await?;
            progress(done);
        }
        let mut tx = self.begin().await?;
        for (view, judged) in views.iter().zip(&judged) {
            // Other warninglists may have come into force meanwhile: who brought them sees to it.
            if views.judged_as(view) == *judged {
                store_setting(&mut tx, &judged_name(&view.name), judged).await?;
            }
        }
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

/// Gives all claims the keys of another namespace, and forgets what was wanted and sent under the old
/// one, and how the view was made: the ledger is judged anew after this.
async fn rename_objects(tx: &mut SqliteConnection, views: &Views) -> sqlx::Result<()> {
    let (mut place, step) = (ClaimKey::least(), i64::try_from(STEP).unwrap_or(i64::MAX));
    loop {
        let claims: Vec<Named> = behind(&mut *tx, &place, "path, value", step).await?;
        let Some(last) = claims.last() else { break };
        place = last.key.clone();
        for Named { key, path, value } in claims {
            let observable = Observable { path: path.into(), value };
            rename(tx, &key, views.object_key(&observable)).await?;
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

/// Those of the views by which not all claims were judged as they are made now.
pub(super) async fn unjudged(tx: &mut SqliteConnection, views: &Views) -> sqlx::Result<Views> {
    let judged: Vec<(String, String)> =
        sqlx::query_as("SELECT name, value FROM settings WHERE name LIKE 'view %'")
            .fetch_all(tx)
            .await?;
    Ok(views.only(|view| {
        let now = (judged_name(&view.name), views.judged_as(view));
        !judged.contains(&now)
    }))
}

/// Under which name the ledger remembers how a view judged all claims.
pub(super) fn judged_name(view: &str) -> String {
    format!("view {view}")
}

#[derive(Debug, sqlx::FromRow)]
struct Named {
    #[sqlx(flatten)]
    key: ClaimKey,
    path: String,
    value: String,
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
