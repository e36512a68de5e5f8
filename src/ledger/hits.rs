//! Records what alerts of a target tell of our indicators. An alert may name what matched nothing, so a thing that it
//! names is a hit only if it is exactly an indicator that the target was sent.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Ledger;
use super::owner::Unit;
use super::sql::{Result, Transaction};
use super::start::NAMESPACE;
use super::tables::hits::{self, HitsOfTarget, NewHit};
use super::tables::wanted::{self, IndicatorAtTarget};
use super::tables::{alert_cursors, settings};
use crate::metrics;
use crate::pure::alert::{Alert, Named};

/// How long before an alert an indicator may have ended: Microsoft's rules look back so far for indicators, 14 days.
const LOOK_BACK: i64 = 14 * 24 * 3_600_000;

/// What became of the things that alerts name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordedHits {
    /// Hits that the ledger did not know.
    pub new: u64,
    /// Hits of alerts that were read before.
    pub known: u64,
    /// Things that are no indicator which the target holds or held.
    pub dropped: u64,
}

impl RecordedHits {
    fn count(self, target: &str) {
        let Self { new, known, dropped } = self;
        for (outcome, count) in [("new", new), ("known", known), ("dropped", dropped)] {
            metrics::hits(target, outcome, count);
        }
    }
}

impl Ledger {
    /// Until when the alerts of a target were read. `None`: they were never read.
    pub async fn alerts_cursor(&self, target: &str) -> Result<Option<DateTime<Utc>>> {
        let target = target.to_owned();
        let value = self.read(move |tx| alert_cursors::value(tx, &target)).await?;
        Ok(value.and_then(DateTime::from_timestamp_millis))
    }

    /// Records the hits in alerts of a target, and that its alerts were read until `cursor`, in one transaction. Alerts
    /// that were read before may come again.
    pub async fn record_alerts(
        &self,
        target: &str,
        alerts: Vec<Alert>,
        cursor: DateTime<Utc>,
    ) -> Result<RecordedHits> {
        let target = target.to_owned();
        let now = Self::now();
        self.write(move |unit| {
            let recorded = record(unit, &target, &alerts, now)?;
            alert_cursors::store(unit, &target, cursor.timestamp_millis())?;
            let named = target.clone();
            unit.then(move |shared| {
                recorded.count(&named);
                shared.hit.notify_waiters();
            });
            Ok(recorded)
        })
        .await
    }

    /// The hits of each target.
    pub async fn hits(&self) -> Result<Vec<HitsOfTarget>> {
        self.read_counts(hits::by_target).await
    }
}

fn record(unit: &Unit<'_>, target: &str, alerts: &[Alert], now: i64) -> Result<RecordedHits> {
    let namespace = namespace(unit)?;
    let mut recorded = RecordedHits::default();
    for alert in alerts {
        // Of a source whose clock is ahead: a sighting in the future would be of another day when it is told.
        let last_seen = alert.last_seen.timestamp_millis().min(now);
        let first_seen = alert.first_seen.timestamp_millis().min(last_seen);
        for named in &alert.named {
            let found = matched(unit, target, namespace, named, first_seen)?;
            recorded.dropped += u64::from(found.is_empty());
            for indicator in found {
                let (alert, rule) = (alert.id.as_str(), alert.rule.as_str());
                let hit = NewHit { target, alert, rule, indicator, first_seen, last_seen };
                match hits::record(unit, hit, now)? {
                    true => recorded.new += 1,
                    false => recorded.known += 1,
                }
            }
        }
    }
    Ok(recorded)
}

/// The namespace of all ids. Nil before the first start has stored it, when nothing was sent yet.
fn namespace(tx: &Transaction<'_>) -> Result<Uuid> {
    let stored = settings::value(tx, NAMESPACE)?;
    Ok(stored.and_then(|text| Uuid::parse_str(&text).ok()).unwrap_or_default())
}

/// The indicators that a thing named by an alert is. Several have one observable where each attribute has its own.
fn matched(
    tx: &Transaction<'_>,
    target: &str,
    namespace: Uuid,
    named: &Named,
    first_seen: i64,
) -> Result<Vec<IndicatorAtTarget>> {
    let found = match named {
        Named::Indicator(id) => match indicator_uuid(id) {
            Some(id) => wanted::by_id(tx, target, id)?,
            None => Vec::new(),
        },
        Named::Entity(observable) => {
            let since = first_seen.saturating_sub(LOOK_BACK);
            wanted::by_observable(tx, target, observable.id(&namespace), since)?
        }
    };
    Ok(in_force(found))
}

/// The live ones, or all if none lives: which of those that ended the alert met is not known.
fn in_force(mut found: Vec<IndicatorAtTarget>) -> Vec<IndicatorAtTarget> {
    if found.iter().any(IndicatorAtTarget::is_live) {
        found.retain(IndicatorAtTarget::is_live);
    }
    found
}

/// The uuid in the id of an indicator, e.g. `indicator--5c1d…`.
fn indicator_uuid(id: &str) -> Option<Uuid> {
    Uuid::parse_str(id.strip_prefix("indicator--")?).ok()
}
