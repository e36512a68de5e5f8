//! The command `held` lists the claims that the guard keeps although MISP no longer shows them.

use anyhow::Context;
use axum::http::Method;
use serde::{Deserialize, Serialize};

use super::output::{print, time};
use super::{ConfigSource, door};
use crate::admin::{Needs, Request, Services};
use crate::ledger::Held;
use crate::pure::count::Count;
use crate::pure::safe;

/// The request for what the guard keeps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldRequest {}

/// What the guard keeps.
#[derive(Debug, Serialize, Deserialize)]
pub struct AllHeld {
    pub held: Vec<Held>,
    /// The number of live indicators that MISP's present warninglists would withdraw; `None` if no lists
    /// wait.
    #[serde(default)]
    pub warninglists: Option<i64>,
}

impl Request for HeldRequest {
    const PATH: &'static str = "/held";
    const METHOD: Method = Method::GET;
    const NEEDS: Needs = Needs::Settings;

    type Answer = AllHeld;

    async fn execute(self, services: &Services) -> anyhow::Result<AllHeld> {
        let held = services.ledger.held().await.context("the ledger cannot be read")?;
        let warninglists =
            services.ledger.waiting_warninglists().await.context("the ledger cannot be read")?;
        Ok(AllHeld { held, warninglists })
    }
}

/// Prints what the guard keeps, and why.
///
/// # Errors
/// Neither a relay nor the ledger can answer, or standard output is closed.
pub async fn held(settings: &ConfigSource) -> anyhow::Result<()> {
    let (all, _) = door::ask(settings, HeldRequest {}).await?;
    print(&words(&all))
}

fn words(all: &AllHeld) -> String {
    let AllHeld { held, warninglists } = all;
    let mut text: String = held.iter().map(line).collect();
    if !held.is_empty() {
        text.push_str("MISP shows these claims no longer without having deleted them. `release` ends them; if MISP is at fault, mend it: what it shows again is held no more.\n");
    }
    if let Some(going) = *warninglists {
        text.push_str(&format!(
            "MISP's present warninglists wait: they would withdraw {}, more than the guard allows, so the ones before stay in force. Look at them in MISP, then `release --warninglists`.\n",
            Count(going, "live indicator")
        ));
    }
    if text.is_empty() {
        text.push_str("Nothing is held.\n");
    }
    text
}

fn line(held: &Held) -> String {
    let Held { event, info, claims, since, example } = held;
    let (since, claims) = (time(*since), Count(*claims, "claim"));
    let line = format!("event {event} {info:?}: {claims} since {since}, such as {example}");
    format!("{}\n", safe::line(&line))
}
