//! Writes the log lines and records the metrics of requests that have ended.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use uuid::Uuid;

use super::backlog::{BacklogNews, Sent};
use super::lanes::NO_SUMMARY;
use super::state::Record;
use super::target_delivery::{FinishedRequest, TargetDelivery};
use crate::azure::token::SignInError;
use crate::ledger::{Lane, Ledger, OpenChange, Sending, WITHDRAWN};
use crate::log_event::{LogEvent, info_if, ms};
use crate::logging::nested;
use crate::metrics;
use crate::pure::outage::Down;
use crate::pure::policy::Tlp;
use crate::pure::title;

/// Returns the file to which a dry run writes. `None`: the objects are sent to Sentinel.
fn file(target: &TargetDelivery) -> Option<String> {
    target.destination.file().map(|path| path.display().to_string())
}

pub(super) fn accepted(delivery: &TargetDelivery, request: &FinishedRequest, taken: &[Uuid]) {
    let target = delivery.name.as_str();
    for one in request.picked.iter().filter(|one| taken.contains(&one.pending.object)) {
        metrics::accepted(target, one.lane.word(), 1);
    }
    let taken_withdrawal = |one: &&Sending| one.is_withdrawal() && taken.contains(&one.object);
    let withdrawn = request.sending.iter().filter(taken_withdrawal).count();
    metrics::withdrawn(target, withdrawn as u64);
    let (objects, took_ms) = (taken.len(), ms(request.took));
    match file(delivery) {
        None => {
            tracing::debug!(target, objects, withdrawn, took_ms, "Sentinel accepted a batch");
        }
        Some(file) => {
            tracing::debug!(target, objects, withdrawn, took_ms, file, "A batch was written");
        }
    }
}

pub(super) fn early_withdrawals(target: &str, withdrawals: usize) {
    if withdrawals > 0 {
        tracing::warn!(
            event = LogEvent::TargetClockBehind.word(),
            target,
            withdrawals,
            "This machine's clock is ahead of Sentinel's, and these withdrawals would end only later, so they are sent again by Sentinel's clock. Synchronise the clocks"
        );
    }
}

/// `may_be_quoted`: no object of the request is too secret for the log.
pub(super) fn stray_complaints(target: &str, complaints: &[String], may_be_quoted: bool) {
    for complaint in complaints {
        let words = may_be_quoted.then_some(complaint.as_str());
        tracing::warn!(
            event = LogEvent::ComplaintStray.word(),
            target,
            words,
            "Sentinel complains of a record that was not in the request"
        );
    }
}

/// A failure of a target, after which nothing is sent to it for `pause`.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailedUpload<'f> {
    pub why: &'f str,
    pub pause: Duration,
    /// It has failed for so long, or in such a way, that an operator must know.
    pub degrades: bool,
}

pub(super) fn failed(target: &TargetDelivery, failed: FailedUpload<'_>, down: Option<Down>) {
    let FailedUpload { why, pause, degrades } = failed;
    let (target, host, pause_ms) = (target.name.as_str(), target.destination.host(), ms(pause));
    match down {
        None => tracing::debug!(target, host, why, pause_ms, "An upload failed again"),
        Some(Down { lasted, failures }) if degrades => tracing::warn!(
            event = LogEvent::TargetDegraded.word(),
            target,
            host,
            why,
            pause_ms,
            down_ms = ms(lasted),
            failures,
            "The target is degraded, and its objects stay pending"
        ),
        Some(Down { lasted, failures }) => tracing::warn!(
            event = LogEvent::UploadFailed.word(),
            target,
            host,
            why,
            pause_ms,
            down_ms = ms(lasted),
            failures,
            "An upload failed, and is sent again"
        ),
    }
}

pub(super) fn throttled(target: &TargetDelivery, wait: Duration, down: Option<Down>) {
    let (target, host, wait_ms) = (target.name.as_str(), target.destination.host(), ms(wait));
    match down {
        None => tracing::debug!(target, host, wait_ms, "Sentinel answers 429 again"),
        Some(Down { failures, .. }) => tracing::warn!(
            event = LogEvent::TargetThrottled.word(),
            target,
            host,
            wait_ms,
            failures,
            "Sentinel answers 429. The relay waits as it was told, and nothing is lost"
        ),
    }
}

/// Tells that a target accepts uploads again, and what waits for it.
pub(super) async fn recovered(ledger: &Ledger, target: &str, down: Down) {
    let waiting = waiting(ledger, target).await;
    tracing::info!(
        event = LogEvent::TargetRecovered.word(),
        target,
        down_ms = ms(down.lasted),
        failures = down.failures,
        waiting,
        "The target accepts uploads again"
    );
}

/// The changes that wait in each lane, for the log. Without the figures a line still tells what matters.
async fn waiting(ledger: &Ledger, target: &str) -> Option<String> {
    let [withdrawals, live, backlog] = ledger.queue_depth(target).await.ok()?;
    let waiting = serde_json::json!({
        Lane::Withdrawals.word(): withdrawals,
        Lane::Live.word(): live,
        Lane::Backlog.word(): backlog,
    });
    Some(nested(&waiting))
}

pub(super) fn signing_in_anew(target: &str, why: &str) {
    tracing::info!(
        event = LogEvent::TokenRefused.word(),
        target,
        why,
        "Sentinel answers 401, and the relay signs in anew"
    );
}

pub(super) fn sign_in_failed(
    targets: &[&str],
    error: &SignInError,
    pause: Duration,
    down: Option<Down>,
) {
    let (targets, pause_ms) = (nested(&targets), ms(pause));
    match down {
        None => tracing::debug!(targets, %error, pause_ms, "A sign-in failed again"),
        Some(Down { lasted, failures }) => tracing::error!(
            event = LogEvent::SignInFailed.word(),
            targets,
            %error,
            pause_ms,
            down_ms = ms(lasted),
            failures,
            "A sign-in failed. Nothing can be sent to these targets, and everything stays pending"
        ),
    }
}

pub(super) fn signed_in_again(targets: &[&str], down: Down) {
    tracing::info!(
        event = LogEvent::SignInRecovered.word(),
        targets = nested(&targets),
        down_ms = ms(down.lasted),
        failures = down.failures,
        "A sign-in succeeds again"
    );
}

/// Tells of a refused request. `is_part`: it is the part of a search for a bad record that was told of before.
pub(super) fn refused(target: &str, objects: usize, why: &str, is_part: bool) {
    if is_part {
        tracing::debug!(target, objects, why, "Sentinel refuses a part of the request as well");
        return;
    }
    tracing::warn!(
        event = LogEvent::RequestRefused.word(),
        target,
        objects,
        why,
        "Sentinel refuses a request. Smaller ones are sent, to find the bad record"
    );
}

/// An object that Sentinel rejected.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefusedRecord<'w> {
    pub record: Record,
    /// Sentinel's words, which may hold the value. `None`: the value is not for the log.
    pub words: Option<&'w str>,
}

pub(super) fn refusals<'w>(
    target: &str,
    refusals: impl ExactSizeIterator<Item = RefusedRecord<'w>>,
) {
    metrics::rejected(target, refusals.len() as u64);
    for RefusedRecord { record: Record { object, version, .. }, words } in refusals {
        if version == WITHDRAWN {
            tracing::error!(
                event = LogEvent::WithdrawalRejected.word(),
                target,
                %object,
                words,
                "Sentinel rejects a withdrawal. The indicator stays active there until its valid_until"
            );
        } else {
            tracing::warn!(
                event = LogEvent::ObjectRejected.word(),
                target,
                %object,
                words,
                "Sentinel rejects an object. Mend the cause, then `retry-rejected`"
            );
        }
    }
}

/// The part of a change's summary that its log line shows.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ChangeSummary {
    info: String,
    tlp: Option<Tlp>,
    attributes: u64,
    new: u64,
    changed: u64,
    gone: u64,
    skipped: serde_json::Value,
}

/// Tells that a target took all of a change. What belongs to the backlog is summed up by [`backlog`].
pub(super) fn closed(target: &mut TargetDelivery, closed: &OpenChange) {
    let opened = u64::try_from(closed.opened_at).unwrap_or_default();
    let opened = SystemTime::UNIX_EPOCH + Duration::from_millis(opened);
    let took = SystemTime::now().duration_since(opened).unwrap_or_default();
    let lane = closed.lane;
    metrics::time_to_accepted(&target.name, lane.word(), took);
    let Some(misp_event) = closed.event else { return };
    // A withdrawal that MISP announced by itself has none.
    let summary = (closed.summary != NO_SUMMARY).then_some(closed.summary.as_str());
    let summary: Option<ChangeSummary> =
        summary.map(|it| serde_json::from_str(it).unwrap_or_default());
    let summary = summary.as_ref();
    let is_news = lane != Lane::Backlog;
    if !is_news {
        target.backlog.closed();
    }
    let (file, target, lane) = (file(target), target.name.as_str(), lane.word());
    let title = summary.and_then(|it| title::for_log(&it.info, it.tlp));
    let attributes = summary.map(|it| it.attributes);
    let (new, changed) = (summary.map(|it| it.new), summary.map(|it| it.changed));
    let (gone, skipped) = (summary.map(|it| it.gone), summary.map(|it| nested(&it.skipped)));
    match file {
        None => info_if!(
            is_news,
            event = LogEvent::ChangeAccepted.word(),
            target,
            lane,
            %misp_event,
            title,
            attributes,
            new,
            changed,
            gone,
            skipped,
            accepted_after_ms = ms(took),
            "Sentinel accepted all of the change"
        ),
        Some(file) => info_if!(
            is_news,
            event = LogEvent::ChangeWritten.word(),
            target,
            lane,
            %misp_event,
            title,
            attributes,
            new,
            changed,
            gone,
            skipped,
            written_after_ms = ms(took),
            file,
            "The change was written to dry_run_file, and not sent"
        ),
    }
}

/// Tells how the backlog of a target goes on, if it is time.
pub(super) async fn backlog(ledger: &Ledger, target: &str, news: BacklogNews) {
    match news {
        BacklogNews::GoesOn(Sent { objects, events, took }) => {
            let waiting = waiting(ledger, target).await;
            tracing::info!(
                event = LogEvent::BacklogProgress.word(),
                target,
                objects,
                events,
                took_ms = ms(took),
                waiting,
                "The target is being sent its backlog"
            );
        }
        BacklogNews::Over(Sent { objects, events, took }) => tracing::info!(
            event = LogEvent::BacklogDone.word(),
            target,
            objects,
            events,
            took_ms = ms(took),
            "The target took all of the backlog"
        ),
    }
}
