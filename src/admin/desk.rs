//! Holds what the operators' listener answers from.

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;

use super::Services;
use super::request::{Explain, LongRequest};
use super::shared::SharedStatus;
use super::visitor::Visitors;
use crate::config::Admin;
use crate::pure::explain::ExplainLine;

/// All that the operators' listener answers from.
#[derive(Debug)]
pub struct OperatorsDesk {
    pub settings: Admin,
    pub services: Services,
    pub recorded: PrometheusHandle,
    pub explain: LongRequest<Explain, ExplainLine>,
}

/// The same for its handlers.
#[derive(Debug)]
pub(super) struct Desk {
    pub settings: Admin,
    pub services: Services,
    pub recorded: PrometheusHandle,
    pub explain: LongRequest<Explain, ExplainLine>,
    pub visitors: Visitors,
    pub status: SharedStatus,
    /// The turn of the one search that runs.
    pub searching: Semaphore,
}

impl Desk {
    pub(super) fn new(desk: OperatorsDesk) -> Self {
        let OperatorsDesk { settings, services, recorded, explain } = desk;
        let visitors = Visitors::new(&settings);
        let (status, searching) = (SharedStatus::default(), Semaphore::new(1));
        Self { settings, services, recorded, explain, visitors, status, searching }
    }
}
