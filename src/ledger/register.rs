//! Compares the targets with those of the last run: which workspace and view each one has now, and which are gone.

use std::collections::BTreeSet;

use super::owner::Unit;
use super::sql::{Result, Transaction};
use super::start_error::StartError;
use super::tables::queue::NewChange;
use super::tables::targets::{RegisteredTarget, TargetEntry, TargetMode};
use super::tables::wanted::NewViewOfTarget;
use super::tables::{counters, delivered, queue, settings, targets, wanted};
use super::{Lane, Ledger, View, Views};
use crate::log_event::LogEvent;
use crate::pure::stix::Withdraw;

/// Returns the change of a setting that would give new ids to all indicators of one of these targets, if there is one.
pub(super) fn moved(tx: &Transaction<'_>, entries: &[TargetEntry]) -> Result<Option<StartError>> {
    for entry in entries {
        let known = targets::one(tx, &entry.target)?;
        if let Some(moved) = known.and_then(|known| difference(&known.entry, entry)) {
            return Ok(Some(moved));
        }
    }
    Ok(None)
}

/// Stores these targets, also those that [`moved`]. All others become absent, and views that no target sees are closed.
pub(super) fn register(
    unit: &Unit<'_>,
    views: &Views,
    entries: &[TargetEntry],
    now: i64,
) -> Result<()> {
    for entry in entries {
        register_one(unit, views, entry, now)?;
    }
    for RegisteredTarget { entry: known, .. } in targets::all(unit)? {
        if entries.iter().all(|entry| entry.target != known.target) {
            note_absent(unit, &known)?;
        }
    }
    close_views(unit, views)
}

fn register_one(unit: &Unit<'_>, views: &Views, entry: &TargetEntry, now: i64) -> Result<()> {
    let (name, view) = (&entry.target, views.name_of(&entry.target));
    let before = targets::one(unit, name)?;
    if before.as_ref().is_some_and(|known| known.entry == *entry && known.view == view) {
        return Ok(());
    }
    if let Some(RegisteredTarget { entry: before, .. }) = &before
        && (difference(before, entry).is_some() || before.mode == TargetMode::DryRun)
    {
        // What was sent elsewhere, or only written to a file, was never sent here.
        delivered::delete(unit, name, i64::MAX)?;
    }
    targets::store(unit, entry, view)?;
    // A disabled target is compared with everything once it is enabled, so its queue holds nothing that matters.
    if entry.mode == TargetMode::Disabled {
        queue::close_changes(unit, name)?;
    }
    if let Some(before) = before.filter(|known| known.view != view)
        && let Some(view) = views.iter().find(|one| one.name == view)
    {
        change_view(unit, entry, &before.view, view, now)?;
    }
    // Anything of it may be another now, so it is compared with all that its view wants.
    queue::open_everything(unit, name, now)
}

/// Moves a target to another view. Objects that it was sent and that the new view does not know are written there as
/// withdrawn; when the view is judged, it wants again those that it admits. An id that is used up at this target cannot
/// be live in the new view. So its object is withdrawn for all targets of the view, and its claims make the next
/// generation.
fn change_view(
    unit: &Unit<'_>,
    entry: &TargetEntry,
    before: &str,
    view: &View,
    now: i64,
) -> Result<()> {
    let name = &entry.target;
    let moved = NewViewOfTarget {
        target: name,
        before,
        view: &view.name,
        only_indicators: view.only_indicators,
        revokes: view.merger.withdraw() == Withdraw::Revoke,
    };
    let withdrawals =
        |number| NewChange { number, lane: Lane::Withdrawals, event: None, opened_at: now };
    queue::close_changes(unit, name)?;
    let number = counters::next_change(unit)?;
    if wanted::bring(unit, &moved, number)? > 0 && entry.mode != TargetMode::Disabled {
        queue::open(unit, std::slice::from_ref(name), withdrawals(number))?;
    }
    let (target, from, to) = (name.clone(), before.to_owned(), view.name.clone());
    unit.then(move |_| {
        tracing::info!(
            event = LogEvent::ViewChanged.word(),
            target,
            from,
            to,
            "A target sees another view than before"
        );
    });
    let number = counters::next_change(unit)?;
    if wanted::end_used_up(unit, &moved, number)? == 0 {
        return Ok(());
    }
    queue::open(unit, &view.targets, withdrawals(number))?;
    // Only judging all claims anew gives the ended objects their successors.
    settings::forget_judged(unit, &view.name)
}

/// Notes that the configuration no longer names a target. It misses changes from now on, so it is compared with
/// everything if it comes back.
fn note_absent(tx: &Transaction<'_>, known: &TargetEntry) -> Result<()> {
    let name = &known.target;
    queue::delete(tx, name)?;
    if known.mode != TargetMode::DryRun {
        return targets::set_mode(tx, name, TargetMode::Absent);
    }
    // What was only written to a file was never sent.
    delivered::delete(tx, name, i64::MAX)?;
    targets::delete(tx, name)
}

/// Closes the views that only absent targets saw. Such a view keeps the objects that a target was sent, as withdrawn,
/// and the others are deleted. If a target comes back, its view is judged again.
fn close_views(tx: &Transaction<'_>, views: &Views) -> Result<()> {
    let mut known: BTreeSet<String> = targets::views(tx)?;
    // A start that was cut short may have left views that no target has come to see.
    known.extend(settings::judged(tx)?.into_iter().map(|judged| judged.view));
    known.extend(wanted::views(tx)?);
    for view in known.iter().filter(|name| views.iter().all(|view| view.name != **name)) {
        settings::forget_judged(tx, view)?;
        wanted::close_view(tx, view)?;
    }
    Ok(())
}

/// Returns the change of a setting that gives new ids to all indicators of the target, if there is one.
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
    /// The views that targets see, also those that only absent targets saw.
    pub(super) async fn known_views(&self) -> Result<BTreeSet<String>> {
        self.read(targets::views).await
    }

    /// The names of the targets.
    pub async fn targets(&self) -> Result<Vec<String>> {
        let targets = self.read(targets::all).await?;
        Ok(targets.into_iter().map(|known| known.entry.target).collect())
    }
}
