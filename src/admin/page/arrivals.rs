//! The section that tells whether anything arrives: each source with the age of its last contact.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::Sight;
use super::mark::Mark;
use super::table::{Column, Table};
use super::words::{foreign, since};
use crate::admin::{SourceStatus, is_named};
use crate::intake::rest::RestState;
use crate::intake::zmq::EndpointStatus;
use crate::ledger::{ListsState, SourceNews};
use crate::pure::count::Count;

/// What stands where nothing was seen: the relay remembers nothing from before its start.
const NONE: &str = "none since the start";

pub(super) fn write(sight: Sight<'_>) -> Markup {
    let table = Table {
        caption: "The sources in MISP, and the age of the last contact of each",
        columns: &[
            Column::Words("Source"),
            Column::Words("State"),
            Column::Words("Last contact"),
            Column::Words("Last change"),
        ],
        rows: rows(sight),
    };
    html! {
        section aria-labelledby="arrivals" {
            h2 #arrivals { "Is anything arriving?" }
            (table.write())
        }
    }
}

fn rows(sight: Sight<'_>) -> Vec<Vec<Markup>> {
    let read = sight.status.relay.as_ref().map_or(&[][..], |relay| &relay.sources);
    let named = |source: &SourceStatus| is_named(&source.source, read.len());
    let absent = sight.status.source_news.iter().filter_map(absent);
    read.iter().flat_map(|source| of_source(source, named(source), sight)).chain(absent).collect()
}

/// Returns the row of a source that is no longer read. One that is new has rows already: it is read.
fn absent(news: &SourceNews) -> Option<Vec<Markup>> {
    let remedy = news.remedy()?;
    let words = format!("{}; {remedy}", news.words());
    let never = || html! { "not read" };
    Some(vec![html! { (news.source()) }, Mark::Neutral.write_sentence(&words), never(), never()])
}

/// Returns the rows of a source.
fn of_source(source: &SourceStatus, named: bool, sight: Sight<'_>) -> Vec<Vec<Markup>> {
    let Sight { history, now, .. } = sight;
    let last = history.last(&source.source);
    let name = if named { format!("{}: ", source.source) } else { String::new() };
    let feeds = source.endpoints.iter().map(|endpoint| feed(&name, endpoint, now));
    let webhook = source.webhook.as_ref().map(|place| {
        vec![
            html! { (name) "Webhook " (place) },
            Mark::Good.write("listens"),
            since(last.webhook, now, NONE),
            since(last.webhook, now, NONE),
        ]
    });
    let rest = source.rest.as_ref().map(|state| rest(&name, state, last.rest, now));
    let lists = source.warninglists.as_ref().map(|state| lists(&name, state, now));
    feeds.chain(webhook).chain(rest).chain(lists).collect()
}

fn feed(name: &str, endpoint: &EndpointStatus, now: DateTime<Utc>) -> Vec<Markup> {
    let state = match (endpoint.publications_connected, endpoint.others_connected) {
        (true, true) if endpoint.last_frame.is_none() => {
            Mark::Neutral.write("connected, nothing heard yet")
        }
        (true, true) => Mark::Good.write("connected"),
        (true, false) => Mark::Bad.write("lost for withdrawals and tags"),
        (false, true) => Mark::Bad.write("lost for publications"),
        (false, false) => Mark::Bad.write("lost"),
    };
    vec![
        html! { (name) "Feed " (foreign(&endpoint.endpoint)) },
        state,
        since(endpoint.last_frame, now, NONE),
        since(endpoint.last_publication, now, NONE),
    ]
}

fn lists(name: &str, lists: &ListsState, now: DateTime<Utc>) -> Vec<Markup> {
    let in_force = format!("{} with {}", Count(lists.lists, "list"), Count(lists.entries, "entry"));
    let state = match (lists.pending, &lists.error) {
        (true, _) => Mark::Bad.write("never read, so claims wait"),
        (false, Some(_)) => Mark::Bad.write("failing, those before stay in force"),
        (false, None) => Mark::Good.write("in force"),
    };
    let read_at = lists.read_at.and_then(DateTime::from_timestamp_millis);
    vec![html! { (name) "Warninglists" }, state, since(read_at, now, NONE), html! { (in_force) }]
}

fn rest(
    name: &str,
    rest: &RestState,
    last: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Vec<Markup> {
    let state = match (&rest.error, rest.caught_up_at) {
        (Some(_), _) => Mark::Bad.write("failing"),
        (None, Some(_)) => Mark::Good.write("caught up"),
        (None, None) => Mark::Neutral.write("catching up"),
    };
    vec![html! { (name) "REST" }, state, since(rest.answered_at, now, NONE), since(last, now, NONE)]
}
