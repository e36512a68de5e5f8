//! The section about the targets: what each holds, what waits for it, and what is wrong.

use chrono::DateTime;
use maud::{Markup, html};

use super::Sight;
use super::arrivals::state;
use super::table::{Column, Table};
use super::words::{foreign, number, sentence, since};
use crate::admin::SendingStatus;
use crate::ledger::{Refusal, TargetStatus};
use crate::pure::age::{age, ahead};
use crate::pure::policy::Tlp;

pub(super) fn write(sight: Sight<'_>) -> Markup {
    let targets = &sight.status.ledger.targets;
    let table = Table {
        caption: "What each target holds, and the objects that wait for it, by lane",
        columns: &[
            Column::Words("Target"),
            Column::Words("State"),
            Column::Number("Live of wanted"),
            Column::Number("Rejected"),
            Column::Number("Withdrawals wait"),
            Column::Number("Live wait"),
            Column::Number("Backlog waits"),
            Column::Words("Oldest"),
            Column::Words("Done in"),
            Column::Words("Last accepted"),
        ],
        rows: targets.iter().map(|target| row(target, sight)).collect(),
    };
    html! {
        section aria-labelledby="targets" {
            h2 #targets { "What do the targets hold, and what waits?" }
            (table.write())
            (refusals(sight))
        }
    }
}

fn row(target: &TargetStatus, sight: Sight<'_>) -> Vec<Markup> {
    let relay = sight.status.relay.iter();
    let mut sending = relay.flat_map(|relay| &relay.targets);
    let sending = sending.find(|one| one.target == target.target);
    let waiting = target.waiting.iter();
    let oldest = waiting.clone().filter_map(|lane| lane.oldest).min();
    let oldest = oldest.and_then(DateTime::from_timestamp_millis);
    let done_in = sending.and_then(|one| one.eta_seconds).map(age);
    let mut row = vec![
        html! { (foreign(&target.target)) },
        state_of(target, sending, sight),
        html! { (number(target.delivered)) " of " (number(target.wanted)) },
        html! { (number(target.rejected)) },
    ];
    row.extend(waiting.map(|lane| html! { (number(lane.objects)) }));
    row.extend([
        since(oldest, sight.now),
        html! { (done_in.as_deref().unwrap_or("–")) (quota_of(sending)) },
        since(sending.and_then(|one| one.health.last_accepted), sight.now),
    ]);
    row
}

/// Writes how much of the quota is used, where there is one.
fn quota_of(sending: Option<&SendingStatus>) -> Markup {
    let quota = sending.and_then(|one| one.health.quota.as_ref());
    html! {
        @if let Some(quota) = quota.filter(|quota| quota.requests_limit > 0) {
            br; span.dim { (quota.requests) " of " (quota.requests_limit) " requests used" }
        }
    }
}

fn state_of(target: &TargetStatus, sending: Option<&SendingStatus>, sight: Sight<'_>) -> Markup {
    let Some(sending) = sending else { return html! { (target.mode.word()) } };
    let health = &sending.health;
    let why = health.degraded.as_ref().or(health.sign_in.as_ref()).or(health.deletion.as_ref());
    let next = health.next_try.map(|at| format!(" (next try {})", ahead(at, sight.now)));
    html! {
        @match why {
            None => { (state(true, &sending.mode)) }
            Some(why) => {
                (state(false, "degraded")) ": " (sentence(why)) (next.unwrap_or_default())
            }
        }
        @if let Some(file) = &sending.file {
            br; span.dim { "writes to " (foreign(file)) }
        }
    }
}

/// Lists what Sentinel refused. Its words may hold a value, so they are shown only where everything is.
fn refusals(sight: Sight<'_>) -> Markup {
    let targets = sight.status.ledger.targets.iter();
    let refusals: Vec<(&str, &Refusal)> = targets
        .flat_map(|one| one.refusals.iter().map(|refusal| (one.target.as_str(), refusal)))
        .collect();
    let shows_words = sight.show_tlp == Tlp::Red;
    html! {
        @if !refusals.is_empty() {
            h3 { "Rejected" }
            ul.trouble {
                @for (target, Refusal { stix_id, words }) in refusals {
                    li {
                        (foreign(target)) ": " code { "indicator--" (stix_id) }
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
