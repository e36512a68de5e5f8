//! The types of the answer to the command `status`. They are the JSON on the control socket and the output of
//! `status --json`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::{Mode, ONE_SOURCE, Target};
use crate::deliver::DeliveryHealth;
use crate::intake::rest::RestState;
use crate::intake::zmq::EndpointStatus;
use crate::ledger::{LedgerStatus, ListsState, SourceNews, TargetStatus};
use crate::metrics::Part;

/// The status of everything at one moment. All times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// The running relay; `None` where none runs and only the ledger was asked.
    pub relay: Option<RelayStatus>,
    pub ledger: LedgerStatus,
    /// What works less than promised, each in words and with the remedy.
    pub degraded: Vec<String>,
    /// The same without Sentinel's words, which may hold a value. For the page, and not part of the JSON.
    #[serde(skip)]
    pub degraded_unquoted: Vec<String>,
    /// The same in the same order, for programs.
    #[serde(default)]
    pub degraded_parts: Vec<DegradedPart>,
    /// What cannot be promised without a key for MISP's REST API. With several sources each line names those that
    /// have none.
    pub without_rest: Vec<String>,
    /// Sources that are new to the ledger, and sources of the ledger that are no longer read.
    #[serde(default)]
    pub source_news: Vec<SourceNews>,
    /// What is worth doing next; `None`: nothing needs to be done.
    #[serde(default)]
    pub next: Option<String>,
}

/// What works less than promised, in the words of the metric `misp_sentinel_relay_degraded`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DegradedPart {
    /// The part of the relay: `feed`, `rest`, `warninglists`, `ledger`, `target`; `relay` if none runs.
    pub part: String,
    /// The source, if the part is its REST API.
    #[serde(default)]
    pub source: Option<String>,
    /// The target, if the part is one.
    pub target: Option<String>,
    /// The ZeroMQ endpoint, if the part is a feed.
    pub feed: Option<String>,
    pub reason: String,
}

impl DegradedPart {
    pub(super) fn new(part: Part<'_>, reason: &str) -> Self {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Self {
            part: part.word().to_owned(),
            source: named(part.source()),
            target: named(part.target()),
            feed: named(part.feed()),
            reason: reason.to_owned(),
        }
    }
}

/// A source, and the ways to it that are configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceMeans {
    pub source: String,
    /// Its section of the configuration: `misp`, or `source.NAME`.
    pub section: String,
    pub means: Means,
}

/// Returns whether texts for people name a source: one of several, or one that was given a name.
pub fn is_named(source: &str, sources: usize) -> bool {
    sources > 1 || source != ONE_SOURCE
}

/// Which ways to a MISP are configured besides the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    pub webhook: bool,
    /// Whether there is a key for MISP's REST API.
    pub rest: bool,
}

/// The state of the running relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStatus {
    pub process_id: u32,
    pub started_at: DateTime<Utc>,
    pub uptime_seconds: u64,
    /// Whether the ledger's last transaction succeeded.
    pub ledger_writable: bool,
    /// The sources that are read, in the order of their names.
    pub sources: Vec<SourceStatus>,
    /// The state of the warninglists of all sources together; `None` if no policy uses them, or if there is no key to read them
    /// with.
    pub warninglists: Option<ListsState>,
    pub targets: Vec<SendingStatus>,
}

/// The state of the intakes of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name.
    pub source: String,
    /// The ZeroMQ endpoints, in the order of the configuration.
    pub endpoints: Vec<EndpointStatus>,
    /// The address and path of the webhook, e.g. `0.0.0.0:8443/misp`; `None` where there is no webhook.
    pub webhook: Option<String>,
    /// The state of the REST intake; `None` without a key.
    pub rest: Option<RestState>,
    /// The state of this MISP's warninglists; `None` if no policy uses them, or without a key.
    #[serde(default)]
    pub warninglists: Option<ListsState>,
}

impl RelayStatus {
    /// Returns all ZeroMQ endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = &EndpointStatus> {
        self.sources.iter().flat_map(|source| &source.endpoints)
    }

    /// Returns the states of all REST intakes.
    pub fn rests(&self) -> impl Iterator<Item = &RestState> {
        self.sources.iter().filter_map(|source| source.rest.as_ref())
    }

    /// Returns whether every source can be asked over REST.
    pub fn has_all_keys(&self) -> bool {
        self.sources.iter().all(|source| source.rest.is_some())
    }
}

/// How sending to a target goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingStatus {
    pub target: String,
    /// `live` or `dry-run`.
    pub mode: String,
    /// The file that a dry run writes to; `None` for a live target.
    pub file: Option<String>,
    /// The time in which the quota lets all leave that waits for the targets of this quota, seconds. `None`: nothing
    /// waits, there is no quota, or the target takes nothing now.
    #[serde(default)]
    pub eta_seconds: Option<u64>,
    #[serde(flatten)]
    pub health: DeliveryHealth,
}

impl SendingStatus {
    /// Describes a target by its sender's health, and by what waits for all targets.
    pub(super) fn new(target: &Target, health: DeliveryHealth, waiting: &[TargetStatus]) -> Self {
        let eta_seconds = eta(&health, waiting);
        let file = (target.mode == Mode::DryRun).then(|| target.dry_run_file.display().to_string());
        Self {
            target: target.name.clone(),
            mode: target.mode.word().to_owned(),
            file,
            eta_seconds,
            health,
        }
    }
}

/// Returns the time in which a target's quota lets all leave that waits for the targets of this quota, seconds.
/// Requests are full where enough waits. `None` also while the target takes nothing, since nobody knows how long then.
fn eta(health: &DeliveryHealth, targets: &[TargetStatus]) -> Option<u64> {
    let is_taking = health.degraded.is_none() && health.sign_in.is_none();
    let quota = health.quota.as_ref().filter(|_| is_taking)?;
    let most_objects = quota.objects_limit.checked_div(quota.requests_limit)?;
    let sharing = targets.iter().filter(|one| quota.targets.contains(&one.target));
    let requests: u64 = sharing
        .map(|one| one.waiting.iter().map(|lane| lane.objects).sum::<i64>())
        .map(|objects| u64::try_from(objects).unwrap_or_default())
        .map(|objects| objects.div_ceil(most_objects.max(1)))
        .sum();
    let seconds = requests.saturating_mul(quota.window_seconds).div_ceil(quota.requests_limit);
    (requests > 0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::QuotaStatus;
    use crate::ledger::WaitingObjects;

    #[test]
    fn the_eta_is_that_of_all_targets_of_the_quota() {
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let quota = QuotaStatus {
            window_seconds: 60,
            requests_limit: 99,
            objects_limit: 9_900,
            targets: names(["soc", "csirt"]),
            ..QuotaStatus::default()
        };
        let target = |name: &str, objects| {
            let backlog = WaitingObjects { objects, oldest: None };
            let waiting = [WaitingObjects::default(), WaitingObjects::default(), backlog];
            TargetStatus { target: name.to_owned(), waiting, ..TargetStatus::default() }
        };
        let all = [target("soc", 9_901), target("csirt", 1), target("other", 1_000_000)];
        let of = |quota: QuotaStatus| DeliveryHealth { quota: Some(quota), ..Default::default() };
        let unlimited = QuotaStatus { requests_limit: 0, objects_limit: 0, ..quota.clone() };
        assert_eq!(eta(&of(unlimited), &all), None);
        // A hundred requests and one: a bit more than a minute.
        let mut health = of(quota);
        assert_eq!(eta(&health, &all), Some(62));
        assert_eq!(eta(&health, &all[2..]), None);
        health.degraded = Some("cannot be reached".to_owned());
        assert_eq!(eta(&health, &all), None, "nobody knows");
    }
}
