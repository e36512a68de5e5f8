//! Keeps the health of each target for `status` and the metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::outcome::Why;
use super::quota_use::{QuotaStatus, QuotaUse};
use crate::metrics::{self, Part};

/// The health of a target, as its sender sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeliveryHealth {
    /// What is wrong with the target, and what to do. `None`: nothing is.
    pub degraded: Option<String>,
    /// The same without Sentinel's words, which may hold a value. For the page, and not part of the JSON.
    #[serde(skip)]
    pub degraded_unquoted: Option<String>,
    /// What is wrong with the sign-ins although there is a token. `None`: nothing is.
    #[serde(default)]
    pub sign_in: Option<String>,
    /// Why withdrawn indicators cannot be deleted now, where they are to be. `None`: they can.
    #[serde(default)]
    pub deletion: Option<String>,
    /// Why the target's alerts cannot be read, where they are to be. `None`: they can.
    #[serde(default)]
    pub hits: Option<String>,
    /// The last upload that Sentinel accepted since the start.
    pub last_accepted: Option<DateTime<Utc>>,
    /// The last sign-in that succeeded since the start. `None` also where none is needed.
    #[serde(default)]
    pub signed_in_at: Option<DateTime<Utc>>,
    /// The end of the client certificate. `None` where there is none, or before the first sign-in: what ends a
    /// secret, only Entra knows.
    #[serde(default)]
    pub certificate_ends: Option<DateTime<Utc>>,
    /// The time of the next try while the target is held back.
    pub next_try: Option<DateTime<Utc>>,
    /// How many requests have no answer yet.
    pub in_flight: usize,
    /// The use of the quota that it sends under. `None` where the sender does not run.
    #[serde(default)]
    pub quota: Option<QuotaStatus>,
}

impl DeliveryHealth {
    /// Notes what is wrong with the target.
    pub fn degrade(&mut self, why: &Why) {
        self.degraded = Some(why.to_string());
        self.degraded_unquoted = Some(why.unquoted());
    }

    /// Returns what is wrong with the target, without words that may hold a value.
    pub fn unquoted(&self) -> Option<&str> {
        const UNKNOWN: &str = "it fails: `misp-sentinel-relay status` says why";
        self.degraded.as_ref().map(|_| self.degraded_unquoted.as_deref().unwrap_or(UNKNOWN))
    }
}

/// The health of all targets. A cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, TargetHealth>>>);

#[derive(Debug, Default)]
struct TargetHealth {
    /// All but the use of the quota, which time alone changes.
    told: DeliveryHealth,
    quota: Option<QuotaUse>,
}

impl Health {
    /// Returns a copy of the health of each target.
    pub fn now(&self) -> BTreeMap<String, DeliveryHealth> {
        let all = self.lock();
        let now = |one: &TargetHealth| DeliveryHealth {
            quota: one.quota.as_ref().map(|quota| quota.status(Instant::now())),
            ..one.told.clone()
        };
        all.iter().map(|(target, one)| (target.clone(), now(one))).collect()
    }

    /// Shows the use of the quota that a target sends under.
    pub(super) fn show_quota(&self, target: &str, quota: QuotaUse) {
        self.lock().entry(target.to_owned()).or_default().quota = Some(quota);
    }

    /// Changes the health of a target, and shows it in the metrics.
    pub fn update(&self, target: &str, change: impl FnOnce(&mut DeliveryHealth)) {
        let mut all = self.lock();
        let health = &mut all.entry(target.to_owned()).or_default().told;
        change(health);
        // The gauges are set at each change, so that they never differ from `status`.
        metrics::degraded(Part::Target(target), "failing", health.degraded.is_some());
        metrics::degraded(Part::Target(target), "sign_in", health.sign_in.is_some());
        metrics::degraded(Part::Target(target), "deletion", health.deletion.is_some());
        metrics::degraded(Part::Target(target), "hits", health.hits.is_some());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, TargetHealth>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
