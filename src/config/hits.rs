//! Reads whether and how a target's alerts are read for hits.

use std::time::Duration;

use super::address::https;
use super::cloud::Cloud;
use super::reader::Reader;
use super::values::scope;

/// How the alerts of a workspace are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hits {
    pub every: Duration,
    /// How long Sentinel may take to show an alert.
    pub delay: Duration,
    /// The base URL of Log Analytics' query API, e.g. `https://api.loganalytics.azure.com`.
    pub logs: String,
    /// The scope of its tokens.
    pub scope: String,
}

/// Reads how a target's alerts are read. `None`: they are not.
pub(super) fn of_target(reader: &mut Reader, section: &str, cloud: &Cloud) -> Option<Hits> {
    let key = |leaf: &str| format!("{section}.{leaf}");
    let is_on = reader.flag(&key("hits"));
    let own_scope = reader.optional(&key("logs_scope"), "URL/.default", scope);
    let hits = Hits {
        every: reader.time(&key("hits_every")),
        delay: reader.time_or_zero(&key("hits_delay")),
        logs: https(reader, &key("logs"), cloud.logs),
        scope: own_scope.unwrap_or_else(|| cloud.logs_scope.to_owned()),
    };
    is_on.then_some(hits)
}
