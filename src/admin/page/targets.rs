//! The section about the targets: what each holds, what waits for it, and what is wrong.

use maud::{Markup, html};

use super::Sight;
use super::backlog;
use super::mark::Mark;
use super::table::{Column, Table};
use super::words::{foreign, number, sentence, since};
use crate::admin::SendingStatus;
use crate::ledger::{Refusal, TargetStatus};
use crate::pure::age::ahead;
use crate::pure::policy::Tlp;

pub(super) fn write(sight: Sight<'_>) -> Markup {
    let targets = &sight.status.ledger.targets;
    let table = Table {
        caption: "What each target holds, and what waits for it",
        columns: &[
            Column::Words("Target"),
            Column::Words("State"),
            Column::Number("In Sentinel / wanted"),
            Column::Number("Rejected"),
            Column::Words("Backlog"),
            Column::Words("Quota"),
            Column::Words("Last accepted"),
        ],
        rows: targets.iter().map(|target| row(target, sight)).collect(),
    };
    html! {
        section aria-labelledby="targets" {
            h2 #targets { "What is in Sentinel, and what waits?" }
            (table.write())
            (refusals(sight))
        }
    }
}

fn row(target: &TargetStatus, sight: Sight<'_>) -> Vec<Markup> {
    let relay = sight.status.relay.iter();
    let mut sending = relay.flat_map(|relay| &relay.targets);
    let sending = sending.find(|one| one.target == target.target);
    let is_written = sending.is_some_and(|one| one.file.is_some());
    vec![
        html! { (foreign(&target.target)) },
        state_of(target, sending, sight),
        html! {
            (number(target.delivered)) " / " (number(target.wanted))
            @if is_written { br; span.dim { "in its file" } }
        },
        html! { (number(target.rejected)) },
        backlog::write(target, sending, sight.now),
        quota_of(sending),
        since(sending.and_then(|one| one.health.last_accepted), sight.now, "none since the start"),
    ]
}

/// Writes how much of the quota is used, and the time that it is for.
fn quota_of(sending: Option<&SendingStatus>) -> Markup {
    let Some(sending) = sending else { return html! { "unknown" } };
    let quota = sending.health.quota.as_ref().filter(|quota| quota.requests_limit > 0);
    html! {
        @match quota {
            Some(quota) => {
                (number(quota.requests)) " of " (number(quota.requests_limit)) " requests used in the last "
                (quota.window_seconds) " s"
            }
            None => { "none" }
        }
    }
}

fn state_of(target: &TargetStatus, sending: Option<&SendingStatus>, sight: Sight<'_>) -> Markup {
    let Some(sending) = sending else { return html! { (target.mode.word()) } };
    let health = &sending.health;
    let failing = if shows_words(sight) { health.degraded.as_deref() } else { health.unquoted() };
    let why = failing.or(health.sign_in.as_deref()).or(health.deletion.as_deref());
    let why = why.or(health.hits.as_deref());
    let next = health.next_try.map(|at| format!(" (next try {})", ahead(at, sight.now)));
    html! {
        @match why {
            None => { (Mark::Good.write(&sending.mode)) }
            Some(why) => {
                (Mark::Bad.write("degraded")) ": " (sentence(why)) (next.unwrap_or_default())
            }
        }
        @if let Some(file) = &sending.file {
            br; span.dim { "writes to " (foreign(file)) }
        }
    }
}

/// Sentinel's words may hold a value, so they are shown only where everything is.
fn shows_words(sight: Sight<'_>) -> bool {
    sight.show_tlp == Tlp::Red
}

/// Lists what Sentinel refused.
fn refusals(sight: Sight<'_>) -> Markup {
    let targets = sight.status.ledger.targets.iter();
    let refusals: Vec<(&str, &Refusal)> = targets
        .flat_map(|one| one.refusals.iter().map(|refusal| (one.target.as_str(), refusal)))
        .collect();
    let shows_words = shows_words(sight);
    html! {
        @if !refusals.is_empty() {
            h3 { "Rejected" }
            ul.trouble {
                @for (target, Refusal { stix_id, words }) in refusals {
                    li {
                        @let id = format!("indicator--{stix_id}");
                        (foreign(target)) ": " a href={"search?q=" (id)} { code { (id) } }
                        @if shows_words { ": " (foreign(words)) }
                    }
                }
            }
            @if !shows_words {
                p.dim { (sentence("Sentinel's words may hold values: `misp-sentinel-relay status` shows them.")) }
            }
        }
    }
}
