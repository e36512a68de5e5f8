//! Compares the settings at a start with those of the last run: namespace, targets, policy, rendering and mapping. If
//! one of the last three changed, all claims are judged again. Until an object is judged, only withdrawals of it are
//! sent.

use uuid::Uuid;

use super::change::Change;
use super::owner::Unit;
use super::refresh::refresh;
use super::sql::{Result, Transaction};
use super::start_error::StartError;
use super::tables::claims::{self, STEP_ROWS};
use super::tables::keys::ClaimCursor;
use super::tables::settings::{self, JudgedAs};
use super::tables::targets::{self, TargetEntry, TargetMode};
use super::tables::{delivered, queue, wanted};
use super::{Lane, Ledger, Views, register};

/// The setting that remembers the namespace of all ids.
pub(super) const NAMESPACE: &str = "namespace";

impl Ledger {
    /// Whether the ledger can know which ids are used up.
    ///
    /// # Errors
    /// [`StartError::Forgotten`]: it may not know them, since it has no record of anything that was sent.
    pub async fn knows_generations(
        &self,
        views: &Views,
        targets: &[TargetEntry],
    ) -> Result<(), StartError> {
        let uses_up = |target: &TargetEntry| {
            let is_sent_to = !matches!(target.mode, TargetMode::DryRun | TargetMode::Disabled);
            is_sent_to && views.revokes(&target.target)
        };
        if !targets.iter().any(uses_up) {
            return Ok(());
        }
        let known = self.read(has_sent_anything).await?;
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
            let before = settings::value(unit, NAMESPACE)?.filter(|before| *before != namespace);
            // What is refused is no fault of the ledger, so it is looked for before anything is written.
            if !rehome && let Some(moved) = moved(unit, before.as_deref(), &namespace, &targets)? {
                return Ok(Err(moved));
            }
            if before.is_some() {
                rename_objects(unit, &views)?;
            }
            settings::store(unit, NAMESPACE, &namespace)?;
            register::register(unit, &views, &targets, now)?;
            Ok(Ok(()))
        });
        registered.await?
    }

    /// Judges and merges all claims again in the views whose policy, rendering, mapping or warninglists changed since
    /// the last run. It calls `progress` with the number of observables that are done. Returns whether it judged
    /// anything.
    pub async fn reevaluate(
        &self,
        views: &Views,
        now: i64,
        mut progress: impl FnMut(usize),
    ) -> Result<bool> {
        let _walk = self.shared.judging.walk.lock().await;
        let all = views.clone();
        let views = self.read(move |tx| unjudged(tx, &all)).await?;
        if views.is_empty() {
            return Ok(false);
        }
        let step = async |objects: Vec<Uuid>, last, done| {
            let views = views.clone();
            let judge = move |unit: &Unit<'_>| {
                let mut change = Change::new(&views, None, now).in_lane(Lane::Backlog);
                refresh(unit, &objects, &mut change)?;
                let views = views.clone();
                unit.then(move |shared| {
                    shared.judging.advance(&views, last, done);
                    shared.changed.notify_waiters();
                });
                Ok(())
            };
            self.write_step(judge).await
        };
        let judged: Vec<String> = views.iter().map(|view| views.judged_as(view)).collect();
        let (mut after, mut done) = (Uuid::nil(), 0);
        loop {
            let objects = self.read(move |tx| claims::objects_after(tx, after, STEP_ROWS)).await?;
            let Some(last) = objects.last() else { break };
            after = *last;
            done += objects.len();
            step(objects, after, done).await?;
            progress(done);
        }
        self.write(move |unit| {
            for (view, judged) in views.iter().zip(&judged) {
                // Other warninglists may have come into force meanwhile: who brought them sees to it.
                if views.judged_as(view) == *judged {
                    settings::store_judged(unit, &view.name, judged)?;
                }
            }
            let views = views.clone();
            unit.then(move |shared| {
                shared.judging.end(&views);
                shared.changed.notify_waiters();
            });
            Ok(())
        })
        .await?;
        Ok(done > 0)
    }
}

/// Whether anything may have been sent to any target. A disabled target may have been used before. A target that only
/// writes to a file was not.
fn has_sent_anything(tx: &Transaction<'_>) -> Result<bool> {
    for known in targets::all(tx)? {
        let TargetEntry { target, mode, .. } = &known.entry;
        let may_have_been_sent_to = match mode {
            TargetMode::Live | TargetMode::Absent => true,
            TargetMode::DryRun => false,
            TargetMode::Disabled => !target.ends_with("/dry-run") && delivered::is_any(tx, target)?,
        };
        if may_have_been_sent_to {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the change of a setting that would give new ids to all indicators of a target, if there is one. `before` is
/// the former namespace, if it is another one.
fn moved(
    tx: &Transaction<'_>,
    before: Option<&str>,
    namespace: &str,
    targets: &[TargetEntry],
) -> Result<Option<StartError>> {
    let Some(before) = before else { return register::moved(tx, targets) };
    let (key, before) = ("indicator.namespace".into(), before.to_owned());
    Ok(Some(StartError::Moved { key, before, now: namespace.to_owned() }))
}

/// Gives all claims the keys of another namespace. Deletes what was wanted and sent under the old one, and how the
/// views were judged, so that the whole ledger is judged again.
fn rename_objects(tx: &Transaction<'_>, views: &Views) -> Result<()> {
    let mut cursor = ClaimCursor::BEGINNING;
    loop {
        let claims = claims::walk(tx, cursor, STEP_ROWS)?;
        let Some(last) = claims.last() else { break };
        cursor = last.cursor;
        for claim in &claims {
            claims::rename(tx, claim.key(), views.object_key(&claim.observable))?;
        }
    }
    // Every id is another one from now on, so nothing that was sent stands for what is wanted.
    queue::delete_all(tx)?;
    wanted::forget_all(tx)?;
    delivered::delete_all(tx)?;
    settings::forget_all_judged(tx)
}

/// Returns the views that have not judged all claims by their present policy, rendering, mapping and warninglists.
pub(super) fn unjudged(tx: &Transaction<'_>, views: &Views) -> Result<Views> {
    let judged = settings::judged(tx)?;
    Ok(views.only(|view| {
        let now = JudgedAs { view: view.name.clone(), fingerprint: views.judged_as(view) };
        !judged.contains(&now)
    }))
}
