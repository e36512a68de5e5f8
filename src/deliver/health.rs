//! Keeps the health of each target for `status` and the metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::metrics::{self, Part};

/// The health of a target, as its sender sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeliveryHealth {
    /// What is wrong with the target, and what to do. `None`: nothing is.
    pub degraded: Option<String>,
    /// What is wrong with the sign-ins although there is a token. `None`: nothing is.
    #[serde(default)]
    pub sign_in: Option<String>,
    pub last_accepted: Option<DateTime<Utc>>,
    /// The time of the next try while the target is held back.
    pub next_try: Option<DateTime<Utc>>,
    /// How many requests have no answer yet.
    pub in_flight: usize,
}

/// The health of all targets. A cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, DeliveryHealth>>>);

impl Health {
    /// Returns a copy of the health of each target.
    pub fn now(&self) -> BTreeMap<String, DeliveryHealth> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the health of a target, and shows it in the metrics.
    pub fn update(&self, target: &str, change: impl FnOnce(&mut DeliveryHealth)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let health = all.entry(target.to_owned()).or_default();
        change(health);
        // The gauges are set at each change, so that they never differ from `status`.
        metrics::degraded(Part::Target(target), "failing", health.degraded.is_some());
        metrics::degraded(Part::Target(target), "sign_in", health.sign_in.is_some());
    }
}
