//! The section that tells which indicators were withdrawn today. The ledger knows it, so a restart changes nothing.

use chrono::DateTime;
use maud::{Markup, html};

use super::Sight;
use super::table::{Column, Table};
use super::words::{clock, foreign, may_be_named, tlp, tlp_name};
use crate::admin::shared::NAMED;
use crate::ledger::WithdrawnIndicator;
use crate::pure::count::Count;
use crate::pure::policy::Tlp;

pub(super) fn write(sight: Sight<'_>) -> Markup {
    let withdrawals = &sight.withdrawn.withdrawals;
    let (newest, indicators) = (&withdrawals.newest, withdrawals.indicators);
    let table = Table {
        caption: "Times are UTC, of the target's acceptance",
        columns: &[
            Column::Words("Withdrawn"),
            Column::Words("Indicator"),
            Column::Words("Events"),
            Column::Words("Target"),
        ],
        rows: newest.iter().map(|one| row(one, sight.show_tlp)).collect(),
    };
    let is_all = newest.len() < NAMED;
    html! {
        section aria-labelledby="withdrawn" {
            h2 #withdrawn { "What was withdrawn today?" }
            p {
                "Withdrawn since " (sight.withdrawn.since.format("%H:%M")) " UTC, and not back since: "
                strong { (Count(indicators, "indicator")) } "."
                @if !is_all { " The last ones:" }
            }
            @if !newest.is_empty() { (table.write()) }
        }
    }
}

fn row(one: &WithdrawnIndicator, show_tlp: Tlp) -> Vec<Markup> {
    let accepted = DateTime::from_timestamp_millis(one.accepted_at).unwrap_or_default();
    let level = Some(one.tlp);
    let named = html! {
        @if may_be_named(level, show_tlp) {
            (foreign(&one.pattern)) " " (tlp(level)) br;
        } @else {
            em.dim { "value hidden (" (tlp_name(level)) ")" } br;
        }
        code.dim { "indicator--" (one.stix_id) }
    };
    let events = html! {
        @if one.events.is_empty() { "not known" }
        @for (place, event) in one.events.iter().enumerate() {
            @if place > 0 { br; }
            a.dim href={"search?q=" (event)} { (event) }
        }
    };
    vec![clock(accepted), named, events, html! { (foreign(&one.target)) }]
}
