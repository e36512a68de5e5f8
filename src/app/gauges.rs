//! Refreshes the metrics that are no counts: what the parts of the relay, the ledger and the targets stand at.

use std::collections::BTreeSet;
use std::time::SystemTime;

use chrono::{DateTime, Utc};

use crate::admin::{RelayStatus, SendingStatus, Services, SourceStatus};
use crate::ledger::{Lane, Ledger, ReadsOfSource, Room, SqlResult, TargetStatus, WaitingCounts};
use crate::metrics::{self, Part, RestMoments, TargetMoments};

/// The targets that have gauges.
#[derive(Debug, Default)]
pub(super) struct Shown(BTreeSet<String>);

impl Shown {
    /// Returns the targets that had gauges and are no longer known, and remembers those that are.
    fn turn_to(&mut self, targets: &[TargetStatus]) -> BTreeSet<String> {
        let known = targets.iter().map(|one| one.target.clone()).collect();
        let before = std::mem::replace(&mut self.0, known);
        before.difference(&self.0).cloned().collect()
    }
}

/// Refreshes all of them. `shown`: what the last time showed.
///
/// # Errors
/// The ledger cannot be read.
pub(super) async fn refresh(watched: &Services, shown: &mut Shown) -> SqlResult<()> {
    metrics::process();
    let Some(relay) = watched.relay_status() else { return Ok(()) };
    parts(&relay);
    let waiting = watched.ledger.waiting_reads().await?;
    for source in &relay.sources {
        let reads = waiting.iter().find(|reads| reads.source == source.source);
        of_source(source, &reads.cloned().unwrap_or_default(), &watched.ledger).await?;
    }
    ledger(watched, &relay).await?;
    let targets = watched.ledger.target_statuses().await?;
    for target in &targets {
        at_target(target);
    }
    // A target that was forgotten holds nothing and waits for nothing.
    for target in shown.turn_to(&targets) {
        at_target(&TargetStatus { target, ..TargetStatus::default() });
    }
    for sending in watched.sending(&targets) {
        to_target(&sending);
    }
    Ok(())
}

async fn of_source(source: &SourceStatus, reads: &ReadsOfSource, ledger: &Ledger) -> SqlResult<()> {
    for endpoint in &source.endpoints {
        let is_degraded = !endpoint.connected() || endpoint.error.is_some();
        metrics::degraded(Part::Feed(&endpoint.endpoint), "not_connected", is_degraded);
        if let Some(at) = endpoint.last_publication {
            metrics::last_publication(&endpoint.endpoint, at.into());
        }
    }
    let name = source.source.as_str();
    metrics::degraded(Part::Rest(name), "not_configured", source.rest.is_none());
    let rest = source.rest.clone().unwrap_or_default();
    metrics::degraded(Part::Rest(name), "failing", rest.error.is_some());
    metrics::degraded(Part::Rest(name), "late", rest.late);
    metrics::degraded(Part::Rest(name), "other_view", rest.other_view);
    metrics::degraded(Part::Rest(name), "empty", rest.empty);
    metrics::degraded(Part::Rest(name), "notices_unjudged", source.rest.is_none() && reads.all > 0);
    metrics::degraded(Part::Rest(name), "unreadable_events", reads.in_vain > 0);
    let resync = ledger.resync(&source.source).await?;
    let moments = RestMoments {
        answered: rest.answered_at.map(SystemTime::from),
        caught_up: rest.caught_up_at.map(SystemTime::from),
        resynced: resync.and_then(|resync| resync.whole_at).and_then(of_millis),
    };
    metrics::rest_moments(name, moments);
    Ok(())
}

fn parts(relay: &RelayStatus) {
    metrics::degraded(Part::Ledger, "not_writable", !relay.ledger_writable);
    let lists = relay.warninglists.clone().unwrap_or_default();
    metrics::warninglist_entries(lists.entries as f64);
    metrics::degraded(Part::Warninglists, "pending", lists.pending);
    metrics::degraded(Part::Warninglists, "failing", lists.error.is_some());
    metrics::degraded(Part::Warninglists, "unreadable", !lists.unreadable.is_empty());
}

async fn ledger(watched: &Services, relay: &RelayStatus) -> SqlResult<()> {
    let Services { ledger, .. } = watched;
    let WaitingCounts { reads, held, suppressed, gaps } = ledger.waiting().await?;
    metrics::reads_waiting(reads as f64);
    for counts in ledger.own_sighting_counts().await? {
        metrics::sightings_due(&counts.source, counts.due as f64);
    }
    metrics::claims_held(held as f64);
    metrics::values_suppressed(suppressed as f64);
    metrics::gaps_open(gaps as f64);
    let Room { file, wal, free } = ledger.room().await?;
    for (place, bytes) in [("file", file), ("wal", wal), ("free", free)] {
        metrics::ledger_size(place, bytes as f64);
    }
    let unjudged = ledger.judging().map(|one| one.observables.saturating_sub(one.judged));
    metrics::unjudged(unjudged.unwrap_or_default() as f64);
    metrics::degraded(Part::Ledger, "held", held > 0);
    metrics::degraded(Part::Ledger, "gaps", gaps > 0);
    let waiting = ledger.waiting_warninglists().await?.is_some();
    metrics::degraded(Part::Warninglists, "waiting", waiting);
    let read_at = relay.warninglists.as_ref().and_then(|lists| lists.read_at);
    metrics::warninglists_read(read_at.and_then(of_millis));
    Ok(())
}

/// What the ledger knows of a target.
fn at_target(status: &TargetStatus) {
    let target = status.target.as_str();
    metrics::indicators_wanted(target, status.wanted as f64);
    metrics::indicators_live(target, status.delivered as f64);
    metrics::objects_rejected(target, status.rejected as f64);
    metrics::degraded(Part::Target(target), "rejected", status.rejected > 0);
    let now = Ledger::now();
    for ((lane, changes), waiting) in Lane::ALL.iter().zip(status.queue).zip(status.waiting) {
        metrics::queued(target, lane.word(), changes as f64);
        metrics::waiting(target, lane.word(), waiting.objects as f64);
        let age = waiting.oldest.map_or(0, |at| now.saturating_sub(at).max(0));
        metrics::oldest_waiting(target, lane.word(), age as f64 / 1_000.0);
    }
}

/// What the sender knows of a target.
fn to_target(sending: &SendingStatus) {
    let SendingStatus { target, health, eta_seconds, .. } = sending;
    metrics::eta(target, eta_seconds.unwrap_or_default() as f64);
    let quota = health.quota.clone().unwrap_or_default();
    metrics::quota_requests(target, quota.requests as f64);
    metrics::quota_requests_limit(target, quota.requests_limit as f64);
    metrics::quota_objects(target, quota.objects as f64);
    metrics::quota_objects_limit(target, quota.objects_limit as f64);
    metrics::target_moments(
        target,
        TargetMoments {
            accepted: health.last_accepted.map(SystemTime::from),
            signed_in: health.signed_in_at.map(SystemTime::from),
            certificate_ends: health.certificate_ends.map(SystemTime::from),
        },
    );
}

fn of_millis(millis: i64) -> Option<SystemTime> {
    DateTime::<Utc>::from_timestamp_millis(millis).map(SystemTime::from)
}
