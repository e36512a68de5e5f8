//! Writes the log lines and records the metrics of requests that have ended.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use uuid::Uuid;

use super::lanes::NO_SUMMARY;
use super::state::Record;
use super::target_delivery::{FinishedRequest, TargetDelivery};
use crate::azure::token::SignInError;
use crate::ledger::{OpenChange, Sending, WITHDRAWN};
use crate::metrics;

/// Returns the file to which a dry run writes. `None`: the objects are sent to Sentinel.
fn file(target: &TargetDelivery) -> Option<String> {
    target.destination.file().map(|path| path.display().to_string())
}

pub(super) fn accepted(target: &TargetDelivery, request: &FinishedRequest, taken: &[Uuid]) {
    let target_name = target.name.as_str();
    for one in request.picked.iter().filter(|one| taken.contains(&one.pending.object)) {
        metrics::accepted(target_name, one.lane.word(), 1);
    }
    let taken_withdrawal = |one: &&Sending| one.is_withdrawal() && taken.contains(&one.object);
    let withdrawn = request.sending.iter().filter(taken_withdrawal).count();
    metrics::withdrawn(target_name, withdrawn as u64);
    let file = file(target);
    let what = match &file {
        None => "batch accepted",
        Some(_) => "batch written to dry_run_file, not sent",
    };
    let took_ms = u64::try_from(request.took.as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(target_name, objects = taken.len(), withdrawn, took_ms, file, "{what}");
}

pub(super) fn early_withdrawals(target_name: &str, withdrawals: usize) {
    if withdrawals > 0 {
        tracing::warn!(
            target_name,
            withdrawals,
            "this machine's clock is ahead of Sentinel's: these withdrawals would end only later, so they are sent again by Sentinel's clock; synchronise the clocks"
        );
    }
}

pub(super) fn stray_complaints(target_name: &str, complaints: &[String]) {
    for words in complaints {
        tracing::warn!(
            target_name,
            words,
            "Sentinel rejected a record that was not in the request"
        );
    }
}

pub(super) fn degraded(target_name: &str, pause: Duration, why: &str) {
    let pause_s = pause.as_secs_f64();
    tracing::warn!(target_name, pause_s, %why, "target degraded: its objects stay pending");
}

pub(super) fn throttled(target_name: &str, wait: Duration) {
    let wait_s = wait.as_secs_f64();
    tracing::warn!(target_name, wait_s, "Sentinel answers 429: waiting as told, nothing is lost");
}

pub(super) fn failed(target_name: &str, failures: u32, pause: Duration, why: &str) {
    let pause_s = pause.as_secs_f64();
    tracing::warn!(target_name, failures, pause_s, %why, "upload failed: it is sent again");
}

pub(super) fn signing_in_anew(target_name: &str, why: &str) {
    tracing::info!(target_name, %why, "Sentinel answers 401: signing in anew");
}

pub(super) fn sign_in_failed(error: &SignInError, pause: Duration) {
    let pause_s = pause.as_secs_f64();
    tracing::warn!(%error, pause_s, "sign-in failed: nothing can be sent, everything stays pending");
}

pub(super) fn refused(target_name: &str, objects: usize, why: &str) {
    let what = "Sentinel refuses a request: smaller ones are sent to find the bad record";
    tracing::warn!(target_name, objects, %why, "{what}");
}

pub(super) fn refusals<'w>(
    target_name: &str,
    refusals: impl ExactSizeIterator<Item = (Record, &'w str)>,
) {
    metrics::rejected(target_name, refusals.len() as u64);
    for (Record { object, version, .. }, words) in refusals {
        if version == WITHDRAWN {
            tracing::error!(target_name, %object, words, "Sentinel rejects a withdrawal: the indicator stays active there until its valid_until");
        } else {
            tracing::warn!(target_name, %object, words, "Sentinel rejects an object: kept with its words, see retry-rejected");
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
    let (target_name, file) = (target.name.as_str(), file(target));
    let what = match &file {
        None => "accepted",
        Some(_) => "written to dry_run_file, not sent",
    };
    let opened = u64::try_from(closed.opened_at).unwrap_or_default();
    let opened = SystemTime::UNIX_EPOCH + Duration::from_millis(opened);
    let took = SystemTime::now().duration_since(opened).unwrap_or_default();
    let (lane, accepted_after_s) = (closed.lane.word(), took.as_secs_f64());
    metrics::time_to_accepted(target_name, lane, took);
    let Some(event) = closed.event else { return };
    if closed.summary == NO_SUMMARY {
        // A withdrawal that MISP announced by itself.
        tracing::info!(target_name, lane, %event, accepted_after_s, file, "change {what}");
        return;
    }
    let ChangeSummary { info, attributes, new, changed, gone, skipped } =
        serde_json::from_str(&closed.summary).unwrap_or_default();
    tracing::info!(
        target_name,
        lane,
        %event,
        info,
        attributes,
        new,
        changed,
        gone,
        %skipped,
        accepted_after_s,
        file,
        "event {what}"
    );
}
