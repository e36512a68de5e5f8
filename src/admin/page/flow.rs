//! The section that tells what became of what arrived: figures of the last hour or since the start, each with a small chart.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::Sight;
use super::spark::spark;
use super::words::{number, period};
use crate::ledger::JudgingState;
use crate::pure::count::Count;
use crate::recent::Minute;

/// A figure of the last minutes.
struct Figure {
    name: &'static str,
    about: &'static str,
    count: fn(&Minute) -> u64,
}

const FIGURES: [Figure; 6] = [
    Figure { name: "Received", about: "news of MISP", count: Minute::received },
    Figure { name: "Committed", about: "events with news", count: |minute| minute.committed },
    Figure { name: "Accepted", about: "objects, withdrawals too", count: |minute| minute.accepted },
    Figure { name: "Withdrawn", about: "indicators", count: |minute| minute.withdrawn },
    Figure { name: "Rejected", about: "objects", count: |minute| minute.rejected },
    Figure {
        name: "Skipped",
        about: "attributes and claims",
        count: |minute| minute.skipped.values().sum(),
    },
];

pub(super) fn write(sight: Sight<'_>) -> Markup {
    let Sight { status, history, now, .. } = sight;
    let ledger = &status.ledger;
    // Before an hour is over, the figures are of less, and say so.
    let is_young = (now - history.since).num_minutes() < 60;
    let when = if is_young { period(history.since, now) } else { "in the last hour".to_owned() };
    html! {
        section aria-labelledby="flow" {
            h2 #flow { "What became of it " (when) "?" }
            @if is_young {
                p.dim { "The relay was started then, and remembers no figures from before." }
            }
            dl.figures {
                @for figure in &FIGURES {
                    (write_figure(figure, &history.minutes, &when))
                }
            }
            (skipped(&history.minutes))
            @if let Some(JudgingState { judged, observables }) = ledger.judging {
                p { "The policy is applied anew: " (number(judged)) " of " (number(observables)) " observables so far." }
            }
            p {
                "The ledger holds " (Count(ledger.events, "event")) ", " (Count(ledger.claims, "claim"))
                " and " (Count(ledger.wanted, "wanted indicator")) "."
            }
        }
    }
}

fn write_figure(figure: &Figure, minutes: &[Minute], when: &str) -> Markup {
    let counts: Vec<u64> = minutes.iter().map(figure.count).collect();
    let sum: u64 = counts.iter().sum();
    html! {
        div {
            dt { (figure.name) span { (figure.about) } }
            dd {
                span.number { (number(sum)) }
                (spark(figure.name, &counts, when))
            }
        }
    }
}

fn skipped(minutes: &[Minute]) -> Markup {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, count) in minutes.iter().flat_map(|minute| &minute.skipped) {
        *reasons.entry(reason).or_default() += count;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let told: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    html! {
        @if !told.is_empty() {
            p { "Skipped, by reason: " (told.join(", ")) }
        }
    }
}
