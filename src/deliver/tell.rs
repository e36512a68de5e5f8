//! Writes the log lines and records the metrics of requests that have ended.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use uuid::Uuid;

use super::lanes::NO_SUMMARY;
use super::state::Record;
use super::target_delivery::{FinishedRequest, TargetDelivery};
use crate::azure::token::SignInError;
use crate::ledger::{OpenChange, WITHDRAWN};
use crate::metrics;

/// The file that a dry run writes to. `None` where Sentinel is sent the objects.
fn file(target: &TargetDelivery) -> Option<String> {
    target.destination.file().map(|path| path.display().to_string())
}

pub(super) fn accepted(target: &TargetDelivery, request: &FinishedRequest, taken: &[Uuid]) {
    let name = target.name.as_str();
    for one in &request.picked {
        if taken.contains(&one.pending.object) {
            metrics::accepted(name, one.lane.word(), 1);
        }
    }
    let withdrawn = request
        .sending
        .iter()
        .filter(|one| one.is_withdrawal() && taken.contains(&one.object))
        .count();
    metrics::withdrawn(name, withdrawn as u64);
    let file = file(target);
    let what = match &file {
        None => "batch accepted",
        Some(_) => "batch written to dry_run_file, not sent",
    };
    tracing::debug!(
        target_name = name,
        objects = taken.len(),
        withdrawn,
        took_ms = u64::try_from(request.took.as_millis()).unwrap_or(u64::MAX),
        file,
        "{what}"
    );
}

pub(super) fn early_withdrawals(target: &str, withdrawals: usize) {
    if withdrawals > 0 {
        tracing::warn!(
            target_name = target,
            withdrawals,
            "this machine's clock is ahead of Sentinel's: these withdrawals would end only later, so they are sent again by Sentinel's clock; synchronise the clocks"
        );
    }
}

pub(super) fn stray_complaints(target: &str, complaints: &[String]) {
    for words in complaints {
        tracing::warn!(
            target_name = target,
            words,
            "Sentinel rejected a record that was not in the request"
        );
    }
}

pub(super) fn degraded(target: &str, pause: Duration, why: &str) {
    tracing::warn!(
        target_name = target,
        pause_s = pause.as_secs_f64(),
        %why,
        "target degraded: its objects stay pending"
    );
}

pub(super) fn throttled(target: &str, wait: Duration) {
    tracing::warn!(
        target_name = target,
        wait_s = wait.as_secs_f64(),
        "Sentinel answers 429: waiting as told, nothing is lost"
    );
}

pub(super) fn failed(target: &str, failures: u32, pause: Duration, why: &str) {
    tracing::warn!(
        target_name = target,
        failures,
        pause_s = pause.as_secs_f64(),
        %why,
        "upload failed: it is sent again"
    );
}

pub(super) fn signing_in_anew(target: &str, why: &str) {
    tracing::info!(target_name = target, %why, "Sentinel answers 401: signing in anew");
}

pub(super) fn sign_in_failed(error: &SignInError, pause: Duration) {
    tracing::warn!(
        %error,
        pause_s = pause.as_secs_f64(),
        "sign-in failed: nothing can be sent, everything stays pending"
    );
}

pub(super) fn refused(target: &str, objects: usize, why: &str) {
    tracing::warn!(
        target_name = target,
        objects,
        %why,
        "Sentinel refuses a request: looking for the record that it means"
    );
}

pub(super) fn refusals<'w>(
    target: &str,
    refusals: impl ExactSizeIterator<Item = (Record, &'w str)>,
) {
    metrics::rejected(target, refusals.len() as u64);
    for (Record { object, version, .. }, words) in refusals {
        if version == WITHDRAWN {
            tracing::error!(target_name = target, %object, words, "Sentinel rejects a withdrawal: the indicator stays active there until its valid_until");
        } else {
            tracing::warn!(target_name = target, %object, words, "Sentinel rejects an object: kept with its words, see retry-rejected");
        }
    }
}

/// The part of a change's summary that its log line shows.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ChangeSummary {
    info: String,
    attributes: u64,
    new: u64,
    changed: u64,
    gone: u64,
    skipped: serde_json::Value,
}

pub(super) fn closed(target: &TargetDelivery, closed: &OpenChange) {
    let (target, file) = (target.name.as_str(), file(target));
    let what = match &file {
        None => "accepted",
        Some(_) => "written to dry_run_file, not sent",
    };
    let opened = u64::try_from(closed.opened_at).unwrap_or_default();
    let opened = SystemTime::UNIX_EPOCH + Duration::from_millis(opened);
    let took = SystemTime::now().duration_since(opened).unwrap_or_default();
    metrics::time_to_accepted(target, closed.lane.word(), took);
    let Some(event) = closed.event else { return };
    if closed.summary == NO_SUMMARY {
        // A withdrawal that MISP announced by itself.
        let (lane, accepted_after_s) = (closed.lane.word(), took.as_secs_f64());
        tracing::info!(target_name = target, lane, %event, accepted_after_s, file, "change {what}");
        return;
    }
    let summary: ChangeSummary = serde_json::from_str(&closed.summary).unwrap_or_default();
    tracing::info!(
        target_name = target,
        lane = closed.lane.word(),
        %event,
        info = summary.info,
        attributes = summary.attributes,
        new = summary.new,
        changed = summary.changed,
        gone = summary.gone,
        skipped = %summary.skipped,
        accepted_after_s = took.as_secs_f64(),
        file,
        "event {what}"
    );
}
