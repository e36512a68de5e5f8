//! The command `suppressed` lists the values that an operator withholds.

use anyhow::Context;
use axum::http::Method;
use serde::{Deserialize, Serialize};

use super::output::{print_as, time};
use super::status::StatusOptions;
use super::{ConfigSource, door};
use crate::admin::{Needs, Request, Services};
use crate::ledger::Suppressed;
use crate::pure::count::Count;
use crate::pure::safe;

/// The request for the suppressed values.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuppressedRequest {}

impl Request for SuppressedRequest {
    const PATH: &'static str = "/suppressed";
    const METHOD: Method = Method::GET;
    const NEEDS: Needs = Needs::Settings;

    type Answer = Vec<Suppressed>;

    async fn execute(self, services: &Services) -> anyhow::Result<Vec<Suppressed>> {
        services.ledger.suppressed().await.context("the ledger cannot be read")
    }
}

/// Prints the suppressed values.
///
/// # Errors
/// Neither a relay nor the ledger can answer, or standard output is closed.
pub async fn suppressed(settings: &ConfigSource, options: StatusOptions) -> anyhow::Result<()> {
    let (list, _) = door::ask(settings, SuppressedRequest {}).await?;
    print_as(options.json, &list, |list| match list.is_empty() {
        true => "Nothing is suppressed.\n".to_owned(),
        false => list.iter().map(line).collect(),
    })
}

fn line(one: &Suppressed) -> String {
    let Suppressed { value, since, until, reason, claims } = one;
    let end = until.map_or_else(String::new, |at| format!(" until {}", time(at)));
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let claims = Count(*claims, "claim");
    format!("{}\n", safe::line(&format!("{value} since {}{end}, {claims}{reason}", time(*since))))
}
