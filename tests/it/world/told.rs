//! Compares what `explain` tells of every observable with what the ledger wants. Where `explain` says that a
//! claim is sent, or why it is not, Sentinel must agree.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use misp_sentinel_relay::ledger::{Ledger, Telling, Views};
use misp_sentinel_relay::pure::explain::{ClaimVerdict, ExplainLine, Story};
use serde_json::Value;
use tokio::sync::mpsc;

/// The observables that were explained, and in what that differs from what is wanted.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) observables: usize,
    pub(super) differences: Vec<String>,
}

/// Explains every event of a ledger, whose export is `rows`.
pub(super) async fn compare(
    ledger: &Ledger,
    views: &Views,
    rows: &[Value],
) -> Result<Told, String> {
    let of = |table: &'static str| rows.iter().filter(move |row| row["table"] == table);
    let events: BTreeSet<&str> = of("claims").filter_map(|row| row["event"].as_str()).collect();
    let mut stories = Vec::new();
    for event in events {
        stories.extend(explain(ledger, views, event).await?);
    }
    let is_live = |row: &&Value| row["kind"] == "indicator" && row["version"] != 0;
    let live = of("wanted").filter(is_live).filter_map(|row| row["body"]["pattern"].as_str());
    let live: BTreeSet<&str> = live.collect();
    let told = by_pattern(&stories);
    let copy = |row: &'_ Value| (row["source"].to_string(), row["attribute"].to_string());
    let claimed = of("claims").map(copy).collect::<BTreeSet<_>>().len();
    let mut differences = Vec::new();
    if stories.len() != claimed {
        differences.push(format!("{} stories of {claimed} attributes", stories.len()));
    }
    for pattern in live.iter().filter(|pattern| !told.contains_key(**pattern)) {
        differences.push(format!("{pattern} is wanted, and nothing is told of it"));
    }
    for (pattern, seen) in &told {
        let is_wanted = live.contains(pattern);
        let reasons: Vec<_> = seen.iter().map(|one| reason(one)).collect();
        let is_shown =
            |one: &&ClaimVerdict| one.indicator.as_ref().is_some_and(|shown| !shown.withdrawn);
        if reasons.contains(&"admitted") != is_wanted
            || seen.iter().any(|one| is_shown(one) != is_wanted)
        {
            let words = if is_wanted { "wanted" } else { "not wanted" };
            differences.push(format!("{pattern} is {words}, and explained as {reasons:?}"));
        }
    }
    Ok(Told { observables: told.len(), differences })
}

async fn explain(ledger: &Ledger, views: &Views, event: &str) -> Result<Vec<Story>, String> {
    let (lines, mut told) = mpsc::channel(1);
    let telling = Telling { now: Utc::now().timestamp_millis(), stix: false };
    let collect = async {
        let mut stories = Vec::new();
        while let Some(line) = told.recv().await {
            if let ExplainLine::Story(story) = line {
                stories.push(*story);
            }
        }
        stories
    };
    let (ended, stories) = tokio::join!(ledger.explain(views, event, telling, lines), collect);
    ended.map(|()| stories).map_err(|error| format!("explain {event}: {error}"))
}

fn by_pattern(stories: &[Story]) -> BTreeMap<&str, Vec<&ClaimVerdict>> {
    let mut told: BTreeMap<&str, Vec<&ClaimVerdict>> = BTreeMap::new();
    for claimed in stories.iter().flat_map(|story| &story.claims) {
        told.entry(&claimed.pattern).or_default().extend(&claimed.views);
    }
    told
}

fn reason(seen: &ClaimVerdict) -> &str {
    seen.withheld.as_ref().map_or("admitted", |why| &why.reason)
}
