//! An alert of a workspace, as far as it tells that an indicator of ours was seen in logs.

use chrono::{DateTime, Utc};

use super::stix::Observable;

/// One alert of Log Analytics' table `SecurityAlert`:
/// <https://learn.microsoft.com/en-us/azure/azure-monitor/reference/tables/securityalert>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// `SystemAlertId`: names the alert in its workspace, for ever.
    pub id: String,
    /// `AlertName`: the display name of the rule that raised it, which people may choose freely.
    pub rule: String,
    /// `StartTime`: the first log row that the alert stands for.
    pub first_seen: DateTime<Utc>,
    /// `EndTime`: the last one.
    pub last_seen: DateTime<Utc>,
    pub named: Vec<Named>,
}

/// What an alert names, and what the ledger may know as an indicator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Named {
    /// The id of an indicator, e.g. `indicator--5c1d…`: the product's own rules carry it.
    Indicator(String),
    /// An entity of the alert: it is a hit only if it is exactly an indicator's observable. A rule may map
    /// entities that matched nothing.
    Entity(Observable),
}
