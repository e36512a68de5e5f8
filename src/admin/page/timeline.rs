//! The section with the last events: when each was heard of, committed and accepted by the targets.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::Sight;
use super::table::{Column, Table};
use super::words::{clock, foreign, may_be_named, period, tlp, tlp_name};
use crate::pure::policy::Tlp;
use crate::recent::{Committed, EVENTS, RecentEvent};

pub(super) fn write(sight: Sight<'_>) -> Markup {
    let events = &sight.history.events;
    let table = Table {
        caption: "Times are UTC. Events without anything new are left out",
        columns: &[
            Column::Words("Heard"),
            Column::Words("Event"),
            Column::Words("News"),
            Column::Words("Claims"),
            Column::Words("Committed"),
            Column::Words("Accepted by"),
        ],
        rows: events.iter().map(|event| row(event, sight.show_tlp)).collect(),
    };
    html! {
        section aria-labelledby="events" {
            h2 #events { "The last " (EVENTS) " events" }
            @if events.is_empty() {
                p { "None " (period(sight.history.since, sight.now)) "." }
            } @else {
                (table.write())
            }
        }
    }
}

fn row(event: &RecentEvent, show_tlp: Tlp) -> Vec<Markup> {
    let RecentEvent { committed, committed_at, accepted } = event;
    let heard = DateTime::from_timestamp_millis(committed.heard).unwrap_or_default();
    let accepted = html! {
        @if accepted.is_empty() { "none" }
        @for (place, one) in accepted.iter().enumerate() {
            @if place > 0 { br; }
            (foreign(&one.target)) " " (after(heard, one.at))
        }
    };
    vec![
        clock(heard),
        title(committed, show_tlp),
        news(committed),
        claims(committed),
        after(heard, *committed_at),
        accepted,
    ]
}

fn title(event: &Committed, show_tlp: Tlp) -> Markup {
    let number = event.id.map(|id| format!("#{id} "));
    html! {
        @match &event.title {
            Some(title) if may_be_named(event.tlp, show_tlp) => {
                "“" (foreign(title)) "” " (tlp(event.tlp)) br;
            }
            Some(_) => { em.dim { "title hidden (" (tlp_name(event.tlp)) ")" } br; }
            None => {}
        }
        a.dim href={"search?q=" (event.event)} { (number.unwrap_or_default()) (event.event) }
    }
}

/// Writes what happened in MISP. What takes something back stands out from other news.
fn news(event: &Committed) -> Markup {
    html! {
        @if event.is_withdrawal { strong.gone { "− withdrawal" } br; }
        (event.what)
    }
}

fn claims(event: &Committed) -> Markup {
    let counts = [(event.new, "new"), (event.changed, "changed"), (event.gone, "gone")];
    let told = counts.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = told.map(|(count, what)| format!("{count} {what}")).collect();
    html! { @if told.is_empty() { "none" } @else { (told.join(", ")) } }
}

/// Writes how long after it was heard of something came.
fn after(heard: DateTime<Utc>, at: DateTime<Utc>) -> Markup {
    // A clock that was set back makes nothing come before its cause.
    let took = (at - heard).max(TimeDelta::zero());
    let seconds = took.num_milliseconds() as f64 / 1_000.0;
    html! {
        time datetime=(at.to_rfc3339()) title=(at.to_rfc3339()) {
            @if seconds < 60.0 { "after " (format!("{seconds:.2}")) " s" }
            @else { "after " (crate::pure::age::age(took.num_seconds().unsigned_abs())) }
        }
    }
}
