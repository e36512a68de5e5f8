//! Checks whether the alerts of a target can be read for hits.

use super::deletion::REMEDY;
use super::diagnosis::{Diagnosis, Subject};
use super::misp::PATIENCE;
use crate::config::{Config, Management, Target};
use crate::hits;
use crate::pure::count::Count;

/// Runs the query for alerts once, with little patience, because an operator waits. `None`: they are not read.
pub(super) async fn look(
    config: &Config,
    target: &Target,
    http: &reqwest::Client,
) -> Option<Diagnosis> {
    let settings = target.hits.as_ref()?;
    let subject = Subject("alerts", &target.name);
    let request_timeout = config.management.request_timeout.min(PATIENCE);
    let rules = Management { retries: 0, request_timeout, ..config.management.clone() };
    let client = match hits::client(config, target, settings, http, &rules) {
        Ok(client) => client,
        Err(error) => return Some(subject.error(error, "")),
    };
    Some(match hits::probe(&client).await {
        Ok(rows) => subject.ok(format!(
            "Log Analytics answers: {} of the last hour may name indicators",
            Count(rows, "alert")
        )),
        Err(error) => subject.failed(error, REMEDY),
    })
}
