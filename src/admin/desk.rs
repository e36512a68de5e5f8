//! Holds what the operators' listener answers from.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;

use super::Services;
use super::request::{Explain, LongRequest};
use super::shared::SharedStatus;
use super::visitor::Visitors;
use crate::config::Admin;
use crate::pure::explain::ExplainLine;
use crate::pure::policy::Tlp;

/// How long a client may take to send its request, and how long the last answers may take after the stop.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// All that the operators' listener answers from.
#[derive(Debug)]
pub struct Desk {
    /// The strictest level of what is shown by name or value.
    pub(super) show_tlp: Tlp,
    pub(super) services: Services,
    pub(super) recorded: PrometheusHandle,
    pub(super) explain: LongRequest<Explain, ExplainLine>,
    pub(super) visitors: Visitors,
    pub(super) status: SharedStatus,
    /// The turn of the one search that runs.
    pub(super) searching: Semaphore,
}

impl Desk {
    /// Answers from the running relay. `explain` is how the page finds out what became of something.
    pub fn new(
        settings: &Admin,
        services: Services,
        recorded: PrometheusHandle,
        explain: LongRequest<Explain, ExplainLine>,
    ) -> Self {
        Self {
            show_tlp: settings.show_tlp,
            services,
            recorded,
            explain,
            visitors: Visitors::new(settings),
            status: SharedStatus::default(),
            searching: Semaphore::new(1),
        }
    }
}
