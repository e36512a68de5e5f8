//! Implements MISP's restSearch for events: reads the parameters and selects the events. It ignores unknown
//! parameters, as MISP does.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::model::Event;
use super::render::Shown;
use super::store::Store;

/// A restSearch.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) shown: Shown,
    uuids: Option<HashSet<Uuid>>,
    numbers: Option<HashSet<u64>>,
    published: (bool, bool),
    /// Inclusive, Unix seconds.
    timestamp: (i64, i64),
    publish_timestamp: (i64, i64),
    values: Vec<String>,
    tags: Vec<String>,
    not_tags: Vec<String>,
    organisations: Vec<String>,
    limit: Option<usize>,
    page: usize,
    order: (Order, bool),
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Id,
    Timestamp,
    PublishTimestamp,
}

/// What a search found.
#[derive(Debug)]
pub(super) struct Found {
    /// Without the limit.
    pub(super) total: usize,
    /// One page of them.
    pub(super) events: Vec<Arc<Event>>,
}

impl Search {
    /// Reads the parameters; `reader` is an organisation, `None` for a site administrator.
    pub(super) fn read(asked: &Map<String, Value>, now: i64, reader: Option<u64>) -> Self {
        let (live, deleted) = both(asked.get("deleted"), (true, false));
        let (off, on) = both(asked.get("to_ids"), (true, true));
        let words = |name: &str| words(asked.get(name));
        let uuids = asked
            .get("uuid")
            .map(|_| words("uuid").iter().filter_map(|word| Uuid::parse_str(word).ok()).collect());
        let numbers = asked
            .get("eventid")
            .map(|_| words("eventid").iter().filter_map(|word| word.parse().ok()).collect());
        let (not_tags, tags): (Vec<_>, Vec<_>) =
            words("tags").into_iter().partition(|tag| tag.starts_with('!'));
        let excluded = asked.get("tags").and_then(|tags| tags.get("NOT"));
        Self {
            shown: Shown {
                metadata: is_true(asked.get("metadata")),
                live,
                deleted,
                decay: is_true(asked.get("includeDecayScore")),
                to_ids: (off != on).then_some(on),
                reader,
                lacks_publication: false,
            },
            uuids,
            numbers,
            published: both(asked.get("published"), (true, true)),
            timestamp: range(asked.get("timestamp"), now),
            publish_timestamp: range(asked.get("publish_timestamp"), now),
            values: words("value"),
            tags,
            not_tags: not_tags
                .iter()
                .map(|tag| tag.trim_start_matches('!').to_owned())
                .chain(self::words(excluded))
                .collect(),
            organisations: words("org"),
            limit: number(asked.get("limit")).filter(|limit| *limit > 0),
            page: number(asked.get("page")).unwrap_or(1).max(1),
            order: order(&words("order")),
        }
    }

    /// Looks through all events.
    pub(super) fn run(&self, store: &Store) -> Found {
        let mut events: Vec<Arc<Event>> = match &self.uuids {
            Some(uuids) => {
                // As MISP does: of events, and of attributes.
                let of_attribute = |event: &&Arc<Event>| {
                    event.all().any(|(_, attribute)| uuids.contains(&attribute.uuid))
                };
                let mut numbers: BTreeSet<u64> =
                    uuids.iter().filter_map(|uuid| store.numbers.get(uuid)).copied().collect();
                if numbers.len() < uuids.len() {
                    numbers.extend(store.events.values().filter(of_attribute).map(|one| one.id));
                }
                let found = numbers.iter().filter_map(|number| store.events.get(number));
                found.cloned().collect()
            }
            None => store.events.values().cloned().collect(),
        };
        events.retain(|event| self.selects(event));
        let (order, descending) = self.order;
        match order {
            Order::Id => {}
            Order::Timestamp => events.sort_by_key(|event| event.timestamp),
            Order::PublishTimestamp => events.sort_by_key(|event| event.publish_timestamp),
        }
        if descending {
            events.reverse();
        }
        let total = events.len();
        if let Some(limit) = self.limit {
            let before = (self.page - 1).saturating_mul(limit).min(total);
            events.drain(..before);
            events.truncate(limit);
        }
        Found { total, events }
    }

    fn selects(&self, event: &Event) -> bool {
        let (unpublished, published) = self.published;
        let within = |(from, to): (i64, i64), time: i64| from <= time && time <= to;
        self.shown.event(event)
            && (if event.published { published } else { unpublished })
            && self.numbers.as_ref().is_none_or(|numbers| numbers.contains(&event.id))
            && within(self.timestamp, event.timestamp)
            && within(self.publish_timestamp, event.publish_timestamp)
            && (self.values.is_empty() || holds(event, &self.values))
            && (self.tags.is_empty() || tagged(event, &self.tags))
            && !tagged(event, &self.not_tags)
            && (self.organisations.is_empty()
                || self.organisations.iter().any(|word| {
                    *word == event.organisation.name
                        || *word == event.organisation.id.to_string()
                        || *word == event.organisation.uuid.to_string()
                }))
    }
}

/// Whether an attribute has one of these values, or a half of a composite has.
fn holds(event: &Event, wanted: &[String]) -> bool {
    let is_wanted = |value: &str| wanted.iter().any(|wanted| wanted == value);
    event.all().any(|(_, attribute)| {
        let value = attribute.value.as_str();
        is_wanted(value) || value.split_once('|').is_some_and(|(a, b)| is_wanted(a) || is_wanted(b))
    })
}

/// Whether one of these tags, `%` as a wildcard, is on the event or an attribute.
fn tagged(event: &Event, wanted: &[String]) -> bool {
    let attributes = event.all().flat_map(|(_, attribute)| &attribute.tags);
    let mut names = event.tags.iter().chain(attributes).map(|tag| tag.name.as_str());
    names.any(|name| {
        wanted.iter().any(|wanted| {
            let pattern = wildmatch::WildMatch::new_case_insensitive(&wanted.replace('%', "*"));
            pattern.matches(name)
        })
    })
}

/// A word or number, or a list of them.
fn words(value: Option<&Value>) -> Vec<String> {
    let word = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(word).collect(),
        Some(Value::Object(logic)) => words(logic.get("OR")),
        Some(one) => word(one).into_iter().collect(),
        None => Vec::new(),
    }
}

fn number(value: Option<&Value>) -> Option<usize> {
    words(value).first()?.parse().ok()
}

fn is_true(value: Option<&Value>) -> bool {
    value == Some(&Value::Bool(true)) || words(value).first().is_some_and(|word| word == "1")
}

/// Whether those with 0 and those with 1 are wanted: `0`, `1`, `[0, 1]`, `true`, `"only"`.
fn both(value: Option<&Value>, absent: (bool, bool)) -> (bool, bool) {
    match value {
        None | Some(Value::Null) => absent,
        Some(Value::Bool(on)) => (!on, *on),
        Some(other) => {
            let words = words(Some(other));
            let has = |wanted: &str| words.iter().any(|word| word == wanted);
            (has("0"), has("1") || has("only"))
        }
    }
}

/// A time is "since then"; two are a range. `14d` and the like count back from now.
fn range(value: Option<&Value>, now: i64) -> (i64, i64) {
    let times: Vec<i64> = words(value).iter().map(|word| time(word, now)).collect();
    match *times.as_slice() {
        [] => (i64::MIN, i64::MAX),
        [since] => (since, i64::MAX),
        [one, other, ..] => (one.min(other), one.max(other)),
    }
}

/// What MISP cannot read is a moment in the future: nothing matches.
fn time(word: &str, now: i64) -> i64 {
    if let Ok(seconds) = word.parse() {
        return seconds;
    }
    let unit = |unit: char, seconds: i64| {
        word.strip_suffix(unit)?.parse::<i64>().ok().map(|count| now - count * seconds)
    };
    unit('d', 86_400)
        .or_else(|| unit('h', 3_600))
        .or_else(|| unit('m', 60))
        .or_else(|| unit('s', 1))
        .unwrap_or(now + 1)
}

fn order(words: &[String]) -> (Order, bool) {
    let text = words.first().map(String::as_str).unwrap_or_default();
    let (field, direction) = text.split_once(' ').unwrap_or((text, "asc"));
    let order = match field.trim_start_matches("Event.") {
        "timestamp" => Order::Timestamp,
        "publish_timestamp" => Order::PublishTimestamp,
        _ => Order::Id,
    };
    (order, direction.eq_ignore_ascii_case("desc"))
}
