//! What the log and the metrics tell of settled requests.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use uuid::Uuid;

use super::halving::Record;
use super::lanes::NO_SUMMARY;
use super::line::{Line, Way};
use super::sender::Answer;
use crate::ledger::{OpenChange, WITHDRAWN};
use crate::metrics;

/// The file that a dry run writes to, where Sentinel is sent nothing.
fn file(line: &Line) -> Option<String> {
    match &line.way {
        Way::Upload(_) => None,
        Way::File(path) => Some(path.display().to_string()),
    }
}

pub(super) fn accepted(line: &Line, answer: &Answer, taken: &[Uuid]) {
    let target = line.name.as_str();
    for one in &answer.picked {
        if taken.contains(&one.pending.object) {
            metrics::accepted(target, one.lane.word(), 1);
        }
    }
    let withdrawn = answer
        .sending
        .iter()
        .filter(|one| one.is_withdrawal() && taken.contains(&one.object))
        .count();
    metrics::withdrawn(target, withdrawn as u64);
    let file = file(line);
    let what = match &file {
        None => "batch accepted",
        Some(_) => "batch written to dry_run_file, not sent",
    };
    tracing::debug!(
        target_name = target,
        objects = taken.len(),
        withdrawn,
        took_ms = u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX),
        file,
        "{what}"
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

/// Of a change's summary, what its log line tells.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Summary {
    info: String,
    attributes: u64,
    new: u64,
    changed: u64,
    gone: u64,
    skipped: serde_json::Value,
}

pub(super) fn closed(line: &Line, closed: &OpenChange) {
    let (target, file) = (line.name.as_str(), file(line));
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
    let summary: Summary = serde_json::from_str(&closed.summary).unwrap_or_default();
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
