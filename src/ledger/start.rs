//! What a start compares with the last run: the namespace, the targets, and whether policy,
//! rendering or mapping changed, in which case the whole ledger is judged anew before anything is
//! sent.

use thiserror::Error;
use uuid::Uuid;

use super::apply::STEP;
use super::change::Change;
use super::claims::{ClaimKey, behind};
use super::sql::{Columns, FromRow, Result, SqlError, Transaction, row, statements, values};
use super::wanted::refresh;
use super::{Lane, Ledger, Views, targets};
use crate::pure::stix::Observable;

statements! {
    // A disabled target may have been used; one that only writes to a file was not.
    SENT_ANYTHING(Text, Text) =
        "SELECT EXISTS (SELECT 1 FROM targets WHERE mode NOT IN ($1, $2))
             OR EXISTS (SELECT 1 FROM targets t JOIN delivered d ON d.target = t.target
                        WHERE t.mode = $2 AND t.target NOT LIKE '%/dry-run')";
    OBJECTS_AFTER(Bytes, Integer) =
        "SELECT DISTINCT object FROM claims WHERE object > $1 ORDER BY object LIMIT $2";
    NAMED(Text, Bytes, Bytes, Integer, Integer) =
        "SELECT source, event, attribute, part, path, value FROM claims
         WHERE (source, event, attribute, part) > ($1, $2, $3, $4)
         ORDER BY source, event, attribute, part LIMIT $5";
    /// The next snapshot writes the claim anew.
    RENAME(Bytes, Text, Bytes, Bytes, Integer) = "UPDATE claims SET object = $1, digest = 0
        WHERE source = $2 AND event = $3 AND attribute = $4 AND part = $5";
    FORGET_QUEUE() = "DELETE FROM queue";
    FORGET_WANTED() = "DELETE FROM wanted";
    FORGET_DELIVERED() = "DELETE FROM delivered";
    FORGET_VIEWS() = "DELETE FROM settings WHERE name LIKE 'view %'";
    JUDGED() = "SELECT name, value FROM settings WHERE name LIKE 'view %'";
    SETTING(Text) = "SELECT value FROM settings WHERE name = $1";
    STORE_SETTING(Text, Text) = "INSERT INTO settings (name, value) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
}

/// [`TargetEntry::mode`] of a target that writes to a file.
pub const DRY_RUN: &str = "dry-run";

/// [`TargetEntry::mode`] of a target that is configured and not enabled: no change is queued for it,
/// and once it is enabled it is compared with everything.
pub const DISABLED: &str = "disabled";

/// [`TargetEntry::mode`] of a target that is no longer configured.
pub const ABSENT: &str = "absent";

row! {
    /// A target as the ledger remembers it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct TargetEntry {
        pub target: String,
        pub mode: String,
        pub workspace: String,
        pub sourcesystem: String,
        /// What its ids are made of, see [`Identity::word`](crate::pure::stix::Identity::word).
        pub identity: String,
    }
}

/// The setting that remembers the namespace of all ids.
const NAMESPACE: &str = "namespace";

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
    Ledger(#[from] SqlError),
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
        let known: Option<(bool,)> =
            self.read(|tx| tx.row(&SENT_ANYTHING, &values![DRY_RUN, DISABLED])).await?;
        let (known,) = known.ok_or(SqlError::NoRow)?;
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
        let (views, targets) = (views.clone(), targets.to_vec());
        let registered = self.write(move |unit| {
            let namespace = views.namespace().to_string();
            let before = setting(unit, NAMESPACE)?.filter(|before| *before != namespace);
            // What is refused is no fault of the ledger, so it is looked for before anything is written.
            if !rehome && let Some(moved) = moved(unit, before.as_deref(), &namespace, &targets)? {
                return Ok(Err(moved));
            }
            if before.is_some() {
                rename_objects(unit, &views)?;
            }
            store_setting(unit, NAMESPACE, &namespace)?;
            targets::register(unit, &views, &targets, now)?;
            Ok(Ok(()))
        });
        registered.await?
    }

    /// Judges and merges all claims anew in the views whose making changed since the last run;
    /// `progress` hears the number of objects done. Returns whether it was needed.
    pub async fn reevaluate(
        &self,
        views: &Views,
        now: i64,
        mut progress: impl FnMut(usize),
    ) -> Result<bool> {
        let all = views.clone();
        let views = self.read(move |tx| unjudged(tx, &all)).await?;
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
            let views = views.clone();
            self.write(move |unit| {
                let mut change = Change::new(&views, None, now).in_lane(Lane::Backlog);
                refresh(unit, &objects, &mut change)?;
                unit.wake(&change);
                Ok(())
            })
            .await?;
            progress(done);
        }
        self.write(move |unit| {
            for (view, judged) in views.iter().zip(&judged) {
                // Other warninglists may have come into force meanwhile: who brought them sees to it.
                if views.judged_as(view) == *judged {
                    store_setting(unit, &judged_name(&view.name), judged)?;
                }
            }
            Ok(())
        })
        .await?;
        Ok(done > 0)
    }

    async fn objects_after(&self, after: Uuid) -> Result<Vec<Uuid>> {
        let step = i64::try_from(STEP).unwrap_or(i64::MAX);
        self.read(move |tx| tx.rows(&OBJECTS_AFTER, &values![after, step])).await
    }
}

/// What makes every indicator of a target another one, if anything does. `before` is another namespace
/// than that of now.
fn moved(
    tx: &Transaction<'_>,
    before: Option<&str>,
    namespace: &str,
    targets: &[TargetEntry],
) -> Result<Option<StartError>> {
    let Some(before) = before else { return targets::moved(tx, targets) };
    let (key, before) = ("indicator.namespace".into(), before.to_owned());
    Ok(Some(StartError::Moved { key, before, now: namespace.to_owned() }))
}

/// Gives all claims the keys of another namespace, and forgets what was wanted and sent under the old
/// one, and how the view was made: the ledger is judged anew after this.
fn rename_objects(tx: &Transaction<'_>, views: &Views) -> Result<()> {
    let (mut place, step) = (ClaimKey::least(), i64::try_from(STEP).unwrap_or(i64::MAX));
    loop {
        let claims: Vec<Named> = behind(tx, &NAMED, &place, step)?;
        let Some(last) = claims.last() else { break };
        place = last.key.clone();
        let named: Vec<(ClaimKey, Uuid)> = claims
            .into_iter()
            .map(|Named { key, path, value }| {
                (key, views.object_key(&Observable { path: path.into(), value }))
            })
            .collect();
        let rows = named
            .iter()
            .map(|(key, object)| values![*object, &key.source, key.event, key.attribute, key.part]);
        tx.execute_each(&RENAME, rows)?;
    }
    for statement in [&FORGET_QUEUE, &FORGET_WANTED, &FORGET_DELIVERED] {
        tx.execute(statement, &values![])?;
    }
    forget_views(tx)
}

/// All claims are judged anew at the next start.
pub(super) fn forget_views(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(&FORGET_VIEWS, &values![])?;
    Ok(())
}

/// Those of the views by which not all claims were judged as they are made now.
pub(super) fn unjudged(tx: &Transaction<'_>, views: &Views) -> Result<Views> {
    let judged: Vec<(String, String)> = tx.rows(&JUDGED, &values![])?;
    Ok(views.only(|view| {
        let now = (judged_name(&view.name), views.judged_as(view));
        !judged.contains(&now)
    }))
}

/// Under which name the ledger remembers how a view judged all claims.
pub(super) fn judged_name(view: &str) -> String {
    format!("view {view}")
}

#[derive(Debug)]
struct Named {
    key: ClaimKey,
    path: String,
    value: String,
}

impl FromRow for Named {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self> {
        let key = ClaimKey::from_row(columns)?;
        Ok(Self { key, path: columns.take()?, value: columns.take()? })
    }
}

pub(super) fn setting(tx: &Transaction<'_>, name: &str) -> Result<Option<String>> {
    tx.row(&SETTING, &values![name])
}

pub(super) fn store_setting(tx: &Transaction<'_>, name: &str, value: &str) -> Result<()> {
    tx.execute(&STORE_SETTING, &values![name, value])?;
    Ok(())
}
