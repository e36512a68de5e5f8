//! The section that tells whether anything arrives: each way from MISP with the age of its last word.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::Sight;
use super::table::{Column, Table};
use super::words::{foreign, since};
use crate::admin::RelayStatus;
use crate::intake::rest::RestState;
use crate::intake::zmq::EndpointStatus;

pub(super) fn write(sight: Sight<'_>) -> Markup {
    let table = Table {
        caption: "The ways from MISP, and the age of the last word of each",
        columns: &[
            Column::Words("Way"),
            Column::Words("State"),
            Column::Words("Last word"),
            Column::Words("Last news"),
        ],
        rows: sight.status.relay.as_ref().map(|relay| rows(relay, sight)).unwrap_or_default(),
    };
    html! {
        section aria-labelledby="arrivals" {
            h2 #arrivals { "Is anything arriving?" }
            (table.write())
        }
    }
}

fn rows(relay: &RelayStatus, sight: Sight<'_>) -> Vec<Vec<Markup>> {
    let Sight { history, now, .. } = sight;
    let feeds = relay.endpoints.iter().map(|endpoint| feed(endpoint, now));
    let webhook = relay.webhook.map(|address| {
        let last = history.last.webhook;
        vec![
            html! { "Webhook " (address) },
            state(true, "listens"),
            since(last, now),
            since(last, now),
        ]
    });
    let rest = relay.rest.as_ref().map(|state| rest(state, history.last.rest, now));
    feeds.chain(webhook).chain(rest).collect()
}

fn feed(endpoint: &EndpointStatus, now: DateTime<Utc>) -> Vec<Markup> {
    let words = match (endpoint.publications_connected, endpoint.others_connected) {
        (true, true) => "connected",
        (true, false) => "lost for withdrawals and tags",
        (false, true) => "lost for publications",
        (false, false) => "lost",
    };
    vec![
        html! { "Feed " (foreign(&endpoint.endpoint)) },
        state(endpoint.connected(), words),
        since(endpoint.last_frame, now),
        since(endpoint.last_publication, now),
    ]
}

fn rest(rest: &RestState, last: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Vec<Markup> {
    let words = match (&rest.error, rest.caught_up_at) {
        (Some(_), _) => "failing",
        (None, Some(_)) => "caught up",
        (None, None) => "not caught up yet",
    };
    vec![
        html! { "REST" },
        state(rest.error.is_none(), words),
        since(rest.answered_at, now),
        since(last, now),
    ]
}

/// Writes a state in words and with a sign, so that its colour says nothing alone.
pub(super) fn state(is_good: bool, words: &str) -> Markup {
    html! {
        @if is_good { span.good { "✓ " (words) } } @else { span.bad { "! " (words) } }
    }
}
